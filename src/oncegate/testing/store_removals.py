"""Checks of a store: a removal takes the version that was seen, and never another one."""

from __future__ import annotations

import asyncio

from oncegate.stores.protocol import NotOnce, Store
from oncegate.testing.store_checks import (
    StoreChecks,
    content_of,
    fresh_folder,
    info_of,
    is_there,
    keys_of,
    put,
    put_in_place_of,
    try_to_put,
)
from oncegate.testing.suite import CheckFailed, CheckSkipped, check

ANOTHER_ETAG = '"00000000000000000000000000000000"'
ROUNDS = 8


class RemovalChecks(StoreChecks):
    """An object goes whole, once, and only as the version that is named."""

    async def check_only_the_named_version_is_removed(self) -> None:
        """Another ETag, an older version and a missing key remove nothing; the named version goes, and frees its key."""
        async with self._opened() as store:
            folder = fresh_folder()
            key, beside = f"{folder}/a/x.txt", f"{folder}/b.txt"
            await put(store, beside, b"beside")
            etag = (await put(store, key, b"first")).etag
            if not await store.may_remove():
                await _check_refused(store, key, etag)
                return
            check(not await store.remove(key, ANOTHER_ETAG), "another ETag was named, and the object was removed")
            check(not await store.remove(f"{folder}/none/x.txt", etag), "an object that is missing was removed")
            check(await content_of(store, key) == b"first", "nothing was to be removed, but the object changed")
            if await put_in_place_of(store, key, b"second", etag) is not None:
                check(not await store.remove(key, etag), "the version before was named, and the newer one was removed")
                check(await content_of(store, key) == b"second", "the newer version was damaged")
            check(await store.remove(key, (await info_of(store, key)).etag), "the version that stands was not removed")
            check(not await is_there(store, key), "what was removed is found")
            check(
                await keys_of(store, folder) == [beside], "what was removed is listed, or what stood beside it is not"
            )
            await put(store, key, b"again")

    async def check_removed_twice_is_removed_once(self) -> None:
        """A second call, after the first or at the same time, finds nothing to remove and is no fault."""
        async with self._opened() as store:
            _needs_removals(may_remove=await store.may_remove())
            key = f"{fresh_folder()}/x.txt"
            etag = (await put(store, key, b"data")).etag
            said = await asyncio.gather(*(store.remove(key, etag) for _ in range(self._callers)))
            check(any(said), "of many removals at once none says that it removed the object")
            check(not await is_there(store, key), "many removals at once left the object")
            check(not await store.remove(key, etag), "what is gone was removed again")

    async def check_of_a_removal_and_a_replacement_one_happens(self) -> None:
        """Both name the version that stands: to compare and to remove must be one step, or the new version would go."""
        async with self._opened() as store:
            _needs_removals(may_remove=await store.may_remove())
            for _ in range(ROUNDS):
                key = f"{fresh_folder()}/x.txt"
                etag = (await put(store, key, b"first")).etag
                is_removed, said = await asyncio.gather(
                    store.remove(key, etag), try_to_put(store, key, b"second", replaces=etag)
                )
                if said.startswith(("NotOnce", "LengthNeeded")):
                    raise CheckSkipped("the store replaces nothing")
                if said == "stored":
                    check(not is_removed, "one version was replaced and removed")
                    check(await content_of(store, key) == b"second", "the version that took its place is gone")
                else:
                    check(
                        is_removed == (not await is_there(store, key)), f"the removal said {is_removed}; it is not so"
                    )

    async def check_what_is_removed_is_read_to_its_end_or_not_at_all(self) -> None:
        """Looked at before: a read afterwards gives that version whole, or a fault."""
        async with self._opened() as store:
            _needs_removals(may_remove=await store.may_remove())
            key = f"{fresh_folder()}/x.txt"
            etag = (await put(store, key, b"data")).etag
            opened = await store.look(key)
            if opened is None:
                raise CheckFailed(f"{key!r} was stored, but a look finds nothing")
            try:
                await store.remove(key, etag)
                try:
                    got = b"".join([piece async for piece in opened.read(0, 4, 65_536)])
                except Exception as fault:  # noqa: BLE001  which fault is the store's own choice
                    check(type(fault).__module__.startswith("oncegate."), f"a read raised {type(fault).__name__}")
                else:
                    check(got == b"data", "a removed object was read as something else")
            finally:
                await opened.aclose()


def _needs_removals(*, may_remove: bool) -> None:
    if not may_remove:
        raise CheckSkipped("the store removes nothing")


async def _check_refused(store: Store, key: str, etag: str) -> None:
    """Check that a store that keeps no condition says so, and removes nothing."""
    try:
        await store.remove(key, etag)
    except NotOnce:
        check(await is_there(store, key), "the store said that it removes nothing, and removed the object")
        return
    raise CheckFailed("the store said that it cannot remove, and took the call")
