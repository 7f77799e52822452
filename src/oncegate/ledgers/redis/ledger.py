"""The ledger ``redis:``: records in Redis or Valkey, shared by any number of gateways on any number of machines.

Durability is the server's append-only file, forced to the disk for every write before it is answered; ``probe`` looks
whether that is so (``fitness.py``). Speed: one Lua call for all that wait (``batching/``, ``scripts.py``).

A server that hangs, restarts, or becomes a replica makes every call ``Unknown`` within four seconds; the next call
connects again by itself. An empty server where a ledger was would open used links again: every script checks that it is
still the ledger that this process began with, and a new one is made by ``probe`` alone, at the start of a program. It
is born then, so tickets made before are refused.
"""

from __future__ import annotations

import asyncio
import logging
import pathlib
import time
from collections.abc import Sequence

from oncegate.ledgers.batching.batcher import ANSWER_WITHIN_S, BATCH_MAX
from oncegate.ledgers.birth import Birth
from oncegate.ledgers.protocol import NO_REPAIR, Ledger, LedgerAway, LedgerFacts, LedgerUnfit, Repair
from oncegate.ledgers.redis import fitness as redis_fitness
from oncegate.ledgers.redis.address import RedisAddress, parse_url
from oncegate.ledgers.redis.batches import RedisBatches
from oncegate.ledgers.redis.connection import Call, LedgerFault, RedisConnection, SaidNo
from oncegate.ledgers.redis.fitness import Meta
from oncegate.ledgers.redis.scripts import CREATE, Scripts
from oncegate.ledgers.redis.upkeep import RedisUpkeep
from oncegate.ledgers.server_ledger import Sends, ServerLedger

WEAKER_PROMISES = redis_fitness.WEAKER_PROMISES
SCHEMA_VERSION = 1

_log = logging.getLogger(__name__)


class RedisLedger(ServerLedger, RedisUpkeep):
    """Keeps records in Redis or Valkey.

    Args:
        address: of the server.
        accept: weaker promises taken by name, of ``WEAKER_PROMISES``.
        batch_max: writes in one call.
        answer_within_s: seconds after which any call ends in ``Unknown``.
    """

    def __init__(
        self,
        address: RedisAddress,
        *,
        accept: Sequence[str] = (),
        batch_max: int = BATCH_MAX,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._address = address
        self._accept = tuple(accept)
        self._birth = Birth("redis")
        inserting, replacing, reading, aside = (RedisConnection(address, greet=self._greet) for _ in range(4))
        batches = RedisBatches(
            address.prefix, self._birth, inserting=inserting, replacing=replacing, reading=reading, wait=address.wait
        )
        ServerLedger.__init__(
            self,
            Sends(insert=batches.insert, replace=batches.replace, read=batches.read),
            closes=[connection.aclose for connection in (inserting, replacing, reading, aside)],
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        RedisUpkeep.__init__(self, address.prefix, self._birth, aside, is_waiting=lambda: self.is_waiting)

    async def probe(self) -> LedgerFacts:
        """Connect, and look whether the server is such that the guarantee can be kept.

        Raises:
            LedgerUnfit: it is not, or nobody answers; the message says what to do.
        """
        # Over a new connection: an open one may have died since its last use.
        connection = RedisConnection(self._address)
        try:
            meta = await _read_meta(connection.call, self._meta)
            if meta is None and not self._birth.is_known:
                if await _make(connection, self._address):
                    _log.warning("redis: no ledger stood under the prefix %s: made an empty one", self._address.prefix)
                meta = await _read_meta(connection.call, self._meta)
            self._birth.check(None if meta is None else meta.born_ms)
            assert meta is not None  # noqa: S101  Birth.check raises where there is none
            return await redis_fitness.check_fitness(connection.call, self._address, meta, accept=self._accept)
        except LedgerFault as fault:
            raise _unfit_of(fault) from None
        finally:
            await connection.aclose()

    async def _greet(self, call: Call) -> None:
        """Check on a new connection that the ledger is the one that this process began with."""
        meta = await _read_meta(call, self._meta)
        self._birth.check(None if meta is None else meta.born_ms)


async def _read_meta(call: Call, meta: bytes) -> Meta | None:
    """Read what the ledger says of itself, if this version can work with it; None where there is none.

    Raises:
        LedgerUnfit: it is of another layout.
        LedgerFault: no answer.
    """
    (told,) = await call([("HMGET", meta, "schema", "born_ms", "swept_until_s", "refused_before_ms", "plain_until_s")])
    if isinstance(told, SaidNo):
        raise LedgerFault(told.words)
    words = told if isinstance(told, list) and len(told) == 5 else [None] * 5
    schema, born_ms, swept_until_s, refused_before_ms, plain_until_s = (
        int(word) if isinstance(word, bytes) else None for word in words
    )
    if schema is None or born_ms is None:
        return None
    if schema != SCHEMA_VERSION:
        raise LedgerUnfit(
            f"redis: the ledger has schema {schema}, this oncegate knows {SCHEMA_VERSION}",
            remedy="run the newer oncegate that made it",
        )
    repair = (
        NO_REPAIR if refused_before_ms is None or plain_until_s is None else Repair(refused_before_ms, plain_until_s)
    )
    return Meta(born_ms=born_ms, swept_until_s=-1 if swept_until_s is None else swept_until_s, repair=repair)


def _unfit_of(fault: LedgerFault) -> LedgerUnfit:
    """Say what is the matter, and add to a server's words what to change where that is known."""
    if fault.unfit is not None:
        return fault.unfit
    if str(fault).startswith("NOPERM"):
        remedy = "this user needs ~PREFIX* and +@read +@write +@scripting +info +time +ping +config|get"
        return LedgerUnfit(f"redis: {fault}", remedy=remedy)
    return LedgerAway(f"redis: cannot be used: {fault}")


def open_from_url(url: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
    """Open the ledger; see ``opening.Backend`` and ``address.py``."""
    return RedisLedger(parse_url(url, folder=folder), accept=accept)


def create_from_url(url: str, *, folder: pathlib.Path) -> None:
    """Make the empty ledger; see ``opening.Backend``."""
    if not migrate_from_url(url, folder=folder):
        raise LedgerUnfit(
            "redis: a ledger stands under this prefix already", remedy="a ledger is made once: take another prefix"
        )


def migrate_from_url(url: str, *, folder: pathlib.Path) -> bool:
    """Make the ledger where there is none; see ``opening.Migrates``."""
    return asyncio.run(_migrate(parse_url(url, folder=folder)))


async def _migrate(address: RedisAddress) -> bool:
    connection = RedisConnection(address)
    try:
        made = await _make(connection, address)
        if not made:
            await _read_meta(connection.call, f"{address.prefix}meta".encode())
    except LedgerFault as fault:
        raise _unfit_of(fault) from None
    finally:
        await connection.aclose()
    return made


async def _make(connection: RedisConnection, address: RedisAddress) -> bool:
    """Make the ledger where there is none, even if others do so at the same time; return whether it was this call.

    Raises:
        LedgerUnfit: records stand there without the ledger's own.
        LedgerFault: no answer.
    """
    meta, ids = (f"{address.prefix}{name}".encode() for name in ("meta", "ids"))
    made = await Scripts(connection).run(CREATE, [meta, ids], [SCHEMA_VERSION, time.time_ns() // 1_000_000])
    if made == -1:
        raise LedgerUnfit(
            "redis: records of a ledger stand under this prefix that has lost its memory of when it was born",
            remedy="restore it from a backup and set [ledger] accept_from to this moment, or take another prefix",
        )
    return made == 1
