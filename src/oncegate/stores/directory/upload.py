"""One upload to the ``file:`` store: the event loop collects bytes, threads do everything that waits for the disk.

The steps of one upload run one after another, even if a caller was cancelled: a thread cannot be stopped, so it
finishes its step while the next one waits. Therefore no thread writes to a descriptor that was closed and reused for
another file.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from oncegate.links.media_types import media_type_of
from oncegate.stores.directory import walk
from oncegate.stores.directory.placing import FileTarget, open_nearest_folder, put_in_place
from oncegate.stores.directory.staging import StagedFile
from oncegate.stores.protocol import NotKept, ObjectInfo, StoreFault
from oncegate.stores.unattended import result_of

FLUSH_BYTES = 1 << 18
"""Bytes collected before a thread writes them: starting a thread's work costs as much as writing 64 KiB."""

_log = logging.getLogger("oncegate")
_Result = TypeVar("_Result")


def start(root_fd: int, target: FileTarget, pool: ThreadPoolExecutor) -> DirectoryUpload:
    """Open a staged file for a target and reserve its room; blocks.

    Raises:
        StoreFault: or its kinds, as ``DirectoryStore.start_upload`` says.
    """
    try:
        folder_fd, stood = open_nearest_folder(root_fd, target)
        try:
            staged = StagedFile(root_fd, folder_fd)
        finally:
            os.close(folder_fd)
        try:
            staged.keep(target.content_type, dict(target.kept), guessed=media_type_of(target.key))
            if target.size_bytes:
                staged.reserve(target.size_bytes)
        except (OSError, NotKept):
            staged.discard()
            raise
    except OSError as error:
        raise walk.fault_of(error) from error
    return DirectoryUpload(root_fd, target, staged, pool, stood=stood)


class DirectoryUpload:
    """One upload; see ``Upload``. After a write that failed or was cancelled it can only be aborted."""

    def __init__(
        self, root_fd: int, target: FileTarget, staged: StagedFile, pool: ThreadPoolExecutor, *, stood: int
    ) -> None:
        self._root_fd = root_fd
        self._target = target
        self._staged = staged
        self._pool = pool
        self._stood = stood
        self._turn = threading.Lock()
        self._held = bytearray()
        self._is_broken = False
        self._is_ended = False

    async def write(self, data: bytes) -> None:
        """Add bytes at the end; see ``Upload.write``."""
        self._held += data
        if len(self._held) >= FLUSH_BYTES:
            held, self._held = self._held, bytearray()
            self._must_be_whole()
            self._is_broken = True
            await self._in_thread(lambda: self._append(held))
            self._is_broken = False

    async def commit(self) -> ObjectInfo:
        """Put the object in place; see ``Upload.commit``. Afterwards nothing is staged, even if it failed.

        Raises:
            KeyRefused: meanwhile a folder, a link or a special file got this name or one above it.
        """
        self._must_be_whole()
        return await self._in_thread(self._commit)

    async def abort(self) -> None:
        """Forget what was written; see ``Upload.abort``."""
        if not self._is_ended:
            await self._in_thread(self._let_go)

    def abandon(self) -> None:
        """Abort the upload without waiting for it."""
        try:
            self._pool.submit(self._let_go)
        except RuntimeError:  # the store is closing and takes no more work
            self._let_go()

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        return await result_of(asyncio.get_running_loop().run_in_executor(self._pool, work))

    def _must_be_whole(self) -> None:
        if self._is_broken or self._is_ended:
            raise StoreFault("a write of this upload failed or was cancelled, or it was ended before")

    def _append(self, data: bytearray) -> None:
        with self._turn:
            if self._is_ended:
                return  # the upload was aborted before this write had its turn
            try:
                self._staged.append(data)
            except OSError as error:
                raise walk.fault_of(error) from error

    def _commit(self) -> ObjectInfo:
        with self._turn:
            if self._is_ended:
                raise StoreFault("the upload was aborted before it was committed")
            try:
                return self._commit_staged()
            except OSError as error:
                raise walk.fault_of(error) from error
            finally:
                self._end()

    def _commit_staged(self) -> ObjectInfo:
        target, staged = self._target, self._staged
        staged.append(self._held)
        if target.size_bytes not in {None, staged.written_bytes}:
            raise StoreFault(f"{target.size_bytes} bytes were announced, {staged.written_bytes} came")
        staged.sync()  # before the file gets its name, or after a loss of power the name could belong to half an object
        put_in_place(self._root_fd, target, staged, stood=self._stood)
        info = walk.info_of(target.key, staged.status())
        kept = tuple(pair for pair in target.kept if pair[0] != "content-type")
        return info._replace(content_type=target.content_type, kept=kept)

    def _let_go(self) -> None:
        with self._turn:
            if not self._is_ended:
                self._end()

    def _end(self) -> None:
        self._is_ended = True
        self._held = bytearray()
        try:
            self._staged.discard()
        except OSError as error:
            # This does not change the outcome of the upload; the file will be swept.
            _log.warning("a staged upload could not be removed and is left to be swept: %s", error)
