"""``oncegate status``: what became of a link, from the ledger and its events."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from oncegate.cli.examples import examples
from oncegate.cli.wiring import settings_of

if TYPE_CHECKING:
    from oncegate.cli.named_link import Named
    from oncegate.cli.records import Records
    from oncegate.uses.standing import Standing


@click.command(
    epilog=examples("oncegate status 'https://files.example/a.pdf?once=...'", "oncegate status AZTb0mXJdU-kq3xkS8pB1g")
)
@click.argument("link", metavar="URL|ID")
@click.option("--json", "as_json", is_flag=True, help="Print everything that is known as JSON.")
@click.pass_context
def command(ctx: click.Context, *, link: str, as_json: bool) -> None:
    """Say what became of a link: never opened, claimed when and by whom, complete or broken, revoked, expired.

    A URL says more than its id does: of a link that was signed offline the ledger knows the object's key from its events
    alone, so not before it is opened.
    """
    from oncegate.cli import shown
    from oncegate.cli.homes import one_home
    from oncegate.cli.named_link import read_link
    from oncegate.cli.records import with_records
    from oncegate.links.link_id import text_of_id
    from oncegate.uses.standing import members_of

    settings, now_s = settings_of(ctx), int(time.time())
    named = read_link(link, settings, now_s=now_s)
    home = one_home(named, settings)
    standing = with_records(settings, lambda records: standing_in(records, named, now_s), home=home)
    link_id = text_of_id(named.link_id)
    if as_json:
        click.echo(json.dumps(members_of(standing, link_id), indent=2))
    else:
        confirm = None if named.grant is None else named.grant.limits.confirm
        click.echo("\n".join(shown.as_lines(link_id, standing, confirm=confirm)))


async def standing_in(records: Records, named: Named, now_s: int) -> Standing:
    """Read what has become of a link.

    Raises:
        LedgerSilent: the ledger does not answer.
        RecordUnreadable: its record cannot be read.
    """
    from oncegate.control.recording import read_record

    record = await read_record(records.runner, named.link_id)
    return await records.standing_of(named.link_id, record, now_s=now_s, grant=named.grant)
