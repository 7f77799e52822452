"""The referee on a port of localhost: HTTP/1.1 in, a ``Site`` behind.

A request is handed on once its body is whole. CloudFront runs the first trigger before that, so an upload that breaks off
has a lease there, and has none here.
"""

from __future__ import annotations

import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase

from oncegate.aws.referee.site import Received, Site
from oncegate.aws.stacks.behaviours import METHODS

BODY_MAX_BYTES = 256 << 20
"""Bodies are held in memory; larger ones are refused with 413."""
_LEFT_OUT = frozenset(("content-length", "connection", "transfer-encoding", "date", "keep-alive"))


class Listener:
    """Serves a site until it is closed.

    Args:
        site: what is served.
        port: 0: a free one.
    """

    def __init__(self, site: Site, *, port: int = 0) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _door(site))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        site.add_local_hosts(*(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")))

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def close(self) -> None:
        """Let go of the port."""
        self._server.shutdown()
        self._server.server_close()

    def wait(self) -> None:
        """Serve until the program is ended."""
        self._thread.join()


def _door(site: Site) -> type[BaseHTTPRequestHandler]:
    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: a line would hold the link."""

        def serve(self) -> None:
            """Answer one request of any method."""
            try:
                body = _body_of(self.headers, self.rfile)
            except (EOFError, ValueError):  # it broke off, or is no chunk: nobody waits for an answer
                self.close_connection = True
                return
            if body is None:
                self.send_error(413)
                self.close_connection = True
                return
            received = Received(self.command, self.path, self.headers.items(), body, self.client_address[0])
            answer = site.handle(received)
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in _LEFT_OUT:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

    for method in METHODS:
        setattr(Door, f"do_{method}", Door.serve)  # by the names that http.server looks for
    return Door


def _body_of(headers: Message, stream: BufferedIOBase) -> bytes | None:
    """Read a body; None where it is too large.

    Raises:
        EOFError: it broke off.
        ValueError: it is not chunked, as it says.
    """
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _chunks(stream)
    length = int(headers.get("content-length") or 0)
    return _exactly(stream, length) if length <= BODY_MAX_BYTES else None


def _chunks(stream: BufferedIOBase) -> bytes | None:
    body = bytearray()
    while size := int(stream.readline().split(b";")[0], 16):
        if len(body) + size > BODY_MAX_BYTES:
            return None
        body += _exactly(stream, size)
        stream.readline()
    stream.readline()
    return bytes(body)


def _exactly(stream: BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
