"""``oncegate demo``: see it work in ten seconds, in a temporary folder, with real keys, files and HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from oncegate.service.listeners import Running
    from oncegate.settings import Settings

_LETTER = b"This letter can be read once.\n"


class Step(NamedTuple):
    """One thing that was tried."""

    what: str
    expected: int
    status: int
    words: str

    @property
    def went_as_expected(self) -> bool:
        """Whether the gateway answered as it should."""
        return self.status == self.expected


@click.command(name="demo")
@click.option("--keep-serving/--exit", default=None, help="Go on serving.  [default: on a terminal]")
def command(keep_serving: bool | None) -> None:  # noqa: FBT001  click passes options as they are
    """Try it: a gateway, a link used twice, an upload tried twice.

    Prints what happened as a table, and exits with 0 when each went as it should.
    """
    import uvloop

    stay = sys.stdout.isatty() and sys.stdin.isatty() if keep_serving is None else keep_serving
    with tempfile.TemporaryDirectory(prefix="oncegate-demo-") as folder:
        sys.exit(uvloop.run(_demo(Path(folder), stay=stay)))


async def _demo(folder: Path, *, stay: bool) -> int:
    from oncegate.service.listeners import running

    settings = _prepare(folder)
    log = os.open(folder / "log.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    async with running(settings, announce=lambda words: click.echo(words, err=True), log_descriptor=log) as gateway:
        steps = await asyncio.to_thread(_try_links, gateway, folder)
        _print_table(steps)
        if not all(step.went_as_expected for step in steps):
            return 1
        if stay:
            await _stay(gateway, folder)
    return 0


def _prepare(folder: Path) -> Settings:
    """Make a whole installation, as ``oncegate init`` does, on ports that are free."""
    from oncegate.cli.commands.init import make_installation
    from oncegate.settings import load
    from oncegate.settings.addresses import Address

    make_installation(folder)
    settings = load(folder / "oncegate.toml", {})
    viewer, control = Address("127.0.0.1", _free_port()), Address("127.0.0.1", 0)
    (folder / "objects" / "letter.txt").write_bytes(_LETTER)
    return replace(
        settings,
        viewer=replace(settings.viewer, listen=viewer, public_url=(f"http://127.0.0.1:{viewer.port}",)),
        control=replace(settings.control, listen=control),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _try_links(gateway: Running, folder: Path) -> list[Step]:
    """Open a download link twice, use an upload link twice, and look at a link without opening it."""
    import httpx

    from oncegate.library.signer import Signer

    signer = Signer.from_config(gateway.settings)
    down, up = signer.download("letter.txt").url, signer.upload("inbox/answer.txt").url
    steps: list[Step] = []

    def note(what: str, expected: int, answer: httpx.Response) -> None:
        words = answer.text.strip()
        if "<Message>" in words:
            words = words.partition("<Message>")[2].partition("</Message>")[0]
        steps.append(
            Step(what, expected, answer.status_code, "a page with a button" if "<!doctype" in words else words)
        )

    with httpx.Client(timeout=10) as client:
        note("a chat looks at the link for a preview", 200, client.get(down, headers={"User-Agent": "Slackbot 1.0"}))
        note("the link is opened", 200, client.get(down))
        note("the link is opened again", 403, client.get(down, headers={"Cookie": "a=neighbour"}))
        note("a file is sent through the upload link", 200, client.put(up, content=b"thank you\n"))
        note("another file is sent through it", 403, client.put(up, content=b"something else\n"))
    stands = (folder / "objects" / "inbox" / "answer.txt").read_text()
    steps.append(Step("what the store holds now", 0, 0, stands.strip()))
    return steps


def _print_table(steps: list[Step]) -> None:
    click.echo(f"{'':3}{'what happened':42}{'status':7}answer")
    for step in steps:
        mark = "ok" if step.went_as_expected else "NO"
        click.echo(f"{mark:3}{step.what:42}{step.status or '':<7}{step.words}".rstrip())


async def _stay(gateway: Running, folder: Path) -> None:
    """Go on serving until Ctrl-C, with a fresh link to click."""
    from oncegate.library.signer import Signer

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    url = await asyncio.to_thread(lambda: Signer.from_config(gateway.settings).download("letter.txt").url)
    click.echo(f"\nA fresh link, for your browser (objects are in {folder / 'objects'}):\n\n  {url}\n\nCtrl-C ends it.")
    await stop.wait()
