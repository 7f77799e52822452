"""The referee on a port of localhost: HTTP/1.1 in, a ``Site`` behind."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
            body = self._body()
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

        def _body(self) -> bytes | None:
            if "chunked" in self.headers.get("transfer-encoding", "").lower():
                return self._chunks()
            length = int(self.headers.get("content-length") or 0)
            return self.rfile.read(length) if length <= BODY_MAX_BYTES else None

        def _chunks(self) -> bytes | None:
            body = bytearray()
            while size := int(self.rfile.readline().split(b";")[0], 16):
                if len(body) + size > BODY_MAX_BYTES:
                    return None
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(body)

    for method in METHODS:
        setattr(Door, f"do_{method}", Door.serve)  # by the names that http.server looks for
    return Door
