"""An HTTP/1.1 client over a bare socket: it sends exactly the bytes that it is given, and counts those that come.

Client libraries normalise URLs, repeat requests, and hide whether a connection ended cleanly; a test of links has to see
all of that. Answers are framed as RFC 9112 says. An answer that was cut off has ``is_whole = False``; it is no error.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oncegate.links.urls import parse_url

TIMEOUT_S = 120.0
HEAD_MAX_BYTES = 64 * 1024
_RECEIVE_BYTES = 256 * 1024

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it was received.

    Attributes:
        status: 0 where the connection ended before an answer began.
        headers: names in lower case and values, in the order in which they came.
        body: the bytes received, without the framing of chunks; empty where they were only counted.
        body_bytes: how many bytes of the body were received.
        is_whole: whether the answer ended where its framing says.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    body_bytes: int = 0
    is_whole: bool = False

    def header(self, name: str) -> str | None:
        """Return the value of a header, several values joined by a comma; None where it is absent."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    @property
    def text(self) -> str:
        """The body, decoded as UTF-8."""
        return self.body.decode()

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that the answer sets, without their attributes."""
        pairs = (value.partition(";")[0].partition("=") for key, value in self.headers if key == "set-cookie")
        return {name: value for name, _, value in pairs}

    @property
    def cookie(self) -> str:
        """The value of a Cookie header that sends back the cookies set here."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


class RawConnection:
    """One connection, closed at the end of a ``with`` block.

    Args:
        url: its host and port are connected to; its path is not used.
        source: the client's own address: 127.0.0.2 is another viewer than 127.0.0.1.
        receive_buffer_bytes: size of the socket's receive buffer; small for a viewer who reads slowly.
        timeout_s: limit for each single call of the socket.
    """

    def __init__(
        self,
        url: str,
        *,
        source: str | None = None,
        receive_buffer_bytes: int | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        host, _, port = parse_url(url).host.rpartition(":")
        self.socket: socket.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self.socket.settimeout(timeout_s)
            if receive_buffer_bytes is not None:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            if source is not None:
                self.socket.bind((source, 0))
            self.socket.connect((host, int(port)))
        except BaseException:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def reset(self) -> None:
        """Close the connection as the system does for a program that is killed with bytes unread."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes unchanged."""
        self.socket.sendall(data)

    def send_request(
        self, method: str, target: str, *, host: str, headers: Headers = (), body: bytes | None = None
    ) -> None:
        """Send a request; Content-Length is added where there is a body and no header that frames it."""
        self.send(request_bytes(method, target, host=host, headers=headers, body=body) + (body or b""))

    def read_head(self) -> RawAnswer:
        """Read the head of an answer and leave its body; a 1xx answer is returned like any other."""
        head = self._read_until(b"\r\n\r\n")
        if head is None:
            return RawAnswer(0)
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return RawAnswer(int(first.split(" ")[1]), tuple((name.lower(), value.strip()) for name, _, value in pairs))

    def read_some(self, size_bytes: int) -> bytes:
        """Read ``size_bytes`` bytes of a body, or fewer where the connection ends before."""
        some = bytearray(self._held)
        while len(some) < size_bytes and (data := self._receive()):
            some += data
        self._held = bytes(some[size_bytes:])
        return bytes(some[:size_bytes])

    def read_answer(self, *, is_head: bool = False, keep: bool = True) -> RawAnswer:
        """Read a whole answer, or as much of it as comes; 100 (Continue) is skipped.

        Args:
            is_head: the answer is to HEAD, so it has no body.
            keep: keep the body; False: only count its bytes.
        """
        answer = self.read_head()
        while answer.status == 100:
            answer = self.read_head()
        if answer.status == 0:
            return answer
        if is_head or answer.status in (204, 304):
            return RawAnswer(answer.status, answer.headers, b"", 0, is_whole=True)
        if answer.header("transfer-encoding") == "chunked":
            body, is_whole = self._read_chunks()
            return RawAnswer(answer.status, answer.headers, body, len(body), is_whole=is_whole)
        length = answer.header("content-length")
        body, size_bytes = self._read_counted(None if length is None else int(length), keep=keep)
        is_whole = length is None or size_bytes == int(length)
        return RawAnswer(answer.status, answer.headers, body, size_bytes, is_whole=is_whole)

    def is_cut(self) -> bool:
        """Read whatever still comes, and return whether the connection ended within the time limit."""
        try:
            while self._receive():
                pass
        except TimeoutError:
            return False
        return True

    def _read_counted(self, length: int | None, *, keep: bool) -> tuple[bytes, int]:
        kept, count = bytearray(), 0
        while length is None or count < length:
            left = _RECEIVE_BYTES if length is None else length - count
            data, self._held = (self._held[:left], self._held[left:]) if self._held else (self._receive(left), b"")
            if not data:
                break
            count += len(data)
            if keep:
                kept += data
        return bytes(kept), count

    def _read_chunks(self) -> tuple[bytes, bool]:
        kept = bytearray()
        while True:
            line = self._read_until(b"\r\n")
            if line is None:
                return bytes(kept), False
            size = int(line.partition(b";")[0], 16)
            data = self.read_some(size + 2)
            kept += data[:size]
            if len(data) < size + 2:
                return bytes(kept), False
            if size == 0:
                return bytes(kept), True

    def _read_until(self, end: bytes) -> bytes | None:
        """Read as far as ``end`` and return what comes before it; None where the connection ends first, or too much comes."""
        while end not in self._held:
            data = self._receive()
            if not data or len(self._held) > HEAD_MAX_BYTES:
                return None
            self._held += data
        found, _, self._held = self._held.partition(end)
        return found

    def _receive(self, most_bytes: int = _RECEIVE_BYTES) -> bytes:
        try:
            return self.socket.recv(min(most_bytes, _RECEIVE_BYTES))
        except (ConnectionResetError, BrokenPipeError):
            return b""


def request_bytes(method: str, target: str, *, host: str, headers: Headers = (), body: bytes | None = None) -> bytes:
    """Return the head of a request."""
    pairs: list[tuple[str, str]] = [*headers.items()] if isinstance(headers, Mapping) else [*headers]
    names = {name.lower() for name, _ in pairs}
    if "host" not in names:
        pairs.insert(0, ("Host", host))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def target_of(url: str) -> str:
    """Return the request target of a URL: its path and query, byte for byte."""
    parts = parse_url(url)
    return (parts.path + (b"?" + parts.query if parts.query else b"")).decode()


def ask(
    method: str,
    url: str,
    headers: Headers = (),
    body: bytes | None = None,
    *,
    at: str | None = None,
    source: str | None = None,
    keep: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> RawAnswer:
    """Send one request on a connection of its own, and read the answer.

    Args:
        method: sent as it is.
        url: its path and query are sent byte for byte.
        headers: sent as they are; Host is that of the URL where none is given.
        body: sent as it is.
        at: a URL whose host and port are connected to in place of those of ``url``.
        source: the client's own address.
        keep: the answer's body; False: count it only.
        timeout_s: limit for each single call of the socket.
    """
    with RawConnection(at or url, source=source, timeout_s=timeout_s) as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # refused while we send: the answer is there
            connection.send_request(method, target_of(url), host=parse_url(url).host, headers=headers, body=body)
        return connection.read_answer(is_head=method == "HEAD", keep=keep)
