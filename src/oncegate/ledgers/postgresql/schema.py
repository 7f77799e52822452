"""The tables of the ledger ``postgresql:``: made and migrated by a role that may create tables, used by one that may not.

``swept_until`` is a sequence, not a row. A statement sees rows as of its beginning, and could wait for a lock while a
sweep raises the limit and deletes; the last value of a sequence is what it is at the moment of the question.

Two numbers: the layout, which says how records are stored and which a gateway must know, and the count of steps taken.
Steps beyond the layout only add what earlier versions pass over, so both can run side by side. Steps run in one transaction under a lock, so any number of gateways
may migrate at once, and a step that fails leaves nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from oncegate.ledgers.postgresql.connection import Fetch, LedgerFault, PostgresqlConnection
from oncegate.ledgers.protocol import LedgerExchanged, LedgerUnfit, Repair

_STEPS = (
    # Ids of tickets begin with the time of their making, so the oldest records are first in the index. Columns of fixed
    # width come first, which saves padding.
    """
    CREATE TABLE {schema}.oncegate_meta (
        is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
        schema_version integer NOT NULL,
        born_ms bigint NOT NULL
    );
    INSERT INTO {schema}.oncegate_meta (schema_version, born_ms) VALUES (0, {born_ms});
    CREATE SEQUENCE {schema}.oncegate_swept_until MINVALUE -1 START -1;
    SELECT setval('{schema}.oncegate_swept_until', -1, true);
    CREATE TABLE {schema}.oncegate_records (
        version bigint NOT NULL,
        forget_after_s bigint NOT NULL,
        link_id bytea PRIMARY KEY,
        record bytea NOT NULL
    );
    CREATE TABLE {schema}.oncegate_events (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at_s bigint NOT NULL,
        link_id text,
        event text NOT NULL
    );
    CREATE INDEX oncegate_events_of_link ON {schema}.oncegate_events (link_id, number) WHERE link_id IS NOT NULL;
    """,
    # A sweep finds what is due by this index. A replace seldom changes forget_after_s, so most updates still need no new
    # entry in any index.
    """
    CREATE INDEX oncegate_records_due ON {schema}.oncegate_records (forget_after_s);
    ALTER TABLE {schema}.oncegate_meta
        ADD steps integer NOT NULL DEFAULT 2,
        ADD tries text NOT NULL DEFAULT '',
        ADD refused_before_ms bigint NOT NULL DEFAULT 0,
        ADD plain_until_s bigint NOT NULL DEFAULT -1;
    """,
)
LAYOUT = 1
"""The last step that changed how records are stored; in the table as ``schema_version``."""
RESTORE = "restore the ledger from a backup, and set [ledger] accept_from to this moment"

_FIND_META = "SELECT to_regclass('{schema}.oncegate_meta') IS NOT NULL AS stands"
_FIND_SCHEMA = "SELECT to_regnamespace('{schema}') IS NOT NULL AS stands"
# By way of JSON: an older schema lacks columns, and must be told by its version, not by an error.
_READ_META = """
SELECT schema_version, coalesce((to_jsonb(m) ->> 'steps')::int, schema_version) AS steps, born_ms,
       coalesce(pg_sequence_last_value('{schema}.oncegate_swept_until'::regclass), -1) AS swept_until_s,
       coalesce((to_jsonb(m) ->> 'refused_before_ms')::bigint, 0) AS refused_before_ms,
       coalesce((to_jsonb(m) ->> 'plain_until_s')::bigint, -1) AS plain_until_s
FROM {schema}.oncegate_meta AS m
"""
_LOCK_KEY = 0x6F6E6365  # "once" in ASCII


@dataclass(frozen=True, slots=True)
class Meta:
    """What a ledger says of itself."""

    layout: int
    steps: int
    born_ms: int
    swept_until_s: int
    repair: Repair


async def read_meta(fetch: Fetch, schema: str) -> Meta | None:
    """Read what the ledger says of itself; None where there is no ledger.

    Raises:
        LedgerUnfit: its tables are damaged.
    """
    if not (await fetch(_FIND_META.format(schema=schema)))[0]["stands"]:
        return None
    rows = await fetch(_READ_META.format(schema=schema))
    if len(rows) != 1:
        raise LedgerUnfit(f"postgresql: {schema}.oncegate_meta has lost its row", remedy=RESTORE)
    names = ("schema_version", "steps", "born_ms", "swept_until_s", "refused_before_ms", "plain_until_s")
    numbers = [value for name in names if isinstance(value := rows[0][name], int)]
    if len(numbers) < len(names):
        raise LedgerUnfit(f"postgresql: {schema}.oncegate_meta is not a table of oncegate, or may not be read")
    layout, steps, born_ms, swept_until_s, *repair = numbers
    return Meta(layout, steps, born_ms, swept_until_s, Repair(*repair))


def check_meta(meta: Meta | None, schema: str) -> Meta:
    """Return it if this version can work with the ledger.

    Raises:
        LedgerUnfit: it cannot; the message says what to do.
    """
    if meta is None:
        raise LedgerExchanged(
            f"postgresql: no ledger in the schema {schema}",
            remedy="make one with `oncegate ledger migrate`. If one was there, every link that it knew as used would"
            " open again: restore it from a backup",
        )
    if meta.layout > LAYOUT:
        raise LedgerUnfit(
            f"postgresql: the ledger has schema {meta.layout}, this oncegate knows up to {LAYOUT}",
            remedy="run the newer oncegate that migrated it",
        )
    if meta.steps < len(_STEPS):
        raise LedgerUnfit(
            f"postgresql: the ledger has the older schema {meta.steps}",
            remedy="run `oncegate ledger migrate`",
        )
    return meta


async def migrate(connection: PostgresqlConnection, schema: str, *, may_stand: bool) -> bool:
    """Make the ledger where there is none, or bring it to this version's schema.

    Args:
        connection: of a role that may create tables in the schema.
        schema: of the tables.
        may_stand: whether a ledger that stands is migrated; otherwise it is refused.

    Returns:
        Whether something was changed.

    Raises:
        LedgerUnfit: it cannot be made or migrated, or one stands already.
        LedgerFault: no answer, or a server that is not to be used.
    """
    meta = await read_meta(connection.fetch, schema)
    if meta is not None and not may_stand:
        raise LedgerUnfit(f"postgresql: a ledger stands in the schema {schema} already", remedy="a ledger is made once")
    found = 0 if meta is None else meta.steps
    if found >= len(_STEPS):
        check_meta(meta, schema)
        return False
    # asked before: a role that may not create a schema is refused CREATE SCHEMA IF NOT EXISTS even if it exists
    has_schema = bool((await connection.fetch(_FIND_SCHEMA.format(schema=schema)))[0]["stands"])
    try:
        await connection.run_script(_script(schema, found, has_schema=has_schema))
    except LedgerFault as fault:
        again = await read_meta(connection.fetch, schema)
        if may_stand and again is not None and again.steps >= len(_STEPS):
            return False  # another was first
        if not has_schema and "permission denied for database" in str(fault):
            raise LedgerUnfit(
                f"postgresql: there is no schema {schema}, and this role may not make it",
                remedy=f"let one that may run CREATE SCHEMA {schema} AUTHORIZATION <this role>, or correct schema= in"
                " [ledger] url",
            ) from None
        raise LedgerUnfit(f"postgresql: the ledger cannot be made or migrated: {fault}") from None
    return True


def _script(schema: str, found: int, *, has_schema: bool) -> str:
    """Return the statements that lead from the schema that was found to this version's."""
    parts = [f"SELECT pg_advisory_xact_lock({_LOCK_KEY});"]
    if not has_schema:
        parts.append(f"CREATE SCHEMA IF NOT EXISTS {schema};")
    for number, step in enumerate(_STEPS[found:], found + 1):
        parts.append(step.format(schema=schema, born_ms=time.time_ns() // 1_000_000))
        count = "schema_version" if number <= LAYOUT else "steps"
        parts.append(f"UPDATE {schema}.oncegate_meta SET {count} = {number};")  # noqa: S608  a plain identifier
    return "\n".join(parts)
