"""Tries on a server what the ledger's statements rely on, as claims do: twice, and at once, over two connections.

Engines that speak PostgreSQL's protocol differ in what they only pass over: locks that do nothing, sequences that are
not atomic, reads that are late. They cannot be told by their version, which they copy. Takes some tens of milliseconds;
what is written is deleted again, under an id that no link has.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

from oncegate.ledgers.postgresql.batches import LOCK_CLASS, PostgresqlBatches
from oncegate.ledgers.postgresql.connection import Fetch
from oncegate.ledgers.protocol import (
    FORGET_MARGIN_S,
    Done,
    Gone,
    Insert,
    InsertOutcome,
    LedgerAway,
    LedgerUnfit,
    Replace,
    Stands,
    Unknown,
)

AT_ONCE = 4
"""Inserts of one id on each of the two connections."""
HELD_S = (0.04, 0.3, 2.0)
"""For how long a lock is held, try by try: on a busy machine the other connection may be late for a short one."""

_HOLD = "SELECT pg_advisory_xact_lock($1, $2)::text AS held, pg_sleep($3)::text AS slept"
_TRY = "SELECT pg_try_advisory_xact_lock_shared($1, $2) AS got"
_DELETE = "DELETE FROM {schema}.oncegate_records WHERE link_id = $1"


class Trial:
    """Two connections to one ledger.

    Args:
        schema: of the tables.
        fetches: run one statement, each on a connection of its own.
        batches: the ledger's own statements on each of them.
    """

    def __init__(self, schema: str, fetches: Sequence[Fetch], batches: Sequence[PostgresqlBatches]) -> None:
        self._delete = _DELETE.format(schema=schema)
        self._one, self._other = fetches
        self._batches, self._others = batches
        self._link_id = bytes(8) + secrets.token_bytes(8)
        self._forget_after_s = int(time.time()) + FORGET_MARGIN_S

    async def run(self) -> None:
        """Try everything.

        Raises:
            LedgerUnfit: two viewers could use one link here.
            LedgerAway: no answer.
            LedgerFault: no answer.
        """
        await self._try_lock()
        try:
            version = await self._try_inserts()
            await self._try_replaces(version)
        finally:
            await self._one(self._delete, [self._link_id])
        _must(await self._others.read([self._link_id]) == [Gone()], "what was deleted is still read")

    async def _try_lock(self) -> None:
        """While one holds a lock the other must not get it; afterwards it must."""
        for held_s in HELD_S:
            key = secrets.randbelow(2**31)
            holding = asyncio.ensure_future(self._one(_HOLD, [LOCK_CLASS, key, held_s]))
            was_refused = False
            while not was_refused and not holding.done():
                was_refused = (await self._other(_TRY, [LOCK_CLASS, key]))[0]["got"] is False
            await holding
            if was_refused:
                break
        else:
            raise _unfit("a lock that one connection held did not keep the other out")
        _must((await self._other(_TRY, [LOCK_CLASS, key]))[0]["got"] is True, "a lock that was let go is still held")

    async def _try_inserts(self) -> int | str:
        def ask(number: int) -> Insert:
            return Insert(self._link_id, b'{"probe":%d}' % number, self._forget_after_s)

        asks = [batches.insert([ask(number)]) for batches in (self._batches, self._others) for number in range(AT_ONCE)]
        told = [_known(outcome) for (outcome,) in await asyncio.gather(*asks)]
        won = [outcome.version for outcome in told if isinstance(outcome, Done)]
        _must(len(won) == 1, f"of {len(told)} writers of one record that must not stand {len(won)} won")
        shown = {outcome.version for outcome in told if isinstance(outcome, Stands)}
        _must(shown == set(won), "those that lost were shown another record than the one that won")
        return won[0]

    async def _try_replaces(self, version: int | str) -> None:
        def ask(record: bytes) -> Replace:
            return Replace(self._link_id, version, record, self._forget_after_s)

        (first,) = await self._others.replace([ask(b'{"probe":"a"}')])
        first = _known(first)
        if not isinstance(first, Done):
            raise _unfit("a record could not be replaced")
        (stale,) = await self._batches.replace([ask(b'{"probe":"b"}')])
        _must(
            _known(stale) == Stands(b'{"probe":"a"}', first.version), "a version that was replaced was replaced again"
        )
        (read,) = await self._batches.read([self._link_id])
        _must(
            _known(read) == Stands(b'{"probe":"a"}', first.version), "one connection does not see what the other wrote"
        )


def _known(outcome: InsertOutcome | Gone) -> Done | Stands | Gone:
    if isinstance(outcome, Unknown):
        raise LedgerAway(f"postgresql: the server did not answer while it was tried: {outcome.why}")
    if isinstance(outcome, Done | Stands | Gone):
        return outcome
    raise _unfit("a record with a future time was refused as long over")


def _must(holds: object, what: str) -> None:
    if not holds:
        raise _unfit(what)


def _unfit(what: str) -> LedgerUnfit:
    return LedgerUnfit(
        f"postgresql: this server does not do what the ledger relies on: {what}. Two viewers could use one link",
        remedy="use PostgreSQL itself: engines that only speak its protocol may keep no such promises",
    )
