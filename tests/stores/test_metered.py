"""The counts of a store: every call, what came of it, and how long it took."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncGenerator

import pytest

from oncegate.meters import Meters
from oncegate.stores.directory.store import DirectoryStore
from oncegate.stores.metered import MeteredStore
from oncegate.stores.protocol import (
    KeyRefused,
    ObjectChanged,
    ObjectInfo,
    ObjectStands,
    OpenDescriptor,
    ReadsNow,
    StoreBusy,
    StoreFault,
)

pytestmark = pytest.mark.anyio


async def test_calls_are_counted_by_what_came_of_them(tmp_path: pathlib.Path) -> None:
    """A fault that is not counted would show a store as healthy that refuses everything."""
    meters = Meters()

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
    assert meters.of("store_calls")["look", "done"] == 2
    assert meters.of("store_calls")["write", "done"] == meters.of("store_calls")["commit", "done"] == 1
    assert meters.of("store_calls")["list_objects", "done"] == 1
    assert sum(count for (call, _), count in meters.of("store_calls").items() if call == "start_upload") == 2
    assert meters.histograms("store_seconds")["look",].sum > 0


class _FailingObject:
    """One piece comes at once; then whatever is told."""

    def __init__(self, then: StoreFault | None) -> None:
        self.info = ObjectInfo("a.bin", 2, '"a"', 0, "application/octet-stream")
        self.is_closed = False
        self._then = then

    async def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:
        try:
            if start == 0:
                yield b"x"
            if self._then is not None:
                raise self._then
            await asyncio.Event().wait()
        finally:
            self.is_closed = True

    async def aclose(self) -> None:
        pass


class _OneObject:
    """A store that holds it."""

    def __init__(self, held: _FailingObject) -> None:
        self._held = held

    async def look(self, key: str) -> _FailingObject:
        return self._held


async def test_a_read_that_fails_midway_counts_twice() -> None:
    """Its first byte was in time, which is one thing, and it broke, which is another; neither may hide the other."""
    meters = Meters()

    found = await MeteredStore(_OneObject(_FailingObject(StoreBusy("gone"))), meters).look("a.bin")  # type: ignore[arg-type]  # a store of one call
    assert found is not None
    pieces = found.read(0, 2, 1)
    assert await anext(pieces) == b"x"
    with pytest.raises(StoreBusy):
        await anext(pieces)
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)
    assert {outcome: count for (call, outcome), count in meters.of("store_calls").items() if call == "read"} == {
        "done": 1,
        "StoreBusy": 1,
    }


async def test_only_a_file_has_a_descriptor() -> None:
    """An object of a bucket is read, whatever stands before its store; a file that fails is counted as a read that broke."""
    meters = Meters()

    class File(_FailingObject):
        async def descriptor(self, start: int, end: int) -> int | None:
            raise StoreBusy("no descriptors left")

    of_bucket = await MeteredStore(_OneObject(_FailingObject(None)), meters).look("a")  # type: ignore[arg-type]  # a store of one call
    of_folder = await MeteredStore(_OneObject(File(None)), meters).look("a")  # type: ignore[arg-type]  # the same
    assert isinstance(of_bucket, OpenDescriptor)
    assert await of_bucket.descriptor(0, 1) is None
    assert isinstance(of_folder, OpenDescriptor)
    with pytest.raises(StoreBusy):
        await of_folder.descriptor(0, 1)
    assert meters.of("store_calls")["read", "StoreBusy"] == 1


async def test_a_read_that_nobody_waits_for_any_more_is_no_success() -> None:
    """A store that hangs is left by viewers one after another: counted as done, it would look like a healthy one."""
    meters = Meters()
    held = _FailingObject(None)

    found = await MeteredStore(_OneObject(held), meters).look("a.bin")  # type: ignore[arg-type]  # a store of one call
    assert found is not None
    pieces = found.read(1, 2, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(pieces)
    assert held.is_closed
    assert meters.of("store_calls")["read", "cancelled"] == 1
    assert meters.histograms("store_seconds")["read",].sum >= 0.01


async def test_a_read_that_is_left_is_closed() -> None:
    """A viewer who leaves must free what the store holds for him, not the garbage collector some day."""
    held = _FailingObject(None)

    found = await MeteredStore(_OneObject(held), Meters()).look("a.bin")  # type: ignore[arg-type]  # a store of one call
    assert found is not None
    pieces = found.read(0, 2, 1)
    assert await anext(pieces) == b"x"
    await pieces.aclose()
    assert held.is_closed


async def test_an_object_that_stands_is_told_from_one_that_was_placed(tmp_path: pathlib.Path) -> None:
    """Two uploads to one key: the second commit changed nothing, which is no fault of the store and no success either."""
    meters = Meters()

    store = MeteredStore(DirectoryStore(tmp_path), meters)
    uploads = [
        await store.start_upload("a.txt", content_type="text/plain", size_bytes=None, replaces=None) for _ in range(2)
    ]
    await uploads[0].commit()
    with pytest.raises(ObjectStands):
        await uploads[1].commit()
    await uploads[1].abort()
    await store.aclose()
    assert meters.of("store_calls")["commit", "done"] == meters.of("store_calls")["commit", "ObjectStands"] == 1


async def test_a_read_at_once_is_counted_as_a_read(tmp_path: pathlib.Path) -> None:
    """Nearly every download of a folder is one, and a store whose reads were not counted would look idle."""
    (tmp_path / "a.txt").write_bytes(b"x" * 10)
    meters = Meters()
    store = MeteredStore(DirectoryStore(tmp_path), meters)
    found = await store.look("a.txt")
    assert isinstance(found, ReadsNow)
    assert found.read_now(0, 10) in (b"x" * 10, None)
    (tmp_path / "a.txt").write_bytes(b"another")
    with pytest.raises(ObjectChanged):
        found.read_now(0, 7)
    await store.aclose()
    assert meters.of("store_calls")["read", "ObjectChanged"] == 1
    assert meters.of("store_calls")["read", "done"] <= 1


async def test_an_object_of_a_bucket_is_never_read_at_once() -> None:
    """Its bytes are elsewhere; whoever asks is told to read."""
    found = await MeteredStore(_OneObject(_FailingObject(None)), Meters()).look("a.bin")  # type: ignore[arg-type]  # a store of one call
    assert isinstance(found, ReadsNow)
    assert found.read_now(0, 1) is None
