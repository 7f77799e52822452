"""Checks of a store: of many uploads exactly one stands, whatever they share, and a killed one is never seen."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from oncegate.stores.protocol import LengthNeeded, NotOnce, Store, StoreBusy
from oncegate.testing.store_checks import (
    StoreChecks,
    content_of,
    fresh_folder,
    is_there,
    keys_of,
    put,
    put_in_place_of,
    try_to_put,
)
from oncegate.testing.store_processes import Job, Race, kill_while_holding, run_together
from oncegate.testing.suite import CheckSkipped, check

SOON_S = 60


class RaceChecks(StoreChecks):
    """Many writers, one winner."""

    async def check_of_many_uploads_one_stands(self) -> None:
        """Of many uploads to one free key one is stored, whole, and all others are told that an object stands there."""
        async with self._opened() as store:
            for size_bytes in self._sizes_bytes:
                key = f"{fresh_folder()}/x.txt"
                sent = [bytes([65 + caller]) * size_bytes for caller in range(self._callers)]
                said = await asyncio.gather(*(try_to_put(store, key, data) for data in sent))
                _check_one_winner(said, sent, await content_of(store, key))

    async def check_of_many_replacements_one_stands(self) -> None:
        """Of many uploads that saw one version one replaces it: to compare and to replace must be one step."""
        async with self._opened() as store:
            replaced = 0
            for size_bytes in self._sizes_bytes:
                key = f"{fresh_folder()}/x.txt"
                etag = (await put(store, key, b"1")).etag
                sent = [bytes([65 + caller]) * size_bytes for caller in range(self._callers)]
                said = await asyncio.gather(*(try_to_put(store, key, data, replaces=etag) for data in sent))
                if all(words.startswith((NotOnce.__name__, LengthNeeded.__name__)) for words in said):
                    continue
                replaced += 1
                _check_one_winner(said, sent, await content_of(store, key), may_be_busy=True)
            if not replaced:
                raise CheckSkipped("the store replaces nothing")

    async def check_of_many_processes_one_upload_stands(self) -> None:
        """The same with two uploads from each of several processes: a lock inside one of them decides nothing."""
        self._needs_sharing()
        folder = fresh_folder()
        async with self._opened() as store:
            await self._race(store, [(f"{folder}/{n}/x.txt", size, None) for n, size in enumerate(self._sizes_bytes)])

    async def check_of_many_processes_one_replacement_stands(self) -> None:
        """The same for uploads that all saw one version."""
        self._needs_sharing()
        folder, races = fresh_folder(), list[Race]()
        async with self._opened() as store:
            for number, size_bytes in enumerate(self._sizes_bytes):
                key = f"{folder}/{number}/x.txt"
                first = await put(store, key, b"1")
                second = await put_in_place_of(store, key, b"2" * size_bytes, first.etag)
                if second is not None:
                    races.append((key, size_bytes, second.etag))
            if not races:
                raise CheckSkipped("the store replaces nothing")
            await self._race(store, races)

    async def check_a_killed_upload_is_never_seen(self) -> None:
        """A process is killed that held uploads with half their bytes, and with all: no object, and the key is free."""
        self._needs_sharing()
        folder = fresh_folder()
        held = [
            (f"{folder}/{number}-{share}/x.txt", size_bytes, size_bytes * share // 2)
            for number, size_bytes in enumerate(self._sizes_bytes)
            for share in (1, 2)
        ]
        job = Job(self._open_store, "hold", held=tuple(held))
        await asyncio.to_thread(kill_while_holding, job)
        async with self._opened() as store:
            for key, size_bytes, written_bytes in held:
                is_found = await is_there(store, key)
                check(not is_found, f"killed when {written_bytes} of {size_bytes} bytes had come: an object is found")
            check(await keys_of(store, folder) == [], "something of uploads that were killed is listed")
            await store.sweep(int(time.time()) + SOON_S)
            again = await store.sweep(int(time.time()) + SOON_S)
            check(again == 0, f"swept, and swept again with nothing between: {again} were removed")
            for key, _, _ in held:
                await put(store, key, b"second")
                check(await content_of(store, key) == b"second", "the key of a killed upload is not free for the next")
            check(await keys_of(store, folder) == [key for key, _, _ in held], "a sweep or a kill left something")

    async def _race(self, store: Store, races: Sequence[Race]) -> None:
        """Let every process make two uploads to each key, all at once."""
        pairs = [(65 + 2 * number, 66 + 2 * number) for number in range(self._processes)]
        jobs = [Job(self._open_store, "race", races=tuple(races), fills=pair) for pair in pairs]
        lines = [line for lines in await asyncio.to_thread(run_together, jobs) for line in lines]
        for key, size_bytes, replaces in races:
            told = [(bytes([int(fill)]) * size_bytes, str(words)) for at, fill, words in lines if at == key]
            check(len(told) == 2 * len(jobs), f"{len(told)} answers for {len(jobs)} processes")
            sent, said, stands = [data for data, _ in told], [words for _, words in told], await content_of(store, key)
            _check_one_winner(said, sent, stands, may_be_busy=replaces is not None)


def _check_one_winner(said: Sequence[str], sent: Sequence[bytes], stands: bytes, *, may_be_busy: bool = False) -> None:
    """Check a race: what each was told, what each sent, and what stands.

    ``may_be_busy``: a loser may also be told to try again, as by Ceph 16 in a race to replace one version (500).
    """
    winners = [data for words, data in zip(said, sent, strict=True) if words == "stored"]
    check(len(winners) == 1, f"one must be stored, {len(winners)} were: {dict(Counter(said))}")
    losers = {words for words in said if not (may_be_busy and words.startswith(StoreBusy.__name__))} - {"stored"}
    check(losers <= {"stands"}, f"the others must be told that an object stands there: {losers}")
    check(stands == winners[0], f"{len(winners[0])} bytes: what stands is not what was said to be stored")
