"""What the checks of a store stand on: how they open it, and the calls of which each check is made.

The checks themselves are in ``store_objects.py``, ``store_uploads.py``, ``store_removals.py``, ``store_races.py`` and
``store_lists.py``.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from oncegate.stores.protocol import (
    LengthNeeded,
    NotOnce,
    ObjectInfo,
    ObjectStands,
    OpenObject,
    Store,
    StoreFault,
    Upload,
)
from oncegate.testing.suite import CheckFailed, CheckSkipped, Suite

PIECE_BYTES = 100_001
"""Uploads are written in pieces of an odd length, which is no buffer's."""

MEDIA_TYPE = "text/plain"
"""Of every upload; its key ends in ``.txt``, so that a store that guesses from the name says the same."""


class StoreChecks(Suite):
    """Opens the store under test for a group of checks.

    Args:
        open_store: opens the store under test, each time anew, all on the same objects. Picklable where processes are
            to be raced: a function of an importable module, or a ``functools.partial`` of one.
        is_shared: whether each opening, here or in another process, sees the same objects. False for a store that
            lives and ends with its object.
        sizes_bytes: lengths of uploads: both sides of every length from which the store does an upload in another way.
        callers: uploads in a race inside one process.
        processes: in a race of processes; each makes two uploads.
        ends_within_s: seconds after which a check that has not ended has failed.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        *,
        is_shared: bool = True,
        sizes_bytes: Sequence[int] = (1, 1000, 300_000),
        callers: int = 8,
        processes: int = 3,
        ends_within_s: float = 60.0,
    ) -> None:
        self._open_store = open_store
        self._is_shared = is_shared
        self._sizes_bytes = sizes_bytes
        self._callers = callers
        self._processes = processes
        self._ends_within_s = ends_within_s

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Store]:
        store = self._open_store()
        try:
            await store.probe()
            yield store
        finally:
            await store.aclose()

    def _needs_sharing(self) -> None:
        if not self._is_shared:
            raise CheckSkipped("each opening has objects of its own")


def fresh_folder() -> str:
    """Draw the first segment of the keys of one check, so that no check meets another's objects."""
    return f"suite-{secrets.token_hex(8)}"


async def begin(store: Store, key: str, *, size_bytes: int | None, replaces: str | None = None) -> Upload:
    """Begin an upload of the suite's media type; see ``Store.start_upload``."""
    return await store.start_upload(key, content_type=MEDIA_TYPE, size_bytes=size_bytes, replaces=replaces)


async def write(upload: Upload, data: bytes) -> None:
    """Write all of ``data`` in pieces."""
    for start in range(0, len(data), PIECE_BYTES):
        await upload.write(data[start : start + PIECE_BYTES])


async def put(store: Store, key: str, data: bytes, *, replaces: str | None = None) -> ObjectInfo:
    """Upload an object whose length is announced, as the gateway does."""
    upload = await begin(store, key, size_bytes=len(data), replaces=replaces)
    try:
        await write(upload, data)
        return await upload.commit()
    finally:
        await upload.abort()


async def try_to_put(store: Store, key: str, data: bytes, *, replaces: str | None = None) -> str:
    """Upload, and say what came of it: ``stored``, ``stands``, or a fault by its name and words."""
    try:
        await put(store, key, data, replaces=replaces)
    except ObjectStands:
        return "stands"
    except StoreFault as fault:
        return f"{type(fault).__name__}: {fault}"
    return "stored"


async def put_in_place_of(store: Store, key: str, data: bytes, etag: str) -> ObjectInfo | None:
    """Replace a version; None where the store says that it cannot do so once for an object of this length."""
    try:
        return await put(store, key, data, replaces=etag)
    except (NotOnce, LengthNeeded):
        return None


async def look(store: Store, key: str) -> OpenObject:
    """Look at an object that was put there."""
    found = await store.look(key)
    if found is None:
        raise CheckFailed(f"{key!r} was stored, but a look finds nothing")
    return found


async def info_of(store: Store, key: str) -> ObjectInfo:
    """Say what a look sees."""
    found = await look(store, key)
    await found.aclose()
    return found.info


async def is_there(store: Store, key: str) -> bool:
    """Tell whether a look finds an object."""
    found = await store.look(key)
    if found is not None:
        await found.aclose()
    return found is not None


async def content_of(store: Store, key: str) -> bytes:
    """Read an object whole."""
    found = await look(store, key)
    try:
        return b"".join([piece async for piece in found.read(0, found.info.size_bytes, 65536)])
    finally:
        await found.aclose()


async def keys_of(store: Store, prefix: str, after: str = "", limit: int = 1000) -> list[str]:
    """List one page and keep the keys."""
    return [info.key for info in await store.list_objects(prefix, after, limit)]
