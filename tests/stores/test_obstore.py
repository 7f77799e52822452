"""The stores in buckets: what is their own beside the suite (``test_store_suite.py``), and servers that must not be believed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx
import obstore
import pytest
from obstore.store import MemoryStore

from oncegate.stores.bucket import s3_multipart
from oncegate.stores.bucket.abilities import CHUNK_BYTES, PUT_BYTES_MAX
from oncegate.stores.bucket.s3_multipart import CHUNK_BYTES_MAX, PARTS_MAX
from oncegate.stores.bucket.store import Bucket, ObstoreStore
from oncegate.stores.opening import open_store
from oncegate.stores.protocol import (
    KeyRefused,
    LengthNeeded,
    NotKept,
    NotOnce,
    ObjectChanged,
    ObjectInfo,
    ObjectStands,
    StoreBusy,
    StoreFault,
    StoreRefused,
    StoreUnfit,
    UploadTooLarge,
)
from oncegate.testing.servers.object_stores import store_options

pytestmark = pytest.mark.anyio

LARGE_WAYS = {
    "completion": (),
    "copy": ("ignores-completion-conditions",),
    "put": ("ignores-completion-conditions", "ignores-copy-conditions"),
}
"""How a large object is put in place, by the faults of a server that leave only this way."""


def memory_store() -> ObstoreStore:
    """A store over obstore's dictionary: what ``gs:`` and ``az:`` do, without a server."""
    memory = MemoryStore()
    return ObstoreStore(Bucket(short=memory, long=memory, scheme="memory"))


def s3_store(server: Any, prefix: str = "pre fix") -> ObstoreStore:
    """A store on a server of these tests."""
    store = open_store(f"s3://bucket/{prefix}", folder=pathlib.Path(), options=store_options(server.url))
    assert isinstance(store, ObstoreStore)
    return store


@contextlib.asynccontextmanager
async def opened(store: ObstoreStore) -> AsyncGenerator[ObstoreStore]:
    """Close a store at the end."""
    try:
        yield store
    finally:
        await store.aclose()


async def upload(
    store: ObstoreStore,
    key: str,
    data: bytes = b"data",
    *,
    replaces: str | None = None,
    content_type: str = "text/x",
    size_bytes: int | None = None,
) -> ObjectInfo:
    """Upload as the gateway does; return what ``commit`` said."""
    staged = await store.start_upload(key, content_type=content_type, size_bytes=size_bytes, replaces=replaces)
    try:
        for start in range(0, len(data), 1 << 20):
            await staged.write(data[start : start + (1 << 20)])
        return await staged.commit()
    finally:
        await staged.abort()


async def read(
    store: ObstoreStore, key: str, start: int = 0, end: int | None = None, chunk_bytes: int = 65536
) -> bytes | None:
    """Look and read; None where nothing stands."""
    found = await store.look(key)
    if found is None:
        return None
    return b"".join(
        [piece async for piece in found.read(start, found.info.size_bytes if end is None else end, chunk_bytes)]
    )


async def keys(store: ObstoreStore, prefix: str = "", after: str = "", limit: int = 1000) -> list[str]:
    """List one page and keep the keys."""
    return [info.key for info in await store.list_objects(prefix, after, limit)]


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest, wrong_s3: Callable[..., Any]) -> ObstoreStore:
    """Each kind of bucket: one where obstore does all, one where S3's own requests do large uploads."""
    return memory_store() if request.param == "memory" else s3_store(wrong_s3())


async def test_a_large_replace_without_a_condition_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """Copies of Google's and Azure's stores cannot name what they replace: better refused than overwritten."""
    async with opened(memory_store()) as store:
        first = await upload(store, "x", b"1")
        with pytest.raises(NotOnce, match="that replaces over 8 MiB"):
            await upload(store, "x", b"2" * (CHUNK_BYTES + 1), replaces=first.etag)
        assert await read(store, "x") == b"1"

    assert "upload refused" in caplog.text


@pytest.mark.parametrize("key", ["n" * 1000, "\N{PILE OF POO}/" * 150 + "x"])
async def test_keys_may_be_longer_than_a_file_name(store: ObstoreStore, key: str) -> None:
    """Segments of a thousand bytes, or hundreds of them: a bucket knows no folders."""
    async with opened(store):
        await upload(store, key, key.encode())
        assert await read(store, key) == key.encode()
        assert await keys(store) == [key]


async def test_a_key_may_begin_like_a_folder(store: ObstoreStore) -> None:
    """``a`` and ``a/1`` are two objects, which no file system can hold; both are found, and listed in their order."""
    names = ["Z", "a", "a b", "a/1", "a0"]
    async with opened(store):
        for name in names:
            await upload(store, name, name.encode())
        assert [await read(store, name) for name in names] == [name.encode() for name in names]
        assert await keys(store) == names
        assert await keys(store, "a") == names[1:]
        assert await keys(store, "a/") == ["a/1"]
        assert await keys(store, "", "a", 1) == ["a b"]


@pytest.mark.parametrize("size_bytes", [5, CHUNK_BYTES + 1])
async def test_the_type_is_kept(store: ObstoreStore, size_bytes: int) -> None:
    """A bucket keeps the type of an upload, whatever its name says."""
    async with opened(store):
        await upload(store, "a.txt", b"x" * size_bytes, content_type="image/png")
        found = await store.look("a.txt")
        assert found is not None
        assert found.info.content_type == "image/png"


async def test_a_large_upload_of_unknown_length_is_once(store: ObstoreStore) -> None:
    """Three parts and a rest, whose number nobody knew: the second upload is told so and changes nothing."""
    first = b"1" * (3 * CHUNK_BYTES + 5)
    async with opened(store):
        await upload(store, "x", first)
        with pytest.raises(ObjectStands):
            await upload(store, "x", b"2" * len(first))
        assert await read(store, "x") == first
        assert await keys(store) == ["x"]


async def test_what_is_replaced_after_the_look_is_not_read(store: ObstoreStore) -> None:
    """A read names the ETag that was seen, so the server refuses it: not a byte, and no clean end."""
    async with opened(store):
        first = await upload(store, "x", b"one")
        found = await store.look("x")
        assert found is not None
        await upload(store, "x", b"two", replaces=first.etag)
        with pytest.raises(ObjectChanged):
            [piece async for piece in found.read(0, 3, 10)]


@pytest.mark.parametrize("size_bytes", [10, CHUNK_BYTES, CHUNK_BYTES + 1, CHUNK_BYTES + (1 << 20), 3 * CHUNK_BYTES])
@pytest.mark.parametrize(
    ("way", "end"), [("memory", "aborted"), *((way, end) for way in LARGE_WAYS for end in ("aborted", "killed"))]
)
def test_all_bytes_alone_are_no_object(
    wrong_s3: Callable[..., Any], until: Callable[..., None], way: str, size_bytes: int, end: str
) -> None:
    """Every byte was written and nothing was asked for: what is given up there, or killed, must not stand.

    The checksum is compared then, and what is found wrong must not be an object, nor replace one. Where connections are
    closed and the loop ends nobody gives the request up, as after a kill.
    """
    memory, server = MemoryStore(), wrong_s3(*LARGE_WAYS.get(way, ()))
    bucket = Bucket(short=memory, long=memory, scheme="memory")

    async def upload_and_leave() -> None:
        async with opened(ObstoreStore(bucket) if way == "memory" else s3_store(server)) as store:
            staged = await store.start_upload("x", content_type="a/b", size_bytes=size_bytes, replaces=None)
            for start in range(0, size_bytes, 1 << 18):
                await staged.write(b"z" * min(1 << 18, size_bytes - start))
            if end == "aborted":
                await staged.abort()

    asyncio.run(upload_and_leave())  # a loop of its own, which ends with the gateway
    until(lambda: not server.open_requests, "the server has dropped what was broken off")
    assert "pre fix/x" not in server.objects
    assert asyncio.run(ObstoreStore(bucket).look("x")) is None


async def test_more_than_was_announced_is_no_object(wrong_s3: Callable[..., Any], until: Callable[..., None]) -> None:
    """By the length that was announced a server ends one PUT by itself: so nothing may be sent that is longer."""
    server = wrong_s3(*LARGE_WAYS["put"])
    size_bytes = 2 * CHUNK_BYTES

    async with opened(s3_store(server)) as store:
        with pytest.raises(StoreFault, match="announced"):
            await upload(store, "x", b"z" * (size_bytes + 1), size_bytes=size_bytes)
        with pytest.raises(StoreFault, match="announced"):
            await upload(store, "x", b"z" * (size_bytes + CHUNK_BYTES), size_bytes=size_bytes)

    until(lambda: not server.open_requests, "the server has dropped what was broken off")
    assert not server.objects


async def test_what_is_ours_is_no_object(store: ObstoreStore) -> None:
    """Temporary keys, and a ledger in the same bucket under any prefix, are not served, listed or written."""
    async with opened(store) as store:
        for key in (".oncegate/uploads/x", "team/.oncegate/ledger/x", "x/.oncegate"):
            await obstore.put_async(store._bucket.short, key, b"secret")
            assert await store.look(key) is None
            with pytest.raises(KeyRefused):
                await upload(store, key)
        await upload(store, ".oncegate-but-not-ours")
        assert await keys(store) == [".oncegate-but-not-ours"]


LISTING = """
import asyncio, json, os, pathlib, sys
from oncegate.stores.opening import open_store

def peak_mib():  # not ru_maxrss, which begins with that of the process that forked
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

async def main(url, options):
    store = open_store(url, folder=pathlib.Path(), options=options)
    peaks, count, after = [], 0, ""
    while page := await store.list_objects("", after, 1000):
        for info in page:
            assert (info.key, info.size_bytes) == (f"{count:08}", count), info
            count += 1
        after = page[-1].key
        peaks.append(peak_mib())
    print(json.dumps([count, len(peaks), peaks[9], peaks[-1]]), flush=True)
    os._exit(0)  # a thread of the driver that wants the interpreter while it ends aborts the process, once in a hundred

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2])))
"""


@pytest.mark.slow
def test_a_hundred_thousand_keys_are_listed_in_the_memory_of_a_page(wrong_s3: Callable[..., Any]) -> None:
    """Page by page, each once and in order: a driver that reads on, or a list that is kept, would grow with the bucket.

    Measured in a process of its own, from the tenth page on; 100,000 entries kept would be over 30 MiB.
    """
    server = wrong_s3()
    server.listed_count = 100_000
    arguments = ["s3://bucket/pre fix", json.dumps(store_options(server.url))]
    done = subprocess.run(
        [sys.executable, "-c", LISTING, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        timeout=250,
        check=True,
    )
    count, pages, early_mib, late_mib = json.loads(done.stdout)
    assert (count, pages) == (100_000, 100)
    assert late_mib - early_mib < 8, (early_mib, late_mib)
    assert server.calls["GET"] <= pages + 1


async def test_leftovers_are_swept_by_their_age(wrong_s3: Callable[..., Any]) -> None:
    """What a killed gateway left: a note, parts under the final key, a temporary object. A newer one is at work."""
    server = wrong_s3()

    async with opened(s3_store(server)) as store:
        staged = await store.start_upload("killed", content_type="a/b", size_bytes=None, replaces=None)
        await staged.write(b"x" * (2 * CHUNK_BYTES))
        assert len(server.uploads) == 1
        await obstore.put_async(store._bucket.short, ".oncegate/uploads/temporary", b"x")
        assert await store.sweep(int(time.time()) - 60) == 0
        assert await store.sweep(int(time.time()) + 60) == 2
        assert not server.uploads
        assert not server.objects
        await asyncio.gather(*staged._large._sending)


async def test_the_note_of_a_long_upload_is_renewed(
    wrong_s3: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload may take days; its note says every hour that it lives, or the sweep would end it."""
    server = wrong_s3()
    monkeypatch.setattr(s3_multipart, "NOTE_EVERY_S", -1.0)

    async with opened(s3_store(server)) as store:
        staged = await store.start_upload("long", content_type="a/b", size_bytes=None, replaces=None)
        await staged.write(b"x" * (2 * CHUNK_BYTES))
        (note,) = (key for key in server.objects if ".oncegate" in key)
        server.objects[note]["at"] = 0
        await staged.write(b"x" * CHUNK_BYTES)
        assert server.objects[note]["at"] > 0
        await staged.abort()


def test_parts_grow_with_an_announced_length() -> None:
    """10,000 parts of 8 MiB are 78 GiB; more is announced, or refused before a byte is sent."""
    assert s3_multipart._chunk_bytes(None) == s3_multipart._chunk_bytes(PARTS_MAX * CHUNK_BYTES) == CHUNK_BYTES
    assert s3_multipart._chunk_bytes(PARTS_MAX * CHUNK_BYTES + 1) == CHUNK_BYTES + (1 << 20)
    assert s3_multipart._chunk_bytes(PARTS_MAX * CHUNK_BYTES_MAX) == CHUNK_BYTES_MAX
    with pytest.raises(UploadTooLarge):
        s3_multipart._chunk_bytes(PARTS_MAX * CHUNK_BYTES_MAX + 1)


# Servers that must not be believed.


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("whole-to-range", StoreFault),
        ("other-range", StoreFault),
        ("other-etag", ObjectChanged),
        ("short-body", StoreBusy),
        ("403", StoreRefused),
        ("503", StoreBusy),
    ],
)
async def test_a_wrong_answer_to_a_range_is_not_believed(
    wrong_s3: Callable[..., Any], fault: str, error: type[Exception]
) -> None:
    """The whole object for a range, other bytes, another object, too little: none of it reaches a viewer as his range."""
    server = wrong_s3()

    async with opened(s3_store(server)) as store:
        await upload(store, "x", b"0123456789" * 1000)
        found = await store.look("x")
        server.faults.add(fault)
        pieces = []
        with pytest.raises(error):
            async for piece in found.read(10, 8010, 1000):
                pieces.append(piece)
        assert len(pieces) < 8
        if fault != "short-body":
            assert not pieces


async def test_a_whole_object_is_checked_too(wrong_s3: Callable[..., Any]) -> None:
    """A server that ends early must not give a whole object that is shorter than its length."""
    server = wrong_s3()

    async with opened(s3_store(server)) as store:
        await upload(store, "x", b"0123456789")
        server.faults.add("short-body")
        with pytest.raises(StoreFault):
            await read(store, "x")


@pytest.mark.parametrize(("fault", "error"), [("403", StoreRefused), ("503", StoreBusy)])
async def test_faults_of_the_server_are_told_apart(
    wrong_s3: Callable[..., Any], fault: str, error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """No credentials is 502 with a hint in the log, too busy is 503: for a look, a list, an upload and a sweep."""
    server = wrong_s3()

    async with opened(s3_store(server)) as store:
        await upload(store, "x")
        server.faults.add(fault)
        for call in (store.look("x"), store.list_objects("", "", 10), upload(store, "y"), store.sweep(0)):
            with pytest.raises(error):
                await call
        server.faults.clear()
        assert await read(store, "x") == b"data"

    assert ("check the credentials" in caplog.text) == (fault == "403")


async def test_a_server_that_is_not_there_is_busy(wrong_s3: Callable[..., Any]) -> None:
    """A refused connection is worth another try, and is known within seconds."""
    server = wrong_s3()
    url = server.url
    server.__exit__()
    closing = open_store("s3://bucket", folder=pathlib.Path(), options=store_options(url))
    assert isinstance(closing, ObstoreStore)
    async with opened(closing) as store:
        begun_s = time.monotonic()
        with pytest.raises(StoreBusy):
            await store.look("x")
        assert time.monotonic() - begun_s < 5
        with pytest.raises(StoreUnfit, match="does not answer"):
            await store.probe()

    server._server.shutdown = lambda: None


@pytest.mark.parametrize("fault", ["ignores-if-none-match", "501-conditions", "racy"])
async def test_without_conditions_downloads_work_and_uploads_are_refused(
    wrong_s3: Callable[..., Any], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that overwrites in silence would let two uploads win: it is found out, said, and not written to."""
    server = wrong_s3(fault)

    async with opened(s3_store(server)) as store:
        await obstore.put_async(store._bucket.short, "x", b"data")
        with caplog.at_level(logging.WARNING):
            await store.probe()
        assert "downloads work, uploads are refused" in caplog.text
        assert await read(store, "x") == b"data"
        with pytest.raises(NotOnce):
            await upload(store, "y")
        assert await keys(store) == ["x"]


@pytest.mark.parametrize("status", ["Enabled", "Suspended", "403", ""])
async def test_versions_are_named_where_they_may_be_the_reason(
    wrong_s3: Callable[..., Any], status: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that keeps conditions in one bucket and not in the other: nobody would think of its versions.

    Where the credentials may not ask, or there are none, it is not claimed; suspended ones harm nothing (Ceph 16.2).
    """
    server = wrong_s3("ignores-if-none-match", *([f"versions-{status}"] if status else []))
    async with opened(s3_store(server)) as store:
        await store.probe()
    assert "downloads work, uploads are refused" in caplog.text
    assert ("the bucket keeps versions" in caplog.text) == (status == "Enabled")
    assert "check the credentials" not in caplog.text


async def test_versions_alone_refuse_nothing(wrong_s3: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """A server that keeps conditions with versions too, as S3, is used, and is not even asked."""
    server = wrong_s3("versions-Enabled")
    async with opened(s3_store(server)) as store:
        await store.probe()
    assert not caplog.text


async def test_a_copy_on_a_condition_will_do(wrong_s3: Callable[..., Any]) -> None:
    """Where completions keep no condition but copies do, a large upload is completed elsewhere and copied: once."""
    server = wrong_s3(*LARGE_WAYS["copy"])
    data = b"z" * (CHUNK_BYTES + 1)

    async with opened(s3_store(server)) as store:
        await upload(store, "x", data, content_type="image/png")
        with pytest.raises(ObjectStands):
            await upload(store, "x", data)
        first = (await store.look("x")).info
        assert first.content_type == "image/png"
        assert await read(store, "x") == data
        await upload(store, "x", data + b"2", replaces=first.etag)
        with pytest.raises(ObjectStands):
            await upload(store, "x", data, replaces=first.etag)

    assert set(server.objects) == {"pre fix/x"}
    assert not server.uploads


async def test_a_streamed_put_on_a_condition_will_do(
    wrong_s3: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Where PUTs alone keep conditions, a large upload whose length is announced is one PUT; another is refused."""
    server = wrong_s3(*LARGE_WAYS["put"])
    data = b"z" * (CHUNK_BYTES + 1)

    async with opened(s3_store(server)) as store:
        await store.probe()
        assert "uploads over 8 MiB need an announced length" in caplog.text
        put = await upload(store, "x", data, content_type="image/png", size_bytes=len(data))
        first = (await store.look("x")).info
        assert (first.content_type, first.etag) == ("image/png", put.etag)
        with pytest.raises(ObjectStands):
            await upload(store, "x", data, size_bytes=len(data))
        assert await read(store, "x") == data
        await upload(store, "x", data + b"2", size_bytes=len(data) + 1, replaces=first.etag)
        with pytest.raises(ObjectStands):
            await upload(store, "x", data, size_bytes=len(data), replaces=first.etag)
        with pytest.raises(LengthNeeded):
            await upload(store, "y", data)
        await store.start_upload("y", content_type="a/b", size_bytes=PUT_BYTES_MAX, replaces=None)
        with pytest.raises(UploadTooLarge):
            await store.start_upload("y", content_type="a/b", size_bytes=PUT_BYTES_MAX + 1, replaces=None)

    assert set(server.objects) == {"pre fix/x"}
    assert not server.uploads


@pytest.mark.parametrize("fault", ["501-multipart", "403-multipart", "404-multipart"])
async def test_without_multipart_uploads_a_streamed_put_will_do(
    wrong_s3: Callable[..., Any], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A small server may have none: that ends neither the probe nor small uploads, and large ones are one PUT."""
    server = wrong_s3(fault)
    data = b"z" * (CHUNK_BYTES + 1)

    async with opened(s3_store(server)) as store:
        await store.probe()
        assert "uploads over 8 MiB need an announced length" in caplog.text
        first = await upload(store, "small")
        await upload(store, "small", data, size_bytes=len(data), replaces=first.etag)
        await upload(store, "x", data, size_bytes=len(data))
        for replaces in (None, first.etag):
            with pytest.raises(ObjectStands):
                await upload(store, "x", data, size_bytes=len(data), replaces=replaces)
        assert await read(store, "x") == data

    assert set(server.objects) == {"pre fix/small", "pre fix/x"}


async def test_without_multipart_uploads_and_that_way_large_ones_are_refused(
    wrong_s3: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What is not seen to be kept is not trusted: a small upload works, a large one is refused."""
    server = wrong_s3("501-multipart", "400-unsigned")

    async with opened(s3_store(server)) as store:
        await store.probe()
        assert "uploads over 8 MiB are refused" in caplog.text
        await upload(store, "small")
        with pytest.raises(NotOnce, match="over 8 MiB"):
            await upload(store, "large", b"x" * (CHUNK_BYTES + 1), size_bytes=CHUNK_BYTES + 1)

    assert set(server.objects) == {"pre fix/small"}


async def test_a_server_that_fails_while_it_is_tried_is_unfit(wrong_s3: Callable[..., Any]) -> None:
    """Nothing was found out: a program that starts must end with words, and not with a traceback."""
    async with opened(s3_store(wrong_s3("503-multipart"))) as store:
        with pytest.raises(StoreUnfit, match="failed when it was tried"):
            await store.probe()


async def test_a_streamed_put_that_is_given_up_leaves_nothing(wrong_s3: Callable[..., Any]) -> None:
    """The viewer leaves half way: the request is broken off, and what came is no object; the key is free."""
    server = wrong_s3(*LARGE_WAYS["put"])
    data = b"z" * (2 * CHUNK_BYTES)

    async with opened(s3_store(server)) as store:
        staged = await store.start_upload("x", content_type="a/b", size_bytes=len(data), replaces=None)
        await staged.write(data[: CHUNK_BYTES + 5])
        await staged.abort()
        assert await store.look("x") is None
        await upload(store, "x", data, size_bytes=len(data))
        assert await read(store, "x") == data

    assert set(server.objects) == {"pre fix/x"}


async def test_a_streamed_put_notices_a_server_that_goes(wrong_s3: Callable[..., Any]) -> None:
    """Nobody takes the next piece: the writer must be told, not wait for ever."""
    server = wrong_s3(*LARGE_WAYS["put"])

    async with opened(s3_store(server)) as store:
        staged = await store.start_upload("x", content_type="a/b", size_bytes=8 * CHUNK_BYTES, replaces=None)
        server.faults.add("hangs-up")
        with pytest.raises(StoreBusy):
            for _ in range(8 * CHUNK_BYTES >> 20):
                await staged.write(b"z" * (1 << 20))
        await staged.abort()
        server.faults.clear()

    assert not server.objects


async def test_a_server_that_wants_etags_without_quotes_gets_them(wrong_s3: Callable[..., Any]) -> None:
    """Ceph 16 compares If-Match with the bare ETag: in quotes every version would be refused, and no link could replace."""
    server = wrong_s3("bare-etags", "ignores-completion-conditions", "ignores-copy-conditions")
    large = b"z" * (CHUNK_BYTES + 1)

    async def etag_of_x(store: ObstoreStore) -> str | None:
        found = await store.look("x")
        return found and found.info.etag

    async with opened(s3_store(server)) as store:
        for data in (b"small", large):
            first = await upload(store, "x", data, size_bytes=len(data), replaces=await etag_of_x(store))
            await upload(store, "x", data + b"2", size_bytes=len(data) + 1, replaces=first.etag)
            with pytest.raises(ObjectStands):
                await upload(store, "x", data, size_bytes=len(data), replaces=first.etag)
            assert await read(store, "x") == data + b"2"


async def test_without_any_way_large_uploads_are_refused(
    wrong_s3: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Small ones are once by the condition of their PUT; a large one would have none, announced or not."""
    server = wrong_s3("ignores-completion-conditions", "ignores-copy-conditions", "400-unsigned")

    async with opened(s3_store(server)) as store:
        await store.probe()
        assert "uploads over 8 MiB are refused" in caplog.text
        await upload(store, "small")
        for announced in (CHUNK_BYTES + 1, None):
            with pytest.raises(NotOnce, match="over 8 MiB"):
                await upload(store, "large", b"x" * (CHUNK_BYTES + 1), size_bytes=announced)

    assert set(server.objects) == {"pre fix/small"}
    assert not server.uploads


async def test_replaces_need_if_match(wrong_s3: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    """A server may keep one condition and not the other."""
    server = wrong_s3("ignores-if-match")

    async with opened(s3_store(server)) as store:
        await store.probe()
        assert "may replace an object are refused" in caplog.text
        first = await upload(store, "x")
        with pytest.raises(NotOnce, match="that replaces once"):
            await upload(store, "x", b"2", replaces=first.etag)


@pytest.mark.parametrize("fault", ["ignores-delete-conditions", "ignores-if-match", "503"])
async def test_a_server_without_conditional_removals_removes_nothing(wrong_s3: Callable[..., Any], fault: str) -> None:
    """Ceph 16 and older servers pass over If-Match on DELETE: a version that nobody named would go."""
    server = wrong_s3()
    async with opened(s3_store(server)) as store:
        etag = (await upload(store, "x")).etag
        server.faults.add(fault)
        if fault == "503":
            with pytest.raises(StoreBusy):
                await store.may_remove()
            server.faults.clear()
            assert await store.may_remove()
            return
        assert not await store.may_remove()
        with pytest.raises(NotOnce):
            await store.remove("x", etag)
    assert [name for name in server.objects if not name.startswith("pre fix/.oncegate/")] == ["pre fix/x"]
    assert not [name for name in server.objects if "removal" in name]


async def test_a_removal_that_the_server_does_not_answer_is_unknown(wrong_s3: Callable[..., Any]) -> None:
    """Neither removed nor kept: whoever asks again finds out."""
    server = wrong_s3()
    async with opened(s3_store(server)) as store:
        etag = (await upload(store, "x")).etag
        assert await store.may_remove()
        server.faults.add("503")
        with pytest.raises(StoreBusy):
            await store.remove("x", etag)
        server.faults.clear()
        assert await store.remove("x", etag)
        assert not await store.remove("x", etag)


@pytest.mark.parametrize("fault", ["500-put-done", "lost-put-done"])
async def test_an_upload_whose_answer_was_lost_knows_its_own_object(wrong_s3: Callable[..., Any], fault: str) -> None:
    """It stands, only nobody said so: the viewer is told the truth, and not that someone else was first."""
    server = wrong_s3()

    async with opened(s3_store(server)) as store:
        await store.probe()
        server.faults.add(fault)
        assert (await upload(store, "x", b"mine")).size_bytes == 4
        server.faults.clear()
        assert await read(store, "x") == b"mine"


async def test_an_error_with_status_200_is_an_error(wrong_s3: Callable[..., Any]) -> None:
    """S3 answers 200 to a completion before it knows, and writes what came of it into the body."""
    server = wrong_s3()

    async with opened(s3_store(server)) as store:
        await store.probe()
        server.faults.add("error-in-200")
        with pytest.raises(StoreBusy):
            await upload(store, "x", b"x" * (CHUNK_BYTES + 1))
        assert await store.look("x") is None

    assert not server.uploads


async def test_a_cancelled_commit_is_waited_for(wrong_s3: Callable[..., Any]) -> None:
    """A viewer who leaves while the object is put in place leaves no half: ``abort`` waits until it is known."""
    server = wrong_s3()

    async with opened(s3_store(server)) as store:
        staged = await store.start_upload("x", content_type="a/b", size_bytes=None, replaces=None)
        await staged.write(b"x" * (CHUNK_BYTES + 1))
        committing = asyncio.ensure_future(staged.commit())
        await asyncio.sleep(0)
        committing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await committing
        await staged.abort()
        assert (await store.look("x")).info.size_bytes == CHUNK_BYTES + 1

    assert not server.uploads


async def test_read_only_credentials_serve_downloads(
    wrong_s3: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway that only serves need not be able to write; it says that it cannot."""
    server = wrong_s3()
    server.objects["pre fix/x"] = {"data": b"data", "etag": '"e"', "headers": {}, "at": time.time()}
    handler = server._server.RequestHandlerClass
    monkeypatch.setattr(handler, "do_PUT", lambda self: (self.rfile.read(int(self.headers["Content-Length"])), self.error(403, "AccessDenied")))  # fmt: skip

    async with opened(s3_store(server)) as store:
        await store.probe()
        assert await read(store, "x") == b"data"
        with pytest.raises(StoreRefused):
            await upload(store, "y")

    assert "credentials may not write" in caplog.text


# Opening.


@pytest.mark.parametrize("url", ["s3:", "s3://", "s3:///x", "s3:bucket", "s3://bucket//x", "s3://bucket/../x"])
def test_a_url_without_a_bucket_is_refused(url: str) -> None:
    """An empty bucket or a prefix that obstore would rewrite is refused before anything is asked."""
    with pytest.raises(StoreUnfit, match="write s3://bucket"):
        open_store(url, folder=pathlib.Path(), options={})


def test_an_unknown_option_is_named() -> None:
    """A misspelt option must not look as if it had been taken."""
    with pytest.raises(StoreUnfit, match="aws_endpiont"):
        open_store("s3://bucket", folder=pathlib.Path(), options={"aws_endpiont": "http://x"})


def test_half_a_credential_is_refused() -> None:
    """A key id without its secret would fall back to somebody else's credentials."""
    with pytest.raises(StoreUnfit, match="go together"):
        open_store("s3://bucket", folder=pathlib.Path(), options={"aws_access_key_id": "x"})


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("gs://bucket/prefix", {"google_skip_signature": "true"}),
        ("az://container", {"azure_storage_account_name": "a", "azure_skip_signature": "true"}),
    ],
)
async def test_other_clouds_are_opened(url: str, options: dict[str, str]) -> None:
    """Their options are obstore's, with their vendor's name before them or without."""
    await open_store(url, folder=pathlib.Path(), options=options).aclose()


async def test_requests_of_our_own_go_where_obstores_go(wrong_s3: Callable[..., Any]) -> None:
    """Endpoint, prefix and escapes of the control calls are those of obstore: else a large upload lands elsewhere."""
    server = wrong_s3()
    key = "a b+%2F/é?#.bin"

    async with opened(s3_store(server, "p é+")) as store:
        await upload(store, key, b"x" * (CHUNK_BYTES + 1))
        assert await store.look(key) is not None

    assert set(server.objects) == {f"p é+/{key}"}
    assert httpx.get(f"{server.url}/bucket/").status_code == 200


KEPT = (
    ("cache-control", "max-age=9"),
    ("content-disposition", 'inline; filename="a b.txt"'),
    ("content-encoding", "gzip"),
    ("content-language", "de"),
    ("expires", "Tue, 01 Jan 2030 00:00:00 GMT"),
    ("x-amz-meta-build_id", "7"),
)


@pytest.mark.parametrize("size_bytes", [4, CHUNK_BYTES + 1])
async def test_headers_are_kept_with_an_object(size_bytes: int) -> None:
    """Whatever the way of its upload; what marks the upload as ours is shown to nobody."""
    async with opened(memory_store()) as store:
        staged = await store.start_upload("k", content_type="a/b", size_bytes=size_bytes, replaces=None, kept=KEPT)
        await staged.write(b"x" * size_bytes)
        told = await staged.commit()
        found = await store.look("k")
        assert found is not None
        assert sorted(found.info.kept) == sorted(told.kept) == sorted(KEPT)
        assert found.info.content_type == "a/b"


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("az", "x-amz-meta-build-id"),
        ("memory", "x-amz-meta-oncegateupload"),
        ("memory", "x-amz-meta-oncegateexpires"),
        ("memory", "x-amz-meta-cache-control"),
        ("memory", "x-amz-meta-content-type"),
    ],
)
async def test_metadata_that_a_bucket_would_take_for_something_else_is_refused(scheme: str, name: str) -> None:
    """Azure's names are identifiers; the driver writes metadata of a header's name as that header."""
    memory = MemoryStore()
    async with opened(ObstoreStore(Bucket(short=memory, long=memory, scheme=scheme))) as store:
        with pytest.raises(NotKept, match=name) as caught:
            await store.start_upload("k", content_type="a/b", size_bytes=1, replaces=None, kept=((name, "x"),))
        assert caught.value.header == name
        kept = (("x-amz-meta-build", "x"),)
        await (await store.start_upload("k", content_type="a/b", size_bytes=1, replaces=None, kept=kept)).abort()


async def test_google_is_asked_for_the_bytes_that_are_stored() -> None:
    """It decodes objects of Content-Encoding gzip for who does not accept gzip: neither length nor ETag would fit."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        options = {"base_url": url, "allow_http": "true", "skip_signature": "true"}
        store = open_store("gs://bucket", folder=pathlib.Path(), options=options)
        assert await store.look("k") is None
        await store.aclose()
    assert [b"accept-encoding: gzip\r\n" in head.lower() for head in heads] == [True]
