"""A ledger that stops keeping its promise while it is used: it serves nothing until it keeps it again."""

from __future__ import annotations

import pathlib
import time
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from oncegate.ledgers import claiming
from oncegate.ledgers.health import LedgerHealth
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import (
    FORGET_NEVER_S,
    PLAIN_ID_BYTE,
    Ledger,
    LedgerAway,
    LedgerFacts,
    LedgerUnfit,
    Repair,
)
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.refusal import Reason
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.servers.redis import RedisServer
from oncegate.uses.record import Record
from oncegate.uses.use import Admission, Kind

NOW_MS = 1_767_290_400_000


class Doubtful(MemoryLedger):
    """A ledger whose fitness is what a test says."""

    verdict: LedgerUnfit | None = None

    async def probe(self) -> LedgerFacts:
        """Raise the verdict, or pass."""
        if self.verdict is not None:
            raise self.verdict
        return await super().probe()


async def claim(runner: LedgerRunner, link_id: bytes, forget_after_s: int = FORGET_NEVER_S) -> Admission:
    """Claim a link that nobody has claimed."""

    def decide(_: Record | None) -> Admission:
        return Admission(kind=Kind.ADMIT, record=Record(uses=1, marks=("m",)), mark="m")

    def undo(_: Admission) -> claiming.Talk[bool]:
        raise AssertionError("nothing is to be given back")

    return await runner.claim(link_id, forget_after_s, decide, undo=undo)


@pytest.mark.anyio
async def test_an_unfit_ledger_takes_no_claim_until_it_is_fit_again() -> None:
    """503 and nothing written: what was promised before may not hold any more."""
    ledger = Doubtful()
    health = LedgerHealth(await ledger.probe())
    runner = LedgerRunner(ledger, health=health)
    ledger.verdict = LedgerUnfit("nothing is forced to the disk")
    await health.ask_again(ledger)
    link_id = fresh_link_id()
    refused = await claim(runner, link_id)
    assert (refused.kind, refused.reason) == (Kind.BUSY, Reason.LEDGER_UNKNOWN)
    assert not await ledger.scan(b"", 1)
    ledger.verdict = None
    await health.ask_again(ledger)
    assert (await claim(runner, link_id)).kind is Kind.ADMIT


@pytest.mark.anyio
async def test_a_ledger_that_does_not_answer_keeps_its_verdict() -> None:
    """An outage says nothing of fitness: when it is over, claims go on at once; what was unfit stays so."""
    ledger = Doubtful()
    health = LedgerHealth(await ledger.probe())
    ledger.verdict = LedgerAway("no answer")
    await health.ask_again(ledger)
    assert health.unfit is None
    ledger.verdict = unfit = LedgerUnfit("nothing is forced to the disk")
    await health.ask_again(ledger)
    ledger.verdict = LedgerAway("no answer")
    await health.ask_again(ledger)
    assert health.unfit is unfit


@pytest.mark.anyio
async def test_after_a_repair_links_from_before_are_refused_by_their_ids() -> None:
    """A ticket's id begins with the time of its making; a plain link has its end alone. Both sides of each boundary."""
    ledger = MemoryLedger()
    repair = Repair(refused_before_ms=NOW_MS, plain_until_s=500)
    health = LedgerHealth(replace(await ledger.probe(), repair=repair))
    runner = LedgerRunner(ledger, health=health)

    def made(at_ms: int) -> bytes:
        return at_ms.to_bytes(6, "big") + bytes(10)

    plain = bytes([PLAIN_ID_BYTE]) + bytes(15)
    before = await claim(runner, made(NOW_MS - 1))
    assert (before.kind, before.reason) == (Kind.REFUSE, Reason.FORGOTTEN)
    assert (await claim(runner, made(NOW_MS))).kind is Kind.ADMIT
    assert (await claim(runner, plain, 500)).reason is Reason.FORGOTTEN
    assert (await claim(runner, plain, 501)).kind is Kind.ADMIT


@pytest.fixture
async def weakened(redis_server: RedisServer, tmp_path: pathlib.Path) -> AsyncGenerator[Ledger]:
    """A ledger in a Redis whose settings are put back afterwards."""
    ledger = open_ledger(f"{redis_server.url}?prefix=health{time.time_ns()}:", folder=tmp_path)
    yield ledger
    await ledger.aclose()
    redis_server.cli("CONFIG", "SET", "appendfsync", "always")
    redis_server.cli("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "value"), [("appendfsync", "no"), ("maxmemory-policy", "allkeys-lru")])
async def test_a_redis_that_is_weakened_at_run_time_is_noticed(
    weakened: Ledger, redis_server: RedisServer, name: str, value: str
) -> None:
    """Somebody types CONFIG SET on a server that runs; the probe at the start has seen nothing of it."""
    health = LedgerHealth(await weakened.probe())
    redis_server.cli("CONFIG", "SET", name, value)
    await health.ask_again(weakened)
    assert health.unfit is not None
    assert name in str(health.unfit)


@pytest.mark.anyio
async def test_a_sqlite_file_that_is_put_away_is_noticed(tmp_path: pathlib.Path) -> None:
    """Asked again, also while nobody claims: the file, its log, and whether it is the same."""
    create_ledger("sqlite:./ledger.db", folder=tmp_path)
    ledger = open_ledger("sqlite:./ledger.db", folder=tmp_path)
    health = LedgerHealth(await ledger.probe())
    await claim(LedgerRunner(ledger, health=health), fresh_link_id())
    await health.ask_again(ledger)
    assert health.unfit is None
    (tmp_path / "ledger.db-wal").unlink()
    await health.ask_again(ledger)
    assert "deleted or exchanged" in str(health.unfit)
    await ledger.aclose()
