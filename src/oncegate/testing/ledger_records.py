"""Checks of a ledger: what was answered is stored, whatever happens to the callers or to the process."""

from __future__ import annotations

import asyncio
import os
import pathlib
import threading
import time

from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Gone, KeepsEvents, Stands, Unknown
from oncegate.testing.ledger_checks import LedgerChecks, record_number, standing_of, version_of
from oncegate.testing.ledger_processes import Job, fresh_link_id, kill_while_claiming, record_of
from oncegate.testing.suite import check

OPEN_FILES = pathlib.Path("/proc/self/fd")


class RecordChecks(LedgerChecks):
    """What stands, and what is left behind."""

    async def check_records_come_back_exactly(self) -> None:
        """A record comes back byte for byte, from a read, from a refused write, and from another opening."""
        records = [b"{}", '{"é":"\\u0000 \U0001f511\'\\"%s;--"}'.encode(), b'{"long":"' + b"x" * 1000 + b'"}']
        async with self._opened() as ledger:
            for record in records:
                link_id = fresh_link_id()
                version = version_of(await ledger.insert(link_id, record, FORGET_NEVER_S))
                expected = Stands(record, version)
                for what in (await ledger.read(link_id), await ledger.insert(link_id, b'{"no":1}', FORGET_NEVER_S)):
                    check(what == expected, f"stored {expected}, shown {what}")
                if self._is_shared:
                    async with self._opened() as other:
                        what = await other.read(link_id)
                        check(what == expected, f"stored {expected}, shown to another opening {what}")

    async def check_a_version_names_one_state(self) -> None:
        """Each write gives a new version, a read shows it, and an old one is refused with what stands."""
        async with self._opened() as ledger:
            link_id = fresh_link_id()
            versions = [version_of(await ledger.insert(link_id, record_number(0), FORGET_NEVER_S))]
            for number in range(1, 10):
                # The same bytes again are another state all the same.
                record = record_number(number // 2)
                versions.append(version_of(await ledger.replace(link_id, versions[-1], record, FORGET_NEVER_S)))
                expected = Stands(record, versions[-1])
                check(await ledger.read(link_id) == expected, "a read shows another version than the write was told")
                for old in versions[:-1]:
                    what = await ledger.replace(link_id, old, b'{"no":1}', FORGET_NEVER_S)
                    check(what == expected, f"a replace of the old version {old!r} was told {what}, not {expected}")
            check(len(set(versions)) == len(versions), f"a version was given twice: {versions}")

    async def check_where_nothing_stands_it_is_gone(self) -> None:
        """A read and a replace where nothing stands say so, and a replace makes no record."""
        async with self._opened() as ledger:
            link_id, other = fresh_link_id(), fresh_link_id()
            version = version_of(await ledger.insert(other, b"{}", FORGET_NEVER_S))
            for what in (await ledger.replace(link_id, version, b"{}", FORGET_NEVER_S), await ledger.read(link_id)):
                check(what == Gone(), f"nothing stands there, but the answer was {what}")

    async def check_what_was_answered_survives_a_reopening(self) -> None:
        """Records, and the moment of birth, are the same after the ledger was closed and opened."""
        self._needs_sharing()
        links = {fresh_link_id(): record_number(number) for number in range(self._callers)}
        async with self._opened() as ledger:
            born_ms = (await ledger.probe()).born_ms
            await asyncio.gather(*(ledger.insert(key, record, FORGET_NEVER_S) for key, record in links.items()))
        async with self._opened() as ledger:
            born_again_ms = (await ledger.probe()).born_ms
            check(born_ms == born_again_ms, f"born at {born_ms} ms, after opening again at {born_again_ms} ms")
            check(0 < born_ms <= (time.time() + 300) * 1000, f"born_ms is no moment in milliseconds: {born_ms}")
            for key, record in links.items():
                what = standing_of(await ledger.read(key)).record
                check(what == record, f"{key.hex()} held {record!r}, after opening again {what!r}")

    async def check_a_killed_writer_loses_nothing(self) -> None:
        """A process is killed while it claims: what it was told is done stands, and is not won again."""
        self._needs_sharing()
        for kill in range(self._kills):
            job = Job(self._open_ledger, "claim", f"killed {kill}")
            said = await asyncio.to_thread(kill_while_claiming, job, after_lines=200)
            async with self._opened() as ledger:
                await ledger.probe()
                for (key,) in said:
                    what = await ledger.insert(bytes.fromhex(str(key)), b'{"by":"second"}', FORGET_NEVER_S)
                    told = f"{key} was answered done before the kill; a second insert was told {what}"
                    check(isinstance(what, Stands) and what.record == record_of(job.name), told)

    async def check_a_cancelled_caller_hurts_nobody(self) -> None:
        """Callers leave while their writes wait: each write happened whole or not at all, and the others are answered."""
        async with self._opened() as ledger:
            for _ in range(self._rounds):
                keys = [fresh_link_id() for _ in range(self._callers)]
                calls = [asyncio.ensure_future(ledger.insert(key, record_of("first"), FORGET_NEVER_S)) for key in keys]
                await asyncio.sleep(0)
                for call in calls[::2]:
                    call.cancel()
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
                check(
                    all(isinstance(outcome, Done) for outcome in outcomes[1::2]), "a caller who stayed lost its write"
                )
                for key in keys[::2]:
                    what = await ledger.insert(key, record_of("second"), FORGET_NEVER_S)
                    whole = isinstance(what, Done) or (isinstance(what, Stands) and what.record == record_of("first"))
                    check(whole, f"after its caller left, an insert left {what}")

    async def check_a_closed_ledger_answers_unknown(self) -> None:
        """Closing finishes what waits; later calls end in ``Unknown``, and closing again is harmless."""
        ledger = self._open_ledger()
        await ledger.probe()
        waiting = [asyncio.ensure_future(ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)) for _ in range(10)]
        await asyncio.sleep(0)
        await ledger.aclose()
        for outcome in await asyncio.gather(*waiting):
            check(isinstance(outcome, Done), f"a write that waited when the ledger was closed was told {outcome}")
        await ledger.aclose()
        link_id = fresh_link_id()
        for what in (
            await ledger.insert(link_id, b"{}", FORGET_NEVER_S),
            await ledger.replace(link_id, 1, b"{}", FORGET_NEVER_S),
            await ledger.read(link_id),
        ):
            check(isinstance(what, Unknown), f"the ledger is closed, but it answered {what}")

    async def check_nothing_is_left_behind(self) -> None:
        """Opened, used and closed many times, a ledger leaves no thread and no descriptor."""
        await self._use_once()  # what the process keeps for good, such as a resolver's socket, is made now
        before = _held()
        for _ in range(5):
            await self._use_once()
        after = _held()
        check(after == before, f"held before (threads, files): {before}, after five openings: {after}")

    async def _use_once(self) -> None:
        async with self._opened() as ledger:
            await ledger.probe()
            version_of(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S))
            await ledger.read(fresh_link_id())
            if isinstance(ledger, KeepsEvents):
                await ledger.append_events([{"at": 0, "event": "complete"}])


def _held() -> tuple[list[str], int]:
    """Say which threads run and how many descriptors are open. asyncio keeps some worker threads for good."""
    threads = sorted(thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_"))
    return threads, len(os.listdir(OPEN_FILES)) if OPEN_FILES.is_dir() else 0
