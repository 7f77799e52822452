"""A server that stands before another and passes on what both sides send, so that connections can be counted and cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self


class Relay:
    """Passes everything on; a subclass says what else happens to what the server sends.

    Args:
        port: of the server.
        source: the address from which the server is reached.
    """

    def __init__(self, port: int, *, source: str = "127.0.0.1") -> None:
        self._port = port
        self._source = source
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve until the block ends."""
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            self._listener.close()
            for thread in self._threads:
                thread.join()

    def pass_down(self, server: socket.socket, client: socket.socket, number: int) -> None:
        """Pass on what the server sends on the connection of this number (from 0); at the return it is cut."""
        raise NotImplementedError

    def pass_up(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what the client sends on a connection; at the return the server is told that it sends no more."""
        with suppress(OSError):
            while data := client.recv(65_536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), source_address=(self._source, 0))

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client, len(self._threads))))
                self._threads[-1].start()

    def _serve(self, client: socket.socket, number: int) -> None:
        with client, self._connect() as server:
            upwards = threading.Thread(target=self.pass_up, args=(client, server))
            upwards.start()
            with suppress(OSError):
                self.pass_down(server, client, number)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            upwards.join()
