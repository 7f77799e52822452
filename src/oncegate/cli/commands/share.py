"""``oncegate share``: puts files into the store and prints a link to each. One step for what put and link do in two."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from oncegate.cli.examples import examples
from oncegate.cli.instants import FORMS, instant_option
from oncegate.cli.main import Misuse, Refusal
from oncegate.cli.signing import ON_TERMINAL, QrCommand, draw_qr, qr_option, sign
from oncegate.cli.wiring import open_store, settings_of
from oncegate.library.tickets import draw_ticket
from oncegate.links.errors import BadRequest
from oncegate.links.grant import Confirm, Operation
from oncegate.links.issue import Wish, end_of, members_of_made
from oncegate.links.ticket import USES_MAX
from oncegate.settings import Settings

if TYPE_CHECKING:
    from oncegate.cli.transfer.progress import Progress
    from oncegate.stores.protocol import ObjectInfo, Store

CHUNK_BYTES = 1_048_576
PREFIX = "shared/"
STDIN = "-"
# the first that is installed puts what it reads into the clipboard
_CLIPBOARDS = (("wl-copy",), ("xclip", "-selection", "clipboard"), ("xsel", "-ib"), ("pbcopy",))


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    key: str


@click.command(
    cls=QrCommand,
    epilog=examples(
        "oncegate share report.pdf",
        "oncegate share report.pdf --expires 2d --from 'Ada' --note 'As promised' --qr",
        "tar c photos | oncegate share - --as photos.tar",
        "oncegate share *.jpg                                 # a link each, one per line",
    ),
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--as", "key", metavar="KEY", help="The key in the store.  [default: a fresh one, with the file's name]")
@click.option("--expires", metavar="T", help=f"When the link ends: 1h, {FORMS}.  [default: 1h]")
@click.option("--uses", type=click.IntRange(1, USES_MAX), default=1, show_default=True, help="How often it opens.")
@click.option(
    "--confirm",
    type=click.Choice(["always", "never"]),
    help="Whether a person is asked before it is used.  [default: as the gateway is set]",
)
@click.option("--from", "sender", metavar="TEXT", help="Who sends it, for its page.")
@click.option("--note", metavar="TEXT", help="What you say to its reader, for its page.")
@click.option("--delete-after", is_flag=True, help="Remove the file once the link gives nothing any more.")
@click.option("--json", "as_json", is_flag=True, help="Print what was decided as JSON, an object per line.")
@qr_option
@click.option("--copy", "is_copied", is_flag=True, help="Put the links into the clipboard too.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    files: Sequence[str],
    key: str | None,
    expires: str | None,
    uses: int,
    confirm: Confirm | None,
    sender: str | None,
    note: str | None,
    delete_after: bool,
    as_json: bool,
    qr: str | None,
    is_copied: bool,
) -> None:
    """Put each FILE (- is stdin) into the store and print a link to it.

    Nothing is written over: a file gets a fresh key, or the one of --as where nothing stands. A link is printed only when
    its file stands whole.
    """
    if len(files) > 1 and (key is not None or qr not in (None, ON_TERMINAL)):
        raise Misuse("--as and a file for --qr are for one file")
    settings, now_s = settings_of(ctx), int(time.time())
    ends_s = instant_option(expires, name="--expires", now_s=now_s)
    urls: list[str] = []
    # every link is signed before the first byte is stored, so that a wish which no link can hold leaves nothing behind
    made: list[tuple[_File, Wish, str]] = []
    try:
        if delete_after:
            _check_removals(settings)
        for file in (_named(path, key) for path in files):
            wish = Wish(
                object_key=file.key,
                ticket=draw_ticket(Operation.GET, uses=uses, home=settings.links.home),
                expires_s=end_of(now_s=now_s, expires_s=ends_s, max_lifetime_s=settings.links.max_lifetime_s),
                confirm=confirm,
                sender=sender,
                note=note,
                delete_after=delete_after,
            )
            made.append((file, wish, sign(wish, settings, now_s)))
    except BadRequest as bad:
        raise Misuse(bad.why) from None
    for file, wish, url in made:
        drawn = draw_qr(url, qr)
        stored = _put(file, settings)
        if delete_after:
            _record(file, wish, stored.etag, settings)
        click.echo(json.dumps(members_of_made(wish, url=url, made_s=now_s)) if as_json else url)
        urls.append(url)
        if drawn:
            click.echo(drawn, err=True)
    if is_copied:
        _copy("\n".join(urls))


def _check_removals(settings: Settings) -> None:
    from oncegate.cli import removals

    removals.check_allowed(settings)


def _named(path: str, key: str | None) -> _File:
    """Say under which key a file goes.

    Raises:
        Misuse: it cannot be read.
    """
    if path != STDIN and not Path(path).exists():
        raise Misuse(f"{path}: no such file")
    if path != STDIN and Path(path).is_dir():
        raise Misuse(f"{path} is a folder: share an archive of it")
    name = "file" if path == STDIN else Path(path).name
    return _File(path, key or f"{PREFIX}{secrets.token_urlsafe(9)}/{name}")


def _record(file: _File, wish: Wish, etag: str, settings: Settings) -> None:
    """Record that a file goes with its link; where that fails, nothing is shared and the file is taken away again."""
    from oncegate.cli import removals

    try:
        removals.record(wish, etag, settings)
    except Exception:
        removals.take_away(file.key, etag, settings)
        raise


def _put(file: _File, settings: Settings) -> ObjectInfo:
    from oncegate.cli.transfer.progress import progress_on_terminal

    try:
        if file.path == STDIN:
            with progress_on_terminal(file.key) as progress:
                return asyncio.run(_store(file, sys.stdin.buffer, None, settings, progress))
        with Path(file.path).open("rb") as stream, progress_on_terminal(Path(file.path).name) as progress:
            size = Path(file.path).stat().st_size if Path(file.path).is_file() else None
            return asyncio.run(_store(file, stream, size, settings, progress))
    except OSError as error:
        raise Refusal(f"{file.path}: {error.strerror or error}") from None


async def _store(
    file: _File, stream: BinaryIO, size_bytes: int | None, settings: Settings, progress: Progress
) -> ObjectInfo:
    """Put a file in place, whole, where nothing stands.

    Raises:
        Refusal: something stands there, or the store does not take it.
    """
    from oncegate.stores.protocol import ObjectStands, StoreFault

    store = open_store(settings)
    try:
        return await _upload(store, file, stream, size_bytes, progress)
    except ObjectStands:
        raise Refusal(f"{file.key} is in the store already, and nothing is written over") from None
    except StoreFault as fault:
        raise Refusal(f"the store does not take {file.key}: {fault or type(fault).__name__}") from None
    finally:
        await store.aclose()


async def _upload(
    store: Store, file: _File, stream: BinaryIO, size_bytes: int | None, progress: Progress
) -> ObjectInfo:
    from oncegate.links.media_types import media_type_of

    staged = await store.start_upload(
        file.key, content_type=media_type_of(file.key), size_bytes=size_bytes, replaces=None
    )
    try:
        done = 0
        while data := await asyncio.to_thread(stream.read, CHUNK_BYTES):
            await staged.write(data)
            done += len(data)
            progress.show(done, size_bytes)
        if size_bytes is not None and done != size_bytes:
            raise Refusal(f"{file.path} changed while it was read")
        return await staged.commit()
    finally:
        await staged.abort()


def _copy(text: str) -> None:
    """Put text into the clipboard; where no program for it is installed, say so."""
    for program, *options in _CLIPBOARDS:
        found = shutil.which(program)
        if found is not None:
            done = subprocess.run([found, *options], input=text.encode(), check=False)  # noqa: S603  the programs above
            if done.returncode == 0:
                return
    names = ", ".join(program for program, *_ in _CLIPBOARDS)
    click.echo(f"not copied: none of {names} works here", err=True)
