"""``oncegate put``: upload a file through a link, with a checksum that the server compares."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from oncegate.cli.examples import examples
from oncegate.cli.main import Misuse, Refusal

if TYPE_CHECKING:
    from oncegate.cli.transfer.answers import Patience

SPOOLED_MAX_BYTES = 16_777_216
CHUNK_BYTES = 1_048_576


@click.command(
    epilog=examples(
        "oncegate put scan.tif 'https://files.example/inbox/scan.tif?once=...'",
        "tar c photos | oncegate put - 'https://files.example/photos.tar?once=...' --type application/x-tar",
        "oncegate put <(pg_dump mydb) 'https://files.example/mydb.sql?once=...'",
    )
)
@click.argument("file", metavar="FILE")
@click.argument("url", metavar="URL")
@click.option("--type", "media_type", metavar="TYPE", help="The media type.  [default: by the file's name]")
def command(*, file: str, url: str, media_type: str | None) -> None:
    """Upload FILE (- is stdin, a pipe is read to its end) through a link and print the ETag of the object.

    A checksum goes with it, so what is stored is what was sent. A broken upload leaves nothing behind and is tried
    again.
    """
    from oncegate.cli.transfer.answers import Patience

    click.echo(upload_file(file, url, media_type, patience=Patience()))


def upload_file(file: str, url: str, media_type: str | None, *, patience: Patience) -> str:
    """Upload a file.

    Args:
        file: path, ``-`` for stdin; a pipe, a device and stdin are copied first, since their length must be known.
        url: the link.
        media_type: None: guessed from the file's name; for stdin and pipes, from the object key in the link.
        patience: how often to try.

    Returns:
        The ETag.

    Raises:
        Misuse: no URL, no file, no media type.
        Refusal: the server refuses.
    """
    from oncegate.cli.transfer.client import open_client, read_url
    from oncegate.cli.transfer.progress import progress_on_terminal
    from oncegate.cli.transfer.uploading import read_content, upload
    from oncegate.links.media_types import media_type_of

    link = read_url(url)
    is_file = file != "-" and Path(file).is_file()
    kind = media_type or media_type_of(file if is_file else link.path.decode("latin-1"))
    if not kind.isascii() or not kind.isprintable() or "/" not in kind:
        raise click.BadParameter("write type/subtype, as in image/png", param_hint="--type")
    label = Path(file).name if is_file else link.host
    try:
        with _opened(file) as opened, progress_on_terminal(f"{label}: checksum") as progress, open_client() as client:
            content = read_content(opened, kind, progress=progress)
            progress.name(label)
            return upload(client, link, content, patience=patience, progress=progress)
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror or error}") from None


@contextmanager
def _opened(file: str) -> Generator[BinaryIO]:
    """Open what is uploaded; a pipe as a copy: its length is sent before its bytes, and it may have to be sent twice."""
    if file == "-":
        with _copied(sys.stdin.buffer) as kept:
            yield kept
        return
    with contextlib.ExitStack() as stack:
        try:
            if Path(file).is_dir():
                raise Misuse(f"{file} is a folder: upload an archive of it")
            opened = stack.enter_context(Path(file).open("rb"))
        except OSError as error:
            raise Misuse(f"{file}: {error.strerror}") from None
        yield opened if opened.seekable() else stack.enter_context(_copied(opened))


@contextmanager
def _copied(stream: BinaryIO) -> Generator[BinaryIO]:
    """Copy a stream to its end, into memory while it is small."""
    with tempfile.SpooledTemporaryFile(SPOOLED_MAX_BYTES) as kept:
        while data := stream.read(CHUNK_BYTES):
            kept.write(data)
        yield kept  # type: ignore[misc]  # it has what a BinaryIO has
