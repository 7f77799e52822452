"""The application and messages whose moment no client can choose: bodies that do not come, viewers who have gone.

Bodies of refused requests are read on for a moment, so that clients see the answer; strangers gain no place by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from oncegate.gateway import open_requests
from oncegate.gateway.app import Gateway
from oncegate.gateway.open_requests import OpenRequests
from oncegate.ledgers.protocol import Gone
from oncegate.links.link_id import id_of_text
from oncegate.server.limits import READ_ON_MAX
from oncegate.service.gateway import OpenGateway, open_gateway
from oncegate.settings import load
from oncegate.testing.installation import Installation
from oncegate.testing.raw_http import target_of

pytestmark = pytest.mark.anyio


class Asked:
    """One request to the application: its answer, and a body of which nothing more comes.

    Args:
        gateway: the application.
        method: of the request.
        target: of the request.
        length: of the body that is announced and never sent.
        gone: when set, the viewer has closed the connection.
    """

    def __init__(
        self, gateway: Any, method: str, target: str, *, length: int = 0, gone: asyncio.Event | None = None
    ) -> None:
        self._gone = gone or asyncio.Event()
        path, _, query = target.partition("?")
        self.status = 0
        self._is_begun = False
        self._length = length
        scope: Mapping[str, object] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"127.0.0.1"), (b"content-length", b"%d" % length)],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self.task = asyncio.ensure_future(gateway(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, object]:
        if self._length or self._is_begun:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        self._is_begun = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: dict[str, Any]) -> None:
        self.status = self.status or message.get("status", 0)


@contextlib.asynccontextmanager
async def opened_quietly(folder: pathlib.Path) -> AsyncGenerator[OpenGateway]:
    """Open the gateway of an installation; its log goes to a file."""
    with (folder / "log").open("wb") as log:
        async with open_gateway(load(folder / "oncegate.toml", {}), log_descriptor=log.fileno()) as opened:
            yield opened


async def test_refused_bodies_are_read_on_by_few_and_take_no_place(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,300 forged uploads that sent no byte held all places for a second each: genuine links got 503."""
    made = Installation(tmp_path)
    made.put("a.txt", b"data")
    target = target_of(made.link("a.txt"))
    monkeypatch.setattr(open_requests, "OPEN_REQUESTS_MAX", 60)
    async with opened_quietly(tmp_path) as opened:
        assert isinstance(opened.app, Gateway)
        forged = [Asked(opened.app, "PUT", "/a.txt?Signature=forged", length=1000) for _ in range(READ_ON_MAX + 50)]
        await asyncio.sleep(0)
        assert [each.status for each in forged].count(0) == READ_ON_MAX
        assert {each.status for each in forged} == {0, 403}
        genuine = Asked(opened.app, "GET", target)
        await asyncio.wait_for(genuine.task, 30)
        assert genuine.status == 200
        await asyncio.gather(*(each.task for each in forged))
        assert {each.status for each in forged} == {403}


def test_a_place_comes_back_after_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides of the limit: the request that is counted last has a place, or has none."""
    monkeypatch.setattr(open_requests, "OPEN_REQUESTS_MAX", 1)
    places = OpenRequests()
    places.begin()
    with places.reading_on() as may_read:
        places.begin()
        assert (may_read, places.are_too_many) == (True, False)
    assert places.are_too_many
    places.end()
    assert not places.are_too_many


@pytest.mark.parametrize("size_bytes", [10, 300_000])
async def test_nothing_is_claimed_for_a_viewer_who_has_gone(tmp_path: pathlib.Path, size_bytes: int) -> None:
    """A scanner that sends a request and resets took the use with it, and so did a browser whose tab was closed."""
    made = Installation(tmp_path)
    made.put("a.bin", bytes(size_bytes))
    target = target_of(made.link("a.bin"))
    gone = asyncio.Event()
    gone.set()
    async with opened_quietly(tmp_path) as opened:
        left = Asked(opened.app, "GET", target, gone=gone)
        await left.task
        assert left.status == 0
        link_id = id_of_text(target.partition("once=g.")[2][:22])
        assert await opened.parts.runner.read(link_id) == Gone()
        stays = Asked(opened.app, "GET", target)
        await stays.task
        assert stays.status == 200


@pytest.mark.parametrize("size_bytes", [0, 10, 300_000])
async def test_all_is_given_back_of_a_viewer_who_goes_during_the_claim(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    """Known before the first byte, so nothing is sent; the use is free for anyone."""
    made = Installation(tmp_path)
    made.put("a.bin", bytes(size_bytes))
    target = target_of(made.link("a.bin"))
    gone = asyncio.Event()
    async with opened_quietly(tmp_path) as opened:
        claim = opened.parts.runner.claim

        async def claim_and_leave(*arguments: Any, **more: Any) -> Any:
            admission = await claim(*arguments, **more)
            gone.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return admission

        with monkeypatch.context() as patch:
            patch.setattr(opened.parts.runner, "claim", claim_and_leave)
            left = Asked(opened.app, "GET", target, gone=gone)
            await left.task
        assert left.status == 0
        await opened.parts.runner.drain()
        stays = Asked(opened.app, "GET", target)
        await stays.task
        assert stays.status == 200
