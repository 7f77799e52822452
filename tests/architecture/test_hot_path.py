"""A download enters few modules: each one more is time on every request, and one more file to read for a stranger."""

from __future__ import annotations

import asyncio
import pathlib
import sys
import time
from collections import defaultdict
from types import FrameType
from typing import Any

from oncegate.events import Journal
from oncegate.gateway.app import Gateway
from oncegate.gateway.delivery import Transfers
from oncegate.gateway.parts import Parts
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.urls import parse_url
from oncegate.links.verify import Trust
from oncegate.settings import load
from oncegate.stores.directory.store import DirectoryStore
from oncegate.testing.installation import Installation

HOT_PATH = {
    "oncegate.gateway.app",
    "oncegate.gateway.exchange",
    "oncegate.gateway.viewer",
    "oncegate.gateway.parts",
    "oncegate.gateway.downloads",
    "oncegate.gateway.ranges",
    "oncegate.links.people",
    "oncegate.gateway.answers",
    "oncegate.gateway.delivery",
    "oncegate.links.request",
    "oncegate.links.verify",
    "oncegate.links.parameters",
    "oncegate.links.cloudfront",
    "oncegate.links.policy",
    "oncegate.links.key_group",
    "oncegate.links.ticket",
    "oncegate.links.urls",
    "oncegate.links.issue",
    "oncegate.uses.use",
    "oncegate.uses.record",
    "oncegate.keys.pem",
    "oncegate.ledgers.protocol",
    "oncegate.ledgers.runner",
    "oncegate.ledgers.claiming",
    "oncegate.ledgers.memory",
    "oncegate.stores.directory.store",
    "oncegate.stores.directory.walk",
    "oncegate.stores.media_types",
    "oncegate.events",
}


def modules_entered(tmp_path: pathlib.Path) -> set[str]:
    """Serve one download in this process, and note which modules of ours ran."""
    made = Installation(tmp_path)
    made.put("report.pdf", b"x" * 1000)
    settings = load(tmp_path / "oncegate.toml", {})
    url = parse_url(made.link("report.pdf"))
    entered: set[str] = set()

    def profile(frame: FrameType, event: str, arg: object) -> None:
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("oncegate."):
            entered.add(name)

    async def serve() -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(dict(message))

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        store = DirectoryStore(made.objects)
        ledger = MemoryLedger(born_ms=0)
        journal = Journal(descriptor=1)
        parts = Parts(
            settings=settings,
            store=store,
            runner=LedgerRunner(ledger),
            born_ms=0,
            trust=lambda: trust,
            journal=journal,
            clock=time.time,
            monotonic=time.monotonic,
            transfers=Transfers(time.monotonic),
            meters=defaultdict(float),
        )
        trust = Trust(keys=made.keys)
        gateway = Gateway(parts)
        scope = {
            "type": "http",
            "method": "GET",
            "raw_path": url.path,
            "query_string": url.query,
            "headers": [(b"host", url.host.encode())],
            "client": ("127.0.0.1", "5"),
        }
        sys.setprofile(profile)
        try:
            await gateway(scope, receive, send)
        finally:
            sys.setprofile(None)
        await journal.aclose()
        await store.aclose()
        return sent

    sent = asyncio.run(serve())
    assert sent[0]["status"] == 200
    assert sent[1]["body"] == b"x" * 1000
    return entered


def test_a_download_enters_these_modules_and_no_others(tmp_path: pathlib.Path) -> None:
    """A module that a download newly enters must be seen, and one that it no longer enters must leave the list."""
    entered = modules_entered(tmp_path)
    assert entered - HOT_PATH == set()
    assert HOT_PATH - entered - {"oncegate.links.key_group", "oncegate.stores.media_types"} == set()
