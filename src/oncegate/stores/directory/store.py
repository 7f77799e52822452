"""The ``file:`` store: its objects are the regular files beneath one folder.

It follows no symbolic link, opens nothing but regular files, and never waits for the disk in the event loop while it
reads: bytes in the page cache are read at once, others by a thread. An object that was looked at stays open, so that a
read gives that very file even if another has taken its name since. ``upload`` has uploads, ``listing`` pages of names,
``walk`` the way to a file and the meaning of its errors.

Source: our choice; open(2), preadv2(2). A cached 256 KiB chunk costs 17 times more CPU by a thread than in the loop.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pathlib
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from oncegate.links.urls import object_key_problem
from oncegate.stores.directory import fitness, listing, removal, staging, upload, walk
from oncegate.stores.directory.placing import FileTarget
from oncegate.stores.protocol import KeyRefused, ObjectChanged, ObjectInfo, OpenObject, ReadsNow, StoreUnfit, Upload
from oncegate.stores.unattended import result_of

THREADS_MAX = 16
"""For everything that waits for the disk: reads of cold files, uploads, lists. More threads would only queue there."""

COLD_READ_BYTES_MAX = 1 << 20
COLD_READ_CHUNKS_MAX = 4
"""A thread reads ahead by a few chunks, so that 1,000 stalled readers of cold files hold 64 MiB, not 1 GiB."""

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_NOWAIT_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})

_Result = TypeVar("_Result")


class DirectoryStore:
    """Objects in a folder.

    A store belongs to one event loop.

    Args:
        root: the folder. The path to it may have symbolic links; nothing beneath it is reached through one.

    Raises:
        StoreUnfit: root does not exist, is no folder, or may not be read.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self._path = root
        try:
            self._root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise StoreUnfit(
                f"{root} cannot be opened as a folder ({error.strerror})", remedy="make it first", where="store.url"
            ) from error
        self._is_closed = False
        self._pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="oncegate-store")
        # One buffer for all transfers: no await comes between filling and copying it, and it stays in the CPU's cache.
        self._scratch = memoryview(bytearray(1 << 18))

    async def look(self, key: str) -> OpenObject | None:
        """Open an object without reading it; see ``Store.look``."""
        segments = walk.segments_of(key)
        if segments is None:
            return None
        try:
            fd = walk.open_object(self._root_fd, segments)
        except OSError as error:
            if error.errno in walk.NOT_THERE:
                return None
            raise walk.fault_of(error) from error
        status = os.fstat(fd)
        if not walk.is_object(status):
            os.close(fd)
            return None
        return OpenFile(
            fd, walk.described(walk.info_of(key, status), fd), status.st_mtime_ns, self._scratch, self._pool
        )

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Upload:
        """Begin an upload; see ``Store.start_upload``. A type that the name does not tell is stored as ``kept`` is.

        Raises:
            NotKept: the file system has no extended attributes.
            KeyRefused: the name is reserved or too long, belongs to a folder, or leads through a file or a link.
            StoreFull: ``size_bytes`` do not fit.
            StoreFault: the store failed.
        """
        segments = walk.segments_of(key)
        if segments is None or object_key_problem(key):
            raise KeyRefused("the store's folder has no place for this key")
        target = FileTarget(
            key=key,
            segments=segments,
            size_bytes=size_bytes,
            replaces=replaces,
            content_type=content_type,
            kept=kept,
        )
        # If the viewer leaves now, the thread goes on and opens a descriptor that somebody has to close.
        started = asyncio.ensure_future(self._in_thread(lambda: upload.start(self._root_fd, target, self._pool)))
        try:
            return await result_of(started)
        except asyncio.CancelledError:
            started.add_done_callback(_abandon)
            raise

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        """List objects in the order of their keys as UTF-8 bytes; see ``Store.list_objects``."""
        return await self._in_thread(lambda: listing.page(self._root_fd, prefix=prefix, after=after, limit=limit))

    async def may_remove(self) -> bool:
        """Return whether the folder may be written to; see ``Store.may_remove``."""
        return await self._in_thread(lambda: removal.may_write(self._root_fd))

    async def remove(self, key: str, etag: str) -> bool:
        """Remove a version of an object, and the folders that are empty without it; see ``Store.remove``."""
        segments = walk.segments_of(key)
        if segments is None:
            return False
        return await result_of(
            asyncio.ensure_future(self._in_thread(lambda: removal.remove(self._root_fd, segments, etag)))
        )

    async def sweep(self, older_than_s: int) -> int:
        """Remove leftovers of killed uploads; see ``Store.sweep``."""
        return await self._in_thread(lambda: staging.sweep(self._root_fd, older_than_s))

    async def probe(self) -> None:
        """Try in the staging folder every step of an upload; see ``Store.probe``."""
        await self._in_thread(lambda: fitness.check(self._root_fd, self._path))

    async def aclose(self) -> None:
        """Wait for the threads and close the folder; uploads are to be ended before."""
        if self._is_closed:
            return
        self._is_closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        os.close(self._root_fd)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _abandon(started: asyncio.Future[upload.DirectoryUpload]) -> None:
    if not started.cancelled() and started.exception() is None:
        started.result().abandon()


class OpenFile(ReadsNow):
    """A regular file that was looked at. It stays open, so a change of its name does not matter. One read at a time."""

    __slots__ = ("_changed_ns", "_fd", "_info", "_is_nowait", "_pool", "_reading", "_scratch")

    def __init__(
        self, fd: int, info: ObjectInfo, changed_ns: int, scratch: memoryview, pool: ThreadPoolExecutor
    ) -> None:
        self._fd = fd
        self._info = info
        self._changed_ns = changed_ns
        self._scratch = scratch
        self._pool = pool
        self._is_nowait = _NOWAIT != 0
        self._reading: Future[list[bytes]] | None = None

    @property
    def info(self) -> ObjectInfo:
        """What was seen at the look."""
        return self._info

    def read_now(self, start: int, end: int) -> bytes | None:
        """Return a range that is in the page cache; see ``ReadsNow``."""
        data = self._read_cached(start, end - start) if self._is_nowait else None
        if data is not None:
            self._must_be_unchanged()
        return data

    async def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes, None]:
        """Yield a range in pieces; see ``OpenObject.read``."""
        at = start
        while at < end:
            cached = self._read_cached(at, min(chunk_bytes, end - at)) if self._is_nowait else None
            pieces = [cached] if cached is not None else await self._read_cold(at, end, chunk_bytes)
            for piece in pieces:
                at += len(piece)
                if at == end:  # before the last bytes: once they are sent, the viewer holds a whole object
                    self._must_be_unchanged()
                yield piece

    async def descriptor(self, start: int, end: int) -> int | None:
        """Return the file's descriptor once these bytes are in memory; see ``OpenDescriptor.descriptor``."""
        # one byte shows it: what lies before was read with it, and where it was not, sending waits for the disk
        if self._is_nowait and self._read_cached(end - 1, 1) is None:
            await self._read_cold(start, end, end - start)
        return self._open_fd() if self._is_nowait else None

    async def aclose(self) -> None:
        """Close the file; a thread that still reads does it when it is done."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if self._reading is None:
            os.close(fd)
        else:
            # The thread still reads. If we closed now, the descriptor's number could name another file by then. The
            # callback runs at once if the thread is done.
            self._reading.add_done_callback(lambda _: os.close(fd))

    def _read_cached(self, at: int, size_bytes: int) -> bytes | None:
        into = self._scratch[:size_bytes] if size_bytes <= len(self._scratch) else memoryview(bytearray(size_bytes))
        try:
            read_bytes = os.preadv(self._open_fd(), [into], at, _NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _NOWAIT_UNKNOWN:
                raise self._fault_of(error) from error
            self._is_nowait = False
            return None
        return bytes(into) if read_bytes == size_bytes else None

    async def _read_cold(self, at: int, end: int, chunk_bytes: int) -> list[bytes]:
        ahead_bytes = max(chunk_bytes, min(chunk_bytes * COLD_READ_CHUNKS_MAX, COLD_READ_BYTES_MAX))
        self._reading = self._pool.submit(_read_chunks, self._open_fd(), at, min(end, at + ahead_bytes), chunk_bytes)
        try:
            return await asyncio.wrap_future(self._reading)
        except OSError as error:
            raise self._fault_of(error) from error

    def _must_be_unchanged(self) -> None:
        """Raise where the file was written to since the look.

        The change time is no sign: it also moves when another object takes this one's name, which is no harm here.
        """
        try:
            status = os.fstat(self._open_fd())
        except OSError as error:
            raise self._fault_of(error) from error
        if status.st_size != self._info.size_bytes or status.st_mtime_ns != self._changed_ns:
            raise ObjectChanged("the file was written to while it was read")

    def _open_fd(self) -> int:
        if self._fd < 0:
            raise ValueError("the object was closed")
        return self._fd

    def _fault_of(self, error: OSError) -> Exception:
        # NFS reports ESTALE for an open file that was removed on the server.
        return ObjectChanged(str(error)) if error.errno == errno.ESTALE else walk.fault_of(error)


def _read_chunks(fd: int, start: int, end: int, chunk_bytes: int) -> list[bytes]:
    return [_read_whole(fd, at, min(chunk_bytes, end - at)) for at in range(start, end, chunk_bytes)]


def _read_whole(fd: int, at: int, size_bytes: int) -> bytes:
    piece = os.pread(fd, size_bytes, at)
    while len(piece) < size_bytes:  # a signal or a network file system may give less than was asked for
        more = os.pread(fd, size_bytes - len(piece), at + len(piece))
        if not more:
            raise ObjectChanged("the file was truncated while it was read")
        piece += more
    return piece
