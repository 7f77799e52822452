"""Files to a client by sendfile(2): no byte of them enters Python, and a client who does not read costs no memory here.

A transport of uvloop lets nobody else wait for its descriptor, so this uses a duplicate of it (``kernel.Duplicate``).
"""

from __future__ import annotations

import asyncio
import errno
import os

from oncegate.server.crowd import Crowd

TURN_BYTES = 2 * 1_024 * 1_024
"""After so many bytes without a wait the other connections have their turn."""
COPIED_BYTES = 64 * 1_024
"""What is read at once where the file system knows no sendfile."""
_CROWD = Crowd()
"""Of this process, whose memory it is."""
_NO_SENDFILE = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))


class FileEnded(Exception):
    """A file is shorter than what was to be sent of it."""


class FileWay:
    """The way of files to one client.

    Attributes:
        sent_bytes: that the kernel has taken.
    """

    __slots__ = ("_in_turn_bytes", "_out", "_room", "sent_bytes")

    def __init__(self, descriptor: int) -> None:
        """Make a way.

        Args:
            descriptor: a duplicate of the connection's, non-blocking, and open until ``close``.
        """
        self.sent_bytes: int = 0
        self._out = descriptor
        self._in_turn_bytes = 0
        self._room: asyncio.Future[None] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the client takes less than is sent."""
        return self._room is not None

    async def send(self, descriptor: int, start: int, end: int) -> None:
        """Send bytes ``start`` (inclusive) to ``end`` (exclusive) of a file; returns early where the way was closed.

        Raises:
            OSError: the client has gone, or the file cannot be read.
            FileEnded: the file is shorter.
        """
        if self._out < 0:
            return
        with _CROWD.one_more(self._out, end - start):
            await self._send_all(descriptor, start, end)

    async def _send_all(self, descriptor: int, start: int, end: int) -> None:
        at = start
        while at < end and self._out >= 0:
            try:
                taken = self._send_some(descriptor, at, end - at)
            except BlockingIOError:
                await self._until_room()
                continue
            if not taken:
                raise FileEnded("a file ended before what was to be sent of it")
            at += taken
            self.sent_bytes += taken
            self._in_turn_bytes += taken
            if self._in_turn_bytes >= TURN_BYTES:
                self._in_turn_bytes = 0
                await asyncio.sleep(0)

    def _send_some(self, descriptor: int, at: int, size: int) -> int:
        try:
            return os.sendfile(self._out, descriptor, at, size)
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise
            data = os.pread(descriptor, min(size, COPIED_BYTES), at)
            return os.write(self._out, data) if data else 0

    def close(self) -> None:
        """Use the descriptor no more; who sends returns."""
        out, self._out = self._out, -1
        if out < 0:
            return
        if self._room is not None:
            asyncio.get_running_loop().remove_writer(out)
            _wake(self._room)

    async def _until_room(self) -> None:
        loop = asyncio.get_running_loop()
        self._room = room = loop.create_future()
        self._in_turn_bytes = 0
        loop.add_writer(self._out, _wake, room)
        try:
            await room
        finally:
            self._room = None
            if self._out >= 0:
                loop.remove_writer(self._out)


def _wake(room: asyncio.Future[None]) -> None:
    if not room.done():
        room.set_result(None)
