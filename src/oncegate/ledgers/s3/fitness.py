"""Finds out whether a bucket can be an ``s3:`` ledger, by writing to it as claims do: twice, and at once.

Servers that speak S3 differ most in what they pass over in silence. What is not seen to be refused is not refused; a
bucket that keeps versions is tried like any other, with a record that was deleted and is written again, since there
conditions break on some servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
from collections.abc import Callable, Mapping

from oncegate.ledgers.protocol import CLOCK_SKEW_MAX_S, NO_REPAIR, LedgerAway, LedgerFacts, LedgerUnfit, Repair
from oncegate.ledgers.s3.bucket import FAULTS, Bucket, first_line

AT_ONCE = 8
BORN = "born"
LAYOUT = 1
"""How records are named; a birth without a number is of this one."""
CLOCK = "clock"

_STATUS = re.compile(r"status code: (\d{3})")


async def check(bucket: Bucket, clock: Callable[[], float]) -> LedgerFacts:
    """Check conditions and clock, and say when the ledger was born.

    Raises:
        LedgerUnfit: with words for the operator.
    """
    name = f"probe/{secrets.token_hex(8)}"
    try:
        try:
            await _check_conditions(bucket, name)
        finally:
            with contextlib.suppress(*FAULTS):
                await bucket.delete(name)
        ahead_s = await clock_ahead_s(bucket, clock())
        born_ms, repair = await _birth(bucket, int(clock() * 1000))
        return LedgerFacts(born_ms=born_ms, clock_ahead_s=ahead_s, repair=repair)
    except FAULTS as error:
        raise _as_unfit(error) from error


async def look_again(bucket: Bucket, clock: Callable[[], float]) -> LedgerFacts:
    """Read what the ledger says of itself; no condition is tried and nothing is written.

    Raises:
        LedgerUnfit: with words for the operator.
    """
    try:
        born_ms, repair = await _birth(bucket, int(clock() * 1000))
    except FAULTS as error:
        raise _as_unfit(error) from error
    return LedgerFacts(born_ms=born_ms, repair=repair)


async def clock_ahead_s(bucket: Bucket, now_s: float) -> float:
    """Say how far the server's clock is ahead, by the date that it gives an object.

    Raises:
        LedgerUnfit: by more than ``CLOCK_SKEW_MAX_S``, either way.
    """
    await bucket.overwrite(CLOCK, b"now")
    meta = await bucket.head(CLOCK)
    if meta is None:
        raise LedgerUnfit("s3: an object that was written is not there: the server gives no consistent reads")
    ahead_s = meta["last_modified"].timestamp() - now_s
    if abs(ahead_s) > CLOCK_SKEW_MAX_S:
        raise LedgerUnfit(
            f"s3: the server's clock is {ahead_s:+.0f} s from this one", remedy="set this machine's clock (NTP)"
        )
    return ahead_s if abs(ahead_s) > 2 else 0.0  # dates of objects have whole seconds


async def _check_conditions(bucket: Bucket, name: str) -> None:
    for what in ("an object", "an object that was deleted"):
        won = [etag for etag in await _create_at_once(bucket, name) if etag is not None]
        if not won and await bucket.get(name) is None:  # 404 for a bucket that is not there looks like a lost race
            raise LedgerUnfit(
                "s3: no such bucket, or nothing can be written to it", remedy="make it, or correct [ledger] url"
            )
        _must(len(won) == 1, f"of {AT_ONCE} writers of {what} that must not stand {len(won)} won (If-None-Match)")
        _must(await bucket.create(name, b"again") is None, "a write overwrote what stood there (If-None-Match)")
        won = [etag for etag in await _replace_at_once(bucket, name, won[0]) if etag is not None]
        _must(len(won) == 1, f"of {AT_ONCE} writers that replace one version {len(won)} won (If-Match)")
        found = await bucket.get(name)
        _must(found is not None and found.etag == won[0], "a read does not show what was just written")
        await bucket.delete(name)
        _must(await bucket.get(name) is None, "what was deleted is still there")
        _must(await bucket.replace(name, b"none", won[0]) is None, "a version that was deleted was replaced (If-Match)")


async def _create_at_once(bucket: Bucket, name: str) -> list[str | None]:
    return await asyncio.gather(*(bucket.create(name, b"create %d" % number) for number in range(AT_ONCE)))


async def _replace_at_once(bucket: Bucket, name: str, etag: str) -> list[str | None]:
    return await asyncio.gather(*(bucket.replace(name, b"replace %d" % number, etag) for number in range(AT_ONCE)))


def _must(holds: object, what: str) -> None:
    if not holds:
        raise LedgerUnfit(
            f"s3: this server does not keep conditional writes: {what}. Two viewers could use one link",
            remedy="take a server that does, or another kind of ledger",
        )


def born_text(born_ms: int, repair: Repair) -> bytes:
    """What the object holds that says when the ledger was born, how records are named, and what the last repair left."""
    numbers = {"ms": born_ms, "layout": LAYOUT, "refused": repair.refused_before_ms, "plain": repair.plain_until_s}
    return json.dumps(numbers).encode()


async def _birth(bucket: Bucket, now_ms: int) -> tuple[int, Repair]:
    """Read what the ledger says of itself; where nobody said so before, it is born now."""
    found = await bucket.get(BORN)
    if found is None:
        if await bucket.create(BORN, born_text(now_ms, NO_REPAIR)) is not None:
            return now_ms, NO_REPAIR
        found = await bucket.get(BORN)
    if found is None:
        return now_ms, NO_REPAIR
    told: Mapping[str, int] = json.loads(found.data)
    if (layout := told.get("layout", LAYOUT)) != LAYOUT:
        what = f"s3: the ledger has layout {layout}, this oncegate knows {LAYOUT}"
        raise LedgerUnfit(what, remedy="run the newer oncegate that made it")
    return int(told["ms"]), Repair(int(told.get("refused", 0)), int(told.get("plain", -1)))


def _as_unfit(error: Exception) -> LedgerUnfit:
    """Say what an error of the driver means for the ledger, and what to do."""
    found = _STATUS.search(str(error))
    match found[1] if found else type(error).__name__:
        case "501":
            what, remedy = "it answers 501 to conditional writes: this server has none", "take another server"
        case "401" | "403" | "PermissionDeniedError" | "UnauthenticatedError":
            what, remedy = (
                "the credentials lack rights",
                "the credentials must be allowed to get, put, delete and list objects",
            )
        case "404":
            what, remedy = "there is no such bucket", "make it, or correct [ledger] url"
        case _:
            what = f"s3: the bucket cannot be used: it does not answer as it should ({first_line(error)})"
            return LedgerAway(what, remedy="check endpoint, allow_http and the network")
    return LedgerUnfit(f"s3: the bucket cannot be used: {what} ({first_line(error)})", remedy=remedy)
