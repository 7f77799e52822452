"""The counts of a store: every call, what came of it, and how long it took."""

from __future__ import annotations

import asyncio
import pathlib
from collections import defaultdict

import pytest

from oncegate.stores.directory import DirectoryStore
from oncegate.stores.metered import MeteredStore
from oncegate.stores.protocol import KeyRefused


def test_calls_are_counted_by_what_came_of_them(tmp_path: pathlib.Path) -> None:
    """A fault that is not counted would show a store as healthy that refuses everything."""
    meters: defaultdict[tuple[str, ...], float] = defaultdict(float)

    async def use() -> None:
        store = MeteredStore(DirectoryStore(tmp_path), meters)
        upload = await store.start_upload("a.txt", content_type="text/plain", size_bytes=1, replaces=None)
        await upload.write(b"x")
        await upload.commit()
        found = await store.look("a.txt")
        assert found is not None
        await found.aclose()
        assert await store.look("nothing") is None
        assert [info.key for info in await store.list_objects("", "", 10)] == ["a.txt"]
        with pytest.raises(KeyRefused):
            upload = await store.start_upload("a.txt/b", content_type="text/plain", size_bytes=1, replaces=None)
            await upload.commit()
        await store.aclose()

    asyncio.run(use())
    assert meters["store_calls", "look", "done"] == 2
    assert meters["store_calls", "list_objects", "done"] == 1
    assert (
        sum(count for (name, call, *_), count in meters.items() if (name, call) == ("store_calls", "start_upload")) == 2
    )
    assert meters["store_seconds", "look"] > 0
