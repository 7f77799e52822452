"""Lists, sweeping and events of the ledger ``postgresql:``; on a connection of their own, so that no claim waits."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import cast

from oncegate.ledgers.postgresql.batches import LOCK_CLASS
from oncegate.ledgers.postgresql.connection import DriverRow, Fetch, LedgerFault
from oncegate.ledgers.protocol import CLOCK_SKEW_MAX_S, Event, LedgerUnfit, LinkEvents, Repair, Row, SweepState
from oncegate.ledgers.scanning import scan_in_steps
from oncegate.ledgers.server_ledger import EventFaults
from oncegate.ledgers.sweeping import Pace, SweepsByTries

STEP_ROWS = 500
EVENTS_KEPT_S = 90 * 86_400
EVENTS_STEP = 2_000

_SCAN = """
SELECT link_id, record, version, forget_after_s FROM {schema}.oncegate_records
WHERE link_id > $1 ORDER BY link_id LIMIT $2
"""
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::bigint AS now_s"
_READ_SWEEP = """
SELECT pg_sequence_last_value('{schema}.oncegate_swept_until'::regclass) AS limit_s, tries FROM {schema}.oncegate_meta
"""
# The lock is granted when every batch under way has ended, and makes later batches wait; see batches.py.
_LOCKED = """
WITH locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock({lock_class}, '{schema}.oncegate_records'::regclass::oid::int4)::text AS held,
           set_config('synchronous_commit', CASE current_setting('synchronous_commit')
                      WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true) AS durable
)"""
_KEEP_SWEEP = (
    _LOCKED  # noqa: S608  filled in with a plain identifier
    + """, kept AS (
    UPDATE {schema}.oncegate_meta SET tries = $4 FROM locked
    WHERE locked.held IS NOT NULL AND locked.durable <> '' AND tries = $2
      AND pg_sequence_last_value('{schema}.oncegate_swept_until'::regclass) = $1 RETURNING true
)
SELECT setval('{schema}.oncegate_swept_until'::regclass, $3, true) AS limit_s FROM kept
"""
)
_REBIRTH = (
    _LOCKED  # noqa: S608  filled in with a plain identifier
    + """, reborn AS (
    UPDATE {schema}.oncegate_meta SET born_ms = $1, refused_before_ms = $2, plain_until_s = $3, tries = '' FROM locked
    WHERE locked.held IS NOT NULL AND locked.durable <> '' RETURNING true
)
SELECT setval('{schema}.oncegate_swept_until'::regclass, $4, true) AS limit_s FROM reborn
"""
)
# A row that another transaction has locked is being replaced: the next sweep looks at it again.
_FORGET = """
WITH due AS MATERIALIZED (
    SELECT link_id FROM {schema}.oncegate_records WHERE forget_after_s <= $1
    ORDER BY forget_after_s LIMIT $2 FOR UPDATE SKIP LOCKED
)
DELETE FROM {schema}.oncegate_records AS r USING due WHERE r.link_id = due.link_id AND r.forget_after_s <= $1
RETURNING 1 AS one
"""
# Numbers must rise in the order of commits; otherwise a reader that pages by number would miss late ones. A crash may
# lose the last events: they are forced to the disk with the next claim, not by themselves.
_APPEND = """
WITH locked AS MATERIALIZED (
    SELECT pg_advisory_xact_lock({lock_class}, '{schema}.oncegate_events'::regclass::oid::int4)::text AS held,
           set_config('synchronous_commit', 'off', true) AS durable
)
INSERT INTO {schema}.oncegate_events (at_s, link_id, event)
SELECT a.at_s, a.link_id, a.event FROM locked CROSS JOIN
    ROWS FROM (unnest($1::bigint[]), unnest($2::text[]), unnest($3::text[])) WITH ORDINALITY AS a (at_s, link_id, event, n)
WHERE locked.held IS NOT NULL AND locked.durable <> '' ORDER BY a.n
"""
_EVENTS = "SELECT number, event FROM {schema}.oncegate_events WHERE number > $1 ORDER BY number LIMIT $2"
_EVENTS_OF_LINK = """
SELECT number, event FROM {schema}.oncegate_events WHERE link_id = $3 AND number > $1 ORDER BY number LIMIT $2
"""
_NEWEST_OF_LINK = """
SELECT event FROM (
    SELECT number, event, row_number() OVER (PARTITION BY event::json->>'event' ORDER BY number DESC) AS place
    FROM {schema}.oncegate_events WHERE link_id = $1
) AS placed WHERE place <= $2 ORDER BY number
"""
_COUNTS_OF_LINK = """
SELECT event::json->>'event' AS name, sum(coalesce((event::json->>'count')::bigint, 1))::bigint AS count
FROM {schema}.oncegate_events WHERE link_id = $1 GROUP BY 1
"""
_DROP_EVENTS = """
WITH oldest AS MATERIALIZED (SELECT number, at_s FROM {schema}.oncegate_events ORDER BY number LIMIT $2)
DELETE FROM {schema}.oncegate_events WHERE number IN (SELECT number FROM oldest WHERE at_s < $1) RETURNING number
"""


class PostgresqlUpkeep(SweepsByTries):
    """The part of the ledger that no claim waits for: lists, sweeping, events.

    Args:
        schema: of the tables.
        fetch: runs one statement, on a connection of its own.
        is_waiting: whether claims wait for the ledger.
    """

    def __init__(self, schema: str, fetch: Fetch, *, is_waiting: Callable[[], bool]) -> None:
        self._schema = schema
        self._aside = fetch
        self._is_waiting = is_waiting
        self._event_faults = EventFaults("postgresql")
        self._is_closed = False  # set by ServerLedger.aclose

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List up to ``limit`` records whose id is above ``after``, in order of id; see ``Scans.scan``.

        Raises:
            OSError: the ledger cannot be read.
        """
        return await scan_in_steps(self._page, after, limit, step_rows=STEP_ROWS)

    async def sweep_state(self) -> SweepState:
        """Return what is kept of the sweeps so far; see ``Sweeps.sweep_state``."""
        row = (await self._ask(_READ_SWEEP))[0]
        limit_s, tries = row["limit_s"], row["tries"]
        if not isinstance(limit_s, int) or not isinstance(tries, str):
            raise OSError("postgresql: the limit of the sweep cannot be read")
        return SweepState.of_text(limit_s, tries)

    async def keep_sweep(self, before: SweepState, after: SweepState) -> bool:
        """Store what a try leaves behind; see ``Sweeps.keep_sweep``."""
        told = [before.swept_until_s, before.tries_text, after.swept_until_s, after.tries_text]
        return bool(await self._ask(_KEEP_SWEEP, told))

    async def rebirth(self, born_ms: int, repair: Repair, swept_until_s: int) -> None:
        """Set birth, repair and limit; see ``Repairs.rebirth``. Needs the rights of the role that migrates."""
        if not await self._ask(_REBIRTH, [born_ms, *repair, swept_until_s]):
            raise OSError("postgresql: the ledger was not changed")

    async def _check_clock(self, now_s: int) -> None:
        server_s = await self._server_now_s()
        if abs(server_s - now_s) > CLOCK_SKEW_MAX_S:
            raise LedgerUnfit(f"postgresql: nothing is swept: our clock says {now_s}, the server's {server_s}")

    async def _forget_due(self, limit_s: int, *, force: bool) -> int:
        del force
        pace, forgotten, count = Pace(self._is_waiting), 0, STEP_ROWS
        while count == STEP_ROWS:
            await pace.next_step()
            count = len(await self._ask(_FORGET, [limit_s, STEP_ROWS]))
            forgotten += count
        oldest_s = await self._server_now_s() - EVENTS_KEPT_S
        while len(await self._ask(_DROP_EVENTS, [oldest_s, EVENTS_STEP])) == EVENTS_STEP:
            await pace.next_step()
        return forgotten

    async def _server_now_s(self) -> int:
        server_s = (await self._ask(_CLOCK))[0]["now_s"]
        if not isinstance(server_s, int):
            raise OSError("postgresql: the server does not tell the time")
        return server_s

    async def append_events(self, events: Sequence[Event]) -> None:
        """Append a batch; a fault is logged once and swallowed."""
        if self._is_closed or not events:
            return
        at_s = [at if isinstance(at := event.get("at"), int) else 0 for event in events]
        link_ids = [link_id if isinstance(link_id := event.get("link_id"), str) else None for event in events]
        texts = [json.dumps(dict(event), separators=(",", ":")) for event in events]
        with self._event_faults.swallowed():
            await self._ask(_APPEND, [at_s, link_ids, texts])

    async def read_events(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List up to ``limit`` events whose number is above ``after``, oldest first; of one link where given.

        Raises:
            OSError: the ledger cannot be read.
        """
        if link_id is None:
            rows = await self._ask(_EVENTS, [after, limit])
        else:
            rows = await self._ask(_EVENTS_OF_LINK, [after, limit, link_id])
        return [
            (number, cast("Event", json.loads(text)))
            for number, text in ((row["number"], row["event"]) for row in rows)
            if isinstance(number, int) and isinstance(text, str)
        ]

    async def events_of_link(self, link_id: str, limit: int) -> LinkEvents:
        """Return the newest events of one link and their counts; see ``KeepsEvents.events_of_link``.

        Raises:
            OSError: the ledger cannot be read.
        """
        newest = await self._ask(_NEWEST_OF_LINK, [link_id, limit])
        counts = await self._ask(_COUNTS_OF_LINK, [link_id])
        return LinkEvents(
            [cast("Event", json.loads(str(row["event"]))) for row in newest],
            {str(row["name"]): int(str(row["count"])) for row in counts},
        )

    async def _page(self, after: bytes, count: int) -> Sequence[Row]:
        return [_row(row) for row in await self._ask(_SCAN, [after, count])]

    async def _ask(
        self, statement: str, args: Sequence[bytes | int | str | Sequence[int] | Sequence[str | None]] = ()
    ) -> Sequence[DriverRow]:
        try:
            return await self._aside(statement.format(schema=self._schema, lock_class=LOCK_CLASS), args)
        except LedgerFault as fault:
            raise OSError(f"the ledger does not answer: {fault}") from None


def _row(row: DriverRow) -> Row:
    link_id, record, version, forget_after_s = row["link_id"], row["record"], row["version"], row["forget_after_s"]
    if not (isinstance(link_id, bytes) and isinstance(record, bytes)):
        raise OSError("postgresql: a record that is no bytes")
    if not (isinstance(version, int) and isinstance(forget_after_s, int)):
        raise OSError("postgresql: a record without a version")
    return Row(link_id, record, version, forget_after_s)
