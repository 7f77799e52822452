"""``oncegate keys``: rotation. Add a key, switch to it, wait for the longest link, retire the old one."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import click

from oncegate.cli.completion import complete_key_id
from oncegate.cli.examples import examples
from oncegate.cli.main import Misuse, Refusal
from oncegate.cli.wiring import open_keys, open_signer, settings_of

if TYPE_CHECKING:
    from oncegate.keys.rotation import KeyPlaces, KeyStatus
    from oncegate.settings import Settings


@click.group(
    epilog=examples(
        "oncegate keys new            # trusted by running gateways within two seconds",
        "oncegate keys switch K...    # new links are signed with it; running gateways follow",
        "oncegate keys retire K...    # the old one, once its last link has expired",
    )
)
def command() -> None:
    """List, make and retire keys."""


@command.command("list", epilog=examples("oncegate keys list", "oncegate keys list --json"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.pass_context
def list_(ctx: click.Context, *, as_json: bool) -> None:
    """List the key group: id, kind, what it does, since when it signs no more."""
    from oncegate.keys.rotation import list_keys
    from oncegate.links.instants import instant_text

    settings = settings_of(ctx)
    statuses = list_keys(_places(settings), _signing_id(settings))
    if as_json:
        rows = [
            {
                "id": status.key_id,
                "kind": status.kind,
                "signing": status.is_signing,
                "private": status.has_private,
                "stopped_at": None if status.stopped_s is None else instant_text(status.stopped_s),
            }
            for status in statuses
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for status in statuses:
        click.echo(f"{status.key_id}  {status.kind:5}  {_words(status, settings.links.max_lifetime_s)}")


def _words(status: KeyStatus, max_lifetime_s: int) -> str:
    from oncegate.links.instants import instant_text

    if status.is_signing:
        return "signs new links"
    private = "" if status.has_private else ", its private half is not here"
    if status.stopped_s is None:
        return f"trusted{private}"
    return f"trusted, stopped {instant_text(status.stopped_s)}, may go {instant_text(status.stopped_s + max_lifetime_s)}{private}"


@command.command(epilog=examples("oncegate keys new", "oncegate keys new --sign", "oncegate keys new --rsa"))
@click.option("--rsa", is_flag=True, help="RSA 2048, for verifiers that know no ECDSA.  [default: ECDSA P-256]")
@click.option("--sign", is_flag=True, help="Sign new links with it at once, as 'oncegate keys switch' does.")
@click.pass_context
def new(ctx: click.Context, *, rsa: bool, sign: bool) -> None:
    """Make a key pair, trusted from now on, and print its id."""
    from oncegate.keys.pem import KeyUnfit
    from oncegate.keys.rotation import make_key

    settings = settings_of(ctx)
    old_id = _signing_id(settings) if sign else None
    try:
        key_id = make_key(_places(settings), "rsa" if rsa else "ecdsa")
    except KeyUnfit as error:
        raise Refusal(str(error)) from None
    click.echo(key_id)
    if sign:
        _switch(settings, key_id, old_id)
    else:
        click.echo(f"it signs nothing yet: oncegate keys switch {key_id}", err=True)


@command.command(epilog=examples("oncegate keys switch KABCDEFGHIJ234"))
@click.argument("key_id", metavar="ID", shell_complete=complete_key_id)
@click.pass_context
def switch(ctx: click.Context, *, key_id: str) -> None:
    """Sign new links with the key ID from now on: changes [keys] signing in the configuration."""
    settings = settings_of(ctx)
    _check_id(key_id)
    _switch(settings, key_id, _signing_id(settings))


def _switch(settings: Settings, key_id: str, old_id: str | None) -> None:
    from oncegate.keys.pem import KeyUnfit
    from oncegate.keys.rotation import switch_signing

    if settings.file is None:
        raise Misuse("there is no configuration file: name the key in ONCEGATE_KEYS__SIGNING")
    try:
        switch_signing(
            settings.file, _places(settings), key_id, old_id=old_id, environ=os.environ, now_s=int(time.time())
        )
    except KeyUnfit as error:
        raise Refusal(str(error)) from None
    click.echo(f"new links are signed with {key_id}; running gateways follow within two seconds", err=True)


@command.command(epilog=examples("oncegate keys retire KABCDEFGHIJ234", "oncegate keys retire KABCDEFGHIJ234 --force"))
@click.argument("key_id", metavar="ID", shell_complete=complete_key_id)
@click.option("--force", is_flag=True, help="Do not wait for the links that it signed: end them.")
@click.pass_context
def retire(ctx: click.Context, *, key_id: str, force: bool) -> None:
    """Trust the key ID no more, once no link that it signed can be alive; its files move to retired/."""
    from oncegate.keys.pem import KeyUnfit
    from oncegate.keys.rotation import retire_key

    settings = settings_of(ctx)
    _check_id(key_id)
    try:
        retire_key(
            _places(settings),
            key_id,
            signing_id=_signing_id(settings),
            max_lifetime_s=settings.links.max_lifetime_s,
            now_s=int(time.time()),
            is_forced=force,
        )
    except KeyUnfit as error:
        raise Refusal(str(error)) from None
    click.echo(f"{key_id} is trusted no more; its files lie in retired/", err=True)


def _check_id(key_id: str) -> None:
    """Refuse what is no key id, because an id becomes the name of a file."""
    from oncegate.links.key_group import is_key_id

    if not is_key_id(key_id):
        raise click.BadParameter("a key id has letters, digits, _ and -", param_hint="ID")


def _places(settings: Settings) -> KeyPlaces:
    from oncegate.keys.rotation import KeyPlaces

    return KeyPlaces.of(settings.resolve(settings.keys.group), settings.keys.signing, settings.folder)


def _signing_id(settings: Settings) -> str | None:
    """Return the id of the key that signs now; None where nothing is signed here."""
    return open_signer(settings, open_keys(settings)).key_id if settings.keys.signing else None
