"""A proxy in front of the emulator of AWS: it notes each call, refuses those of a Region, and ends a program after one.

with AwsProxy(emulator.url) as proxy:
    environ["AWS_ENDPOINT_URL"] = proxy.url
    proxy.down.add(("dynamodb", "us-west-2"))
    proxy.after(3, process.kill)              # once the third call that changes something has been carried out
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

_SCOPE = re.compile(r"Credential=[^/]+/[0-9]+/([a-z0-9-]+)/([a-z0-9-]+)/")
_READS = ("Describe", "Get", "List", "Head", "Query", "Scan", "Verify", "Sign")
_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length", "date", "server"}


class Call(NamedTuple):
    """One call."""

    service: str
    region: str
    operation: str

    @property
    def changes_something(self) -> bool:
        """Whether it is no mere question."""
        return not self.operation.startswith(_READS)


class AwsProxy:
    """Passes calls on.

    Args:
        target: URL of the emulator.

    Attributes:
        calls: that were carried out, in order.
        down: services and Regions from which nothing is answered: connections are closed.
    """

    def __init__(self, target: str) -> None:
        self.calls: list[Call] = []
        self.down: set[tuple[str, str]] = set()
        self._left = 0
        self._then: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, urlsplit(target).netloc))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def changes(self) -> list[Call]:
        """The calls that changed something."""
        return [call for call in self.calls if call.changes_something]

    def after(self, count: int, then: Callable[[], None]) -> None:
        """Do something after so many further calls that change something; their caller is not told of the last one."""
        self._left, self._then = count, then

    def carried_out(self, call: Call) -> bool:
        """Note a call; whether its caller may hear of it."""
        with self._lock:
            self.calls.append(call)
            if not call.changes_something or not self._left:
                return True
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._then()
        return not is_last

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: AwsProxy, target: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: ``calls`` has them."""

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if "chunked" in self.headers.get("transfer-encoding", ""):
                raise AssertionError("no caller of AWS here sends chunks")
            call = self._call(body)
            if (call.service, call.region) in proxy.down:
                self.close_connection = True
                self.connection.close()
                return
            upstream = http.client.HTTPConnection(target, timeout=120)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                upstream.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
                answer = upstream.getresponse()
                content = answer.read()
            finally:
                upstream.close()
            if not proxy.carried_out(call):
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            length = answer.getheader("content-length") if self.command == "HEAD" else str(len(content))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            self.wfile.write(content)

        def _call(self, body: bytes) -> Call:
            scope = _SCOPE.search(self.headers.get("authorization", ""))
            region, service = (scope[1], scope[2]) if scope else ("", "")
            operation = self.headers.get("x-amz-target", "").rpartition(".")[2]
            if not operation and b"Action=" in body:
                operation = parse_qs(body.decode()).get("Action", [""])[0]
            return Call(service, region, operation or f"{self.command.title()}{self.path.partition('?')[0]}")

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815  names of the base class

    return Handler
