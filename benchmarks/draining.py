"""A client for large objects: it reads the head, and lets the kernel drop the body (``MSG_TRUNC``), so that the cores are the server's.

A client that copies each byte needs as much of the machine as the server, and then measures itself.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Sequence
from typing import cast

from benchmarks.figures import WrongAnswers
from benchmarks.load import ANSWERS_WITHIN_S, Load, load_of

_PIECE_BYTES, _PIECES = 1 << 20, 8
"""So much is dropped at once, and so often before the others have their turn."""
_HEAD_BYTES = 16_384


class _Connection:
    """One that asks for a target, drops what comes, and asks for the next."""

    def __init__(self, port: int, size_bytes: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        self._size_bytes = size_bytes
        self._head = b""
        self._left: int | None = None
        self._begun = 0.0

    def ask(self, target: str) -> None:
        """Send a request; it is far smaller than any buffer."""
        self._begun, self._head, self._left = time.perf_counter(), b"", None
        self.socket.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())

    def take(self, room: bytearray) -> float | None:
        """Take what has come; return how long the answer took once it is whole.

        Raises:
            WrongAnswers: the answer is no 200, has another length, or ends too early.
        """
        with contextlib.suppress(BlockingIOError):
            if self._left is None:
                self._take_head()
            for _ in range(_PIECES):
                if not self._left:
                    break
                taken = self.socket.recv_into(room, min(self._left, len(room)), socket.MSG_TRUNC)
                if not taken:
                    raise WrongAnswers(f"{self._left} bytes of an answer are missing")
                self._left -= taken
        return time.perf_counter() - self._begun if self._left == 0 else None

    def _take_head(self) -> None:
        piece = self.socket.recv(_HEAD_BYTES)
        if not piece:
            raise WrongAnswers("a connection was closed before its answer came")
        self._head += piece
        head, end, begun = self._head.partition(b"\r\n\r\n")
        if end:
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
            if head.split()[1] != b"200" or length != self._size_bytes:
                raise WrongAnswers(head.decode("latin-1"))
            self._left = length - len(begun)


def by_draining(port: int, targets: Sequence[str], *, connections: int, size_bytes: int) -> Load:
    """GET every target once, over connections that are kept alive.

    Raises:
        WrongAnswers: an answer was no 200 of this size, or did not come in time.
    """
    waiting, waits_s, room = [*reversed(targets)], list[float](), bytearray(_PIECE_BYTES)
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        opened = [_Connection(port, size_bytes) for _ in range(min(connections, len(targets)))]
        begun = time.perf_counter()
        for connection in opened:
            stack.callback(connection.socket.close)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask(waiting.pop())
        while len(waits_s) < len(targets):
            ready = selector.select(ANSWERS_WITHIN_S)
            if not ready:
                raise WrongAnswers(f"port {port}: nothing came for {ANSWERS_WITHIN_S} s")
            for connection in (cast("_Connection", key.data) for key, _ in ready):
                took_s = connection.take(room)
                if took_s is not None:
                    waits_s.append(took_s)
                    if waiting:
                        connection.ask(waiting.pop())
        return load_of(waits_s, time.perf_counter() - begun)
