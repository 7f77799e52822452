"""``oncegate get``: download a link, resume after a break, and believe nothing that was not checked."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oncegate.cli.examples import examples
from oncegate.cli.main import Misuse, Refusal

if TYPE_CHECKING:
    import httpx

    from oncegate.cli.transfer.answers import Patience
    from oncegate.cli.transfer.landing import Facts, Landing
    from oncegate.links.urls import Url


@click.command(
    epilog=examples(
        "oncegate get 'https://files.example/a.pdf?once=...'              # saved under its own name",
        "oncegate get 'https://files.example/a.tar?once=...' -o - | tar x",
        "oncegate get 'https://files.example/a.iso?once=...' -o big.iso   # again after a break: it goes on",
    )
)
@click.argument("url", metavar="URL")
@click.option("-o", "--output", metavar="FILE", help="Save as FILE, or into a folder; - is stdout.")
@click.option("--force", is_flag=True, help="Replace a file that stands there.")
def command(*, url: str, output: str | None, force: bool) -> None:
    """Download a link and print the path of the file.

    A broken download is resumed as the same use of the link, by this command or by running it again. Length and
    checksums are checked. No file is replaced, and the name that the server proposes chooses no folder.
    """
    from oncegate.cli.transfer.answers import Patience

    path = download(url, output, is_forced=force, patience=Patience())
    if path:
        click.echo(path)


def download(url: str, output: str | None, *, is_forced: bool, patience: Patience) -> str:
    """Download a link.

    Args:
        url: the link.
        output: a file, a folder, ``-`` for stdout; None: the current folder.
        is_forced: a file that stands there may be replaced.
        patience: how often to try.

    Returns:
        The path of the file; empty for stdout.

    Raises:
        Misuse: no URL, or the file stands already; the link was not opened.
        Refusal: the server refuses, or what came is wrong.
    """
    from oncegate.cli.transfer.client import open_client, read_url
    from oncegate.cli.transfer.downloading import Download
    from oncegate.cli.transfer.progress import progress_on_terminal
    from oncegate.links.pasted import as_pasted

    url = as_pasted(url)
    link = read_url(url)
    try:
        place = Place(url, link, output, is_forced=is_forced)
        landing = place.find_left()
    except OSError as error:
        raise Misuse(f"{output}: {error.strerror}") from None
    with progress_on_terminal(place.label) as progress, open_client() as client:
        run = Download(link, landing=landing, land=place.land, patience=patience, progress=progress)
        try:
            return run.run(client)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Refusal(f"{error.filename or output or 'the file'}: {error.strerror}: {run.say_left()}") from None
        except KeyboardInterrupt:
            raise Refusal(f"interrupted: {run.say_left()}") from None


class Place:
    """Where the download is to land.

    Args:
        url: the link, as it was given.
        link: the same, in parts.
        output: as ``download`` takes it.
        is_forced: a file that stands there may be replaced.

    Raises:
        Misuse: a file stands there, and is not to be replaced.
    """

    def __init__(self, url: str, link: Url, output: str | None, *, is_forced: bool) -> None:
        from oncegate.cli.transfer.landing import sha256_of_link

        self._link = link
        self._link_sha256 = sha256_of_link(url)
        self._is_forced = is_forced
        self._is_stream = output == "-"
        given = Path(output or ".")
        is_folder = output is None or output.endswith("/") or given.is_dir()
        self._folder = given if is_folder else given.parent
        self._path = None if is_folder or self._is_stream else given
        if not self._is_stream and not self._folder.is_dir():
            raise Misuse(f"{self._folder}: no such folder")
        if self._path is not None and not is_forced and (self._path.exists() or self._path.is_symlink()):
            raise Misuse(f"{self._path} exists and is not replaced: name another file, or give --force")

    @property
    def label(self) -> str:
        """The text before the progress bar."""
        return self._link.host if self._path is None else self._path.name

    def find_left(self) -> Landing | None:
        """What an earlier run of the same link left here.

        Raises:
            Misuse: a part of another download stands in the way, or another process is at it.
        """
        from oncegate.cli.transfer.landing import FileLanding, find_left
        from oncegate.cli.transfer.naming import part_of

        if self._is_stream:
            return None
        path = self._path or find_left(self._folder, self._link_sha256)
        if path is None:
            return None
        landing = FileLanding.resume(path, self._link_sha256, is_forced=self._is_forced)
        part = part_of(path)
        if landing is None and part.exists():
            if not self._is_forced:
                raise Misuse(f"{part} is of another link: remove it, name another file, or give --force")
            part.unlink()
        return landing

    def land(self, response: httpx.Response | None, facts: Facts) -> Landing | None:
        """Open the file or stream for a download.

        Args:
            response: tells what comes; None: nothing is known yet.
            facts: what is known of the object.

        Returns:
            None where the name of the file is not known yet; that the folder takes one was tried.

        Raises:
            OSError: the file cannot be made.
        """
        from oncegate.cli.transfer.landing import FileLanding, StreamLanding

        if self._is_stream:
            return StreamLanding(sys.stdout.buffer, facts)
        if self._path is None and response is None:
            with tempfile.TemporaryFile(dir=self._folder):
                return None
        path = self._path or self._proposed_path(response)
        return FileLanding.create(path, self._link_sha256, facts, is_forced=self._is_forced)

    def _proposed_path(self, response: httpx.Response | None) -> Path:
        """A free path of the name that an answer proposes, otherwise the URL."""
        from oncegate.cli.transfer.naming import free_path, proposed_name

        headers = [] if response is None else response.headers.raw
        raw = next((value for name, value in headers if name.lower() == b"content-disposition"), None)
        name = proposed_name(None if raw is None else _header_text(raw), self._link.path)
        path = free_path(self._folder, name, is_forced=self._is_forced)
        if path.name != name:
            click.echo(f"{self._folder / name} exists and is not replaced", err=True)
        return path


def _header_text(raw: bytes) -> str:
    """Decode a header: many servers write UTF-8 there, although HTTP says latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
