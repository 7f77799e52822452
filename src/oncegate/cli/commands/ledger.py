"""``oncegate ledger``: make or check the ledger's schema, forget what is long over, and mend what a wrong clock did."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import click

from oncegate.cli.examples import examples
from oncegate.cli.wiring import settings_of

if TYPE_CHECKING:
    from oncegate.cli.records import Records
    from oncegate.ledgers.protocol import Ledger, LedgerFacts
    from oncegate.settings import Settings


@click.group(epilog=examples("oncegate ledger migrate", "oncegate ledger sweep", "oncegate ledger repair"))
def command() -> None:
    """Migrate, sweep, repair or copy the ledger."""


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
    from oncegate.service.home_ledgers import open_home_ledger

    ledger = open_home_ledger(settings)
    try:
        return await ledger.probe()
    finally:
        await ledger.aclose()


@command.command(
    epilog=examples(
        "oncegate ledger sweep       # a running gateway does it every hour",
        "oncegate ledger sweep --force",
    )
)
@click.option("--force", is_flag=True, help="As far as this machine's clock says, whatever earlier tries said.")
@click.pass_context
def sweep(ctx: click.Context, force: bool) -> None:  # noqa: FBT001  click hands it over by name
    """Forget links that expired more than a day ago, and print how many. Claims are not held up.

    A clock that is wrong must not do harm, so a sweep goes as far as the earliest of the last 24 tries and of now. With
    --force it goes to now: if this machine's clock is ahead, links that have not expired are refused from then on.
    """
    from oncegate.cli.records import with_records

    forgotten, words = with_records(settings_of(ctx), lambda records: _sweep(records, force=force))
    if words:
        click.echo(words, err=True)
    click.echo(str(forgotten))


async def _sweep(records: Records, *, force: bool) -> tuple[int, str]:
    from oncegate.ledgers.protocol import Sweeps
    from oncegate.ledgers.sweeping import TRIES_KEPT, after_try
    from oncegate.links.instants import instant_text

    if not isinstance(records.ledger, Sweeps):
        return 0, "this ledger forgets by itself: there is nothing to sweep"
    now_s = int(time.time())
    before = await records.ledger.sweep_state()
    forgotten = await records.ledger.sweep(now_s, force=force)
    if not force and after_try(before, now_s) is None:
        return forgotten, "somebody tried within the last half hour: nothing was done"
    after = await records.ledger.sweep_state()
    if len(before.tries_s) < TRIES_KEPT and not force:
        tries = len(after.tries_s)
        return (
            forgotten,
            f"{tries} of the {TRIES_KEPT} tries are known that a sweep needs: nothing was forgotten (--force)",
        )
    return forgotten, f"swept until {instant_text(after.swept_until_s)}"


@command.command(epilog=examples("oncegate ledger repair      # where doctor says that a clock was ahead"))
@click.pass_context
def repair(ctx: click.Context) -> None:
    """Let links open again after a clock that was ahead swept too far. Every ticket made before now is refused.

    What was used stays used: records may have been forgotten, so no link from before can be told from a used one. End
    all gateways first, and start them afterwards; one that still runs answers nothing until it is started anew.
    """
    from oncegate.cli.records import with_records

    click.echo(with_records(settings_of(ctx), _repair), err=True)


async def _repair(records: Records) -> str:
    from oncegate.cli.main import Refusal
    from oncegate.ledgers.protocol import Repair, Repairs
    from oncegate.ledgers.sweeping import refused_until_s
    from oncegate.links.instants import instant_text

    now_ms = time.time_ns() // 1_000_000
    facts = records.facts
    until_s = refused_until_s(facts.swept_until_s, now_ms // 1000)
    if until_s is None:
        raise Refusal("there is nothing to repair: no link is refused before its time")
    if not isinstance(records.ledger, Repairs):
        raise Refusal("this ledger cannot be repaired: make a new one")
    plain_until_s = max(facts.swept_until_s, facts.repair.plain_until_s)
    await records.ledger.rebirth(now_ms, Repair(now_ms, plain_until_s), now_ms // 1000)
    return (
        f"tickets made from {instant_text(now_ms // 1000)} on are admitted; those made before are refused, and so are links"
        f" without a ticket that expire before {instant_text(until_s)}. Start the gateways now"
    )


@command.command(epilog=examples("oncegate ledger copy sqlite:./ledger.db postgresql://gateway@db:5432/links"))
@click.argument("old", metavar="FROM")
@click.argument("new", metavar="TO")
@click.pass_context
def copy(ctx: click.Context, old: str, new: str) -> None:
    """Move the records of one ledger to another, empty one; everything that was used stays used.

    A link that was moved is refused (503) by a gateway over FROM. So end the gateways first, or give all of them
    [ledger] url = "moving:FROM TO" before. Copy again until 0 are printed, then name TO alone.
    """
    from oncegate.cli.main import Refusal

    settings = settings_of(ctx)
    try:
        click.echo(str(asyncio.run(_copy(settings, old, new))))
    except OSError as error:
        raise Refusal(str(error)) from None


async def _copy(settings: Settings, old: str, new: str) -> int:
    from oncegate.ledgers.moving import adopt_birth
    from oncegate.ledgers.moving import copy as walk
    from oncegate.ledgers.opening import known_promises
    from oncegate.ledgers.opening import open_ledger as open_at

    def opened(url: str) -> Ledger:
        return open_at(url, folder=settings.folder, accept=known_promises(url, settings.ledger.accept))

    async with contextlib.AsyncExitStack() as last:
        source, target = opened(old), opened(new)
        last.push_async_callback(source.aclose)
        last.push_async_callback(target.aclose)
        if await adopt_birth(await source.probe(), target):
            target = opened(new)
            last.push_async_callback(target.aclose)
            await target.probe()
        return await walk(source, target, lambda looked: click.echo(f"{looked} looked at", err=True))
