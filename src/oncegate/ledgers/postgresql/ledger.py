"""The ledger ``postgresql:``: records in a table, shared by any number of gateways on any number of machines.

Durability is the server's: a write is answered after its transaction was forced to the disk (and to the synchronous
standbys where there are any), whatever the role, the database or a pooler say about ``synchronous_commit``. Speed: one
statement for all that wait (``batching/``, ``batches.py``), on one connection for each kind of call.

A server that hangs, restarts, or becomes a standby makes every call ``Unknown`` within four seconds; the next call
connects again by itself. Tables are never made in passing: an empty database where a ledger was would open every used
link again, so ``oncegate ledger migrate`` makes them, once.
"""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Sequence

from oncegate.ledgers.batching.batcher import ANSWER_WITHIN_S, BATCH_MAX
from oncegate.ledgers.birth import Birth
from oncegate.ledgers.postgresql import fitness as postgresql_fitness
from oncegate.ledgers.postgresql.address import PostgresqlAddress, parse_address
from oncegate.ledgers.postgresql.batches import PostgresqlBatches
from oncegate.ledgers.postgresql.connection import Fetch, LedgerFault, PostgresqlConnection
from oncegate.ledgers.postgresql.fitness import check_is_primary
from oncegate.ledgers.postgresql.schema import check_meta, migrate, read_meta
from oncegate.ledgers.postgresql.trial import Trial
from oncegate.ledgers.postgresql.upkeep import PostgresqlUpkeep
from oncegate.ledgers.protocol import Ledger, LedgerAway, LedgerFacts, LedgerUnfit
from oncegate.ledgers.server_ledger import Sends, ServerLedger

WEAKER_PROMISES = postgresql_fitness.WEAKER_PROMISES

SWEEP_LOCK_MS = 1_000
"""A sweep that waits for a batch holds up the batches behind it; after this it gives up."""
MIGRATE_WITHIN_S = 600.0

_IS_PRIMARY = "SELECT pg_is_in_recovery() AS is_standby, current_setting('transaction_read_only') AS is_read_only"


class PostgresqlLedger(ServerLedger, PostgresqlUpkeep):
    """Keeps records in PostgreSQL.

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
        self._accept = tuple(accept)
        self._birth = Birth("postgresql")
        self._inserting, replacing, reading = (PostgresqlConnection(address, greet=self._greet) for _ in range(3))
        aside = PostgresqlConnection(address, greet=self._greet, lock_ms=SWEEP_LOCK_MS)
        batches = PostgresqlBatches(
            address.schema,
            self._birth,
            inserting=self._inserting.fetch,
            replacing=replacing.fetch,
            reading=reading.fetch,
        )
        ServerLedger.__init__(
            self,
            Sends(insert=batches.insert, replace=batches.replace, read=batches.read),
            closes=[connection.aclose for connection in (self._inserting, replacing, reading, aside)],
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        PostgresqlUpkeep.__init__(self, address.schema, aside.fetch, is_waiting=lambda: self.is_waiting)

    async def probe(self) -> LedgerFacts:
        """Connect, and look whether server, tables and rights are such that the guarantee can be kept.

        Raises:
            LedgerUnfit: they are not, or nobody answers; the message says what to do.
        """
        return await self._look(tries=True)

    async def ask_again(self) -> LedgerFacts:
        """Look at server, tables and rights; see ``AsksAgain``. What the engine does is tried by ``probe`` alone."""
        return await self._look(tries=False)

    async def _look(self, *, tries: bool) -> LedgerFacts:
        # Over new connections: an open one may have died since its last use.
        one, other = (PostgresqlConnection(self._address, greet=self._greet) for _ in range(2))
        try:
            schema = self._address.schema
            meta = check_meta(await read_meta(one.fetch, schema), schema)
            facts = await postgresql_fitness.check_fitness(one.fetch, meta, schema=schema, accept=self._accept)
            if tries:
                fetches = (one.fetch, other.fetch)
                await Trial(schema, fetches, [self._batches_over(fetch) for fetch in fetches]).run()
        except LedgerFault as fault:
            raise _unfit_of(fault) from None
        else:
            return facts
        finally:
            await asyncio.gather(one.aclose(), other.aclose())

    def _batches_over(self, fetch: Fetch) -> PostgresqlBatches:
        return PostgresqlBatches(self._address.schema, self._birth, inserting=fetch, replacing=fetch, reading=fetch)

    async def _greet(self, fetch: Fetch) -> None:
        """Look at a new connection: a primary, with the ledger that this process began with."""
        found = (await fetch(_IS_PRIMARY))[0]
        check_is_primary(found["is_standby"], found["is_read_only"])
        self._birth.check(check_meta(await read_meta(fetch, self._address.schema), self._address.schema).born_ms)


def _unfit_of(fault: LedgerFault) -> LedgerUnfit:
    """Say what is the matter, and add to a driver's words what to change where that is known."""
    if fault.unfit is not None:
        return fault.unfit
    words = str(fault)
    if "unsupported startup parameter" in words:
        what = f"postgresql: {words}: this is pgbouncer"
        return LedgerUnfit(what, remedy="add pgbouncer=1 to the options of [ledger] url")
    if "TargetServerAttributeNotMatched" in words:
        what = "postgresql: no server of [ledger] url takes writes: it is a standby (in recovery), or read-only"
        return LedgerUnfit(what, remedy="name the server that takes writes in [ledger] url")
    return LedgerAway(f"postgresql: cannot be used: {words}")


def open_from_url(url: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
    """Open the ledger; see ``opening.Backend`` and ``address.py``. Nothing in the URL is relative to the folder."""
    del folder
    return PostgresqlLedger(parse_address(url.partition(":")[2]), accept=accept)


def create_from_url(url: str, *, folder: pathlib.Path) -> None:
    """Make the empty ledger; see ``opening.Backend``."""
    del folder
    asyncio.run(_migrate(parse_address(url.partition(":")[2]), may_stand=False))


def migrate_from_url(url: str, *, folder: pathlib.Path) -> bool:
    """Make the ledger or migrate it; see ``opening.Migrates``."""
    del folder
    return asyncio.run(_migrate(parse_address(url.partition(":")[2]), may_stand=True))


async def _migrate(address: PostgresqlAddress, *, may_stand: bool) -> bool:
    connection = PostgresqlConnection(address, call_within_s=MIGRATE_WITHIN_S)
    try:
        return await migrate(connection, address.schema, may_stand=may_stand)
    except LedgerFault as fault:
        raise _unfit_of(fault) from None
    finally:
        await connection.aclose()
