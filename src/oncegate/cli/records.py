"""The ledger, opened for one command: probed, asked, closed. Nothing is decided here; every loop begins and ends here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import click

from oncegate.cli.main import Misuse, Refusal
from oncegate.control.recording import LedgerSilent, read_events_of_link
from oncegate.ledgers.health import LedgerHealth
from oncegate.ledgers.protocol import Ledger, LedgerFacts
from oncegate.ledgers.runner import LedgerRunner
from oncegate.ledgers.sweeping import refused_until_s
from oncegate.links.grant import Grant
from oncegate.links.instants import instant_text
from oncegate.service.home_ledgers import open_home_ledger
from oncegate.settings import Settings
from oncegate.uses.record import Record, RecordUnreadable
from oncegate.uses.standing import Standing, standing_of

EVENTS_OF_A_LINK_MAX = 1_000

T = TypeVar("T")


def swept_ahead(until_s: int) -> str:
    """Say that a clock that was wrong has had links refused.

    Args:
        until_s: from ``sweeping.refused_until_s``.
    """
    return (
        f"the ledger was swept by a clock that was ahead: links that expire before {instant_text(until_s)} are refused"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """An open ledger.

    Attributes:
        ledger: itself.
        runner: over it.
        facts: what its probe found.
        home: whose it is; empty: the installation's own.
    """

    ledger: Ledger
    runner: LedgerRunner
    facts: LedgerFacts
    home: str = ""

    async def standing_of(self, link_id: bytes, record: Record | None, *, now_s: int, grant: Grant | None) -> Standing:
        """Return what has become of a link, from its record and its events.

        Raises:
            LedgerSilent: the events cannot be read.
        """
        found = await read_events_of_link(self.ledger, link_id, EVENTS_OF_A_LINK_MAX)
        return standing_of(
            record, now_s=now_s, events=found.newest, counts=found.counts, is_whole=found.is_whole, grant=grant
        )


def with_records(settings: Settings, work: Callable[[Records], Coroutine[object, object, T]], *, home: str = "") -> T:
    """Open a ledger, do the work, and close it.

    Args:
        settings: of the configuration.
        work: what is to be done.
        home: whose ledger, as tickets name it; empty: the installation's own.

    Raises:
        LedgerUnfit: the ledger cannot be used.
        Refusal: it does not answer, or what it holds cannot be read.
    """

    async def run() -> T:
        async with opened(settings, home) as records:
            return await work(records)

    try:
        return asyncio.run(run())
    except LedgerSilent:
        whose = f" of home {home}" if home else ""
        raise Refusal(f"the ledger{whose} does not answer: try again") from None
    except RecordUnreadable:
        raise Refusal("the record of this link is of another version of oncegate, or damaged") from None
    except OSError as error:
        raise Refusal(str(error)) from None


@asynccontextmanager
async def opened(settings: Settings, home: str = "") -> AsyncGenerator[Records]:
    """Open the ledger of a home, and let what is under way end before it is closed.

    Raises:
        Misuse: it lives inside the gateway alone.
        LedgerUnfit: it cannot be used.
    """
    if settings.ledger_url(home).startswith("memory:"):
        raise Misuse('[ledger] url = "memory:" lives inside the gateway alone: ask its control API, or use sqlite:')
    began_ms = time.time_ns() // 1_000_000
    ledger = open_home_ledger(settings, home)
    try:
        facts = await ledger.probe()
        if facts.born_ms >= began_ms:
            click.echo("the ledger was made just now: none stood there; is [ledger] url the gateway's?", err=True)
        until_s = refused_until_s(facts.swept_until_s, int(time.time()))
        if until_s is not None:
            click.echo(f"{swept_ahead(until_s)}; see 'oncegate ledger repair'", err=True)
        runner = LedgerRunner(ledger, health=LedgerHealth(facts))
        yield Records(ledger=ledger, runner=runner, facts=facts, home="" if home == settings.links.home else home)
        await runner.drain()
    finally:
        await ledger.aclose()
