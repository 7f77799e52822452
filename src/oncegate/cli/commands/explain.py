"""``oncegate explain``: whether a link would be admitted, check by check; asks ledger and store, writes nothing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from oncegate.cli.examples import examples
from oncegate.cli.instants import FORMS, instant_option
from oncegate.cli.main import Misuse
from oncegate.cli.wiring import open_keys, open_store, settings_of
from oncegate.links.pasted import as_pasted

if TYPE_CHECKING:
    from oncegate.cli.records import Records
    from oncegate.control.explaining import Explanation
    from oncegate.settings import Settings

_MARKS = {True: "passed", False: "failed", None: "-"}


@click.command(
    epilog=examples(
        "oncegate explain 'https://files.example/a.pdf?once=...'",
        "oncegate explain URL --header 'Content-Type: text/plain'",
        "oncegate explain URL --method PUT --ip 203.0.113.7 --at +1d",
    )
)
@click.argument("url", metavar="URL")
@click.option(
    "--method",
    type=click.Choice(["GET", "HEAD", "PUT", "POST", "DELETE"], case_sensitive=False),
    help="The method of the request.  [default: what the link is for]",
)
@click.option("--ip", metavar="ADDRESS", help="The viewer's address.  [default: nobody's in particular]")
@click.option("--at", metavar="T", help=f"When it is opened: {FORMS}.  [default: now]")
@click.option(
    "--header",
    "-H",
    "lines",
    metavar="'NAME: VALUE'",
    multiple=True,
    help="A header of the request, as for curl; may be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    url: str,
    method: str | None,
    ip: str | None,
    at: str | None,
    lines: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say, check by check, whether and why a link would be admitted.

    Exits with 0 if it would be, with 1 if not. Nothing is used up, and nothing is written.
    """
    from oncegate.cli.records import with_records
    from oncegate.links.address import canonical_address

    settings, now_s, url, headers = settings_of(ctx), int(time.time()), as_pasted(url), _headers_of(lines)
    at_s = instant_option(at, name="--at", now_s=now_s)
    address = None if ip is None else canonical_address(ip)
    if ip is not None and address is None:
        raise click.BadParameter(f"{ip[:60]!r} is no IP address", param_hint="--ip")
    at_s = now_s if at_s is None else at_s
    try:
        home = _home_of(url, settings, at_s)
        found = with_records(
            settings, lambda records: _explain(records, settings, url, method, address, headers, at_s), home=home
        )
    except ValueError as error:
        raise Misuse(str(error)) from None
    _print(found, as_json=as_json)
    ctx.exit(0 if found.is_admitted else 1)


def _home_of(url: str, settings: Settings, at_s: int) -> str:
    from oncegate.control.explaining import home_of_url
    from oncegate.keys.trust import trust_of

    trust = trust_of(settings, open_keys(settings).group)
    return home_of_url(url, trust, settings.viewer.public_url, now_s=at_s)


async def _explain(
    records: Records,
    settings: Settings,
    url: str,
    method: str | None,
    address: str | None,
    headers: dict[str, str],
    at_s: int,
) -> Explanation:
    from oncegate.control.explaining import explain_link
    from oncegate.control.rehearsal import Installation
    from oncegate.keys.trust import trust_of
    from oncegate.uses.use import Rules

    store = open_store(settings)
    where = Installation(
        trust=trust_of(settings, open_keys(settings).group),
        public_urls=settings.viewer.public_url,
        runner=records.runner,
        born_ms=records.facts.born_ms,
        accept_from_ms=None if records.home else settings.ledger.accept_from_ms,
        confirm=settings.viewer.confirm,
        store=store,
        rules=Rules(resume_window_s=settings.links.resume_window_s),
    )
    try:
        return await explain_link(url, where, now_s=at_s, method=method, address=address, headers=headers)
    finally:
        await store.aclose()


def _headers_of(lines: tuple[str, ...]) -> dict[str, str]:
    headers = dict[str, str]()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not line.isprintable():
            raise click.BadParameter(f"{line[:60]!r} is no header: write 'Name: value'", param_hint="--header")
        headers[name.strip()] = value.strip()
    return headers


def _print(found: Explanation, *, as_json: bool) -> None:
    from oncegate.cli.shown import printable

    if not as_json:
        for step in found.steps:
            click.echo(f"{_MARKS[step.passed]:8}{step.name:13}{printable(step.words)}")
        click.echo(f"{found.method} would be {_verdict(found)}")
        return
    click.echo(json.dumps(found.members, indent=2))


def _verdict(found: Explanation) -> str:
    if not found.is_admitted:
        return "refused"
    is_asked = found.method == "GET" and found.confirm == "always"
    return "admitted, after the button in a browser" if is_asked else "admitted"
