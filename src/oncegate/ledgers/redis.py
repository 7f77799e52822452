"""The ledger ``redis:``: records in Redis or Valkey, shared by any number of gateways on any number of machines.

Durability is the server's append-only file, forced to the disk for every write before it is answered; ``probe`` looks
whether that is so (``redis_fitness.py``). Speed: one Lua call for all that wait (``batching.py``, ``redis_scripts.py``).

A server that hangs, restarts, or becomes a replica makes every call ``Unknown`` within four seconds; the next call
connects again by itself. A ledger is never made in passing: an empty server where one was would open every used link
again, so ``oncegate ledger migrate`` makes it, once; and every script checks that it is still the same.
"""

from __future__ import annotations

import asyncio
import logging
import pathlib
import time
from collections.abc import Sequence

from oncegate.ledgers import redis_fitness
from oncegate.ledgers.batch_sizes import BatchSizes
from oncegate.ledgers.batching import ANSWER_WITHIN_S, BATCH_MAX, Batcher
from oncegate.ledgers.protocol import (
    Done,
    Event,
    Gone,
    Insert,
    InsertOutcome,
    Ledger,
    LedgerFacts,
    LedgerUnfit,
    ReadOutcome,
    Replace,
    ReplaceOutcome,
    Row,
    Stands,
    Swept,
    Unknown,
    Version,
)
from oncegate.ledgers.redis_connection import Call, LedgerFault, RedisConnection, Refused, Reply
from oncegate.ledgers.redis_scripts import (
    CREATE,
    DONE,
    INSERT,
    READ,
    REPLACE,
    Script,
    Scripts,
    fresh_versions,
    outcome_of,
    stored,
)
from oncegate.ledgers.redis_upkeep import Upkeep
from oncegate.ledgers.redis_url import RedisAddress, parse_address

WEAKER_PROMISES = redis_fitness.WEAKER_PROMISES
SCHEMA_VERSION = 1

_log = logging.getLogger(__name__)

_Outcome = Done | Stands | Gone | Swept | Unknown


class RedisLedger:
    """Keeps records in Redis or Valkey.

    It touches nothing before the first call. It belongs to the event loop of its first call.

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
        self._meta, self._ids, self._nothing, self._record = (
            f"{address.prefix}{name}".encode() for name in ("meta", "ids", "nothing", "r:")
        )
        self._born_ms: int | None = None
        self._is_closed = False
        self._has_lost_events = False
        self._inserting, self._replacing, self._reading, self._aside = (
            RedisConnection(address, greet=self._greet) for _ in range(4)
        )
        self._insert_scripts, self._replace_scripts = (
            Scripts(connection, wait=address.wait) for connection in (self._inserting, self._replacing)
        )
        self._read_scripts = Scripts(self._reading)
        self._upkeep = Upkeep(address.prefix, self._aside, self._known_born_ms)
        self.batch_sizes = {"write": BatchSizes(), "read": BatchSizes()}
        self._inserts = Batcher[Insert, _Outcome](
            self._send_inserts,
            key_of=_link_id,
            lost=Unknown,
            sizes=self.batch_sizes["write"],
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        self._replaces = Batcher[Replace, _Outcome](
            self._send_replaces,
            key_of=_link_id,
            lost=Unknown,
            sizes=self.batch_sizes["write"],
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        self._reads = Batcher[bytes, _Outcome](
            self._send_reads,
            key_of=None,
            lost=Unknown,
            sizes=self.batch_sizes["read"],
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none stands; see ``Ledger.insert``. A record that stands is shown even if it is due."""
        outcome = await self._inserts.ask(Insert(link_id, record, forget_after_s))
        return Unknown("an answer to something else") if isinstance(outcome, Gone) else outcome

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version; see ``Ledger.replace``."""
        outcome = await self._replaces.ask(Replace(link_id, version, record, forget_after_s))
        return Unknown("an answer to something else") if isinstance(outcome, Swept) else outcome

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Say what stands there, as of after every write that was answered before this call, by any gateway."""
        outcome = await self._reads.ask(link_id)
        return Unknown("an answer to something else") if isinstance(outcome, Done | Swept) else outcome

    async def probe(self) -> LedgerFacts:
        """Connect, and look whether the server is such that the guarantee can be kept.

        Raises:
            LedgerUnfit: it is not, or nobody answers; the message says what to do.
        """
        # Over a connection of its own: one that stands may have died since.
        connection = RedisConnection(self._address, greet=self._greet)
        try:
            born_ms = await _read_born_ms(connection.call, self._meta)
            return await redis_fitness.check_fitness(connection.call, self._address, born_ms, accept=self._accept)
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
                _log.error("redis: events are not kept: %s", fault)
            self._has_lost_events = True
        else:
            self._has_lost_events = False

    async def read_events(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List up to ``limit`` events whose number is above ``after``, oldest first; of one link where given.

        Raises:
            OSError: the ledger cannot be read.
        """
        return await self._upkeep.read_events(after, limit, link_id=link_id)

    async def _greet(self, call: Call) -> None:
        """Look at a new connection: does the ledger stand there that this process began with?"""
        born_ms = await _read_born_ms(call, self._meta)
        if self._born_ms is None:
            self._born_ms = born_ms
        if born_ms != self._born_ms:
            raise LedgerUnfit("redis: another ledger than the one this process began with: restart it")

    async def _known_born_ms(self) -> int:
        if self._born_ms is None:
            await self._aside.call([("PING",)])  # whatever is asked, the new connection is greeted first
        if self._born_ms is None:
            raise LedgerFault("nobody knows when this ledger was born")
        return self._born_ms

    async def _send_inserts(self, asks: Sequence[Insert]) -> Sequence[_Outcome]:
        versions = fresh_versions(len(asks))
        args = [stored(version, ask.forget_after_s, ask.record) for ask, version in zip(asks, versions, strict=True)]
        return await self._write(self._insert_scripts, INSERT, asks, [len(self._record) + 1, *args], versions)

    async def _send_replaces(self, asks: Sequence[Replace]) -> Sequence[_Outcome]:
        versions, args = fresh_versions(len(asks)), list[bytes | str]()
        for ask, version in zip(asks, versions, strict=True):
            args += [str(ask.version), stored(version, ask.forget_after_s, ask.record)]
        return await self._write(self._replace_scripts, REPLACE, asks, args, versions)

    async def _write(
        self,
        scripts: Scripts,
        script: Script,
        asks: Sequence[Insert] | Sequence[Replace],
        args: Sequence[bytes | int | str],
        versions: Sequence[str],
    ) -> Sequence[_Outcome]:
        keys = [self._meta, self._ids, *(self._record + ask.link_id for ask in asks)]
        try:
            head = [await self._known_born_ms(), int(self._address.wait > 0)]
            return _outcomes(await scripts.run(script, keys, [*head, *args], waits=True), versions)
        except LedgerFault as fault:
            return [Unknown(str(fault))] * len(asks)

    async def _send_reads(self, asks: Sequence[bytes]) -> Sequence[_Outcome]:
        keys = [self._meta, self._nothing, *(self._record + link_id for link_id in asks)]
        try:
            answers = await self._read_scripts.run(READ, keys, [await self._known_born_ms()])
            return _outcomes(answers, [""] * len(asks))
        except LedgerFault as fault:
            return [Unknown(str(fault))] * len(asks)


def _link_id(ask: Insert | Replace) -> bytes:
    return ask.link_id


def _outcomes(answers: Reply, versions: Sequence[str]) -> Sequence[_Outcome]:
    if answers == DONE:
        return [Done(version) for version in versions]
    if not isinstance(answers, list) or len(answers) != len(versions):
        raise LedgerFault("the answers do not match what was asked")
    return [outcome_of(answer, version) for answer, version in zip(answers, versions, strict=True)]


async def _read_born_ms(call: Call, meta: bytes) -> int:
    """Read when the ledger was born, and whether this version can work with it.

    Raises:
        LedgerUnfit: none stands, or one of another schema.
        LedgerFault: no answer.
    """
    (told,) = await call([("HMGET", meta, "schema", "born_ms")])
    if isinstance(told, Refused):
        raise LedgerFault(told.words)
    schema, born_ms = told if isinstance(told, list) and len(told) == 2 else (None, None)
    if not isinstance(schema, bytes) or not isinstance(born_ms, bytes):
        raise LedgerUnfit(
            "redis: no ledger stands under this prefix: make one with `oncegate ledger migrate`."
            " If one was there, every link that it knew as used would open again: restore it from a backup"
        )
    if int(schema) > SCHEMA_VERSION:
        raise LedgerUnfit(
            f"redis: the ledger has schema {int(schema)}, this oncegate knows up to {SCHEMA_VERSION}:"
            " run the newer oncegate that migrated it"
        )
    return int(born_ms)


def _advice(fault: str) -> str:
    """Add to a server's words what to change, where that is known."""
    if fault.startswith("redis: "):
        return fault
    if fault.startswith("NOPERM"):
        return f"redis: {fault}: this user needs ~PREFIX* and +@read +@write +@scripting +info +time +ping +config|get"
    return f"redis: cannot be used: {fault}"


def open_from_url(address: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
    """Open the ledger of ``redis:ADDRESS``; nothing is touched before the first call.

    Args:
        address: see ``redis_url.parse_address``.
        folder: what relative paths are relative to.
        accept: weaker promises taken by name.

    Raises:
        LedgerUnfit: the address means nothing.
    """
    return RedisLedger(parse_address(address, scheme="redis", folder=folder), accept=accept)


def create_from_url(address: str, *, folder: pathlib.Path) -> None:
    """Make the empty ledger of ``redis:ADDRESS``. Blocks; not for use inside an event loop.

    Raises:
        LedgerUnfit: the address means nothing, a ledger stands there, or it cannot be made.
    """
    create(parse_address(address, scheme="redis", folder=folder))


def migrate_from_url(address: str, *, folder: pathlib.Path) -> bool:
    """Make the ledger of ``redis:ADDRESS`` where none stands, or migrate it; say whether something was changed.

    Blocks; not for use inside an event loop. Any number of gateways may do it at once.

    Raises:
        LedgerUnfit: the address means nothing, or it cannot be made or migrated.
    """
    return migrate(parse_address(address, scheme="redis", folder=folder))


def create(address: RedisAddress) -> None:
    """Make the empty ledger; see ``create_from_url``."""
    if not migrate(address):
        raise LedgerUnfit("redis: a ledger stands under this prefix already, and a ledger is made once")


def migrate(address: RedisAddress) -> bool:
    """Make the ledger or bring it to this version's schema; see ``migrate_from_url``."""
    return asyncio.run(_migrate(address))


async def _migrate(address: RedisAddress) -> bool:
    meta, ids = (f"{address.prefix}{name}".encode() for name in ("meta", "ids"))
    connection = RedisConnection(address)
    try:
        made = await Scripts(connection).run(CREATE, [meta, ids], [SCHEMA_VERSION, time.time_ns() // 1_000_000])
        if made == -1:
            raise LedgerUnfit(
                "redis: records of a ledger stand under this prefix that has lost its memory of when it was born:"
                " restore it from a backup, or take another prefix"
            )
        if made != 1:
            await _read_born_ms(connection.call, meta)
    except LedgerFault as fault:
        raise LedgerUnfit(_advice(str(fault))) from None
    finally:
        await connection.aclose()
    return made == 1
