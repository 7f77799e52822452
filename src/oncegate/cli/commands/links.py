"""``oncegate links``: the links that the ledger knows, a line each, about in the order in which they were made."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from oncegate.cli.examples import examples
from oncegate.cli.instants import FORMS, instant_option
from oncegate.cli.main import Misuse, Refusal
from oncegate.cli.wiring import settings_of
from oncegate.unfit import Unfit
from oncegate.uses.standing import State

if TYPE_CHECKING:
    from oncegate.cli.records import Records
    from oncegate.ledgers.protocol import Row
    from oncegate.settings import Settings
    from oncegate.uses.standing import Standing

LIMIT_MAX = 10_000


@click.command(
    epilog=examples(
        "oncegate links",
        "oncegate links --since -1d --state claimed",
        "oncegate links --key 'reports/*' --label Kim",
        "oncegate links --limit 20 --after ID --json",
    )
)
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=100, show_default=True, help="How many.")
@click.option("--after", metavar="ID", help="Begin after this link: the last one of the page before.")
@click.option("--since", metavar="T", help=f"Begin with links made then: -1d, {FORMS}.")
@click.option("--key", metavar="KEY", help="Only links to this object; 'reports/*': to all whose keys begin so.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only links of this state.")
@click.option("--label", metavar="TEXT", help="Only links whose label holds this.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    limit: int,
    after: str | None,
    since: str | None,
    key: str | None,
    state: str | None,
    label: str | None,
    as_json: bool,
) -> None:
    """List the links that the ledger knows, oldest first.

    It knows links that were opened, revoked, or made through the control API with a label; of a link that was signed
    offline and never opened it knows nothing.
    """
    from oncegate.cli import shown
    from oncegate.cli.homes import tell
    from oncegate.uses.standing import members_of

    settings, now_s = settings_of(ctx), int(time.time())
    begin = _begin(after, instant_option(since, name="--since", now_s=now_s))
    wanted = _Wanted(key=key, state=state, label=label)
    found, silent = _list_all(settings, begin, limit, now_s, wanted)
    if as_json:
        click.echo(json.dumps([members_of(standing, link_id) for link_id, standing in found[:limit]], indent=2))
    else:
        for link_id, standing in found[:limit]:
            click.echo(shown.as_line(link_id, standing))
    if len(found) > limit:
        click.echo(f"there are more: oncegate links --after {found[limit - 1][0]}", err=True)
    tell(silent)
    if silent:
        raise Refusal("the list lacks the links of homes that did not answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Which links are listed; None: all."""

    key: str | None
    state: str | None
    label: str | None

    def holds(self, standing: Standing) -> bool:
        key = standing.object_key
        if self.key is not None and not (
            key is not None and (key.startswith(self.key[:-1]) if self.key.endswith("*") else key == self.key)
        ):
            return False
        return (self.state is None or standing.state.value == self.state) and (
            self.label is None or self.label in standing.label
        )


def _list_all(
    settings: Settings, begin: bytes, limit: int, now_s: int, wanted: _Wanted
) -> tuple[list[tuple[str, Standing]], dict[str, str]]:
    """List the links of every home, in order of their ids, and what was said by homes that did not answer."""
    from oncegate.cli.homes import homes_of
    from oncegate.cli.records import with_records
    from oncegate.links.link_id import id_of_text

    found: list[tuple[str, Standing]] = []
    silent: dict[str, str] = {}
    for home in homes_of(settings):
        try:
            found += with_records(settings, lambda records: _list(records, begin, limit, now_s, wanted), home=home)
        except (Refusal, Unfit) as fault:
            if not settings.ledger.homes:
                raise
            silent[home] = str(fault)
    return sorted(found, key=lambda each: id_of_text(each[0]))[: limit + 1], silent


def _begin(after: str | None, since_s: int | None) -> bytes:
    """Where the list begins: ids of tickets begin with their milliseconds, so a moment is found at once."""
    from oncegate.links.link_id import id_of_text

    if after is not None and since_s is not None:
        raise Misuse("give --after or --since, not both")
    if since_s is not None:
        return min(since_s * 1000, 2**48 - 1).to_bytes(6)
    try:
        return b"" if after is None else id_of_text(after)
    except ValueError:
        raise click.BadParameter("not the 22 characters of a link id", param_hint="--after") from None


async def _list(records: Records, begin: bytes, limit: int, now_s: int, wanted: _Wanted) -> list[tuple[str, Standing]]:
    from oncegate.ledgers.protocol import Scans
    from oncegate.ledgers.removals import scan_links
    from oncegate.links.link_id import text_of_id

    if not isinstance(records.ledger, Scans):
        raise Refusal("this ledger cannot list its records; 'oncegate status' asks about one link")
    found: list[tuple[str, Standing]] = []
    while len(found) <= limit:
        rows = await scan_links(records.ledger, begin, limit + 1)
        for row in rows:
            standing = await _standing(records, row, now_s)
            if wanted.holds(standing):
                found.append((text_of_id(row.link_id), standing))
        if len(rows) <= limit:
            break
        begin = rows[-1].link_id
    return found


async def _standing(records: Records, row: Row, now_s: int) -> Standing:
    from oncegate.uses.record import from_json
    from oncegate.uses.standing import UNREADABLE

    try:
        record = from_json(row.record)
    except ValueError:
        return UNREADABLE
    return await records.standing_of(row.link_id, record, now_s=now_s, grant=None)
