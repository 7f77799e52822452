"""``oncegate link``: sign a link offline: no ledger, no network, and no import that it does not need.

``links/issue.py`` decides what a link can hold and how it is signed; here the options become its ``Wish``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence

import click

from oncegate.cli.completion import complete_key
from oncegate.cli.examples import examples
from oncegate.cli.instants import FORMS, instant_option
from oncegate.cli.main import Misuse, Refusal
from oncegate.cli.signing import QrCommand, draw_qr, qr_option, read_size, sign
from oncegate.cli.wiring import settings_of
from oncegate.library.tickets import draw_ticket
from oncegate.links.errors import BadRequest
from oncegate.links.grant import Confirm, Operation, Scheme
from oncegate.links.instants import instant_text
from oncegate.links.issue import Wish, end_of, members_of_made
from oncegate.links.ticket import USES_MAX
from oncegate.settings import Settings

LOOK_MAX_S = 0.3
STRICT_MAX_S = 5.0


@click.command(
    cls=QrCommand,
    epilog=examples(
        "oncegate link reports/2026.pdf                       # one download within an hour",
        "oncegate link reports/2026.pdf --expires 2d --uses 3 --filename Report.pdf",
        "oncegate link inbox/scan.tif --put --max-size 200MB --type 'image/*'",
        "oncegate link inbox/ --put --uses 20                 # 20 files, each under a name of its own",
        "oncegate link a.bin --ip 203.0.113.0/24 --not-before +10m --json",
    ),
)
@click.argument("key", shell_complete=complete_key)
@click.option("--put", is_flag=True, help="An upload link; without it, a download link.")
@click.option("--expires", metavar="T", help=f"When it ends: 1h, {FORMS}.  [default: 1h]")
@click.option("--not-before", metavar="T", help=f"When it begins: {FORMS}.")
@click.option("--uses", type=click.IntRange(1, USES_MAX), default=1, show_default=True, help="How often it opens.")
@click.option("--ip", metavar="CIDR", help="The IPv4 address or network that may use it.")
@click.option("--filename", metavar="NAME", help="What a browser saves the object as.")
@click.option("--inline", is_flag=True, help="A browser may show the object in place of saving it.")
@click.option("--max-size", metavar="SIZE", help="The largest upload: 10MB, 1GiB.")
@click.option("--type", "media_type", metavar="TYPE", help="The media type of an upload: image/png, image/*.")
@click.option("--overwrite", is_flag=True, help="The upload may replace the object under this key.")
@click.option(
    "--confirm",
    type=click.Choice(["always", "never"]),
    help="Whether a person is asked first: always gives a program 403, never shows no page.  [default: as the gateway is set]",
)
@click.option("--from", "sender", metavar="TEXT", help="Who sends the link, for its page.")
@click.option("--note", metavar="TEXT", help="What you say to its reader, for its page.")
@click.option("--delete-after", is_flag=True, help="Remove the object once the link gives nothing any more.")
@click.option(
    "--scheme",
    type=click.Choice([scheme.value for scheme in Scheme]),
    default=Scheme.CANNED.value,
    show_default=True,
    help="How to sign.",
)
@click.option("--home", metavar="NAME", help="The home whose ledger counts it.  [default: [links] home]")
@click.option("--json", "as_json", is_flag=True, help="Print what was decided as JSON.")
@click.option("--strict", is_flag=True, help="Print no link to an object that the store does not have: exit 1.")
@qr_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    key: str,
    put: bool,
    expires: str | None,
    not_before: str | None,
    uses: int,
    ip: str | None,
    filename: str | None,
    inline: bool,
    max_size: str | None,
    media_type: str | None,
    overwrite: bool,
    confirm: Confirm | None,
    sender: str | None,
    note: str | None,
    delete_after: bool,
    scheme: str,
    home: str | None,
    as_json: bool,
    strict: bool,
    qr: str | None,
) -> None:
    """Sign a link to the object KEY and print its URL.

    The ledger is not asked, unless for --delete-after. If the store says within 300 ms that it has no such object, so does this command, after the
    URL; with --strict it waits longer, and prints no URL unless the object is there.
    """
    settings, now_s = settings_of(ctx), int(time.time())
    ends_s = instant_option(expires, name="--expires", now_s=now_s)
    try:
        wish = Wish(
            object_key=key,
            ticket=draw_ticket(Operation.PUT if put else Operation.GET, uses=uses, home=_home_of(home, settings)),
            expires_s=end_of(now_s=now_s, expires_s=ends_s, max_lifetime_s=settings.links.max_lifetime_s),
            not_before_s=instant_option(not_before, name="--not-before", now_s=now_s),
            source_ip=ip,
            filename=filename,
            inline=inline,
            max_bytes=read_size(max_size, option="--max-size"),
            media_type=media_type,
            may_replace=overwrite,
            confirm=confirm,
            sender=sender,
            note=note,
            delete_after=delete_after,
            scheme=Scheme(scheme),
        )
        url = sign(wish, settings, now_s)
    except BadRequest as bad:
        raise Misuse(bad.why) from None
    if strict:
        _refuse_if_missing(wish, settings)
    if delete_after:
        _record_removal(wish, settings)
    drawn = draw_qr(url, qr)
    _echo_read(wish, {"until": expires, "from": not_before, "takes": max_size})
    click.echo(json.dumps(members_of_made(wish, url=url, made_s=now_s), indent=2) if as_json else url)
    if drawn:
        click.echo(drawn, err=True)
    if not strict and not put:
        _warn_if_missing(wish, settings)


def _record_removal(wish: Wish, settings: Settings) -> None:
    """Record in the ledger that the object goes with the link, also where nobody opens it."""
    from oncegate.cli import removals

    removals.check_allowed(settings)
    removals.record(wish, removals.etag_of(wish.object_key, settings), settings)


def _refuse_if_missing(wish: Wish, settings: Settings) -> None:
    """Make sure that the object is there.

    Raises:
        Misuse: it is an upload link.
        Refusal: the object is not there, or the store does not say so.
    """
    from oncegate.cli.presence import look_for

    if wish.ticket.operation is Operation.PUT:
        raise Misuse("--strict is for download links: an upload link is for an object that is not there yet")
    found = look_for(wish.object_key, settings, within_s=STRICT_MAX_S)
    if found.is_there is None:
        why = f": {found.problem}" if found.problem else f" within {STRICT_MAX_S:.0f} seconds"
        raise Refusal(f"the store does not say whether it has {wish.object_key}{why}")
    if not found.is_there:
        raise Refusal(_say_missing(wish.object_key, found.near))


def _warn_if_missing(wish: Wish, settings: Settings) -> None:
    """Say on stderr that the object is not there, where the store says so quickly; else say nothing."""
    from oncegate.cli.presence import look_for

    found = look_for(wish.object_key, settings, within_s=LOOK_MAX_S)
    if found.is_there is False:
        click.echo(_say_missing(wish.object_key, found.near), err=True)


def _say_missing(key: str, near: Sequence[str]) -> str:
    from oncegate.cli.shown import printable

    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return printable(f"the store has no object {key}{meant}")


def _echo_read(wish: Wish, given: Mapping[str, str | None]) -> None:
    """Say on stderr how the options were read that can be written in several ways."""
    if given["until"] is not None:
        click.echo(f"opens until {instant_text(wish.expires_s)}", err=True)
    if given["from"] is not None and wish.not_before_s is not None:
        click.echo(f"opens after {instant_text(wish.not_before_s)}", err=True)
    if given["takes"] is not None:
        click.echo(f"takes up to {wish.max_bytes} bytes", err=True)
    if "*" in wish.object_key:
        click.echo(f"opens the one object that is called {wish.object_key}: a * is no wildcard here", err=True)


def _home_of(name: str | None, settings: Settings) -> str:
    """Return the home that the ticket names; one that no gateway of this installation serves is refused."""
    if name is None or name == settings.links.home:
        return settings.links.home
    if name not in settings.ledger.homes:
        known = ", ".join(each for each in (settings.links.home, *settings.ledger.homes) if each) or "none"
        raise click.BadParameter(
            f"no home {name[:20]!r}: [ledger.homes] and [links] home name {known}", param_hint="--home"
        )
    return name
