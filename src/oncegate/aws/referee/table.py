"""A table in memory that answers as DynamoDB answers oncegate's ledger, and nothing else: for ``oncegate aws dev``.

Only the calls of ``ledgers/dynamodb``, and of conditions what they use; another one is refused by name. The suite that
every ledger must pass runs against it (tests/aws).

Source: Amazon DynamoDB API Reference.
"""

from __future__ import annotations

import json
import re
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
        self.more: Mapping[str, Any] | dict[str, Any] = more or {}


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
            "TransactWriteItems": self._transact,
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

    def _transact(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        puts = [each.get("Put") for each in document["TransactItems"]]
        if not all(put and "ConditionExpression" not in put for put in puts):
            raise No("ValidationException")
        for put in puts:
            self._put(put)
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
    """Hold a write against its condition."""
    condition = document.get("ConditionExpression", "")
    values: Mapping[str, Any] = document.get("ExpressionAttributeValues", {})
    if condition and not Condition(condition, values).holds(stands or {}):
        raise No("ConditionalCheckFailedException", {"Item": stands} if stands else {})


class Condition:
    """A condition, as far as the ledger's go: ``attribute_not_exists``, ``=``, ``<``, ``<=``, AND, OR, brackets.

    Args:
        text: the condition.
        values: those that it names.

    Source: Amazon DynamoDB Developer Guide, "Condition and filter expressions, operators, and functions".
    """

    def __init__(self, text: str, values: Mapping[str, Any]) -> None:
        self._words = re.findall(r"attribute_not_exists|[()]|<=|<|=|:?[A-Za-z_]+|\S", text)
        self._values = values
        self._at = 0

    def holds(self, item: Item) -> bool:
        """Say whether it holds of an item; one that does not exist has no attributes.

        Raises:
            No: it is written in a way that is not known here.
        """
        self._at = 0
        found = self._either(item)
        if self._at != len(self._words):
            raise No("ValidationException")
        return found

    def _either(self, item: Item) -> bool:
        found = self._both(item)
        while self._is_next("OR"):
            found = self._both(item) or found
        return found

    def _both(self, item: Item) -> bool:
        found = self._one(item)
        while self._is_next("AND"):
            found = self._one(item) and found
        return found

    def _one(self, item: Item) -> bool:
        if self._is_next("("):
            found = self._either(item)
            self._expect(")")
            return found
        if self._is_next("attribute_not_exists"):
            self._expect("(")
            name = self._word()
            self._expect(")")
            return name not in item
        return self._compared(item.get(self._word()), self._word(), self._values.get(self._word()))

    def _compared(self, found: Mapping[str, Any] | None, operator: str, wanted: Mapping[str, Any] | None) -> bool:
        if wanted is None or operator not in ("=", "<", "<="):
            raise No("ValidationException")
        if found is None or found.keys() != wanted.keys():
            return False
        ((kind, left),), right = found.items(), next(iter(wanted.values()))
        if operator == "=":
            return (int(left) == int(right)) if kind == "N" else left == right
        return int(left) < int(right) + (operator == "<=")

    def _word(self) -> str:
        self._at += 1
        if self._at > len(self._words):
            raise No("ValidationException")
        return self._words[self._at - 1]

    def _is_next(self, word: str) -> bool:
        is_it = self._words[self._at : self._at + 1] == [word]
        self._at += is_it
        return is_it

    def _expect(self, word: str) -> None:
        if not self._is_next(word):
            raise No("ValidationException")


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
