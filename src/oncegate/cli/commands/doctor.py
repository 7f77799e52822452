"""``oncegate doctor``: look at every part as it is, and say of each what is the matter and what to do."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import click

from oncegate.cli.examples import examples
from oncegate.cli.main import Misuse
from oncegate.cli.wiring import settings_of
from oncegate.unfit import Unfit

if TYPE_CHECKING:
    from oncegate.cli.checkup.findings import Finding
    from oncegate.settings import Settings


@click.command(epilog=examples("oncegate doctor", "oncegate --config /etc/oncegate/oncegate.toml doctor --json"))
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Check configuration, keys, tokens, ledgers (also of other homes), clock, store and public URL.

    Exits with 0 if nothing is broken (warnings do not count), with 1 if a part is, and with 2 if the configuration
    cannot be read, so that nothing could be looked at. Uses up no link. Where no SQLite ledger stands it makes one, as
    a start does.
    """
    from oncegate.cli.checkup.findings import Finding, State

    try:
        settings = settings_of(ctx)
    except Unfit as unfit:
        found = [
            Finding(name="configuration", state=State.FAILED, words=unfit.words, remedy=unfit.remedy or "correct it")
        ]
        exit_if_broken = Misuse.exit_code
    else:
        found = asyncio.run(_look(settings))
        exit_if_broken = 1
    is_well = all(finding.state is not State.FAILED for finding in found)
    if as_json:
        click.echo(json.dumps({"ok": is_well, "checks": [_as_json(finding) for finding in found]}, indent=2))
    else:
        for finding in found:
            click.echo(_as_line(finding))
    ctx.exit(0 if is_well else exit_if_broken)


async def _look(settings: Settings) -> list[Finding]:
    from oncegate.cli.checkup import backends, own_files
    from oncegate.cli.checkup.by_proxy import look_at_proxy
    from oncegate.cli.checkup.public_urls import look_at_public_urls

    (ledger, facts), homes, store, reached = await asyncio.gather(
        backends.look_at_ledger(settings),
        backends.look_at_homes(settings),
        backends.look_at_store(settings),
        asyncio.to_thread(look_at_public_urls, settings),
    )
    return [
        *own_files.look_at_configuration(settings),
        *own_files.look_at_keys(settings),
        *own_files.look_at_tokens(settings),
        *ledger,
        *homes,
        *backends.look_at_clock(facts, [date_s for _, date_s in reached]),
        *store,
        *(finding for finding, _ in reached),
        *await look_at_proxy(settings),
    ]


def _as_json(finding: Finding) -> dict[str, str]:
    return {"name": finding.name, "state": finding.state.value, "words": finding.words, "remedy": finding.remedy}


def _as_line(finding: Finding) -> str:
    from oncegate.cli.shown import printable

    line = f"{finding.state.value:9}{finding.name:15}{printable(finding.words)}"
    return f"{line}\n{'':24}-> {printable(finding.remedy)}" if finding.remedy else line
