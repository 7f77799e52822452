"""The store fails before the first byte, the ledger's disk is full: an answer in time, nothing served, nothing lost."""

import asyncio
import contextlib
import os
import resource
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from oncegate.events import Journal
from oncegate.gateway.app import Gateway
from oncegate.gateway.delivery import Transfers
from oncegate.gateway.parts import Parts
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.verify import Trust
from oncegate.settings import load
from oncegate.stores.directory.store import DirectoryStore
from oncegate.stores.protocol import ObjectChanged, StoreBusy, StoreFault
from oncegate.testing.raw_http import ask, target_of
from oncegate.web.pages import Pages

pytestmark = pytest.mark.faults


class FailingStore:
    """A folder whose reads fail as a bucket's do: at the first piece, or after so many."""

    def __init__(self, store: DirectoryStore, fault: Exception | None, *, after: int = 0) -> None:
        self._store, self.fault, self._after = store, fault, after

    async def look(self, key: str) -> SimpleNamespace:
        """Open the object; its reads will fail."""
        opened = await self._store.look(key)
        return SimpleNamespace(info=opened.info, read=self._reads(opened), aclose=opened.aclose)

    def _reads(self, opened: Any) -> Callable[[int, int, int], AsyncIterator[bytes]]:
        async def read(start: int, end: int, chunk_bytes: int) -> AsyncIterator[bytes]:
            count = 0
            async for piece in opened.read(start, end, chunk_bytes):
                if self.fault is not None and count == self._after:
                    raise self.fault
                count += 1
                yield piece

        return read


async def get(gateway: Gateway, url: str, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> tuple[int, bytes, bool]:
    """One GET through the application itself: the status, the body, and whether the answer was ended cleanly."""
    target = target_of(url)
    sent: list[dict[str, Any]] = []
    asked: list[int] = []

    async def receive() -> dict[str, Any]:
        if asked:
            await asyncio.Event().wait()
        asked.append(1)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", urlsplit(url).netloc.encode()), *headers],
        "client": ("127.0.0.1", 1),
    }
    await gateway(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], body, not sent[-1].get("more_body")


@contextlib.asynccontextmanager
async def application(
    home: Any, fault: Exception, *, after: int = 0
) -> AsyncGenerator[tuple[Gateway, FailingStore, Parts]]:
    """The viewer's application over a real folder that fails, and a ledger in memory."""
    ledger = MemoryLedger()
    store = DirectoryStore(home.objects)
    failing = FailingStore(store, fault, after=after)
    journal = Journal(descriptor=os.open(os.devnull, os.O_WRONLY))
    parts = Parts(
        settings=load(home.folder / "oncegate.toml", {}),
        store=failing,
        runner=LedgerRunner(ledger),
        born_ms=0,
        trust=lambda: Trust(keys=home.keys),
        journal=journal,
        clock=time.time,
        monotonic=time.monotonic,
        transfers=Transfers(time.monotonic),
        pages=Pages(load(home.folder / "oncegate.toml", {})),
    )
    try:
        yield Gateway(parts), failing, parts
    finally:
        await parts.runner.drain()
        await journal.aclose()
        os.close(journal._descriptor)
        await store.aclose()
        await ledger.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("size_bytes", [1000, 300_000])
@pytest.mark.parametrize(
    ("fault", "status"), [(StoreFault("EIO"), 502), (StoreBusy("out of reach"), 503), (ObjectChanged("gone"), 502)]
)
async def test_store_that_fails_before_the_first_byte_gives_the_use_back_to_anyone(
    home_with: Callable[..., Any], size_bytes: int, fault: StoreFault, status: int
) -> None:
    """502 or 503 with a whole answer of ours; then the link is as before, for somebody else too."""
    home = home_with()
    url = home.fresh(os.urandom(size_bytes))
    async with application(home, fault) as (gateway, store, parts):
        answer = await get(gateway, url)
        await parts.runner.drain()
        await parts.transfers.until_none()
        store.fault = None
        stranger = await get(gateway, url, headers=[(b"cookie", b"a=b")])
        again = await get(gateway, url)
    assert answer[0] == status
    assert b"<Error>" in answer[1]
    assert (stranger[0], len(stranger[1]), stranger[2]) == (200, size_bytes, True)
    assert again[0] == 403


@pytest.mark.anyio
async def test_store_that_fails_midway_is_never_a_clean_end(home_with: Callable[..., Any]) -> None:
    """Too few bytes and then silence: the connection is cut, and the rest is still the holder's."""
    home = home_with()
    size = 1_000_000
    url = home.fresh(os.urandom(size))
    async with application(home, StoreFault("EIO"), after=1) as (gateway, store, parts):
        broken = await get(gateway, url)
        await parts.runner.drain()
        store.fault = None
        rest = await get(gateway, url, headers=[(b"range", b"bytes=%d-" % len(broken[1]))])
    assert broken[0] == 200
    assert 0 < len(broken[1]) < size
    assert not broken[2], "the answer was ended cleanly, and the viewer takes half an object for a whole one"
    assert (rest[0], len(rest[1])) == (206, size - len(broken[1]))


@pytest.mark.anyio
async def test_fault_of_ours_is_500_without_a_word_of_it(home_with: Callable[..., Any]) -> None:
    """Whatever breaks inside: the viewer reads S3's InternalError, and what was claimed is given back."""
    home = home_with()
    url = home.fresh(b"x")
    async with application(home, RuntimeError("secret detail")) as (gateway, store, parts):
        broken = await get(gateway, url)
        await parts.runner.drain()
        store.fault = None
        afterwards = await get(gateway, url)
    assert (broken[0], b"secret detail" in broken[1]) == (500, False)
    assert afterwards[0] == 200


@pytest.mark.slow
def test_full_disk_of_the_ledger_serves_nothing_and_recovers_by_itself(
    home_with: Callable[..., Any], until: Callable[..., object], within: Callable[[float], AbstractContextManager[None]]
) -> None:
    """No room for the claim: 503 and when to come again, within five seconds; with room again all goes on."""
    home = home_with()
    url, other = home.fresh(b"object"), home.fresh(b"object")
    with home.serve() as serving:
        assert ask("GET", home.fresh(b"warm")).status == 200
        pid = serving.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            with within(5):
                answer = ask("GET", url)
            assert (answer.status, b"object" in answer.body) == (503, False)
            assert int(answer.header("retry-after")) > 0
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        until(lambda: ask("GET", other).status == 200, "the ledger takes writes again")
        until(lambda: ask("GET", url).status == 200, "what was not served is free")
        assert ask("GET", url).status == 403
