"""The two calls of DynamoDB that the edge makes, over HTTP on loopback, and the faults that no real server produces.

GetItem and PutItem under the two conditions of ``ledgers/dynamodb/items.py``; an error by its name for anything else.
``faults`` are taken one a request: ``lose`` (the write happens, its answer does not come), ``drop`` (nothing happens and
nothing comes), ``busy`` (it answers that it is throttled), ``dateless`` (the answer has no Date), ``no table``.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Item = dict[str, dict[str, str]]


class TwoCalls:
    """The server; what it keeps is in ``items``, by table and key."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str, str], Item] = {}
        self.faults: deque[str] = deque()
        self.always = ""
        self.writes = 0
        self.calls: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.calls = self  # type: ignore[attr-defined]  # the handler's way to this
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def born(self, table: str, born_ms: int, **others: int) -> None:
        """Note a birth, as ``oncegate ledger migrate`` does; with others of its numbers, as a repair does."""
        numbers = {name: {"N": str(number)} for name, number in {"ms": born_ms, **others}.items()}
        self.items[table, "ledger", "born"] = {"s": {"S": "ledger"}, "id": {"S": "born"}, **numbers}

    def next_fault(self) -> str:
        """The fault of this request; empty: none."""
        with self._lock:
            return self.always or (self.faults.popleft() if self.faults else "")

    def answer(self, operation: str, asked: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Do what is asked, one at a time."""
        with self._lock:
            self.calls.append(operation)
            if operation == "GetItem":
                found = self.items.get(_key(asked["TableName"], asked["Key"]))
                return 200, {} if found is None else {"Item": found}
            if operation != "PutItem":
                return _error("UnknownOperationException")
            key = _key(asked["TableName"], asked["Item"])
            stands = self.items.get(key)
            if not _holds(asked["ConditionExpression"], stands, asked.get("ExpressionAttributeValues", {})):
                status, document = _error("ConditionalCheckFailedException")
                return status, {**document, **({"Item": stands} if stands else {})}
            self.items[key] = asked["Item"]
            self.writes += 1
            return 200, {}


def _key(table: str, item: Mapping[str, Any]) -> tuple[str, str, str]:
    return table, item["s"]["S"], item["id"]["S"]


def _holds(condition: str, stands: Item | None, values: Mapping[str, Any]) -> bool:
    if condition == "attribute_not_exists(id)":
        return stands is None
    assert condition == "v = :v"
    return stands is not None and stands["v"] == values[":v"]


def _error(name: str) -> tuple[int, dict[str, Any]]:
    return 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{name}", "message": name}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        calls: TwoCalls = self.server.calls  # type: ignore[attr-defined]  # set by TwoCalls
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        operation = self.headers["x-amz-target"].rpartition(".")[2]
        assert self.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=")
        fault = calls.next_fault()
        if fault == "drop":
            return self._break()
        if fault == "busy":
            return self._send(*_error("ThrottlingException"))
        if fault == "no table":
            return self._send(*_error("ResourceNotFoundException"))
        status, document = calls.answer(operation, asked)
        if fault == "lose":
            return self._break()
        return self._send(status, document, has_date=fault != "dateless")

    def _send(self, status: int, document: Mapping[str, Any], *, has_date: bool = True) -> None:
        body = json.dumps(document).encode()
        date = f"Date: {formatdate(usegmt=True)}\r\n" if has_date else ""
        self.wfile.write(f"HTTP/1.1 {status} x\r\n{date}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _break(self) -> None:
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing is said."""
