"""One connection: its requests one after another, its time limits, and how it ends. Knows no application and no link.

A request begins when the one before it has been answered and its application has returned; what comes meanwhile waits,
unparsed, and the connection is read no further once it is much. An answer that broke is cut; one that is whole, in front
of a request that was not read to its end, is given time to be read (RFC 9112 9.6).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from typing import cast

from oncegate.server.fates import Fate, Fates, Followed
from oncegate.server.files import FileWay
from oncegate.server.kernel import reset_on_close
from oncegate.server.limits import (
    BODY_AHEAD_BYTES,
    HEAD_WITHIN_S,
    HELD_MAX_BYTES,
    LINGER_MAX_BYTES,
    LINGER_S,
    UNSENT_MAX_BYTES,
)
from oncegate.server.peers import Door, Peer, address_of
from oncegate.server.pieces import BadRequest, End, Head
from oncegate.server.presence import LINE_BEGINS, acknowledges
from oncegate.server.reading import RequestReader
from oncegate.server.sending import plain_answer
from oncegate.server.turn import Answer, Turn, answer_by

_OF_FILES = frozenset((errno.EIO, errno.ESTALE))


class Wire(asyncio.Protocol):
    """One connection.

    Attributes:
        peer: address and port of the client; None on a socket that has none.
        local: the same of this end.
    """

    def __init__(self, door: Door[Wire], answer: Answer) -> None:
        self.peer: Peer = None
        self.local: Peer = None
        self._door = door
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader()
        self._turn: Turn | None = None
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._is_reading = True
        self._ends_at: float | None = None
        self._had_eof = False
        self._is_line_begun = False
        self._dropped_bytes = 0
        self._room: asyncio.Future[None] | None = None
        self._files: FileWay | None = None
        self._fates = Fates()
        self._turn_at: int = 0
        self._error: Exception | None = None
        self._lost: asyncio.Future[None] | None = None
        self._since = self._loop.time()
        self._written_bytes: int = 0
        self._taken_bytes: int = 0

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = taken = cast("asyncio.Transport", transport)
        taken.set_write_buffer_limits(high=UNSENT_MAX_BYTES)
        self.peer, self.local = address_of(taken, "peername"), address_of(taken, "sockname")
        if self._door.enter(self):
            self._fates.use(taken.get_extra_info("socket"))
            self._door.rest(self)
        elif self._door.is_draining:
            taken.abort()
        else:
            self.refuse(503)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._ends_at is not None:
            self._drop(len(data))
            return
        if self._turn is None:
            if not self._reader.has_begun:
                self._since = self._loop.time()
                self._fates.look()
            self._reader.add(data)
            self._begin()
            return
        self._reader.add(data)
        self.read_on()

    def eof_received(self) -> bool:
        """The client sends no more; it may still read."""
        self._had_eof = True
        turn = self._turn
        if self._ends_at is not None or turn is None:
            if self._fates.look():
                self._ends_at = self._ends_at or self._loop.time()
                return True
            # the transport closes, once what was written has been taken
            return False
        self.read_on()
        if not turn.is_received:
            turn.leave()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended, by whomever."""
        self._transport = None
        self._reader.close()
        # first the one who watches for it, then who writes: so that no more is counted as sent
        if self._turn is not None:
            self._turn.leave()
        self._make_room()
        if self._files is not None:
            self._files.close()
        self._fates.end(self._all_written_bytes, exc or self._error)
        if self._lost is not None:
            self._lost.set_result(None)
        self._door.leave(self)

    def pause_writing(self) -> None:
        """The client takes less than is written."""
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """The client has taken enough."""
        self._make_room()

    # what a turn calls

    @property
    def keeps_alive(self) -> bool:
        """Whether another request would be taken here."""
        return not self._door.is_draining

    def read_on(self) -> None:
        """Hand over what has come of the body, as far as it has room; read the connection as long as little waits."""
        turn = self._turn
        if turn is not None and not turn.is_received and not turn.is_gone:
            try:
                self._hand_over(turn)
            except BadRequest:
                turn.leave()
        self._read_if_little_waits()

    def await_body(self) -> None:
        """Note that the application begins to wait for the body."""
        self._since = self._loop.time()

    async def is_there(self) -> bool:
        """Whether the client still reads, where it sends no more; asked before an answer begins."""
        if self._transport is None or not self._had_eof or self._is_line_begun:
            return self._transport is not None
        self.write(LINE_BEGINS)
        self._is_line_begun = True
        if await acknowledges(self._transport.get_extra_info("socket")):
            return True
        self.cut()
        return False

    def follow(self, tell: Callable[[Fate], None]) -> Followed | None:
        """Tell what becomes of the answer that is under way; None where the client has gone.

        Args:
            tell: called once, when it is known.
        """
        if self._transport is None or self._turn is None:
            return None
        return self._fates.follow(self._turn.sending, self._turn_at, tell)

    @property
    def _all_written_bytes(self) -> int:
        return self._written_bytes + (0 if self._files is None else self._files.sent_bytes)

    def write(self, data: bytes) -> None:
        """Write, unless the client has gone."""
        if self._is_line_begun:
            self._is_line_begun, data = False, data.removeprefix(LINE_BEGINS)
        if self._transport is not None and not self._transport.is_closing():
            self._written_bytes += len(data)
            self._transport.write(data)

    async def send_file(self, descriptor: int, start: int, end: int) -> None:
        """Send a part of a file behind what was written, unless the client has gone.

        Raises:
            FileEnded: the file is shorter.
            OSError: the file cannot be read.
        """
        await self._until_all_is_taken()
        if self._transport is None or self._transport.is_closing():
            await self._until_known_if_gone()
            return
        if self._files is None:
            self._files = FileWay(self._fates.descriptor)
        try:
            await self._files.send(descriptor, start, end)
        except OSError as error:
            if error.errno in _OF_FILES:
                raise
            self._error = error
            self.cut()
        await self._until_known_if_gone()

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was written, or has gone."""
        while self._room is not None:
            await asyncio.shield(self._room)
        await self._until_known_if_gone()

    async def _until_known_if_gone(self) -> None:
        """Where the client has gone, wait until all know it: who went on would count bytes that nobody takes."""
        if self._transport is None:
            await asyncio.sleep(0)
        elif self._transport.is_closing():
            if self._lost is None:
                self._lost = self._loop.create_future()
            await asyncio.shield(self._lost)

    async def _until_all_is_taken(self) -> None:
        if self._transport is not None and self.unsent_bytes:
            self._transport.set_write_buffer_limits(high=0)
            await self.drain()
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=UNSENT_MAX_BYTES)

    # what the listener calls

    def refuse(self, status: int) -> None:
        """Answer without an application, and close."""
        extra = [(b"retry-after", b"5")] if status == 503 else []
        self.write(plain_answer(status, extra))
        self._close_gently()

    def close(self) -> None:
        """Close a connection on which no request is under way."""
        if self._fates.look():
            self._close_gently()
        elif self._transport is not None:
            self._ends_at = self._loop.time() + LINGER_S
            self._transport.close()

    def cut(self) -> None:
        """End the connection at once; what was not taken by the kernel is thrown away."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def unsent_bytes(self) -> int:
        """Bytes that were written, and that the kernel has not taken."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def check(self, now: float) -> None:
        """Hold the time limits; called every second.

        Args:
            now: of the loop.
        """
        is_overdue = self._ends_at is not None and now >= self._ends_at and not self._is_awaited(now)
        if is_overdue or self._is_stalled(now):
            self.cut()
        elif self._ends_at is None and self._turn is None and now - self._since >= HEAD_WITHIN_S:
            if self._reader.has_begun:
                self.refuse(408)
            else:
                self.close()

    # one request after another

    def _begin(self) -> None:
        """Begin the next request, if its head is here."""
        try:
            head = self._reader.next()
        except BadRequest as error:
            self.refuse(error.status)
            return
        if not isinstance(head, Head):
            self._read_if_little_waits()
            return
        self._door.work(self)
        self._turn = turn = Turn(head, self)
        self._turn_at = self._all_written_bytes
        if head.has_body:
            self._since = self._loop.time()
            self.read_on()
        self._task = self._loop.create_task(self._serve(turn))

    async def _serve(self, turn: Turn) -> None:
        try:
            await answer_by(self._answer, turn)
        finally:
            self._end(turn)

    def _end(self, turn: Turn) -> None:
        """Go on behind an answer, or close."""
        self._turn = self._task = None
        if self._transport is None:
            return
        sending = turn.sending
        if not sending.is_complete:
            if not sending.shows_its_end:
                reset_on_close(self._transport.get_extra_info("socket"))
            self.cut()
            return
        self._fates.complete(sending, self._all_written_bytes)
        if not sending.keeps_alive or self._transport.is_closing():
            if turn.is_received and not self._had_eof:
                self.close()
            else:
                self._close_gently()
        elif self._door.is_draining:
            self.close()
        else:
            self._since = self._loop.time()
            self._door.rest(self)
            self._begin()
            if self._had_eof and self._turn is None:
                self.close()

    def _hand_over(self, turn: Turn) -> None:
        while turn.held_bytes < BODY_AHEAD_BYTES:
            event = self._reader.next()
            if isinstance(event, bytes):
                self._since = self._loop.time()
                turn.add(event)
            elif isinstance(event, End):
                turn.end_body()
                return
            else:
                return

    def _read_if_little_waits(self) -> None:
        should_read = self._reader.held_bytes < HELD_MAX_BYTES
        transport = self._transport
        if should_read == self._is_reading or self._had_eof or transport is None or transport.is_closing():
            return
        self._is_reading = should_read
        if should_read:
            transport.resume_reading()
        else:
            transport.pause_reading()

    # the end

    def _close_gently(self) -> None:
        """Send what was written and no more, and read on for a moment, so that the client sees it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._ends_at = self._loop.time() + LINGER_S
        self._reader.close()
        self._read_if_little_waits()
        if self._had_eof and not self._fates.look():
            transport.close()
        elif transport.can_write_eof():
            with contextlib.suppress(OSError):
                transport.write_eof()

    def _is_awaited(self, now: float) -> bool:
        """Whether a connection that is to end is kept: its client takes the end of an answer, or acknowledges it yet."""
        if self.unsent_bytes:
            return True
        return now - self._since < self._door.stall_s and self._fates.look()

    def _drop(self, size_bytes: int) -> None:
        self._dropped_bytes += size_bytes
        if self._dropped_bytes > LINGER_MAX_BYTES:
            self.cut()

    def _is_stalled(self, now: float) -> bool:
        """Whether the client takes nothing of an answer, or sends nothing of a body, for too long."""
        taken = self._all_written_bytes - self.unsent_bytes
        is_waiting = self.unsent_bytes > 0 or (self._files is not None and self._files.is_waiting)
        turn = self._turn
        if taken != self._taken_bytes:
            self._taken_bytes, self._since = taken, now
        is_waiting = is_waiting or (turn is not None and turn.awaits_body)
        return is_waiting and now - self._since >= self._door.stall_s

    def _make_room(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)
