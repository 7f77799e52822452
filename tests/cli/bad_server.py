"""An HTTP server that does as it is told: cuts, lies, stalls for nothing, and remembers what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from relay import Relay


@dataclass(kw_only=True)
class Answer:
    """What to do with one request.

    Attributes:
        headers: beside Content-Length, which is the body's unless it is among them.
        cut: bytes of the body that are sent before the connection is closed; None: all.
        read: bytes of a request's body that are read before the connection is closed without an answer; None: all.
        is_lost: everything is read, nothing is answered.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    read: int | None = None
    is_lost: bool = False


@dataclass(kw_only=True)
class Asked:
    """What came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


class BadServer:
    """Gives one answer after the other; the last again and again.

    Args:
        answers: to everything but HEAD.
        head: to every HEAD; None: 501, and it is not remembered, as of a server that knows no HEAD.
    """

    def __init__(self, answers: tuple[Answer, ...], head: Answer | None = None) -> None:
        self.asked: list[Asked] = []
        self._answers = list(answers)
        self._head = head
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._answer(self)

            def do_PUT(self) -> None:
                outer._answer(self)

            def do_HEAD(self) -> None:
                outer._answer_head(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  of the standard library
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _answer_head(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        if self._head is None:
            handler.send_response_only(501)
            handler.end_headers()
            return
        self.asked.append(Asked(method="HEAD", target=handler.path, headers=dict(handler.headers)))
        handler.send_response_only(self._head.status)
        for name, value in {"Content-Length": str(len(self._head.body)), **self._head.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        handler.close_connection = True
        asked = Asked(
            method=handler.command,
            target=handler.path,
            headers={name.lower(): value for name, value in handler.headers.items()},
        )
        self.asked.append(asked)
        length = int(asked.headers.get("content-length", "0"))
        asked.body = handler.rfile.read(length if answer.read is None else answer.read)
        if answer.read is not None or answer.is_lost:
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.send_response_only(answer.status)
        headers = {} if "Transfer-Encoding" in answer.headers else {"Content-Length": str(len(answer.body))}
        headers |= answer.headers
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        with suppress(ConnectionError):  # whoever asked may have left
            handler.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])

    @contextmanager
    def running(self) -> Iterator[BadServer]:
        """Serve until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class Cutter(Relay):
    """Stands before a server and cuts the first connections after some bytes of the answer.

    Args:
        port: of the server.
        cuts: bytes after which the first, second ... connection is cut; None, and later ones: not at all.
    """

    def __init__(self, port: int, cuts: list[int | None]) -> None:
        super().__init__(port)
        self._cuts = cuts

    def pass_down(self, server: socket.socket, client: socket.socket, number: int) -> None:
        """Pass on what is let through."""
        left = self._cuts[number] if number < len(self._cuts) else None
        while left is None or left > 0:
            data = server.recv(65_536 if left is None else min(65_536, left))
            if not data:
                client.shutdown(socket.SHUT_WR)
                return
            client.sendall(data)
            left = None if left is None else left - len(data)
