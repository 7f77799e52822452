"""The table of a ``dynamodb:`` ledger: made by ``oncegate ledger migrate`` or given, and checked before it is trusted."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

from oncegate.aws_requests.flow import Pause, Talk
from oncegate.ledgers.dynamodb.items import TTL_ATTRIBUTE
from oncegate.ledgers.dynamodb.requests import NO_TABLE, SaidNo, call_talk, get_item, insert_talk
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, LedgerUnfit, Stands

GLOBAL_TABLE = "dynamodb-global-table"
READY_TRIES_MAX = 120
READY_EVERY_S = 0.5

_KEYS = {"s": "HASH", "id": "RANGE"}


def create_talk(table: str) -> Talk[None]:
    """Make the table, paid by use, and let DynamoDB sweep it.

    Raises:
        LedgerUnfit: a table of this name stands already, or it is not ready in time.
        SaidNo: it may not be made.
    """
    if not (yield from _make(table)):
        raise LedgerUnfit(f"dynamodb: table {table} stands already", remedy="a ledger is made once: take another name")


def migrate_talk(table: str) -> Talk[bool]:
    """Make the table where there is none; wait for one that another is making. Return whether it was made here.

    Raises:
        LedgerUnfit: it is not ready in time.
        SaidNo: it may not be looked at or made.
    """
    is_there = (yield from _status(table)) is not None
    if not is_there and (yield from _make(table)):
        return True
    yield from _until_ready(table)
    return False


def _make(table: str) -> Talk[bool]:
    """Make the table; False where another was first."""
    keys = [{"AttributeName": name, "KeyType": kind} for name, kind in _KEYS.items()]
    try:
        yield from call_talk(
            "CreateTable",
            {
                "TableName": table,
                "KeySchema": keys,
                "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in _KEYS],
                "BillingMode": "PAY_PER_REQUEST",
            },
        )
    except SaidNo as error:
        if error.kind == "ResourceInUseException":
            return False
        raise
    yield from _until_ready(table)
    yield from call_talk(
        "UpdateTimeToLive",
        {"TableName": table, "TimeToLiveSpecification": {"Enabled": True, "AttributeName": TTL_ATTRIBUTE}},
    )
    return True


def _until_ready(table: str) -> Talk[None]:
    """Wait until the table is made; one that was just asked for may not be seen at first."""
    for _ in range(READY_TRIES_MAX):
        if (yield from _status(table)) not in {None, "CREATING"}:
            return
        yield Pause(READY_EVERY_S)
    raise LedgerUnfit(f"dynamodb: table {table} is being made and is not ready yet", remedy="try again when it is")


def _status(table: str) -> Talk[str | None]:
    """Say what DynamoDB does with the table: ``ACTIVE``, ``CREATING``; None where there is none of this name."""
    try:
        described = yield from _describe(table)
    except SaidNo as error:
        if error.kind != NO_TABLE:
            raise
        return None
    return str(described.get("TableStatus", ""))


def check_talk(table: str, accept: Sequence[str]) -> Talk[tuple[str, ...]]:
    """Check that the table can keep the guarantee, by writing to it too; see ``look_talk``."""
    accepted = yield from look_talk(table, accept)
    yield from _check_condition(table)
    return accepted


def look_talk(table: str, accept: Sequence[str]) -> Talk[tuple[str, ...]]:
    """Look whether the table is such that it can; return which weaker promises were found and accepted.

    Raises:
        LedgerUnfit: it cannot.
        SaidNo: it may not be looked at; what cannot be seen counts as unfit.
    """
    try:
        described = yield from _describe(table)
        lives = yield from call_talk("DescribeTimeToLive", {"TableName": table})
    except SaidNo as error:
        if error.kind == NO_TABLE:
            raise LedgerUnfit(f"dynamodb: there is no table {table}", remedy="run 'oncegate ledger migrate'") from error
        if error.kind == "AccessDeniedException":
            raise LedgerUnfit(
                f"dynamodb: table {table}: the credentials lack rights",
                remedy="grant them: they need dynamodb:DescribeTable, DescribeTimeToLive, GetItem, PutItem, UpdateItem, "
                "DeleteItem and Query",
            ) from error
        raise
    schema = cast("list[Mapping[str, str]]", described.get("KeySchema", []))
    if {key["AttributeName"]: key["KeyType"] for key in schema} != _KEYS:
        raise LedgerUnfit(
            f"dynamodb: table {table} is no ledger: its keys must be s (hash) and id (range), both strings",
            remedy="name another table: 'oncegate ledger migrate' makes it",
        )
    lifetime = cast("Mapping[str, str]", lives.get("TimeToLiveDescription", {}))
    if lifetime.get("TimeToLiveStatus") in {"ENABLED", "ENABLING"} and lifetime.get("AttributeName") != TTL_ATTRIBUTE:
        raise LedgerUnfit(f"dynamodb: table {table}: time-to-live must be of the attribute {TTL_ATTRIBUTE}, or off")
    return _check_replicas(table, described, accept)


def _check_replicas(table: str, described: Mapping[str, Any], accept: Sequence[str]) -> tuple[str, ...]:
    if not described.get("Replicas") or described.get("MultiRegionConsistency") == "STRONG":
        return ()
    if GLOBAL_TABLE in accept:
        return (GLOBAL_TABLE,)
    raise LedgerUnfit(
        f"dynamodb: table {table} is replicated to other Regions, where the last writer wins: a link could be used "
        "twice",
        remedy=f'use a table of one Region or strong consistency, or [ledger] accept = ["{GLOBAL_TABLE}"]',
    )


def _check_condition(table: str) -> Talk[None]:
    """Write one item twice: the second must be shown the first. Its id is one that no link has."""
    link_id = bytes(8) + secrets.token_bytes(8)
    first = yield from insert_talk(table, link_id, b'{"probe":1}', FORGET_NEVER_S, token=secrets.token_urlsafe(9))
    second = yield from insert_talk(table, link_id, b'{"probe":2}', FORGET_NEVER_S, token=secrets.token_urlsafe(9))
    name = link_id.hex()
    key: Mapping[str, Mapping[str, Any]] = {"s": {"S": name[-1]}, "id": {"S": name}}
    found, _ = yield from get_item(table, key)
    yield from call_talk("DeleteItem", {"TableName": table, "Key": key})
    if not isinstance(first, Done) or not isinstance(second, Stands) or second.version != first.version or not found:
        raise LedgerUnfit(f"dynamodb: table {table} does not keep conditional writes: {first}, then {second}")


def _describe(table: str) -> Talk[Mapping[str, Any]]:
    described = yield from call_talk("DescribeTable", {"TableName": table})
    return cast("Mapping[str, Any]", described.get("Table", {}))
