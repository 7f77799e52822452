"""One request under way, between the application, which reads and writes, and the connection, which feeds it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from oncegate.server.fates import Fate, Followed
from oncegate.server.peers import Peer
from oncegate.server.pieces import Head
from oncegate.server.sending import Headers, Sending

_log = logging.getLogger("oncegate.server")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(Protocol):
    """The connection, as a turn needs it.

    Attributes:
        peer: address and port of the client; None on a socket that has none.
        local: the same of this end.
    """

    peer: Peer
    local: Peer

    @property
    def keeps_alive(self) -> bool:
        """Whether the server would take another request here."""
        ...

    async def is_there(self) -> bool:
        """Whether the client still reads; asked before an answer begins."""
        ...

    def follow(self, tell: Callable[[Fate], None]) -> Followed | None:
        """Tell what becomes of the answer that is under way; None where the client has gone."""
        ...

    def await_body(self) -> None:
        """Note that the application begins to wait for the body."""
        ...

    def read_on(self) -> None:
        """Hand over more of the body, where it is here already or may be received."""
        ...

    def write(self, data: bytes) -> None:
        """Write, unless the client has gone."""
        ...

    async def send_file(self, descriptor: int, start: int, end: int) -> None:
        """Send a part of a file behind what was written, unless the client has gone."""
        ...

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was written, or has gone."""
        ...


class Turn:
    """One request and its answer.

    Attributes:
        head: of the request.
        sending: the answer.
        held_bytes: of the body, received and not yet returned by ``read``.
        is_received: whether all of the body has been received.
        is_gone: whether the client has gone, or its body broke off (it may then still read).
        awaits_body: whether the application waits for more of the body now.
    """

    __slots__ = (
        "_connection",
        "_expects",
        "_pieces",
        "_waiting",
        "awaits_body",
        "head",
        "held_bytes",
        "is_gone",
        "is_received",
        "sending",
    )

    def __init__(self, head: Head, connection: Connection) -> None:
        self.head: Head = head
        self.sending: Sending = Sending(head.method, head.version)
        self.held_bytes: int = 0
        self.is_received: bool = not head.has_body
        self.is_gone: bool = False
        self.awaits_body: bool = False
        self._connection = connection
        self._pieces: deque[bytes] = deque()
        self._expects = head.expects_continue
        self._waiting: list[asyncio.Future[None]] = []

    # the application's side

    async def read(self) -> bytes | None:
        """Return what has come of the body since the last call, at least a byte; empty at its end.

        Returns:
            None if the client left before the end. Behind anything else, ``has_more`` says whether there is more.
        """
        while not (self._pieces or self.is_received or self.is_gone):
            self._ask_for_body()
            try:
                await self._changed()
            finally:
                self.awaits_body = False
        if self._pieces:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self.held_bytes = 0
            self._connection.read_on()
            return data
        return b"" if self.is_received else None

    @property
    def has_more(self) -> bool:
        """Whether some of the body is still to be returned by ``read``."""
        return bool(self._pieces) or not self.is_received

    @property
    def sends_files(self) -> bool:
        """Whether ``write_file`` may be used; always."""
        return True

    @property
    def peer(self) -> Peer:
        """Address and port of the client; None on a socket that has none."""
        return self._connection.peer

    @property
    def local(self) -> Peer:
        """The same of this end."""
        return self._connection.local

    def has_gone(self) -> bool:
        """Whether the client is known to have gone."""
        return self.is_gone

    async def is_there(self) -> bool:
        """Whether the client still reads, where it sends no more; asked for before an answer begins."""
        return await self._connection.is_there()

    def follow(self, tell: Callable[[Fate], None]) -> Followed | None:
        """Tell once what becomes of the answer, asked for before it begins; None where the client has gone."""
        return self._connection.follow(tell)

    async def until_over(self) -> None:
        """Wait until the client has gone or the answer is complete."""
        while not (self.is_gone or self.sending.is_complete):
            await self._changed()

    async def write(self, data: bytes, *, is_last: bool) -> None:
        """Write a piece of the answer's body; unless it is the last, wait until the client takes more.

        Nothing is written for a client who has gone.

        Raises:
            AnswerBroken: it does not fit to the answer that was begun.
        """
        self._connection.write(self.sending.body(data, is_last=is_last, keeps_alive=self._keeps_alive))
        if is_last:
            self._wake()
        else:
            await self._connection.drain()

    async def write_file(self, descriptor: int, span: tuple[int, int], *, is_last: bool) -> None:
        """Send a part of a file as a piece of the answer's body; nothing is sent to a client who has gone.

        Args:
            descriptor: of the file, which stays open meanwhile.
            span: first byte and end (exclusive).
            is_last: whether the body ends with it.

        Raises:
            AnswerBroken: it does not fit to the answer that was begun, or the answer has no announced length.
            FileEnded: the file is shorter.
        """
        start, end = span
        head, size = self.sending.file(end - start, is_last=is_last, keeps_alive=self._keeps_alive)
        self._connection.write(head)
        await self._connection.send_file(descriptor, start, start + size)
        if is_last:
            self._wake()

    def start(self, status: int, headers: Headers) -> None:
        """Begin the answer.

        Raises:
            AnswerBroken: it was begun before.
        """
        self._expects = False  # RFC 9110 10.1.1: no 100 (Continue) behind a final answer
        self.sending.start(status, headers)

    async def fail(self) -> None:
        """Answer 500 in place of an answer of which nothing was written."""
        self.sending = Sending(self.head.method, self.head.version)
        self.start(500, [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")])
        await self.write(b"500 Internal Server Error\n", is_last=True)

    # the connection's side

    def add(self, data: bytes) -> None:
        """Add a piece that came of the body."""
        self._pieces.append(data)
        self.held_bytes += len(data)
        self._expects = False  # who sends without waiting need not be asked
        self._wake()

    def end_body(self) -> None:
        """Note the end of the body."""
        self.is_received = True
        self._wake()

    def leave(self) -> None:
        """Note that the client has gone, or that its body broke off."""
        self.is_gone = True
        self._wake()

    @property
    def _keeps_alive(self) -> bool:
        # the rest of a body that was not received would be read as the next request
        return self._connection.keeps_alive and self.head.keeps_alive and self.is_received

    def _ask_for_body(self) -> None:
        self.awaits_body = True
        self._connection.await_body()
        if self._expects:
            self._expects = False
            self._connection.write(CONTINUE)

    async def _changed(self) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


Answer = Callable[[Turn], Awaitable[None]]
"""Answers one request."""


async def answer_by(answer: Answer, turn: Turn) -> None:
    """Answer one request; where that fails before an answer has begun, answer 500.

    After that the answer stays incomplete, and the connection is cut. What was raised is logged by its type alone: its text
    may hold a URL.
    """
    try:
        await answer(turn)
        fault = "" if turn.sending.is_complete or turn.is_gone else "it returned before its answer was complete"
    except Exception as error:  # noqa: BLE001  the outermost guard of a connection
        fault = type(error).__name__
    if fault and not turn.sending.is_begun:
        _log.error("an application failed: %s", fault)
        await turn.fail()
