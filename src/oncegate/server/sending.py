"""An answer as bytes: its head, how its body is framed, and whether it is as long as it said. No socket.

The one place that writes heads: whatever an application hands over, no header becomes two.
"""

from __future__ import annotations

import http
import time
from collections.abc import Iterable
from email.utils import formatdate

Headers = Iterable[tuple[bytes, bytes]]

_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode()) for status in http.HTTPStatus
}


class AnswerBroken(Exception):
    """The application's answer cannot be written, or is not what it announced."""


class _DateLine:
    """The Date header, written once a second for all connections."""

    def __init__(self) -> None:
        self._at_s = 0
        self._line = b""

    def now(self) -> bytes:
        now_s = int(time.time())
        if now_s != self._at_s:
            self._at_s, self._line = now_s, b"date: %b\r\n" % formatdate(now_s, usegmt=True).encode()
        return self._line


_DATE = _DateLine()


def head_bytes(status: int, headers: Headers) -> bytes:
    """Write a head, with the date.

    Args:
        status: 200 to 599.
        headers: in the order in which they are sent.

    Raises:
        AnswerBroken: a header holds what would end its line.
    """
    lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, _DATE.now()]
    lines += [b"%b: %b\r\n" % header for header in headers]
    lines.append(b"\r\n")
    head = b"".join(lines)
    if not head.count(b"\n") == head.count(b"\r") == len(lines) or b"\0" in head:
        raise AnswerBroken("a header of the answer holds a line break")
    return head


def plain_answer(status: int, extra: Headers = ()) -> bytes:
    """Write an answer of the server itself; the connection closes behind it."""
    body = b"%d %b\n" % (status, http.HTTPStatus(status).phrase.encode())
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
        *extra,
    ]
    return head_bytes(status, headers) + body


class Sending:
    """One answer.

    Attributes:
        keeps_alive: whether the connection can take another request behind this answer; final once ``is_begun``.
        is_begun: whether the head has been written.
        is_complete: whether all of the answer has been written.
        shows_its_end: whether a client can tell a whole answer from one that was cut.
        head_bytes: how long the head is; 0 until it is written.
    """

    __slots__ = ("_answer", "_is_bare", "_is_chunked", "_left_bytes", "_method", "_version", "head_bytes", "is_begun",
                 "is_complete", "keeps_alive", "shows_its_end")  # fmt: skip

    def __init__(self, method: str, version: str) -> None:
        self._method = method
        self._version = version
        self._answer: tuple[int, Headers] | None = None
        self._is_bare = self._is_chunked = False
        self._left_bytes = 0
        self.keeps_alive: bool = False
        self.is_begun: bool = False
        self.is_complete: bool = False
        self.shows_its_end: bool = True
        self.head_bytes: int = 0

    def start(self, status: int, headers: Headers) -> None:
        """Take status and headers; they are written with the first of the body.

        Raises:
            AnswerBroken: a second answer to one request.
        """
        if self._answer is not None:
            raise AnswerBroken("a second answer to one request")
        self._answer = (status, headers)

    def body(self, data: bytes, *, is_last: bool, keeps_alive: bool) -> bytes:
        """Write a piece of the body, and in front of the first one the head.

        Args:
            data: maybe nothing.
            is_last: whether the body ends with it.
            keeps_alive: whether client and server would go on; counts for the first piece.

        Returns:
            What goes to the connection.

        Raises:
            AnswerBroken: it is no piece of this answer, or the body is longer or shorter than it was announced.
        """
        if self.is_complete:
            raise AnswerBroken("more of an answer that was complete")
        head = b"" if self.is_begun else self._head(len(data) if is_last else None, keeps_alive=keeps_alive)
        if self._is_bare:
            data = b""
        elif self._is_chunked:
            data = (b"%x\r\n%b\r\n" % (len(data), data) if data else b"") + (b"0\r\n\r\n" if is_last else b"")
        elif self.shows_its_end:
            self._count(len(data), is_last=is_last)
        self.is_begun, self.is_complete = True, is_last
        return head + data if head else data

    def file(self, size_bytes: int, *, is_last: bool, keeps_alive: bool) -> tuple[bytes, int]:
        """Note a piece of the body that goes to the connection by itself.

        Args:
            size_bytes: its length.
            is_last: whether the body ends with it.
            keeps_alive: as in ``body``.

        Returns:
            What goes in front of it, and how much of it is to be sent.

        Raises:
            AnswerBroken: as in ``body``; or the answer has no announced length.
        """
        if self.is_complete:
            raise AnswerBroken("more of an answer that was complete")
        head = b"" if self.is_begun else self._head(None, keeps_alive=keeps_alive)
        if not self._is_bare:
            if self._is_chunked or not self.shows_its_end:
                raise AnswerBroken("a file in an answer without a length")
            self._count(size_bytes, is_last=is_last)
        self.is_begun, self.is_complete = True, is_last
        return head, 0 if self._is_bare else size_bytes

    def _count(self, size_bytes: int, *, is_last: bool) -> None:
        """Hold the body to its announced length."""
        self._left_bytes -= size_bytes
        if self._left_bytes < 0 or (is_last and self._left_bytes):
            raise AnswerBroken("the body is not as long as announced")

    def _head(self, whole_bytes: int | None, *, keeps_alive: bool) -> bytes:
        """Write the head, and decide how the body is framed (RFC 9112 6.3)."""
        if self._answer is None:
            raise AnswerBroken("a body without a status")
        status, headers = self._answer
        self._is_bare = self._method == "HEAD" or status in (204, 304)
        lines: list[tuple[bytes, bytes]] = []
        length = whole_bytes
        is_announced = False
        for name, value in headers:
            if name == b"content-length":
                length, is_announced = int(value), True
            elif name == b"connection":
                keeps_alive = keeps_alive and b"close" not in value.lower()
                continue
            elif name in (b"transfer-encoding", b"date"):
                continue
            lines.append((name, value))
        if length is not None:
            self._left_bytes = length
            if not is_announced and not self._is_bare:
                lines.append((b"content-length", b"%d" % length))
        elif self._version == "1.1" and not self._is_bare:
            self._is_chunked = True
            lines.append((b"transfer-encoding", b"chunked"))
        elif not self._is_bare:
            # HTTP/1.0 without a length: the end of the connection is that of the body
            self.shows_its_end = keeps_alive = False
        if not keeps_alive:
            lines.append((b"connection", b"close"))
        elif self._version == "1.0":
            lines.append((b"connection", b"keep-alive"))
        head = head_bytes(status, lines)
        self.keeps_alive, self.head_bytes = keeps_alive, len(head)
        return head
