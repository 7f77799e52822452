"""``oncegate revoke``: refuse a link from now on, whoever signed it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from oncegate.cli.examples import examples
from oncegate.cli.instants import FORMS, instant_option
from oncegate.cli.main import Refusal
from oncegate.cli.wiring import settings_of

if TYPE_CHECKING:
    from oncegate.cli.named_link import Named
    from oncegate.cli.records import Records
    from oncegate.uses.standing import Standing


@click.command(
    epilog=examples(
        "oncegate revoke 'https://files.example/a.pdf?once=...'",
        "oncegate revoke AZTb0mXJdU-kq3xkS8pB1g --expires 2026-12-31T00:00:00Z",
    )
)
@click.argument("link", metavar="URL|ID")
@click.option(
    "--expires",
    metavar="T",
    help=f"When a link named by its id ends: 7d, {FORMS}. The revocation is forgotten a day later; without it, never. "
    "One that is too early lets the link live again.",
)
@click.pass_context
def command(ctx: click.Context, *, link: str, expires: str | None) -> None:
    """Refuse a link from now on: no gateway over this ledger admits a new download, range or upload.

    Works for links that were signed offline and never seen here. What is being transferred goes on to its end.
    """
    from oncegate.cli import shown
    from oncegate.cli.homes import homes_of, look_for, tell
    from oncegate.cli.named_link import read_link
    from oncegate.cli.records import with_records
    from oncegate.links.link_id import text_of_id

    settings, now_s = settings_of(ctx), int(time.time())
    named = read_link(link, settings, now_s=now_s)
    if named.grant is not None and not named.grant.is_counted:
        raise Refusal('a plain link opens as often as it likes ([links] plain_links = "allow") and cannot be revoked')
    expires_s = instant_option(expires, name="--expires", now_s=now_s)
    if named.grant is not None:
        expires_s = named.grant.expires_s  # the signed end counts, not a typed one
    where = look_for(named, settings)
    tell(where.silent)
    # no ledger has a record: a link that was never opened, of any of the homes that answer
    for home in where.homes or [each for each in homes_of(settings) if each not in where.silent]:
        standing = with_records(settings, lambda records: _revoke(records, named, expires_s, now_s), home=home)
        click.echo(shown.as_line(text_of_id(named.link_id), standing))
    if where.silent and not where.homes:
        raise Refusal("it is not revoked where no ledger answered: try again, or name it by its URL")


async def _revoke(records: Records, named: Named, expires_s: int | None, now_s: int) -> Standing:
    from oncegate.control.recording import revoke_link
    from oncegate.ledgers.protocol import KeepsEvents
    from oncegate.links.link_id import text_of_id

    record = await revoke_link(records.runner, named.link_id, expires_s=expires_s)
    if isinstance(records.ledger, KeepsEvents):
        event = {"at": now_s, "event": "revoked", "link_id": text_of_id(named.link_id)}
        await records.ledger.append_events([event])
    return await records.standing_of(named.link_id, record, now_s=now_s, grant=named.grant)
