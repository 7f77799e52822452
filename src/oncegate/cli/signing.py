"""What the commands that hand out links share: signing a wish, and the link as a QR code.

segno draws QR codes: on a terminal, and as files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from oncegate.cli.main import Misuse
from oncegate.cli.wiring import open_keys, open_signer
from oncegate.links.grant import Scheme
from oncegate.links.issue import Wish, make_link
from oncegate.settings import Settings
from oncegate.settings.units import parse_size_bytes

_Command = TypeVar("_Command", bound=Callable[..., object])
ON_TERMINAL = "-"
QR_ENDINGS = (".png", ".svg")
QR_SCALE = 8
"""Pixels of a module: a link of 300 characters is 600 pixels wide."""


class QrCommand(click.Command):
    """A command whose ``--qr`` may stand alone, or before the name of a file; anything else behind it is not its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give a ``--qr`` without a file its value, because click would take the next argument."""
        given = list(args)
        for at, argument in enumerate(args):
            if argument == "--qr" and not "".join(args[at + 1 : at + 2]).lower().endswith(QR_ENDINGS):
                given[at] = f"--qr={ON_TERMINAL}"
        return super().parse_args(ctx, given)


def qr_option(command: _Command) -> _Command:
    """Give a command the option ``--qr``, with or without a file."""
    words = "The link as a QR code too: on stderr, or into a .png or .svg file."
    return click.option("--qr", metavar="[FILE]", help=words)(command)


def sign(wish: Wish, settings: Settings, now_s: int) -> str:
    """Sign a link with what the configuration names.

    Raises:
        BadRequest: the scheme cannot hold the wish.
        KeyUnfit: there is no key to sign it with.
    """
    from oncegate.keys.signing import s3_issuer_of

    is_s3 = wish.scheme is Scheme.S3
    return make_link(
        wish,
        public_url=settings.viewer.public_url[0],
        key=None if is_s3 else open_signer(settings, open_keys(settings)),
        s3=s3_issuer_of(settings) if is_s3 else None,
        now_s=now_s,
    )


def read_size(text: str | None, *, option: str) -> int | None:
    """Read a size that was given as an option."""
    if text is None:
        return None
    try:
        return parse_size_bytes(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def draw_qr(url: str, target: str | None) -> str:
    """Make a QR code of a link.

    Args:
        url: the link.
        target: a file to write; ``ON_TERMINAL``; None: no code is wanted.

    Returns:
        The code as text where it is for a terminal, else nothing.

    Raises:
        Misuse: the link is longer than a QR code can be, or the file cannot be written.
    """
    if target is None:
        return ""
    import io

    import segno

    try:
        code = segno.make_qr(url, error="l")
    except segno.DataOverflowError:
        raise Misuse(f"a QR code holds 2,953 characters, this link has {len(url)}: leave out --qr") from None
    if target == ON_TERMINAL:
        drawn = io.StringIO()
        code.terminal(drawn, compact=True)
        return drawn.getvalue().rstrip("\n")
    if not target.lower().endswith(QR_ENDINGS):
        raise click.BadParameter("a QR code is written into a .png or .svg file", param_hint="--qr")
    picture = io.BytesIO()
    # a link is a secret of whoever it is for, and so is its picture
    code.save(picture, kind=target.lower()[-3:], scale=QR_SCALE)
    try:
        path = Path(target)
        path.touch(mode=0o600)
        path.write_bytes(picture.getvalue())
    except OSError as error:
        raise Misuse(f"{target}: cannot be written: {error.strerror}") from None
    return ""
