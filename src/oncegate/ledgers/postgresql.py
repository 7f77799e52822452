"""The ledger ``postgresql:``: records in a table, shared by any number of gateways on any number of machines.

Durability is the server's: a write is answered after its transaction was forced to the disk (and to the synchronous
standbys where there are any), whatever the role, the database or a pooler say about ``synchronous_commit``. Speed: one
statement for all that wait (``batching.py``, ``postgresql_batches.py``), on one connection for each kind of call.

A server that hangs, restarts, or becomes a standby makes every call ``Unknown`` within four seconds; the next call
connects again by itself. Tables are never made in passing: an empty database where a ledger was would open every used
link again, so ``oncegate ledger migrate`` makes them, once.
"""

from __future__ import annotations

import asyncio
import logging
import pathlib
from collections.abc import Sequence

from oncegate.ledgers import postgresql_fitness
from oncegate.ledgers.batch_sizes import BatchSizes
from oncegate.ledgers.batching import ANSWER_WITHIN_S, BATCH_MAX, Batcher
from oncegate.ledgers.postgresql_batches import Batches
from oncegate.ledgers.postgresql_connection import Fetch, LedgerFault, PostgresqlConnection
from oncegate.ledgers.postgresql_fitness import ASYNC_STANDBY, NO_FULL_PAGE_WRITES, check_is_primary
from oncegate.ledgers.postgresql_schema import check_meta, migrate, read_meta
from oncegate.ledgers.postgresql_upkeep import Upkeep
from oncegate.ledgers.postgresql_url import PostgresqlAddress, parse_address
from oncegate.ledgers.protocol import (
    Event,
    Insert,
    InsertOutcome,
    Ledger,
    LedgerFacts,
    LedgerUnfit,
    ReadOutcome,
    Replace,
    ReplaceOutcome,
    Row,
    Unknown,
    Version,
)

WEAKER_PROMISES = frozenset({ASYNC_STANDBY, NO_FULL_PAGE_WRITES})
SWEEP_LOCK_MS = 1_000
"""A sweep that waits for a batch holds up the batches behind it; after this it gives up."""
MIGRATE_WITHIN_S = 600.0

_VERSIONS = range(2**63)
_IS_PRIMARY = "SELECT pg_is_in_recovery() AS is_standby, current_setting('transaction_read_only') AS is_read_only"

_log = logging.getLogger(__name__)


class PostgresqlLedger:
    """Keeps records in PostgreSQL.

    It touches nothing before the first call. It belongs to the event loop of its first call.

    Args:
        address: of the server and the tables.
        accept: weaker promises taken by name, of ``WEAKER_PROMISES``.
        batch_max: writes in one statement.
        answer_within_s: seconds after which any call ends in ``Unknown``.
    """

    def __init__(
        self,
        address: PostgresqlAddress,
        *,
        accept: Sequence[str] = (),
        batch_max: int = BATCH_MAX,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._address = address
        self._schema = address.schema
        self._accept = tuple(accept)
        self._born_ms: int | None = None
        self._is_closed = False
        self._has_lost_events = False
        self._inserting, self._replacing, self._reading = (
            PostgresqlConnection(address, greet=self._greet) for _ in range(3)
        )
        self._aside = PostgresqlConnection(address, greet=self._greet, lock_ms=SWEEP_LOCK_MS)
        self._upkeep = Upkeep(self._schema, self._aside.fetch)
        self._batches = Batches(self._schema, self._known_born_ms)
        self.batch_sizes = {"write": BatchSizes(), "read": BatchSizes()}
        self._inserts = Batcher[Insert, InsertOutcome](
            self._send_inserts,
            key_of=_link_id,
            lost=Unknown,
            sizes=self.batch_sizes["write"],
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        self._replaces = Batcher[Replace, ReplaceOutcome](
            self._send_replaces,
            key_of=_link_id,
            lost=Unknown,
            sizes=self.batch_sizes["write"],
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        self._reads = Batcher[bytes, ReadOutcome](
            self._send_reads,
            key_of=None,
            lost=Unknown,
            sizes=self.batch_sizes["read"],
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none stands; see ``Ledger.insert``. A record that stands is shown even if it is due."""
        return await self._inserts.ask(Insert(link_id, record, forget_after_s))

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version; see ``Ledger.replace``."""
        if not isinstance(version, int) or version not in _VERSIONS:
            return await self.read(link_id)  # never a version of this ledger: what stands there is another
        return await self._replaces.ask(Replace(link_id, version, record, forget_after_s))

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Say what stands there, as of after every write that was answered before this call, by any gateway."""
        return await self._reads.ask(link_id)

    async def probe(self) -> LedgerFacts:
        """Connect, and look whether server, tables and rights are such that the guarantee can be kept.

        Raises:
            LedgerUnfit: they are not, or nobody answers; the message says what to do.
        """
        # Over a connection of its own: one that stands may have died since.
        connection = PostgresqlConnection(self._address, greet=self._greet)
        try:
            meta = check_meta(await read_meta(connection.fetch, self._schema), self._schema)
            return await postgresql_fitness.check_fitness(
                connection.fetch, meta, schema=self._schema, accept=self._accept
            )
        except LedgerFault as fault:
            raise LedgerUnfit(_advice(str(fault))) from None
        finally:
            await connection.aclose()

    async def aclose(self) -> None:
        """Finish the writes that wait and close the connections. Calls after it end in ``Unknown``."""
        self._is_closed = True
        await asyncio.gather(*(batcher.aclose() for batcher in (self._inserts, self._replaces, self._reads)))
        connections = (self._inserting, self._replacing, self._reading, self._aside)
        await asyncio.gather(*(connection.aclose() for connection in connections))

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List up to ``limit`` records whose id is above ``after``, in order of id; see ``Scans.scan``.

        Raises:
            OSError: the ledger cannot be read.
        """
        return await self._upkeep.scan(after, limit)

    async def sweep(self, now_s: int) -> int:
        """Forget records whose ``forget_after_s`` is not above ``now_s``; see ``Sweeps.sweep``.

        Raises:
            LedgerUnfit: ``now_s`` is more than ``CLOCK_SKEW_MAX_S`` from the server's clock.
            OSError: the ledger cannot be read or written; what was forgotten before stays so.
        """
        return await self._upkeep.sweep(now_s)

    async def append_events(self, events: Sequence[Event]) -> None:
        """Append a batch; a fault is logged once and swallowed."""
        if self._is_closed or not events:
            return
        try:
            await self._upkeep.append_events(events)
        except OSError as fault:
            if not self._has_lost_events:
                _log.error("postgresql: events are not kept: %s", fault)
            self._has_lost_events = True
        else:
            self._has_lost_events = False

    async def read_events(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List up to ``limit`` events whose number is above ``after``, oldest first; of one link where given.

        Raises:
            OSError: the ledger cannot be read.
        """
        return await self._upkeep.read_events(after, limit, link_id=link_id)

    async def _greet(self, fetch: Fetch) -> None:
        """Look at a new connection: a primary, with the ledger that this process began with."""
        found = (await fetch(_IS_PRIMARY))[0]
        check_is_primary(found["is_standby"], found["is_read_only"])
        meta = check_meta(await read_meta(fetch, self._schema), self._schema)
        if self._born_ms is None:
            self._born_ms = meta.born_ms
        if meta.born_ms != self._born_ms:
            raise LedgerUnfit("postgresql: another ledger than the one this process began with: restart it")

    async def _known_born_ms(self, fetch: Fetch) -> int:
        if self._born_ms is None:
            await fetch("SELECT 1")  # whatever is asked, the new connection is greeted first
        if self._born_ms is None:
            raise LedgerFault("nobody knows when this ledger was born")
        return self._born_ms

    async def _send_inserts(self, asks: Sequence[Insert]) -> Sequence[InsertOutcome]:
        return await self._batches.insert(self._inserting.fetch, asks)

    async def _send_replaces(self, asks: Sequence[Replace]) -> Sequence[ReplaceOutcome]:
        return await self._batches.replace(self._replacing.fetch, asks)

    async def _send_reads(self, asks: Sequence[bytes]) -> Sequence[ReadOutcome]:
        return await self._batches.read(self._reading.fetch, asks)


def _link_id(ask: Insert | Replace) -> bytes:
    return ask.link_id


def _advice(fault: str) -> str:
    """Add to a driver's words what to change, where that is known."""
    if fault.startswith("postgresql: "):
        return fault
    if "unsupported startup parameter" in fault:
        return f"postgresql: {fault}: this is pgbouncer: add ?pgbouncer=1 to [ledger] url"
    if "TargetServerAttributeNotMatched" in fault:
        return "postgresql: no server of [ledger] url takes writes: it is a standby (in recovery), or read-only"
    return f"postgresql: cannot be used: {fault}"


def open_from_url(address: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
    """Open the ledger of ``postgresql:ADDRESS``; nothing is touched before the first call.

    Args:
        address: see ``postgresql_url.parse_address``.
        folder: not used: nothing in the URL is relative.
        accept: weaker promises taken by name.

    Raises:
        LedgerUnfit: the address means nothing.
    """
    del folder
    return PostgresqlLedger(parse_address(address), accept=accept)


def create_from_url(address: str, *, folder: pathlib.Path) -> None:
    """Make the empty ledger of ``postgresql:ADDRESS``. Blocks; not for use inside an event loop.

    Raises:
        LedgerUnfit: the address means nothing, a ledger stands there, or it cannot be made.
    """
    del folder
    asyncio.run(_migrate(parse_address(address), may_stand=False))


def migrate_from_url(address: str, *, folder: pathlib.Path) -> bool:
    """Make the ledger of ``postgresql:ADDRESS`` where none stands, or migrate it; say whether something was changed.

    Blocks; not for use inside an event loop. Any number of gateways may do it at once.

    Raises:
        LedgerUnfit: the address means nothing, or it cannot be made or migrated.
    """
    del folder
    return asyncio.run(_migrate(parse_address(address), may_stand=True))


async def _migrate(address: PostgresqlAddress, *, may_stand: bool) -> bool:
    connection = PostgresqlConnection(address, call_within_s=MIGRATE_WITHIN_S)
    try:
        return await migrate(connection, address.schema, may_stand=may_stand)
    finally:
        await connection.aclose()
