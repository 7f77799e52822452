"""The statements of the ledger ``postgresql:``: one for all inserts that wait, one for all replaces, one for all reads.

Each says in the same answer what stands where nothing was written. Rules that they keep, and why:

- Keys come sorted. Two gateways whose batches lock the same keys in different order deadlock, 37 of 150 pairs did.
- ``synchronous_commit`` is set in the statement, for its own transaction: it is read when that commits. A setting of the
  session would be lost in pgbouncer, and one of the role or the database would be somebody else's promise.
- A sweep first raises its limit under an exclusive advisory lock. A batch takes the same lock shared and only then looks
  at the limit; so either its records are there before the sweep deletes, or it sees the new limit.
- The ledger's birth is compared in the statement: a ledger that was exchanged meanwhile takes no write.
- A row that another transaction committed after the statement began is in neither half of the answer; it is read again.
- Versions are drawn at random, 63 bits: no version is given out twice, neither after a sweep nor after an older state was
  restored.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from oncegate.ledgers.birth import Birth
from oncegate.ledgers.postgresql.connection import Argument, DriverRow, Fetch, LedgerFault
from oncegate.ledgers.protocol import (
    Done,
    Gone,
    Insert,
    InsertOutcome,
    ReadOutcome,
    Replace,
    ReplaceOutcome,
    Stands,
    Swept,
    Unknown,
    Version,
)

_GUARD = """
WITH locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared({lock_class}, '{schema}.oncegate_records'::regclass::oid::int4)::text AS held,
           set_config('synchronous_commit', CASE current_setting('synchronous_commit')
                      WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true) AS durable
), guard AS MATERIALIZED (
    SELECT CASE WHEN locked.held IS NOT NULL AND locked.durable <> ''
           THEN pg_sequence_last_value('{schema}.oncegate_swept_until'::regclass) END AS swept_until_s
    FROM locked CROSS JOIN {schema}.oncegate_meta AS meta WHERE meta.born_ms = $1
)"""
_INSERT = (
    _GUARD  # noqa: S608  filled in with a plain identifier
    + """, asked AS MATERIALIZED (
    SELECT * FROM unnest($2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[])
        AS a (link_id, record, forget_after_s, version)
), written AS (
    INSERT INTO {schema}.oncegate_records (link_id, record, forget_after_s, version)
    SELECT a.link_id, a.record, a.forget_after_s, a.version
    FROM asked AS a CROSS JOIN guard WHERE a.forget_after_s > guard.swept_until_s ORDER BY a.link_id
    ON CONFLICT (link_id) DO NOTHING RETURNING link_id
)
SELECT a.link_id, written.link_id IS NOT NULL AS is_written, stands.record, stands.version, guard.swept_until_s
FROM asked AS a CROSS JOIN guard LEFT JOIN written USING (link_id)
LEFT JOIN {schema}.oncegate_records AS stands USING (link_id)
"""
)
_REPLACE = (
    _GUARD  # noqa: S608  filled in with a plain identifier
    + """, asked AS MATERIALIZED (
    SELECT * FROM unnest($2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[])
        AS a (link_id, record, forget_after_s, version, old_version)
), held AS MATERIALIZED (
    SELECT r.link_id FROM {schema}.oncegate_records AS r WHERE r.link_id = ANY($2::bytea[])
    ORDER BY r.link_id FOR UPDATE
), written AS (
    UPDATE {schema}.oncegate_records AS r
    SET record = a.record, forget_after_s = a.forget_after_s, version = a.version
    FROM held JOIN asked AS a USING (link_id) CROSS JOIN guard
    WHERE r.link_id = held.link_id AND r.version = a.old_version AND guard.swept_until_s IS NOT NULL
    RETURNING r.link_id
)
SELECT a.link_id, written.link_id IS NOT NULL AS is_written, stands.record, stands.version, guard.swept_until_s
FROM asked AS a CROSS JOIN guard LEFT JOIN written USING (link_id)
LEFT JOIN {schema}.oncegate_records AS stands USING (link_id)
"""
)
_READ = """
SELECT stands.link_id, stands.record, stands.version
FROM {schema}.oncegate_meta AS meta LEFT JOIN {schema}.oncegate_records AS stands ON stands.link_id = ANY($2::bytea[])
WHERE meta.born_ms = $1
"""
_EXCHANGED = "another ledger stands where this process began with one"
LOCK_CLASS = 0x6F6E6365  # "once" in ASCII

_Outcome = TypeVar("_Outcome")


class PostgresqlBatches:
    """Carries out whole batches; see ``server_ledger.Sends``.

    Args:
        schema: of the tables.
        birth: of the ledger that this process began with.
        inserting: runs the inserts, on a connection of their own.
        replacing: runs the replaces.
        reading: runs the reads.
    """

    def __init__(self, schema: str, birth: Birth, *, inserting: Fetch, replacing: Fetch, reading: Fetch) -> None:
        self._insert, self._replace, self._read = (
            text.format(schema=schema, lock_class=LOCK_CLASS) for text in (_INSERT, _REPLACE, _READ)
        )
        self._birth = birth
        self._inserting, self._replacing, self._reading = inserting, replacing, reading

    async def insert(self, asks: Sequence[Insert]) -> Sequence[InsertOutcome]:
        """Insert them all, in order of id."""
        drawn = _fresh_versions(asks)
        ordered = sorted(asks, key=_link_id)

        def decide(ask: Insert, row: DriverRow) -> InsertOutcome | None:
            if row["is_written"] is True:
                return Done(drawn[ask.link_id])
            if row["version"] is not None:
                return _stands(row)
            return Swept() if ask.forget_after_s <= _whole(row["swept_until_s"]) else None

        columns = _columns(ordered, drawn)
        return await self._settle(self._inserting, self._insert, columns, asks, decide, _still_standing)

    async def replace(self, asks: Sequence[Replace]) -> Sequence[ReplaceOutcome]:
        """Replace them all, in order of id."""
        drawn = _fresh_versions(asks)
        ordered = sorted(asks, key=_link_id)

        def decide(ask: Replace, row: DriverRow) -> ReplaceOutcome | None:
            if row["is_written"] is True:
                return Done(drawn[ask.link_id])
            if row["version"] is None:
                return Gone()
            # The version that was named, and yet not replaced: it was exchanged after the statement began.
            return None if row["version"] == ask.version else _stands(row)

        columns = [*_columns(ordered, drawn), [_own_version(ask.version) for ask in ordered]]
        return await self._settle(self._replacing, self._replace, columns, asks, decide, _as_read)

    async def read(self, asks: Sequence[bytes]) -> Sequence[ReadOutcome]:
        """Read them all."""
        return await self._read_by(self._reading, asks)

    async def _read_by(self, fetch: Fetch, asks: Sequence[bytes]) -> Sequence[ReadOutcome]:
        try:
            found = await self._find(fetch, asks)
        except LedgerFault as fault:
            return [fault.outcome] * len(asks)
        return [found.get(link_id, Gone()) for link_id in asks]

    async def _settle(
        self,
        fetch: Fetch,
        statement: str,
        columns: Sequence[Argument],
        asks: Sequence[_Ask],
        decide: Callable[[_Ask, DriverRow], _Outcome | None],
        read_again: Callable[[Stands | Gone], _Outcome | Unknown],
    ) -> Sequence[_Outcome | Unknown]:
        try:
            rows = {row["link_id"]: row for row in await fetch(statement, [await self._born_ms(fetch), *columns])}
            if len(rows) != len(asks):
                raise LedgerFault(_EXCHANGED, kind="exchanged")
            outcomes = [decide(ask, rows[ask.link_id]) for ask in asks]
        except LedgerFault as fault:
            return [fault.outcome] * len(asks)
        unseen = [ask.link_id for ask, outcome in zip(asks, outcomes, strict=True) if outcome is None]
        again = dict(zip(unseen, await self._read_by(fetch, unseen), strict=True)) if unseen else {}
        settled: list[_Outcome | Unknown] = []
        for ask, outcome in zip(asks, outcomes, strict=True):
            if outcome is not None:
                settled.append(outcome)
            else:
                what = again[ask.link_id]
                settled.append(what if isinstance(what, Unknown) else read_again(what))
        return settled

    async def _find(self, fetch: Fetch, link_ids: Sequence[bytes]) -> Mapping[bytes, Stands]:
        rows = await fetch(self._read, [await self._born_ms(fetch), link_ids])
        if not rows:
            raise LedgerFault(_EXCHANGED, kind="exchanged")
        return {row["link_id"]: _stands(row) for row in rows if isinstance(row["link_id"], bytes)}

    async def _born_ms(self, fetch: Fetch) -> int:
        return await self._birth.known_ms(lambda: fetch("SELECT 1"))


_Ask = TypeVar("_Ask", Insert, Replace)


def _columns(ordered: Sequence[Insert] | Sequence[Replace], drawn: Mapping[bytes, int]) -> Sequence[Argument]:
    return [
        [ask.link_id for ask in ordered],
        [ask.record for ask in ordered],
        [ask.forget_after_s for ask in ordered],
        [drawn[ask.link_id] for ask in ordered],
    ]


def _link_id(ask: Insert | Replace) -> bytes:
    return ask.link_id


def _fresh_versions(asks: Sequence[Insert] | Sequence[Replace]) -> Mapping[bytes, int]:
    """Draw a version for each, together: a call of the system for each would cost more than its part of the statement."""
    drawn = struct.unpack(f">{len(asks)}Q", secrets.token_bytes(8 * len(asks)))
    return {ask.link_id: number >> 1 for ask, number in zip(asks, drawn, strict=True)}


def _own_version(version: Version) -> int:
    """Return a version as it may stand here; -1, which never does, for one of another kind of ledger."""
    return version if isinstance(version, int) and 0 <= version < 2**63 else -1


def _stands(row: DriverRow) -> Stands:
    record = row["record"]
    if not isinstance(record, bytes):
        raise LedgerFault("a record that is no bytes")
    return Stands(record, _whole(row["version"]))


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise LedgerFault(f"a number was expected where {type(value).__name__} stands: may this role use the sequence?")
    return value


def _still_standing(what: Stands | Gone) -> InsertOutcome:
    """What stood against an insert, unless it was swept meanwhile."""
    return what if isinstance(what, Stands) else Unknown("what stood there was forgotten meanwhile")


def _as_read(what: Stands | Gone) -> ReplaceOutcome:
    return what
