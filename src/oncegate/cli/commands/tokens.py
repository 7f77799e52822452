"""``oncegate tokens``: who may call the control API. A token is shown once; its hash is kept in ``tokens.json``."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import click

from oncegate.cli.completion import complete_token
from oncegate.cli.examples import examples
from oncegate.cli.instants import FORMS, instant_option
from oncegate.cli.main import Refusal
from oncegate.cli.wiring import settings_of

if TYPE_CHECKING:
    from oncegate.control.tokens import TokenFile

SCOPES = ("links:read", "links:write", "objects:read", "events:read", "metrics:read", "*")
"""As ``control/tokens.py`` has them; here again, so that a help text imports nothing."""

DEFAULT_SCOPES = ("links:read", "links:write")


@click.group(epilog=examples("oncegate tokens new shop --scope links:write", "oncegate tokens list"))
def command() -> None:
    """Make, list and revoke tokens of the control API."""


@command.command(
    epilog=examples(
        "oncegate tokens new shop --scope links:write --expires 90d",
        'curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8081/v1/links',
    )
)
@click.argument("name", default="unnamed")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    default=DEFAULT_SCOPES,
    show_default=True,
    help="What it is for; may be given several times; * is everything.",
)
@click.option("--expires", metavar="T", help=f"When it ends: 90d, {FORMS}.  [default: never]")
@click.pass_context
def new(ctx: click.Context, *, name: str, scopes: tuple[str, ...], expires: str | None) -> None:
    """Make a token and print it, once: it cannot be shown again."""
    tokens, now_s = _tokens(ctx), int(time.time())
    expires_s = instant_option(expires, name="--expires", now_s=now_s)
    text, token = tokens.new(name, scopes, now_s=now_s, expires_s=expires_s)
    click.echo(text)
    click.echo(f"token {token.id} for {', '.join(token.scopes)}: keep it, it is not shown again", err=True)


@command.command("list", epilog=examples("oncegate tokens list", "oncegate tokens list --json"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.pass_context
def list_(ctx: click.Context, *, as_json: bool) -> None:
    """List the tokens: id, name, scopes, end. The tokens themselves are not known any more."""
    from oncegate.cli.shown import printable
    from oncegate.links.instants import instant_text

    listed = _tokens(ctx).list_tokens()
    rows = [
        {
            "id": token.id,
            "name": token.name,
            "scopes": list(token.scopes),
            "made_at": instant_text(token.made_s),
            "expires_at": None if token.expires_s is None else instant_text(token.expires_s),
        }
        for token in listed
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for token, row in zip(listed, rows, strict=True):
        end = f"until {row['expires_at']}" if token.expires_s is not None else "without end"
        click.echo(f"{token.id}  {printable(token.name)}  {','.join(token.scopes)}  {end}")


@command.command(epilog=examples("oncegate tokens revoke 1a2b3c4d"))
@click.argument("token_id", metavar="ID", shell_complete=complete_token)
@click.pass_context
def revoke(ctx: click.Context, *, token_id: str) -> None:
    """Refuse the token ID from the next call on."""
    is_revoked = _tokens(ctx).revoke(token_id)
    if not is_revoked:
        raise Refusal(f"no token has the id {token_id[:40]!r}: 'oncegate tokens list' shows all")
    click.echo(f"token {token_id} is revoked", err=True)


def _tokens(ctx: click.Context) -> TokenFile:
    from oncegate.control.tokens import TokenFile

    return TokenFile(settings_of(ctx).resolve("tokens.json"))
