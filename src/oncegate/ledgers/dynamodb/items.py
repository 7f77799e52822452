"""How a record is stored in a table of DynamoDB, and the documents that ask for it. Standard library only.

An item: ``s`` (hash key: the last digit of the id, so that 16 partitions share the load and a list can be merged in
order), ``id`` (range key, 32 hex digits), ``v`` version, ``r`` record, ``f`` forget_after_s, ``ttl`` for DynamoDB's own
sweeping. ``s = "ledger"`` holds ``id = "born"`` (``ms``, ``layout``, and of a repair ``refused`` and ``plain``) and
``id = "swept"`` (``u`` the limit, ``t`` the tries).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from oncegate.ledgers.protocol import Repair, Row, Stands

SHARDS = "0123456789abcdef"
TTL_AFTER_S = 3_600
TTL_LAST_S = 2**32
TTL_ATTRIBUTE = "ttl"

Item = Mapping[str, Mapping[str, Any]]

BORN_KEY: Item = {"s": {"S": "ledger"}, "id": {"S": "born"}}
SWEPT_KEY: Item = {"s": {"S": "ledger"}, "id": {"S": "swept"}}

LAYOUT = 1
"""How records are named here; a birth without a number is of this one."""


def born_item(born_ms: int, repair: Repair) -> Item:
    """The item that says when the ledger was born, how records are named in it, and what the last repair left."""
    numbers = {"ms": born_ms, "layout": LAYOUT, "refused": repair.refused_before_ms, "plain": repair.plain_until_s}
    return {**BORN_KEY, **{name: {"N": str(number)} for name, number in numbers.items()}}


class Born(NamedTuple):
    """What a ledger says of itself.

    Attributes:
        ms: when it was born, milliseconds since 1970 UTC.
        layout: how records are named in it.
        repair: of the last repair.
    """

    ms: int
    layout: int
    repair: Repair


def born_of(item: Item) -> Born:
    """Read the item of the birth; an earlier version stored ``ms`` alone.

    Raises:
        KeyError, ValueError: it says no birth.
    """
    numbers = {name: number_of(item, name) for name in ("layout", "refused", "plain") if name in item}
    repair = Repair(numbers.get("refused", 0), numbers.get("plain", -1))
    return Born(number_of(item, "ms"), numbers.get("layout", LAYOUT), repair)


def put_document(table: str, item: Item, condition: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A PutItem under a condition; where that does not hold, the answer shows what stands."""
    document: dict[str, Any] = {
        "TableName": table,
        "Item": item,
        "ConditionExpression": condition,
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    return {**document, "ExpressionAttributeValues": values} if values else document


def query_document(table: str, shard: str, after: bytes, limit: int) -> Mapping[str, Any]:
    """A Query for the items of one shard above ``after`` (exclusive), in order of id."""
    values: dict[str, Any] = {":s": {"S": shard}}
    condition = "s = :s"
    if after:
        condition, values[":a"] = "s = :s AND id > :a", {"S": after.hex()}
    return {
        "TableName": table,
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": values,
        "ConsistentRead": True,
        "Limit": limit,
    }


def item_of(link_id: bytes, record: bytes, forget_after_s: int, token: str) -> Item:
    """The item of a record."""
    item = {
        **key_of(link_id),
        "v": {"S": token},
        "r": {"S": record.decode()},
        "f": {"N": str(forget_after_s)},
    }
    if forget_after_s < TTL_LAST_S:
        item[TTL_ATTRIBUTE] = {"N": str(forget_after_s + TTL_AFTER_S)}
    return item


def key_of(link_id: bytes) -> dict[str, Mapping[str, Any]]:
    """The key of a record."""
    name = link_id.hex()
    return {"s": {"S": name[-1]}, "id": {"S": name}}


def id_of(item: Item) -> bytes:
    """Read the link id."""
    return bytes.fromhex(text_of(item, "id"))


def row_of(item: Item) -> Row:
    """Read all of it."""
    return Row(id_of(item), text_of(item, "r").encode(), text_of(item, "v"), number_of(item, "f"))


def stands_of(item: Item) -> Stands:
    """Read what an answer shows of it."""
    return Stands(text_of(item, "r").encode(), text_of(item, "v"))


def text_of(item: Item, name: str) -> str:
    """Read a text."""
    return str(item[name]["S"])


def number_of(item: Item, name: str) -> int:
    """Read a number."""
    return int(item[name]["N"])
