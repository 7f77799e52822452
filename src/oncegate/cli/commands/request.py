"""``oncegate request``: a link through which others can send files, to be handed out."""

from __future__ import annotations

import json
import time

import click

from oncegate.cli.examples import examples
from oncegate.cli.instants import FORMS, instant_option
from oncegate.cli.main import Misuse
from oncegate.cli.signing import QrCommand, draw_qr, qr_option, read_size, sign
from oncegate.cli.wiring import settings_of
from oncegate.library.tickets import draw_ticket
from oncegate.links.errors import BadRequest
from oncegate.links.grant import Operation
from oncegate.links.issue import Wish, end_of, members_of_made
from oncegate.links.ticket import USES_MAX

DEFAULT_FOLDER = "inbox/"


@click.command(
    cls=QrCommand,
    epilog=examples(
        "oncegate request                                      # one file, into inbox/",
        "oncegate request --uses 20 --type 'image/*' --note 'Photos for the newsletter'",
        "oncegate request contracts/ada/ --max-size 20MB --expires 3d --qr",
    ),
)
@click.argument("folder", metavar="[PREFIX/]", default=DEFAULT_FOLDER)
@click.option("--uses", type=click.IntRange(1, USES_MAX), default=1, show_default=True, help="How many files it takes.")
@click.option("--max-size", metavar="SIZE", help="The largest file: 10MB, 1GiB.")
@click.option("--type", "media_type", metavar="TYPE", help="The media type of the files: image/png, image/*.")
@click.option("--expires", metavar="T", help=f"When it ends: 1h, {FORMS}.  [default: 1h]")
@click.option("--from", "sender", metavar="TEXT", help="Who asks for the files, for its page.")
@click.option("--note", metavar="TEXT", help="What you ask for; the headline of its page where it is short.")
@click.option("--json", "as_json", is_flag=True, help="Print what was decided as JSON.")
@qr_option
@click.pass_context
def command(
    ctx: click.Context,
    *,
    folder: str,
    uses: int,
    max_size: str | None,
    media_type: str | None,
    expires: str | None,
    sender: str | None,
    note: str | None,
    as_json: bool,
    qr: str | None,
) -> None:
    """Sign a link through which others send files to PREFIX/ (default: inbox/), and print its URL.

    In a browser it shows a page; each file is stored under its own name, none over another. A program sends a file by
    PUT to the link, with the name put in front of the question mark.
    """
    settings, now_s = settings_of(ctx), int(time.time())
    ends_s = instant_option(expires, name="--expires", now_s=now_s)
    try:
        wish = Wish(
            object_key=folder if folder.endswith("/") else f"{folder}/",
            ticket=draw_ticket(Operation.PUT, uses=uses, home=settings.links.home),
            expires_s=end_of(now_s=now_s, expires_s=ends_s, max_lifetime_s=settings.links.max_lifetime_s),
            max_bytes=read_size(max_size, option="--max-size"),
            media_type=media_type,
            sender=sender,
            note=note,
        )
        url = sign(wish, settings, now_s)
    except BadRequest as bad:
        raise Misuse(bad.why) from None
    drawn = draw_qr(url, qr)
    click.echo(json.dumps(members_of_made(wish, url=url, made_s=now_s), indent=2) if as_json else url)
    if drawn:
        click.echo(drawn, err=True)
