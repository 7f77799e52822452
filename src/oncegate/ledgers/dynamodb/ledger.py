"""The ledger ``dynamodb:``: records in one DynamoDB table, shared by any number of gateways and by the edge.

    dynamodb://links?region=eu-central-1
    dynamodb://links?region=eu-central-1&endpoint=http://127.0.0.1:8000&profile=gateway

``requests.py`` says what is sent and what an answer means; this file carries it, with credentials of botocore's
chain. DynamoDB answers a write when it is on the disks of two of three places, so what was answered is never lost; in a
table that is replicated to other Regions the last writer wins, so there a link could be used twice: refused unless the
replicas are strongly consistent, or ``accept`` says ``dynamodb-global-table``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from oncegate.aws_requests.connections import SignedConnections
from oncegate.aws_requests.credentials import ChainCredentials, GivesCredentials, NoCredentials
from oncegate.aws_requests.driving import drive
from oncegate.aws_requests.flow import HttpAnswer, HttpRequest, NoAnswer, Talk
from oncegate.aws_requests.signature import SigningScope
from oncegate.ledgers.birth import Birth
from oncegate.ledgers.dynamodb import requests as dynamodb
from oncegate.ledgers.dynamodb import table as dynamodb_table
from oncegate.ledgers.dynamodb.address import Address, parse_address
from oncegate.ledgers.dynamodb.items import BORN_KEY, LAYOUT, SHARDS
from oncegate.ledgers.dynamodb.requests import SaidNo
from oncegate.ledgers.protocol import (
    CLOCK_SKEW_MAX_S,
    CLOSED,
    InsertOutcome,
    Ledger,
    LedgerAway,
    LedgerFacts,
    LedgerUnfit,
    ReadOutcome,
    Repair,
    ReplaceOutcome,
    Row,
    SweepState,
    Swept,
    Unknown,
    Version,
)
from oncegate.ledgers.sweeping import SweepsByTries
from oncegate.ledgers.under_way import UnderWay

WEAKER_PROMISES = frozenset({dynamodb_table.GLOBAL_TABLE})
ANSWER_WITHIN_S = 4.0
SHARDS_AT_ONCE = 4

_T = TypeVar("_T")


class DynamodbLedger(SweepsByTries):
    """Keeps records in one table.

    It touches nothing before the first call. It belongs to the event loop of its first call.

    Args:
        address: table, region, endpoint.
        accept: weaker promises taken by name, of ``WEAKER_PROMISES``.
        credentials: with what to sign; by default botocore's chain.
        clock: seconds since 1970 UTC.
        answer_within_s: seconds after which any call ends in ``Unknown``.
    """

    def __init__(
        self,
        address: Address,
        *,
        accept: Sequence[str] = (),
        credentials: GivesCredentials | None = None,
        clock: Callable[[], float] = time.time,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._table = address.table
        self._accept = tuple(accept)
        self._clock = clock
        self._answer_within_s = answer_within_s
        self._credentials = credentials or ChainCredentials(address.profile)
        self._connections = SignedConnections(
            address.endpoint,
            scope=SigningScope(region=address.region, service="dynamodb"),
            credentials=self._credentials,
        )
        self._birth = Birth("dynamodb")
        self._swept_until_s = -1
        self._under_way = UnderWay()
        self.repeats: int = 0
        """Requests that were sent again; see ``CountsRepeats``."""

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none is stored; see ``Ledger.insert``. One request, but for links about to be forgotten."""
        talk = dynamodb.insert_talk(
            self._table, link_id, record, forget_after_s, token=_token(), swept_until_s=self._swept_until_s
        )
        outcome = await self._outcome(talk)
        if isinstance(outcome, Swept):
            with contextlib.suppress(OSError):
                self._swept_until_s = await self._run(dynamodb.swept_until_talk(self._table))
        return outcome

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version; see ``Ledger.replace``."""
        talk = dynamodb.replace_talk(self._table, link_id, str(version), record, forget_after_s, token=_token())
        return await self._outcome(talk)

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Return the stored record, by a consistent read."""
        return await self._outcome(dynamodb.read_talk(self._table, link_id))

    async def probe(self) -> LedgerFacts:
        """Check table, replicas, time-to-live, a conditional write and the clock; note the birth where nobody did.

        Raises:
            LedgerUnfit: it cannot keep the guarantee, or cannot be seen to; the message says what to change.
        """
        with contextlib.suppress(NoCredentials):  # is said by the first call
            await self._credentials.current()  # importing the chain takes a second or more: not on a call's time
        return await self._facts(dynamodb_table.check_talk(self._table, self._accept))

    async def ask_again(self) -> LedgerFacts:
        """Look at table, replicas, time-to-live and clock; see ``AsksAgain``."""
        return await self._facts(dynamodb_table.look_talk(self._table, self._accept))

    async def _facts(self, check: Talk[tuple[str, ...]]) -> LedgerFacts:
        try:
            accepted = await self._run(check)
            born, date_s = await self._run(dynamodb.born_talk(self._table, int(self._clock() * 1000)))
            self._swept_until_s = await self._run(dynamodb.swept_until_talk(self._table))
        except OSError as error:
            raise LedgerAway(f"dynamodb: table {self._table}: {error}") from error
        if born.layout != LAYOUT:
            what = f"dynamodb: table {self._table} has layout {born.layout}, this oncegate knows {LAYOUT}"
            raise LedgerUnfit(what, remedy="run the newer oncegate that made it")
        self._birth.check(born.ms)
        ahead_s = self._must_be_on_time(date_s, self._clock())
        return LedgerFacts(
            born_ms=born.ms,
            clock_ahead_s=ahead_s,
            accepted=accepted,
            swept_until_s=self._swept_until_s,
            repair=born.repair,
        )

    async def aclose(self) -> None:
        """Finish the calls under way and close the connections. Calls after it end in ``Unknown``."""
        await self._under_way.close()
        await self._connections.aclose()

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List up to ``limit`` records whose id is above ``after``, in order of id; see ``Scans.scan``.

        Raises:
            OSError: the ledger cannot be read.
        """
        shards = [_Shard(self, shard, after, limit // len(SHARDS) + 8) for shard in SHARDS]
        rows: list[Row] = []
        while len(rows) < limit:
            await asyncio.gather(*(shard.fill() for shard in shards if not shard.rows and shard.has_more))
            full = [shard for shard in shards if shard.rows]
            if not full:
                break
            rows.append(min(full, key=_first_id).rows.popleft())
        return rows

    async def sweep_state(self) -> SweepState:
        """Return what is kept of the sweeps so far; see ``Sweeps.sweep_state``."""
        return await self._run(dynamodb.sweep_state_talk(self._table))

    async def keep_sweep(self, before: SweepState, after: SweepState) -> bool:
        """Store what a try leaves behind; see ``Sweeps.keep_sweep``."""
        is_kept = await self._run(dynamodb.keep_sweep_talk(self._table, before, after))
        if is_kept:
            self._swept_until_s = after.swept_until_s
        return is_kept

    async def rebirth(self, born_ms: int, repair: Repair, swept_until_s: int) -> None:
        """Set birth, repair and limit; see ``Repairs.rebirth``."""
        await self._run(dynamodb.rebirth_talk(self._table, born_ms, repair, swept_until_s))

    async def _check_clock(self, now_s: int) -> None:
        _, date_s = await self._run(dynamodb.get_item(self._table, BORN_KEY))
        self._must_be_on_time(date_s, now_s)

    async def _forget_due(self, limit_s: int, *, force: bool) -> int:
        """Delete by hand alone: otherwise the table's own time-to-live does, at no cost and by AWS's clock."""
        if not force:
            return 0
        slots = asyncio.Semaphore(SHARDS_AT_ONCE)

        async def sweep_shard(shard: str) -> int:
            async with slots:
                return await self._run_unlimited(dynamodb.sweep_shard_talk(self._table, shard, limit_s))

        return sum(await asyncio.gather(*map(sweep_shard, SHARDS)))

    async def page(self, shard: str, after: bytes, limit: int) -> dynamodb.Page:
        """List records of one shard; raises ``OSError``."""
        return await self._run(dynamodb.page_talk(self._table, shard, after, limit))

    async def create(self) -> None:
        """Make the table, with time-to-live, and note the birth.

        Raises:
            LedgerUnfit: a ledger stands there already, or the table cannot be made.
        """
        try:
            await self._run_unlimited(dynamodb_table.create_talk(self._table))
            await self._run(dynamodb.born_talk(self._table, int(self._clock() * 1000)))
        except OSError as error:
            raise LedgerUnfit(f"dynamodb: table {self._table} cannot be made: {error}") from error

    async def migrate(self) -> bool:
        """Make the table where there is none, whoever else does so at the same time, and note the birth.

        Returns:
            Whether it was made here.

        Raises:
            LedgerUnfit: it cannot be made, or it cannot be known whether it stands.
        """
        try:
            made = await self._run_unlimited(dynamodb_table.migrate_talk(self._table))
            if made:
                await self._run(dynamodb.born_talk(self._table, int(self._clock() * 1000)))
        except OSError as error:
            raise LedgerUnfit(f"dynamodb: table {self._table}: {error}") from error
        return made

    async def _outcome(self, talk: Talk[_T]) -> _T | Unknown:
        """Run a claim's talk: a fault is ``Unknown``, here and nowhere else."""
        if self._under_way.is_closed:
            talk.close()
            return CLOSED
        try:
            return await self._run(talk)
        except OSError as error:
            return Unknown(str(error))

    async def _run(self, talk: Talk[_T]) -> _T:
        """Drive a talk to its end within ``answer_within_s``.

        Raises:
            OSError: it came to no end.
        """
        try:
            async with asyncio.timeout(self._answer_within_s):
                return await self._run_unlimited(talk)
        except TimeoutError as error:
            raise OSError(f"no answer within {self._answer_within_s:g} s") from error

    async def _run_unlimited(self, talk: Talk[_T]) -> _T:
        """Drive a talk to its end, however long that takes: a sweep, or a table that is being made.

        Raises:
            OSError: it came to no end.
        """
        with self._under_way.one():
            try:
                return await drive(talk, self._send)
            except (NoAnswer, SaidNo) as error:
                raise OSError(str(error)) from error
            except (KeyError, ValueError, TypeError) as error:
                raise OSError(f"an item that is not of this ledger: {type(error).__name__}") from error

    async def _send(self, request: HttpRequest) -> HttpAnswer:
        self.repeats += request.is_repeat
        return await self._connections.send(request)

    def _must_be_on_time(self, date_s: int | None, now_s: float) -> float:
        ahead_s = 0.0 if date_s is None else date_s - now_s
        if date_s is None or abs(ahead_s) > CLOCK_SKEW_MAX_S:
            told = "tells no time" if date_s is None else f"is {ahead_s:+.0f} s from this one"
            raise LedgerUnfit(f"dynamodb: the server's clock {told}", remedy="set this machine's clock (NTP)")
        return ahead_s if abs(ahead_s) > 1 else 0.0  # the Date header has whole seconds


class _Shard:
    """One shard's part of a list, page by page."""

    def __init__(self, ledger: DynamodbLedger, name: str, after: bytes, limit: int) -> None:
        self._ledger = ledger
        self._name = name
        self._after = after
        self._limit = limit
        self.rows: deque[Row] = deque()
        self.has_more = True

    async def fill(self) -> None:
        """Fetch the next page."""
        rows, self.has_more = await self._ledger.page(self._name, self._after, self._limit)
        self.rows.extend(rows)
        if rows:
            self._after = rows[-1].link_id


def _first_id(shard: _Shard) -> bytes:
    return shard.rows[0].link_id


def _token() -> str:
    return secrets.token_urlsafe(9)


def open_from_url(url: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
    """Open the ledger; see ``opening.Backend`` and ``address.py``."""
    return DynamodbLedger(parse_address(url.partition(":")[2], os.environ), accept=accept)


def create_from_url(url: str, *, folder: pathlib.Path) -> None:
    """Make the table; see ``opening.Backend``."""
    asyncio.run(_create(parse_address(url.partition(":")[2], os.environ)))


def migrate_from_url(url: str, *, folder: pathlib.Path) -> bool:
    """Make the table where there is none; see ``opening.Migrates``."""
    return asyncio.run(_migrate(parse_address(url.partition(":")[2], os.environ)))


async def _create(address: Address) -> None:
    async with contextlib.aclosing(DynamodbLedger(address)) as ledger:
        await ledger.create()


async def _migrate(address: Address) -> bool:
    async with contextlib.aclosing(DynamodbLedger(address)) as ledger:
        return await ledger.migrate()
