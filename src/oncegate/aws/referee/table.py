"""A table in memory that answers as DynamoDB answers oncegate's ledger, and nothing else: for ``oncegate aws dev``.

Only the calls of ``ledgers/dynamodb`` with the conditions that they have; another one is refused by name. The suite that
every ledger must pass runs against it (tests/aws).

Source: Amazon DynamoDB API Reference.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Item = dict[str, dict[str, Any]]


class No(Exception):
    """An error of DynamoDB's; ``kind`` is its name, ``more`` goes into the body."""

    def __init__(self, kind: str, more: Mapping[str, Any] | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.more = more or {}


class Tables:
    """All tables; one writer at a time."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[tuple[str, str], Item]] = {}
        self._lock = threading.Lock()

    def answer(self, operation: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Make a call.

        Raises:
            No: DynamoDB would say so, or it is none that the ledger makes.
        """
        calls: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
            "CreateTable": self._create,
            "DescribeTable": self._describe,
            "DescribeTimeToLive": lambda _: {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}},
            "UpdateTimeToLive": lambda _: {},
            "GetItem": self._get,
            "PutItem": self._put,
            "UpdateItem": self._update,
            "DeleteItem": self._delete,
            "Query": self._query,
        }
        if operation not in calls:
            raise No("UnknownOperationException")
        with self._lock:
            return calls[operation](document)

    def _create(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        if document["TableName"] in self._tables:
            raise No("ResourceInUseException")
        self._tables[document["TableName"]] = {}
        return {}

    def _describe(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        self._items(document)
        keys = [{"AttributeName": "s", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}]
        return {"Table": {"TableStatus": "ACTIVE", "KeySchema": keys}}

    def _get(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        item = self._items(document).get(_key(document["Key"]))
        return {} if item is None else {"Item": item}

    def _put(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        items, key = self._items(document), _key(document["Item"])
        _check(document, items.get(key))
        items[key] = document["Item"]
        return {}

    def _update(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        if document["UpdateExpression"] != "SET u = :u":
            raise No("ValidationException")
        items, key = self._items(document), _key(document["Key"])
        _check(document, items.get(key))
        items[key] = {**document["Key"], **items.get(key, {}), "u": document["ExpressionAttributeValues"][":u"]}
        return {}

    def _delete(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        items, key = self._items(document), _key(document["Key"])
        _check(document, items.get(key))
        items.pop(key, None)
        return {}

    def _query(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        values = document["ExpressionAttributeValues"]
        shard, after = values[":s"]["S"], values.get(":a", {"S": ""})["S"]
        keys = sorted(key for key in self._items(document) if key[0] == shard and key[1] > after)
        limit = int(document["Limit"])
        found: dict[str, Any] = {"Items": [self._items(document)[key] for key in keys[:limit]]}
        if len(keys) > limit:
            found["LastEvaluatedKey"] = {"s": {"S": shard}, "id": {"S": keys[limit - 1][1]}}
        return found

    def _items(self, document: Mapping[str, Any]) -> dict[tuple[str, str], Item]:
        try:
            return self._tables[document["TableName"]]
        except KeyError:
            raise No("ResourceNotFoundException") from None


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["s"]["S"], item["id"]["S"]


def _check(document: Mapping[str, Any], stands: Item | None) -> None:
    """The conditions that the ledger has, each spelt as it spells it."""
    values: Mapping[str, Any] = document.get("ExpressionAttributeValues", {})
    item = stands or {}
    match document.get("ConditionExpression", ""):
        case "":
            holds = True
        case "attribute_not_exists(id)":
            holds = stands is None
        case "v = :v":
            holds = item.get("v") == values[":v"]
        case "attribute_not_exists(u) OR u < :u":
            holds = "u" not in item or int(item["u"]["N"]) < int(values[":u"]["N"])
        case "f <= :now":
            holds = "f" in item and int(item["f"]["N"]) <= int(values[":now"]["N"])
        case _:
            raise No("ValidationException")
    if not holds:
        raise No("ConditionalCheckFailedException", {"Item": stands} if stands else {})


class TableServer:
    """The tables on a port of localhost. Signatures are not looked at."""

    def __init__(self, tables: Tables | None = None) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _door(tables or Tables()))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Let go of the port; what was stored is gone."""
        self._server.shutdown()
        self._server.server_close()


def _door(tables: Tables) -> type[BaseHTTPRequestHandler]:
    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            operation = self.headers.get("x-amz-target", "").rpartition(".")[2]
            try:
                status, answer = 200, dict(tables.answer(operation, json.loads(body)))
            except No as no:
                status = 400
                answer = {"__type": f"com.amazonaws.dynamodb.v20120810#{no.kind}", "message": no.kind, **no.more}
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    return Door
