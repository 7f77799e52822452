"""``oncegate ticket``: a fresh ``once=...`` for use with other signers. Needs no configuration, ledger or network."""

from __future__ import annotations

import os
from pathlib import Path

import click

from oncegate.cli.examples import examples
from oncegate.cli.wiring import settings_of
from oncegate.library.tickets import draw_ticket
from oncegate.links.grant import Operation
from oncegate.links.ticket import USES_MAX


def _home_of(ctx: click.Context) -> str:
    """The home that links made here name; empty without a configuration, which another signer's machine may not have."""
    from oncegate.settings.finding import DEFAULT_CONFIG

    is_configured = ctx.find_root().obj is not None or Path(DEFAULT_CONFIG).exists()
    if is_configured or any(name.startswith("ONCEGATE_LINKS") for name in os.environ):
        return settings_of(ctx).links.home
    return ""


@click.command(
    epilog=examples(
        "oncegate ticket                    # one download",
        "oncegate ticket --put --uses 3     # three uploads",
        'aws cloudfront sign --url "https://cdn.example/a.pdf?$(oncegate ticket)" ...',
    )
)
@click.option("--put", is_flag=True, help="For uploads; without it, for downloads.")
@click.option("--uses", type=click.IntRange(1, USES_MAX), default=1, show_default=True, help="How often.")
@click.pass_context
def command(ctx: click.Context, *, put: bool, uses: int) -> None:
    """Print a fresh once=... for another signer.

    Put it into the query of the URL before that is signed: the link then opens as often as the ticket says.
    """
    click.echo(f"once={draw_ticket(Operation.PUT if put else Operation.GET, uses=uses, home=_home_of(ctx))}")
