"""Edge functions in processes of their own, one event at a time in each, as Lambda runs them.

The client of the Runtime API in them is AWS's own, awslambdaric, where it is installed beside oncegate; else ours
(``runtime_client``), which hands events on alike and knows no more of Lambda. Kept: five seconds an event, no
variables but Lambda's own and those given. Not kept: the share of a core that 128 MB get, and the memory.

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API"; CloudFront Developer Guide, "Quotas".
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVENT_MAX_S = 5.0
START_MAX_S = 30.0
"""Ours: a process starts slower on a machine that does other work too."""
INSTANCES_MAX = 16
"""Our choice; Lambda has thousands. Further events wait for a free one."""
RUNTIME_ENVIRON: Mapping[str, str] = {
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_VERSION": "1",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_FUNCTION_NAME": "us-east-1.edge",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TZ": ":UTC",
}


class FunctionFailed(Exception):
    """A function raised, ended, or took too long; the text says which."""


def runtime_client() -> Sequence[str]:
    """What is run in a function's process, before the name of the handler."""
    if importlib.util.find_spec("awslambdaric") is not None:
        return [sys.executable, "-m", "awslambdaric"]
    return [sys.executable, str(pathlib.Path(__file__).with_name("runtime_client.py"))]


class FunctionPool:
    """All instances of one function.

    Args:
        code: Python with ``handler``.
        environ: further variables, as an emulator needs them; Lambda@Edge itself has none.
    """

    def __init__(self, code: str, environ: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="oncegate-edge-")
        self._path = pathlib.Path(self._folder.name)
        (self._path / "index.py").write_text(code, encoding="utf-8")
        self._environ = environ
        self._free: list[_Instance] = []
        self._all: list[_Instance] = []
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(INSTANCES_MAX)

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Hand an event to an instance, and return the answer.

        Raises:
            FunctionFailed: there is none.
        """
        with self._slots:
            instance = self._take()
            try:
                answer = instance.invoke(event)
            except FunctionFailed:
                # Lambda makes a new one after a function that timed out or ended, and keeps one that raised
                if instance.is_alive:
                    self._give_back(instance)
                raise
            self._give_back(instance)
            return answer

    def said(self) -> str:
        """What all instances wrote to their logs."""
        return (self._path / "log").read_text(errors="replace") if (self._path / "log").exists() else ""

    def close(self) -> None:
        """End all instances."""
        for instance in self._all:
            instance.close()
        self._folder.cleanup()

    def _take(self) -> _Instance:
        with self._lock:
            if self._free:
                return self._free.pop()
        instance = _Instance(self._path, self._environ)
        with self._lock:
            self._all.append(instance)
        return instance

    def _give_back(self, instance: _Instance) -> None:
        with self._lock:
            self._free.append(instance)


class _Instance:
    """One process, and the Runtime API that it asks for events."""

    def __init__(self, folder: pathlib.Path, environ: Mapping[str, str]) -> None:
        self._events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._answers: queue.Queue[tuple[str, str, Any]] = queue.Queue()
        self._has_begun = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _runtime_api(self._events, self._answers))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        own = {
            "PATH": os.environ.get("PATH", ""),
            "LAMBDA_TASK_ROOT": str(folder),
            "PYTHONPATH": str(folder),
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "_HANDLER": "index.handler",
        }
        with (folder / "log").open("ab") as sink:
            self._process = subprocess.Popen(  # noqa: S603  this interpreter, with a client of the Runtime API
                [*runtime_client(), "index.handler"],
                cwd=folder,
                env={**own, **RUNTIME_ENVIRON, **environ},
                stdout=sink,
                stderr=sink,
            )

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Hand over an event and wait for its answer."""
        request_id = str(uuid.uuid4())
        self._events.put((request_id, json.dumps(event).encode()))
        deadline = time.monotonic() + (EVENT_MAX_S if self._has_begun else EVENT_MAX_S + START_MAX_S)
        while True:
            try:
                answered, kind, body = self._answers.get(timeout=0.1)
            except queue.Empty:
                self._check(deadline)
                continue
            self._has_begun = True
            if answered not in (request_id, "init"):
                continue
            if kind == "error":
                raise FunctionFailed(str(body)[:2000])
            return body

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._server.shutdown()
        self._server.server_close()

    def _check(self, deadline: float) -> None:
        if not self.is_alive:
            raise FunctionFailed(f"the process ended with status {self._process.poll()}")
        if time.monotonic() > deadline:
            self._process.kill()
            self._process.wait()
            raise FunctionFailed(f"no answer within {EVENT_MAX_S:g} s")


def _runtime_api(
    events: queue.Queue[tuple[str, bytes]], answers: queue.Queue[tuple[str, str, Any]]
) -> type[BaseHTTPRequestHandler]:
    """The Runtime API of one instance."""

    class Api(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing: the function's own log is what counts."""

        def do_GET(self) -> None:
            request_id, event = events.get()
            self._answer(
                200,
                event,
                {
                    "Lambda-Runtime-Aws-Request-Id": request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + EVENT_MAX_S) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:111122223333:function:edge:1",
                    "Content-Type": "application/json",
                },
            )

        def do_POST(self) -> None:
            body = self._body()
            *_, request_id, kind = self.path.split("/")
            self._answer(202, b"", {})
            answers.put((request_id, kind, json.loads(body or b"null")))

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("transfer-encoding", "").lower():
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Api
