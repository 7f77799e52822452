"""A store that counts its calls, their outcomes and their seconds, and hands every call to the real store.

A read is counted when its first bytes arrive, with the seconds until then: the rest takes as long as the viewer does. A
fault after the first bytes is counted once more, under its own name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Sequence
from types import TracebackType
from typing import TypeVar

from oncegate.meters import Meters
from oncegate.stores.protocol import (
    ObjectInfo,
    ObjectStands,
    OpenDescriptor,
    OpenObject,
    OpenPresigned,
    Presigned,
    ReadsNow,
    Store,
    StoreFault,
    Upload,
)

_T = TypeVar("_T")


class MeteredStore:
    """A store, counted.

    Args:
        store: the store that does the work.
        meters: receives each call by the name of its method of a store, object or upload, with its outcome: the name of
            the exception, ``done`` or ``cancelled``.
    """

    def __init__(self, store: Store, meters: Meters) -> None:
        self._store = store
        self._meters = meters

    async def look(self, key: str) -> OpenObject | None:
        """Open an object without reading it; see ``Store.look``."""
        # as _counted does, which would be a coroutine more in each request
        started = time.perf_counter()
        try:
            found = await self._store.look(key)
        except BaseException as fault:
            self._meters.store_call("look", _outcome_of(fault), time.perf_counter() - started)
            raise
        self._meters.store_call("look", "done", time.perf_counter() - started)
        return None if found is None else _MeteredObject(found, self._meters)

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Upload:
        """Begin an upload; see ``Store.start_upload``."""
        upload = self._store.start_upload(
            key, content_type=content_type, size_bytes=size_bytes, replaces=replaces, kept=kept
        )
        return _MeteredUpload(await _counted(self._meters, "start_upload", upload), self._meters)

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        """List objects; see ``Store.list_objects``."""
        return await _counted(self._meters, "list_objects", self._store.list_objects(prefix, after, limit))

    async def may_remove(self) -> bool:
        """Return whether objects can be removed; see ``Store.may_remove``."""
        return await self._store.may_remove()

    async def remove(self, key: str, etag: str) -> bool:
        """Remove a version of an object; see ``Store.remove``."""
        return await _counted(self._meters, "remove", self._store.remove(key, etag))

    async def sweep(self, older_than_s: int) -> int:
        """Remove what killed uploads left; see ``Store.sweep``."""
        return await _counted(self._meters, "sweep", self._store.sweep(older_than_s))

    async def probe(self) -> None:
        """Check that the store can be used; see ``Store.probe``."""
        await self._store.probe()

    async def aclose(self) -> None:
        """Close the store."""
        await self._store.aclose()


class _MeteredObject(ReadsNow):
    """An object that was looked at, whose reads are counted."""

    __slots__ = ("_file", "_is_asked", "_meters", "_opened", "info")

    def __init__(self, opened: OpenObject, meters: Meters) -> None:
        self.info = opened.info
        self._opened = opened
        self._file: OpenDescriptor | None = None
        self._is_asked = False
        self._meters = meters

    def read_now(self, start: int, end: int) -> bytes | None:
        """Return a range that is at hand; see ``ReadsNow``."""
        if not isinstance(self._opened, ReadsNow):
            return None
        started = time.perf_counter()
        try:
            data = self._opened.read_now(start, end)
        except StoreFault as fault:
            self._meters.store_call("read", _outcome_of(fault), time.perf_counter() - started)
            raise
        if data is not None:
            self._meters.store_call("read", "done", time.perf_counter() - started)
        return data

    def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:
        """Yield a range in pieces; see ``OpenObject.read``."""
        return _MeteredRead(self._opened.read(start, end, chunk_bytes), self._meters)

    async def descriptor(self, start: int, end: int) -> int | None:
        """Return its descriptor; see ``OpenDescriptor``. Not counted as a read: the last bytes are read, and count."""
        if not self._is_asked:  # once: it takes as long as sending some of the file
            self._is_asked = True
            self._file = self._opened if isinstance(self._opened, OpenDescriptor) else None
        if self._file is None:
            return None
        try:
            return await self._file.descriptor(start, end)
        except StoreFault as fault:
            self._meters.store_broke("read", type(fault).__name__)
            raise

    async def presigned(self, lives_s: int) -> Presigned | None:
        """Sign a URL of it; see ``OpenPresigned``. Not counted: the store is not asked."""
        return await self._opened.presigned(lives_s) if isinstance(self._opened, OpenPresigned) else None

    async def aclose(self) -> None:
        """Close the object."""
        await self._opened.aclose()


class _MeteredRead(AsyncGenerator[bytes]):
    """The pieces of one read.

    It is a class, not an ``async def`` with a loop, which would cost a download of 1 KiB three times as much: closing a
    generator that runs inside another one has to walk through both.
    """

    __slots__ = ("_has_begun", "_meters", "_pieces")

    def __init__(self, pieces: AsyncGenerator[bytes], meters: Meters) -> None:
        self._pieces = pieces
        self._meters = meters
        self._has_begun = False

    async def __anext__(self) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            return await _counted(self._meters, "read", anext(self._pieces))
        try:
            return await anext(self._pieces)
        except StoreFault as fault:
            self._meters.store_broke("read", type(fault).__name__)
            raise

    async def asend(self, value: None, /) -> bytes:
        """Return the next piece; the value is not used."""
        return await anext(self)

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> bytes:
        """Refuse: nobody throws into a read."""
        raise NotImplementedError("nothing is thrown into a read")

    def aclose(self) -> Coroutine[object, object, None]:
        """Close the read of the real store."""
        return self._pieces.aclose()


class _MeteredUpload:
    """An upload whose writes and whose end are counted."""

    __slots__ = ("_meters", "_upload")

    def __init__(self, upload: Upload, meters: Meters) -> None:
        self._upload = upload
        self._meters = meters

    async def write(self, data: bytes) -> None:
        """Add bytes at the end; see ``Upload.write``."""
        await _counted(self._meters, "write", self._upload.write(data))

    async def commit(self) -> ObjectInfo:
        """Put the object in place; see ``Upload.commit``."""
        return await _counted(self._meters, "commit", self._upload.commit())

    async def abort(self) -> None:
        """Forget what was written."""
        await self._upload.abort()


async def _counted(meters: Meters, call: str, doing: Awaitable[_T]) -> _T:
    started, outcome = time.perf_counter(), "done"
    try:
        return await doing
    except BaseException as fault:
        outcome = _outcome_of(fault)
        raise
    finally:
        meters.store_call(call, outcome, time.perf_counter() - started)


def _outcome_of(fault: BaseException) -> str:
    if isinstance(fault, asyncio.CancelledError):
        return "cancelled"
    return type(fault).__name__ if isinstance(fault, StoreFault | ObjectStands) else "done"
