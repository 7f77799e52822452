"""The ``oncegate`` command: finds the subcommand and imports that one alone.

Data goes to stdout, words to stderr. Exit status: 0; 1: refused; 2: usage or configuration. ``oncegate link`` answers
in a fifth of a second because nothing is imported before it is needed (tests/architecture/test_imports.py).
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from oncegate import __version__
from oncegate.unfit import Unfit

# name: module (attribute ``command``) and one line of help, so that --help imports nothing
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Make a configuration, keys, a ledger and a token."),
    "serve": ("serve", "Serve links, and the control API beside them."),
    "share": ("share", "Put files into the store and print a link to each."),
    "request": ("request", "Print a link through which others can send files."),
    "link": ("link", "Sign a link to an object, offline."),
    "ticket": ("ticket", "Print a fresh once=... for another signer."),
    "explain": ("explain", "Say, check by check, whether a link would be admitted."),
    "status": ("status", "Say what became of a link."),
    "links": ("links", "List the links that the ledger knows."),
    "revoke": ("revoke", "Refuse a link from now on."),
    "keys": ("keys", "List, make and retire keys."),
    "tokens": ("tokens", "Make, list and revoke tokens of the control API."),
    "get": ("get", "Download a link; resumes after a break."),
    "put": ("put", "Upload a file through a link."),
    "ledger": ("ledger", "Migrate or sweep the ledger."),
    "doctor": ("doctor", "Check configuration, keys, clock, ledger, store and public URL."),
    "aws": ("aws", "Serve links by CloudFront: deploy, look at, take away."),
    "demo": ("demo", "Try it: a gateway, a link used twice, an upload tried twice."),
}


class Refusal(click.ClickException):
    """It was refused: exit status 1."""

    exit_code = 1

    def show(self, file: object = None) -> None:
        """Print the message to stderr."""
        click.echo(self.message, err=True)


class Misuse(click.ClickException):
    """Usage or configuration: exit status 2."""

    exit_code = 2

    def show(self, file: object = None) -> None:
        """Print the message to stderr."""
        click.echo(f"oncegate: {self.message}", err=True)


class _Lazy(click.Group):
    """A group that knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"oncegate.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest what was meant; click does so for groups whose commands are loaded."""
        import difflib

        near = difflib.get_close_matches(args[0], COMMANDS, 1) if args[0] not in COMMANDS else []
        if near and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what cannot be used as configured ends it with exit status 2."""
        try:
            return super().invoke(ctx)
        except Unfit as unfit:
            raise Misuse(str(unfit)) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ONCEGATE_CONFIG",
    help="The configuration.  [env: ONCEGATE_CONFIG; default: ./oncegate.toml]",
)
@click.version_option(__version__, prog_name="oncegate")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Signed, single-use links for private object storage."""
    ctx.obj = config


def main() -> NoReturn:
    """Run the command line."""
    try:
        cli.main(prog_name="oncegate", standalone_mode=True)
    except BrokenPipeError:
        # whoever read our output has left; nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)
