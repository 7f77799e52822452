"""Installations whose objects may be removed after their links, over any store, and a gateway whose clock is ahead."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from homes import Home, link_id_of
from oncegate.gateway.parts import Parts
from oncegate.gateway.removals import remove_due
from oncegate.ledgers.protocol import Scans
from oncegate.ledgers.removals import change_removal, removals_of
from oncegate.service.gateway import OpenGateway, open_gateway
from oncegate.settings import load
from oncegate.stores.opening import open_store
from oncegate.stores.protocol import Store
from oncegate.testing.servers.object_stores import store_options
from oncegate.testing.store_checks import info_of, is_there, put
from oncegate.uses.removal import Removal, removal_id

T = TypeVar("T")
WINDOW_S = 900
ALLOWED: dict[str, dict[str, object]] = {"links": {"delete_after": "allow", "resume_window": f"{WINDOW_S}s"}}


def in_bucket(url: str) -> dict[str, dict[str, object]]:
    """The tables of an installation whose objects are in a bucket of this server, and may be removed."""
    return {**ALLOWED, "store": {"url": "s3://bucket/kept"}, "store.options": dict(store_options(url))}


@contextlib.asynccontextmanager
async def ahead(home: Home, ahead_s: float) -> AsyncGenerator[tuple[Parts, OpenGateway]]:
    """Open a gateway on the installation, as a further process would, and give its parts with a clock that is ahead."""
    async with open_gateway(load(home.folder / "oncegate.toml", {})) as opened:
        yield replace(opened.parts, clock=lambda: time.time() + ahead_s), opened


def remove_as_of(home: Home, ahead_s: float) -> None:
    """Let a gateway remove what is due so many seconds from now."""

    async def remove() -> None:
        async with ahead(home, ahead_s) as (parts, opened):
            assert isinstance(opened.ledger, Scans)
            await remove_due(parts, opened.ledger)

    asyncio.run(remove())


def rows_of(home: Home) -> list[Removal]:
    """The rows of removals in the installation's ledger."""

    async def read() -> list[Removal]:
        async with ahead(home, 0) as (_, opened):
            assert isinstance(opened.ledger, Scans)
            return [row async for _, row in removals_of(opened.ledger)]

    return asyncio.run(read())


def change_row(home: Home, url: str, change: Callable[[Removal | None], Removal | None]) -> None:
    """Change the row of a link, as another gateway would."""

    async def write() -> None:
        async with ahead(home, 0) as (parts, _):
            row_id = removal_id(link_id_of(url))
            await parts.runner.run(row_id, change_removal(row_id, 2**40, change))

    asyncio.run(write())


def with_store(home: Home, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """Open the installation's store for one piece of work."""

    async def run() -> T:
        settings = load(home.folder / "oncegate.toml", {})
        store = open_store(settings.store.url, folder=settings.folder, options=settings.store.options)
        try:
            return await work(store)
        finally:
            await store.aclose()

    return asyncio.run(run())


def lay(home: Home, key: str, data: bytes) -> str:
    """Lay an object into the store, also in the place of another; return its ETag."""

    async def work(store: Store) -> str:
        stands = (await info_of(store, key)).etag if await is_there(store, key) else None
        return (await put(store, key, data, replaces=stands)).etag

    return with_store(home, work)


def stands(home: Home, key: str) -> bool:
    """Whether the object is there."""
    return with_store(home, lambda store: is_there(store, key))
