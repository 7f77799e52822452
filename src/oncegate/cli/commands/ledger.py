"""``oncegate ledger``: make or check the ledger's schema, and forget what is long over."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import click

from oncegate.cli.examples import examples
from oncegate.cli.wiring import open_ledger, settings_of

if TYPE_CHECKING:
    from oncegate.cli.records import Records
    from oncegate.ledgers.protocol import LedgerFacts
    from oncegate.settings import Settings


@click.group(epilog=examples("oncegate ledger migrate", "oncegate ledger sweep"))
def command() -> None:
    """Migrate or sweep the ledger."""


@command.command(epilog=examples("oncegate ledger migrate     # before the first start, and after an update"))
@click.pass_context
def migrate(ctx: click.Context) -> None:
    """Make the ledger where there is none, and check that it can keep its promise. Never harms one that stands."""
    from oncegate.ledgers.opening import create_ledger, migrate_ledger
    from oncegate.ledgers.protocol import LedgerUnfit
    from oncegate.links.instants import instant_text

    settings = settings_of(ctx)
    migrate_ledger(settings.ledger.url, folder=settings.folder)
    try:
        facts = asyncio.run(_probe(settings))
    except LedgerUnfit as unfit:
        try:
            create_ledger(settings.ledger.url, folder=settings.folder)
        except LedgerUnfit:
            raise unfit from None  # the ledger exists already, so the error of the probe is the one to show
        facts = asyncio.run(_probe(settings))
    accepted = f"; accepted: {', '.join(facts.accepted)}" if facts.accepted else ""
    click.echo(f"the ledger is ready, born {instant_text(facts.born_ms // 1000)}{accepted}", err=True)


async def _probe(settings: Settings) -> LedgerFacts:
    ledger = open_ledger(settings)
    try:
        return await ledger.probe()
    finally:
        await ledger.aclose()


@command.command(epilog=examples("oncegate ledger sweep       # a running gateway does it every hour"))
@click.pass_context
def sweep(ctx: click.Context) -> None:
    """Forget links that expired more than a day ago, and print how many. Claims are not held up."""
    from oncegate.cli.records import with_records

    forgotten = with_records(settings_of(ctx), _sweep)
    if forgotten is None:
        click.echo("this ledger forgets by itself: there is nothing to sweep", err=True)
    click.echo(str(forgotten or 0))


async def _sweep(records: Records) -> int | None:
    from oncegate.ledgers.protocol import Sweeps

    return await records.ledger.sweep(int(time.time())) if isinstance(records.ledger, Sweeps) else None
