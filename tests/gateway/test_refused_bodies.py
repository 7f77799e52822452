"""Bodies of refused requests are read on for a moment, so that clients see the answer; strangers gain no place by it."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Mapping
from typing import Any

import pytest

from oncegate.gateway import open_requests
from oncegate.gateway.app import Gateway
from oncegate.gateway.open_requests import OpenRequests
from oncegate.server.limits import READ_ON_MAX
from oncegate.service.gateway import open_gateway
from oncegate.settings import load
from oncegate.testing.installation import Installation
from oncegate.testing.raw_http import target_of

pytestmark = pytest.mark.anyio


class Asked:
    """One request to the application: its answer, and a body of which nothing more comes."""

    def __init__(self, gateway: Any, method: str, target: str, *, length: int = 0) -> None:
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
            await asyncio.Event().wait()
        self._is_begun = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: dict[str, Any]) -> None:
        self.status = self.status or message.get("status", 0)


async def test_refused_bodies_are_read_on_by_few_and_take_no_place(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,300 forged uploads that sent no byte held all places for a second each: genuine links got 503."""
    made = Installation(tmp_path)
    made.put("a.txt", b"data")
    target = target_of(made.link("a.txt"))
    monkeypatch.setattr(open_requests, "OPEN_REQUESTS_MAX", 60)
    with (tmp_path / "log").open("wb") as log:
        async with open_gateway(load(tmp_path / "oncegate.toml", {}), log_descriptor=log.fileno()) as opened:
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
