"""What is said to DynamoDB: conditional writes of one item per link, as talks that the gateway and the edge both drive.

A claim is one conditional PutItem. Every write carries a token drawn for it, which becomes the version: so a repeat
after a lost answer recognises its own item, and no version ever returns. Reads are consistent ones.

``items.py`` describes the items.

**Forgetting.** A record may have been deleted for two reasons: by a sweep, whose limit was stored before and was at
most ``CLOCK_SKEW_MAX_S`` ahead of the server's clock; or by DynamoDB's time-to-live, which uses that clock too. So after
its write a claim compares the record's ``forget_after_s`` with the ``Date`` of the answer. If it is well above, no
record of this link can have been deleted before the write. Otherwise the claim reads the stored limit, after its write,
and answers ``Swept`` if the limit or the clock has reached ``forget_after_s``. An ordinary record lives a day longer
than its link, so this read is rare, and a claim is one request. Standard library only.

Source: Amazon DynamoDB Developer Guide, condition expressions, read consistency, TTL; docs/aws-protocol.md 2.5.7.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from oncegate.aws_requests.flow import HttpAnswer, HttpRequest, NoAnswer, Pause, Talk
from oncegate.ledgers.dynamodb.items import (
    BORN_KEY,
    SWEPT_KEY,
    Born,
    Item,
    born_item,
    born_of,
    id_of,
    item_of,
    key_of,
    number_of,
    put_document,
    query_document,
    row_of,
    stands_of,
    text_of,
)
from oncegate.ledgers.protocol import (
    CLOCK_SKEW_MAX_S,
    NO_REPAIR,
    Done,
    Gone,
    InsertOutcome,
    ReadOutcome,
    Repair,
    ReplaceOutcome,
    Row,
    SweepState,
    Swept,
    Unknown,
)

ATTEMPTS_MAX = 6
PAUSE_FIRST_S = 0.05
DATE_SLACK_S = 60
"""Between the clocks of the server's own machines."""

NO_TABLE = "ResourceNotFoundException"
_BUSY = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "InternalServerError",
        "ServiceUnavailable",
        "TransactionConflictException",
    }
)


class SaidNo(Exception):
    """DynamoDB said no, and would again: permissions, a table that is not there. The text is for the log.

    Attributes:
        kind: the name that DynamoDB gives it.
    """

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(f"{kind}: {words}")
        self.kind = kind


def unknown_of(error: NoAnswer | SaidNo) -> Unknown:
    """What the caller is told whose write or read came to no answer."""
    is_gone = isinstance(error, SaidNo) and error.kind == NO_TABLE
    return Unknown(str(error), "exchanged" if is_gone else "lost")


class Reply(NamedTuple):
    """An answer that can be worked with: done, or the condition did not hold."""

    is_done: bool
    document: Mapping[str, Any]
    date_s: int | None


def insert_talk(
    table: str, link_id: bytes, record: bytes, forget_after_s: int, *, token: str, swept_until_s: int = -1
) -> Talk[InsertOutcome]:
    """Store a record where none is stored; see ``Ledger.insert``.

    Args:
        table: name of the table.
        link_id: 16 bytes.
        record: UTF-8.
        forget_after_s: until then it must live.
        token: drawn for this call; becomes the version.
        swept_until_s: a limit that is known to be stored; spares a write that would be refused.
    """
    if forget_after_s <= swept_until_s:
        return (yield from _refuse_or_show(table, link_id, swept_until_s))
    item = item_of(link_id, record, forget_after_s, token)
    try:
        for _ in range(ATTEMPTS_MAX):
            reply = yield from _call("PutItem", put_document(table, item, "attribute_not_exists(id)", {}))
            stands = item if reply.is_done else (yield from _standing(table, link_id, reply))
            if stands is None:
                continue  # it stood, and was swept before it could be read
            if (yield from _may_be_forgotten(table, number_of(stands, "f"), reply.date_s)):
                return Swept()
            return Done(token) if text_of(stands, "v") == token else stands_of(stands)
    except (NoAnswer, SaidNo) as error:
        return unknown_of(error)
    return Unknown("the record came and went")


def replace_talk(
    table: str, link_id: bytes, version: str, record: bytes, forget_after_s: int, *, token: str
) -> Talk[ReplaceOutcome]:
    """Store a record in place of the one with this version; see ``Ledger.replace`` and ``insert_talk``."""
    item = item_of(link_id, record, forget_after_s, token)
    try:
        reply = yield from _call("PutItem", put_document(table, item, "v = :v", {":v": {"S": version}}))
        if reply.is_done:
            return Done(token)
        stands = yield from _standing(table, link_id, reply)
    except (NoAnswer, SaidNo) as error:
        return unknown_of(error)
    if stands is None:
        return Gone()
    return Done(token) if text_of(stands, "v") == token else stands_of(stands)


def read_talk(table: str, link_id: bytes) -> Talk[ReadOutcome]:
    """Return the stored record, by a consistent read; see ``Ledger.read``."""
    try:
        item, _ = yield from get_item(table, key_of(link_id))
    except (NoAnswer, SaidNo) as error:
        return unknown_of(error)
    return Gone() if item is None else stands_of(item)


class Page(NamedTuple):
    """Records of one shard, in order of id, and whether there are more."""

    rows: Sequence[Row]
    has_more: bool


def page_talk(table: str, shard: str, after: bytes, limit: int) -> Talk[Page]:
    """List records of one shard whose id is above ``after``.

    Raises:
        NoAnswer: there was none.
        SaidNo: DynamoDB says no.
    """
    reply = yield from _call("Query", query_document(table, shard, after, limit))
    items = cast("list[Item]", reply.document.get("Items", []))
    return Page([row_of(item) for item in items], "LastEvaluatedKey" in reply.document)


def sweep_state_talk(table: str) -> Talk[SweepState]:
    """Read what is kept of the sweeps so far."""
    item, _ = yield from get_item(table, SWEPT_KEY)
    if item is None:
        return SweepState()
    return SweepState.of_text(number_of(item, "u"), text_of(item, "t") if "t" in item else "")


def keep_sweep_talk(table: str, before: SweepState, after: SweepState) -> Talk[bool]:
    """Store what a try to sweep leaves behind, unless something else than ``before`` is stored.

    Raises:
        NoAnswer: it may or may not be stored.
        SaidNo: DynamoDB says no.
    """
    new = {**SWEPT_KEY, "u": {"N": str(after.swept_until_s)}, "t": {"S": after.tries_text}}
    values = {":u": {"N": str(before.swept_until_s)}, ":t": {"S": before.tries_text}}
    # an earlier version stores no tries
    condition = "attribute_not_exists(id) OR (u = :u AND (attribute_not_exists(t) OR t = :t))"
    return (yield from _call("PutItem", put_document(table, new, condition, values))).is_done


def rebirth_talk(table: str, born_ms: int, repair: Repair, swept_until_s: int) -> Talk[None]:
    """Set birth, repair and limit in one transaction; see ``Repairs.rebirth``.

    Raises:
        NoAnswer: it may or may not be stored.
        SaidNo: DynamoDB says no.
    """
    born = born_item(born_ms, repair)
    swept = {**SWEPT_KEY, "u": {"N": str(swept_until_s)}, "t": {"S": ""}}
    puts = [{"Put": {"TableName": table, "Item": item}} for item in (born, swept)]
    yield from _call("TransactWriteItems", {"TransactItems": puts})


def swept_until_talk(table: str) -> Talk[int]:
    """Read the stored limit; -1 where none is."""
    item, _ = yield from get_item(table, SWEPT_KEY)
    return -1 if item is None else number_of(item, "u")


def sweep_shard_talk(table: str, shard: str, now_s: int) -> Talk[int]:
    """Delete the records of one shard that are due, one condition each: one may have been replaced meanwhile."""
    after, forgotten, has_more = b"", 0, True
    while has_more:
        document = {**query_document(table, shard, after, 500), "ProjectionExpression": "id, f"}
        reply = yield from _call("Query", document)
        items = cast("list[Item]", reply.document.get("Items", []))
        for item in items:
            if number_of(item, "f") <= now_s:
                deleted = yield from _call(
                    "DeleteItem",
                    {
                        "TableName": table,
                        "Key": key_of(id_of(item)),
                        "ConditionExpression": "f <= :now",
                        "ExpressionAttributeValues": {":now": {"N": str(now_s)}},
                    },
                )
                forgotten += deleted.is_done
        has_more = "LastEvaluatedKey" in reply.document
        if items:
            after = id_of(items[-1])
    return forgotten


def born_talk(table: str, now_ms: int) -> Talk[tuple[Born, int | None]]:
    """Read what the ledger says of itself, and the server's ``Date``; where nobody said so before, it is born now."""
    item, date_s = yield from get_item(table, BORN_KEY)
    if item is None:
        born = born_item(now_ms, NO_REPAIR)
        reply = yield from _call("PutItem", put_document(table, born, "attribute_not_exists(id)", {}))
        item, date_s = (born, reply.date_s) if reply.is_done else (yield from get_item(table, BORN_KEY))
    return born_of(item or born_item(now_ms, NO_REPAIR)), date_s


def get_item(table: str, key: Item) -> Talk[tuple[Item | None, int | None]]:
    """Read one item consistently, and the server's ``Date``."""
    reply = yield from _call("GetItem", {"TableName": table, "Key": key, "ConsistentRead": True})
    return cast("Item | None", reply.document.get("Item")), reply.date_s


def call_talk(operation: str, document: Mapping[str, Any]) -> Talk[Mapping[str, Any]]:
    """Make any other call, of a probe or a migration."""
    return (yield from _call(operation, document)).document


def _call(operation: str, document: Mapping[str, Any]) -> Talk[Reply]:
    """Make one call, again while DynamoDB is busy or does not answer: all calls here may be made twice."""
    request = HttpRequest(
        {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"DynamoDB_20120810.{operation}"},
        json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(),
    )
    pause_s, last = 0.0, ""
    for _ in range(ATTEMPTS_MAX):
        if pause_s:
            yield Pause(pause_s)
        pause_s = 2 * pause_s or PAUSE_FIRST_S
        try:
            answer = yield (dataclasses.replace(request, is_repeat=True) if last else request)
        except NoAnswer as error:
            # A kept-alive connection that the server closed is the usual reason: the first repeat is at once.
            last, pause_s = str(error), 0.0 if not last else pause_s
            continue
        reply = _reply_of(answer)
        if reply is not None:
            return reply
        last = f"DynamoDB answered {answer.status if answer else 'nothing'}"
    raise NoAnswer(f"{operation}: {last}, {ATTEMPTS_MAX} times")


def _reply_of(answer: HttpAnswer | None) -> Reply | None:
    """Read an answer; None: it may be asked again."""
    if answer is None or answer.status >= 500:
        return None
    try:
        document: Any = json.loads(answer.body or b"{}")
    except ValueError:
        return None
    if answer.status == 200 and isinstance(document, dict):
        return Reply(is_done=True, document=cast("Mapping[str, Any]", document), date_s=answer.date_s)
    known = cast("Mapping[str, Any]", document if isinstance(document, dict) else {})
    kind = str(known.get("__type", "")).rpartition("#")[2]
    if kind == "ConditionalCheckFailedException":
        return Reply(is_done=False, document=known, date_s=answer.date_s)
    if kind in _BUSY or answer.status == 429:
        return None
    raise SaidNo(kind or str(answer.status), str(known.get("message", known.get("Message", "")))[:200])


def _standing(table: str, link_id: bytes, reply: Reply) -> Talk[Item | None]:
    """The record that a write met: from the answer, or read where a server does not put it there."""
    shown = cast("Item | None", reply.document.get("Item"))
    if shown:
        return shown
    item, _ = yield from get_item(table, key_of(link_id))
    return item


def _may_be_forgotten(table: str, forget_after_s: int, date_s: int | None) -> Talk[bool]:
    """Whether a record of this time may have been forgotten before; asked after a write."""
    if date_s is None:
        raise NoAnswer("an answer without a Date: whether the record may have been forgotten is unknown")
    if forget_after_s > date_s + CLOCK_SKEW_MAX_S + DATE_SLACK_S:
        return False
    limit_s = yield from swept_until_talk(table)
    return forget_after_s <= max(limit_s, date_s)


def _refuse_or_show(table: str, link_id: bytes, swept_until_s: int) -> Talk[InsertOutcome]:
    try:
        item, _ = yield from get_item(table, key_of(link_id))
    except (NoAnswer, SaidNo) as error:
        return unknown_of(error)
    if item is None or number_of(item, "f") <= swept_until_s:
        return Swept()
    return stands_of(item)
