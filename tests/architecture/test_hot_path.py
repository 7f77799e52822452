"""A download enters few modules: each one more is time on every request, and one more file to read for a stranger."""

from __future__ import annotations

import contextlib
import gc
import pathlib
import sys
import time
from collections.abc import Callable, Generator
from types import FrameType

import pytest

from oncegate.events import Journal
from oncegate.gateway.app import Gateway
from oncegate.gateway.delivery import Transfers
from oncegate.gateway.parts import Parts
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.urls import parse_url
from oncegate.links.verify import Trust
from oncegate.meters import Meters
from oncegate.server.fates import Fate, Fates, Followed
from oncegate.server.peers import Peer
from oncegate.server.pieces import Head
from oncegate.server.sending import Sending
from oncegate.server.turn import Turn
from oncegate.settings import load
from oncegate.stores.directory.store import DirectoryStore
from oncegate.stores.metered import MeteredStore
from oncegate.testing.installation import Installation
from oncegate.web.pages import Pages

HOT_PATH = {
    "oncegate.server.turn": "the request, as our server hands it over",
    "oncegate.server.sending": "the answer as bytes",
    "oncegate.server.fates": "tells what became of it",
    "oncegate.gateway.app": "the story",
    "oncegate.gateway.exchange": "what is known of the request until its log line",
    "oncegate.gateway.open_requests": "how many there are, and that they go step by step together",
    "oncegate.gateway.parts": "what a gateway is made of; fresh ids",
    "oncegate.gateway.viewer": "which public URL was meant, and whose address counts",
    "oncegate.gateway.spent": "what this process knows as used",
    "oncegate.gateway.downloads": "look, claim, transfer",
    "oncegate.gateway.ranges": "conditions and ranges of RFC 9110",
    "oncegate.gateway.answers": "the headers of an object",
    "oncegate.gateway.delivery": "the bytes, and how many were handed over",
    "oncegate.gateway.ending": "what is settled and told once the end is known",
    "oncegate.links.request": "the request as rules see it",
    "oncegate.links.public_urls": "which URL a Host means",
    "oncegate.links.address": "one form for each address",
    "oncegate.links.canned": "the reader of the commonest link",
    "oncegate.links.policy": "the bytes that it signs",
    "oncegate.links.key_group": "the keys that are trusted",
    "oncegate.links.urls": "the path as an object key",
    "oncegate.links.link_id": "the link's id as text and bytes",
    "oncegate.links.asking": "whether a person is asked first",
    "oncegate.links.people": "who asks: a browser, a program, a preview",
    "oncegate.links.cookies": "the holder's cookie",
    "oncegate.links.disposition": "Content-Disposition, with any file name",
    "oncegate.links.media_types": "the type that a name tells",
    "oncegate.keys.pem": "the signature",
    "oncegate.stores.metered": "counts the calls of the store",
    "oncegate.stores.directory.store": "the object, opened and read",
    "oncegate.stores.directory.walk": "the way to it beneath the root",
    "oncegate.uses.first": "the first claim",
    "oncegate.uses.use": "whether a ticket is older than its ledger; admissions",
    "oncegate.uses.record": "claims, and the mark of a version",
    "oncegate.uses.delivered": "what a transfer leaves to be settled",
    "oncegate.ledgers.runner": "one write under way for each link",
    "oncegate.ledgers.claiming": "write until the outcome is known",
    "oncegate.ledgers.health": "whether the ledger may be used",
    "oncegate.ledgers.protocol": "until when a record lives",
    "oncegate.ledgers.memory": "the backend, here the smallest",
    "oncegate.events": "the log line and the event",
    "oncegate.meters": "the counts",
}
"""Each module with its reason to be there."""

STORY = ("server", "gateway", "links", "stores", "uses", "ledgers.memory")
"""Whoever follows a request meets these in this order. Of the server its turn alone is here: this test is the connection.
Of ``ledgers`` it is the backend: ``runner`` and ``claiming`` carry the question, and ask the rule before the backend."""
BEFORE_THE_LOOK = "is_too_old"
"""The one rule of ``uses`` that is asked before the store: it compares two instants, and knows no record."""


class Viewer:
    """A connection that keeps what is written to it."""

    keeps_alive = True
    peer: Peer = ("127.0.0.1", 5)
    local: Peer = ("127.0.0.1", 8080)

    def __init__(self) -> None:
        self.written = b""
        self._fates = Fates()
        self._followed: Followed | None = None

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.written += data

    async def is_there(self) -> bool:
        """Stay."""
        return True

    def follow(self, tell: Callable[[Fate], None]) -> Followed:
        """Tell at the end."""
        self._followed = self._fates.follow(Sending("GET", "1.1"), 0, tell)
        return self._followed

    def take_all(self) -> None:
        """Have taken all that was written."""
        if self._followed is not None:
            self._followed.end, self._followed = 1, None
        self._fates.look()

    def await_body(self) -> None:
        """There is none."""

    def read_on(self) -> None:
        """There is nothing more."""

    async def send_file(self, descriptor: int, start: int, end: int) -> None:
        """Nothing is sent so."""

    async def drain(self) -> None:
        """Wait for nothing."""


async def download(folder: pathlib.Path, watched: contextlib.AbstractContextManager[object]) -> None:
    """Serve one download in this process, in such a block."""
    made = Installation(folder)
    made.put("report.pdf", b"x" * 1000)
    url = parse_url(made.link("report.pdf"))
    meters = Meters()
    store = MeteredStore(DirectoryStore(made.objects), meters)
    journal = Journal(descriptor=1)
    trust = Trust(keys=made.keys)
    parts = Parts(
        settings=load(folder / "oncegate.toml", {}),
        store=store,
        runner=LedgerRunner(MemoryLedger(born_ms=0)),
        born_ms=0,
        trust=lambda: trust,
        journal=journal,
        clock=time.time,
        monotonic=time.monotonic,
        transfers=Transfers(time.monotonic),
        pages=Pages(load(folder / "oncegate.toml", {})),
        meters=meters,
    )
    gateway = Gateway(parts)
    viewer = Viewer()
    headers = [(b"host", url.host.encode())]
    head = Head("GET", url.path, url.query, "1.1", headers, keeps_alive=True, has_body=False, expects_continue=False)
    with watched:
        await gateway.answer(Turn(head, viewer))
        viewer.take_all()
    await journal.aclose()
    await store.aclose()
    assert viewer.written.startswith(b"HTTP/1.1 200 ")
    assert viewer.written.endswith(b"\r\n\r\n" + b"x" * 1000)
    assert not len(parts.transfers)


async def modules_entered(folder: pathlib.Path, *, without: str = "") -> list[str]:
    """Serve one download in this process; which modules of ours ran, in the order in which each was first entered.

    Args:
        folder: for an installation.
        without: the name of a function whose module is not entered by it.
    """
    entered: dict[str, None] = {}

    def profile(frame: FrameType, event: str, arg: object) -> None:
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("oncegate.") and frame.f_code.co_name != without:
            entered.setdefault(name)

    @contextlib.contextmanager
    def profiled() -> Generator[None]:
        sys.setprofile(profile)
        try:
            yield
        finally:
            sys.setprofile(None)

    await download(folder, profiled())
    return [*entered]


@contextlib.contextmanager
def uncollected(left: list[object]) -> Generator[None]:
    """Collect what objects of ours hold each other in a circle at the end of the block."""
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.disable()
    try:
        yield
        gc.collect()
        left += [each for each in gc.garbage if type(each).__module__.startswith("oncegate.")]
    finally:
        gc.enable()
        gc.set_debug(0)
        gc.garbage.clear()


@pytest.mark.anyio
async def test_a_download_leaves_nothing_to_the_collector(tmp_path: pathlib.Path) -> None:
    """What holds itself is found by walking over all that is alive: a twentieth of the CPU of a small download."""
    left: list[object] = []
    await download(tmp_path, uncollected(left))
    assert left == []


@pytest.mark.anyio
async def test_a_download_enters_these_modules_and_no_others(tmp_path: pathlib.Path) -> None:
    """A module that a download newly enters must be seen, and one that it no longer enters must leave the list."""
    entered = {*await modules_entered(tmp_path)}
    assert entered - {*HOT_PATH} == set()
    assert {*HOT_PATH} - entered - {"oncegate.links.key_group", "oncegate.links.media_types"} == set()


@pytest.mark.anyio
async def test_a_download_enters_the_folders_in_the_order_of_its_story(tmp_path: pathlib.Path) -> None:
    """Whoever follows a request by folder names must meet them in this order: nothing is claimed before the look."""
    entered = await modules_entered(tmp_path, without=BEFORE_THE_LOOK)
    met = (next((part for part in STORY if name.startswith(f"oncegate.{part}")), None) for name in entered)
    order = [part for part in dict.fromkeys(met) if part is not None]
    assert order == [part for part in STORY if part != "server" or part in order]
