"""Counts what a store is asked, what comes of it and how long it takes; everything else is the store's own."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from oncegate.stores.protocol import ObjectInfo, OpenObject, Store, StoreFault, Upload

_T = TypeVar("_T")


class MeteredStore:
    """A store, counted.

    Args:
        store: the one that does the work.
        meters: gets ``("store_calls", call, outcome)`` and ``("store_seconds", call)``.
    """

    def __init__(self, store: Store, meters: defaultdict[tuple[str, ...], float]) -> None:
        self._store = store
        self._meters = meters

    async def look(self, key: str) -> OpenObject | None:
        """Open an object without reading it; see ``Store.look``."""
        return await self._count("look", self._store.look(key))

    async def start_upload(
        self, key: str, *, content_type: str, size_bytes: int | None, replaces: str | None
    ) -> Upload:
        """Begin an upload; see ``Store.start_upload``."""
        upload = self._store.start_upload(key, content_type=content_type, size_bytes=size_bytes, replaces=replaces)
        return await self._count("start_upload", upload)

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        """List objects; see ``Store.list_objects``."""
        return await self._count("list_objects", self._store.list_objects(prefix, after, limit))

    async def sweep(self, older_than_s: int) -> int:
        """Remove what killed uploads left; see ``Store.sweep``."""
        return await self._count("sweep", self._store.sweep(older_than_s))

    async def probe(self) -> None:
        """Check that the store can be used; see ``Store.probe``."""
        await self._store.probe()

    async def aclose(self) -> None:
        """Let go of everything."""
        await self._store.aclose()

    async def _count(self, call: str, doing: Awaitable[_T]) -> _T:
        started, outcome = time.perf_counter(), "done"
        try:
            found = await doing
        except StoreFault as fault:
            outcome = type(fault).__name__
            raise
        finally:
            self._meters["store_calls", call, outcome] += 1
            self._meters["store_seconds", call] += time.perf_counter() - started
        return found
