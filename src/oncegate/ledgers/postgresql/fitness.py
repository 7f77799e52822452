"""Whether a PostgreSQL server can keep what a ledger promises, as ``probe`` and ``oncegate doctor`` ask.

What is set per transaction is not looked at here (``synchronous_commit``). What cannot be seen counts as unfit. One
thing nobody can see from inside: a copy of the disk, or an archive of the log, that is started as a server elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from oncegate.ledgers.postgresql.connection import DriverRow, Fetch, LedgerFault
from oncegate.ledgers.postgresql.schema import Meta
from oncegate.ledgers.protocol import CLOCK_SKEW_MAX_S, LedgerFacts, LedgerUnfit

ASYNC_STANDBY = "postgresql-async-standby"
NO_FSYNC = "postgresql-no-fsync"
NO_FULL_PAGE_WRITES = "postgresql-no-full-page-writes"
WEAKER_PROMISES = frozenset({ASYNC_STANDBY, NO_FSYNC, NO_FULL_PAGE_WRITES})

VERSION_MIN = 140_000
Weakness = tuple[str, str, str]
"""A name, what is the matter, and what to set."""

_SERVER = """
SELECT current_setting('server_version_num')::int AS version, current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes, pg_is_in_recovery() AS is_standby,
       current_setting('transaction_read_only') AS is_read_only,
       current_setting('synchronous_standby_names') AS synchronous_names,
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
"""
# A base backup and a logical subscriber are no standbys; what kind of sender it is, only members of pg_monitor see.
_STANDBYS = """
SELECT (SELECT count(*) FROM pg_stat_replication AS s WHERE s.state IS DISTINCT FROM 'backup' AND NOT EXISTS (
            SELECT FROM pg_replication_slots AS l WHERE l.active_pid = s.pid AND l.slot_type = 'logical'))
     + (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT active) AS standbys
"""
_TABLES = """
SELECT c.relpersistence = 'p' AS is_logged, EXISTS (
           SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
           WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
             AND i.indnkeyatts = 1 AND a.attname = 'link_id') AS has_key
FROM pg_class AS c WHERE c.oid = '{schema}.oncegate_records'::regclass
"""
_RIGHTS = """
SELECT has_table_privilege('{schema}.oncegate_meta', 'SELECT')
   AND has_column_privilege('{schema}.oncegate_meta', 'tries', 'UPDATE')
   AND has_table_privilege('{schema}.oncegate_records', 'SELECT')
   AND has_table_privilege('{schema}.oncegate_records', 'INSERT')
   AND has_table_privilege('{schema}.oncegate_records', 'UPDATE')
   AND has_table_privilege('{schema}.oncegate_records', 'DELETE')
   AND has_table_privilege('{schema}.oncegate_events', 'SELECT')
   AND has_table_privilege('{schema}.oncegate_events', 'INSERT')
   AND has_table_privilege('{schema}.oncegate_events', 'DELETE')
   AND has_sequence_privilege('{schema}.oncegate_swept_until', 'SELECT')
   AND has_sequence_privilege('{schema}.oncegate_swept_until', 'UPDATE') AS has_rights
"""


async def check_fitness(fetch: Fetch, meta: Meta, *, schema: str, accept: Sequence[str]) -> LedgerFacts:
    """Look at the server and the tables.

    Args:
        fetch: runs one statement.
        meta: what the ledger says of itself.
        schema: of the tables.
        accept: weaker promises taken by name.

    Raises:
        LedgerUnfit: the guarantee cannot be kept; the message says what to set.
        LedgerFault: no answer.
    """
    asked_s = time.time()
    server = (await fetch(_SERVER))[0]
    answered_s = time.time()
    _check_server(server)
    weaker = [*_weaker_disk(server), *await _weaker_standbys(fetch, server)]
    for name, what, remedy in weaker:
        if name not in accept:
            raise LedgerUnfit(f"postgresql: {what}", remedy=f'{remedy}; or accept it: [ledger] accept = ["{name}"]')
    await _check_tables(fetch, schema)
    now_ms = server["now_ms"]
    if not isinstance(now_ms, int):
        raise LedgerFault("the server does not tell the time")
    ahead_s = now_ms / 1000 - (asked_s + answered_s) / 2
    if abs(ahead_s) > CLOCK_SKEW_MAX_S:
        raise LedgerUnfit(f"postgresql: the server's clock is {ahead_s:+.0f} s from ours", remedy="set both by NTP")
    return LedgerFacts(
        born_ms=meta.born_ms,
        clock_ahead_s=ahead_s,
        accepted=tuple(name for name, _, _ in weaker),
        swept_until_s=meta.swept_until_s,
        repair=meta.repair,
    )


def check_is_primary(is_standby: object, is_read_only: object) -> None:
    """Refuse a server that only reads: it takes no claim, and may show an older state.

    Raises:
        LedgerUnfit: it is a standby, or its transactions are read-only.
    """
    if is_standby is not False:
        raise LedgerUnfit(
            "postgresql: this server is a standby (in recovery)",
            remedy="name the primary, which takes writes, in [ledger] url",
        )
    if is_read_only != "off":
        raise LedgerUnfit("postgresql: transactions are read-only here", remedy="unset default_transaction_read_only")


def _check_server(server: DriverRow) -> None:
    version = server["version"]
    if not isinstance(version, int) or version < VERSION_MIN:
        raise LedgerUnfit(f"postgresql: server_version_num is {version}", remedy="PostgreSQL 14 or newer is needed")
    check_is_primary(server["is_standby"], server["is_read_only"])


def _weaker_disk(server: DriverRow) -> Sequence[Weakness]:
    found: list[Weakness] = []
    if server["fsync"] != "on":
        what = "fsync is off, so a crash may forget claims that were answered, unless the log is kept elsewhere (Neon)"
        found.append((NO_FSYNC, what, "set fsync = on"))
    if server["full_page_writes"] != "on":
        what = "full_page_writes is off, so a crash may damage records, unless the storage never writes half a page"
        found.append((NO_FULL_PAGE_WRITES, f"{what} (Aurora, Neon, ZFS)", "set full_page_writes = on"))
    return found


async def _weaker_standbys(fetch: Fetch, server: DriverRow) -> Sequence[Weakness]:
    if server["synchronous_names"]:
        return ()
    try:
        standbys = (await fetch(_STANDBYS))[0]["standbys"]
    except LedgerFault as fault:
        what = f"whether standbys follow cannot be seen ({fault})"
        return ((ASYNC_STANDBY, what, "GRANT pg_monitor to this role"),)
    if standbys == 0:
        return ()
    who = (
        "a standby follows, or a slot waits for one," if standbys == 1 else f"{standbys} standbys or their slots follow"
    )
    what = f"{who} asynchronously; one that takes over forgets the last claims, and their links open again"
    return ((ASYNC_STANDBY, what, "set synchronous_standby_names"),)


async def _check_tables(fetch: Fetch, schema: str) -> None:
    table = (await fetch(_TABLES.format(schema=schema)))[0]
    if table["is_logged"] is not True:
        raise LedgerUnfit(
            f"postgresql: {schema}.oncegate_records is unlogged, so a crash empties it",
            remedy="ALTER TABLE ... SET LOGGED",
        )
    if table["has_key"] is not True:
        raise LedgerUnfit(
            f"postgresql: {schema}.oncegate_records has no unique key on link_id, so many would win",
            remedy="restore the ledger",
        )
    if (await fetch(_RIGHTS.format(schema=schema)))[0]["has_rights"] is not True:
        raise LedgerUnfit(
            "postgresql: this role lacks rights",
            remedy="GRANT SELECT, UPDATE (tries) ON oncegate_meta; SELECT, INSERT, UPDATE, DELETE ON"
            " oncegate_records; SELECT, INSERT, DELETE ON oncegate_events; SELECT, UPDATE ON SEQUENCE oncegate_swept_until",
        )
