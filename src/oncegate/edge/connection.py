"""One kept-alive connection to DynamoDB, with signed requests over blocking sockets, each within a deadline.

HTTP/1.1 by hand: importing ``http.client`` costs a cold start 36 ms of processor, a fourth of all. A connection that ends
before its answer is whole says nothing of the request: ``NoAnswer``, and whoever asked repeats it.

Source: RFC 9112; RFC 9110 5.6.7 (dates).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import socket
import ssl
import time

from oncegate.aws_requests.endpoint import endpoint_of
from oncegate.aws_requests.flow import HttpAnswer, HttpRequest, NoAnswer
from oncegate.aws_requests.signature import AwsCredentials, SigningScope, signed_headers

ATTEMPT_MAX_S = 1.2
"""Two attempts and a pause fit into the time that a viewer waits; a far Region answers within 0.3 s, with TLS within 1."""

ANSWER_MAX_BYTES = 1 << 20
IDLE_MAX_S = 60.0
"""Kept longer, most connections would be found closed by the server."""

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


class Connection:
    """A connection to the DynamoDB of one Region; made when needed, thrown away after any fault.

    Args:
        region: such as ``eu-central-1``.
    """

    def __init__(self, region: str) -> None:
        named = endpoint_of("DYNAMODB", given="", environ=os.environ)  # tests alone: Lambda@Edge has no variables
        scheme, _, self._host = (named or f"https://dynamodb.{region}.amazonaws.com").partition("://")
        name, _, port = self._host.partition(":")
        self._tls = ssl.create_default_context() if scheme == "https" else None
        self._address = name, int(port or (443 if self._tls else 80))
        self._scope = SigningScope(region=region, service="dynamodb")
        self._socket: socket.socket | None = None
        self._received = b""
        self._used_at = 0.0
        self._give_up_at = 0.0
        self._fault = ""

    def send(self, request: HttpRequest, *, until: float) -> HttpAnswer:
        """Send a request and read its answer, whole.

        Args:
            request: not yet signed.
            until: by ``time.monotonic``; nothing is sent after it.

        Raises:
            NoAnswer: there was none; the request may have been carried out.
        """
        now = time.monotonic()
        if now >= until:
            raise NoAnswer(f"no time is left; {self._fault}")
        self._give_up_at = min(until, now + ATTEMPT_MAX_S)
        try:
            if now - self._used_at > IDLE_MAX_S:
                self.close()
            connected = self._socket or self._open()
            connected.settimeout(self._left_s())
            connected.sendall(self._head_of(request) + request.body)
            answer = self._read_answer(connected)
        except (OSError, EOFError, ValueError, KeyError) as error:
            self.close()
            self._fault = f"{type(error).__name__}: {error}"
            raise NoAnswer(self._fault) from error
        self._used_at, self._fault = time.monotonic(), ""
        return answer

    def close(self) -> None:
        """Let go of the connection; the next request makes another."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._received = None, b""

    def _open(self) -> socket.socket:
        plain = socket.create_connection(self._address, self._left_s())
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = plain
        if self._tls is not None:
            self._socket = self._tls.wrap_socket(plain, server_hostname=self._address[0])
        return self._socket

    def _head_of(self, request: HttpRequest) -> bytes:
        environ = os.environ
        signed = signed_headers(
            "POST",
            path="/",
            query="",
            headers={**request.headers, "host": self._host},
            payload_sha256=hashlib.sha256(request.body).hexdigest(),
            # of the function's role; Lambda gives them in variables
            credentials=AwsCredentials(
                environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], environ.get("AWS_SESSION_TOKEN", "")
            ),
            scope=self._scope,
            now_s=int(time.time()),
        )
        lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        return f"POST / HTTP/1.1\r\n{lines}content-length: {len(request.body)}\r\n\r\n".encode()

    def _left_s(self) -> float:
        left_s = self._give_up_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no answer in time")
        return left_s

    def _read_answer(self, connected: socket.socket) -> HttpAnswer:
        status_line, *lines = self._until(connected, b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, rest = status_line.partition(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._chunks(connected)
        else:
            body = self._exactly(connected, int(headers["content-length"]))
        if version != "HTTP/1.1" or headers.get("connection", "").lower() == "close" or self._received:
            self.close()
        return HttpAnswer(int(rest[:3]), body, date_s(headers.get("date", "")))

    def _chunks(self, connected: socket.socket) -> bytes:
        body = b""
        while True:
            size_bytes = int(self._until(connected, b"\r\n").partition(b";")[0], 16)
            body += self._exactly(connected, size_bytes)
            if len(body) > ANSWER_MAX_BYTES or self._exactly(connected, 2) != b"\r\n":
                raise ValueError("a broken chunk, or an answer without end")
            if not size_bytes:
                return body

    def _until(self, connected: socket.socket, end: bytes) -> bytes:
        while end not in self._received:
            self._receive(connected)
        found, _, self._received = self._received.partition(end)
        return found

    def _exactly(self, connected: socket.socket, size_bytes: int) -> bytes:
        if not 0 <= size_bytes <= ANSWER_MAX_BYTES:
            raise ValueError(f"an answer of {size_bytes} bytes")
        while len(self._received) < size_bytes:
            self._receive(connected)
        found, self._received = self._received[:size_bytes], self._received[size_bytes:]
        return found

    def _receive(self, connected: socket.socket) -> None:
        connected.settimeout(self._left_s())
        data = connected.recv(65_536)
        if not data or len(self._received) > ANSWER_MAX_BYTES:
            raise EOFError("the connection ended")
        self._received += data


def date_s(text: str) -> int | None:
    """Read a ``Date`` in seconds since 1970 UTC; None where it is none. ``email.utils`` costs a cold start 10 ms."""
    try:
        _, day, month, year, clock, zone = text.split()
        hour, minute, second = map(int, clock.split(":"))
        if zone != "GMT":
            return None
        at = dt.datetime(int(year), _MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=dt.UTC)
    except ValueError:
        return None
    return int(at.timestamp())
