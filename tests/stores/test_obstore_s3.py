"""The ``s3:`` store on two emulators and on Ceph: constant memory, races between processes, kills, long lists.

Ceph keeps conditions on PUTs alone, so its large uploads are one PUT of announced length; the emulators keep them on
completions too.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import pathlib
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncGenerator

import obstore
import pytest

from oncegate.stores.bucket.abilities import CHUNK_BYTES
from oncegate.stores.bucket.store import ObstoreStore
from oncegate.stores.opening import open_store
from oncegate.stores.protocol import LengthNeeded, NotOnce, ObjectInfo, ObjectStands, StoreUnfit
from oncegate.testing.servers.ceph import CephServer
from oncegate.testing.servers.object_stores import S3Server
from oncegate.testing.store_suite import StoreSuite

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("obstore-s3")]  # one worker: it shares its servers

MIB = 1 << 20
GROWTH_MAX_MIB = 64

CHILD = """
import asyncio, json, pathlib, sys
from oncegate.stores.opening import open_store
from oncegate.stores.protocol import ObjectStands, StoreFault

async def upload(store, key, size_bytes, byte, *, announced, replaces=None, forever=False):
    staged = await store.start_upload(key, content_type="text/x", size_bytes=announced, replaces=replaces)
    piece, left = byte * (1 << 18), size_bytes
    try:
        while left:
            await staged.write(piece[:left])
            left -= min(left, len(piece))
        if forever:
            print("halfway", flush=True)
            await asyncio.sleep(600)
        return await staged.commit()
    finally:
        await staged.abort()

def peak_mib():  # not ru_maxrss, which begins with that of the process that forked
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

async def main(job):
    store = open_store(job["url"], folder=pathlib.Path(), options=job["options"])
    await store.probe()
    size_bytes = job["size_bytes"]
    if job["kind"] == "stream":
        await upload(store, "warm", 24 << 20, b"w", announced=24 << 20)
        found = await store.look("warm")
        async for _ in found.read(0, 24 << 20, 1 << 18): pass
        before = peak_mib()
        await upload(store, "big", size_bytes, b"x", announced=size_bytes)
        up = peak_mib()
        found, got = await store.look("big"), 0
        async for piece in found.read(0, size_bytes, 1 << 18):
            assert piece == b"x" * len(piece)
            got += len(piece)
        assert got == size_bytes
        print(json.dumps([before, up, peak_mib()]))
        return
    print("ready", flush=True)
    sys.stdin.readline()

    async def one(byte):
        try:
            await upload(store, job["key"], size_bytes, byte.encode(), announced=job.get("announced", size_bytes),
                         replaces=job.get("replaces"), forever=job["kind"] == "killed")
            return byte, "stored"
        except ObjectStands:
            return byte, "stands"
        except StoreFault as fault:
            return byte, str(fault)

    print(json.dumps(await asyncio.gather(*map(one, job["bytes"]))))
    await store.aclose()

asyncio.run(main(json.loads(sys.argv[1])))
"""


@pytest.fixture(params=["ministack", "moto", "ceph"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def bucket(server: S3Server) -> str:
    """The URL of an empty bucket."""
    return f"s3://{server.make_bucket(f'test-{secrets.token_hex(6)}')}"


@contextlib.asynccontextmanager
async def opened(url: str, server: S3Server) -> AsyncGenerator[ObstoreStore]:
    """Open a store."""
    store = open_store(url, folder=pathlib.Path(), options=server.store_options)
    assert isinstance(store, ObstoreStore)
    try:
        yield store
    finally:
        await store.aclose()


def start(url: str, server: S3Server, **job: object) -> subprocess.Popen[bytes]:
    """Start a process with a store of its own."""
    whole = {"url": url, "options": server.store_options, **job}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(whole)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


async def whole(url: str, server: S3Server, key: str = "x") -> tuple[bytes, ObjectInfo]:
    """Read an object whole."""
    async with opened(url, server) as store:
        found = await store.look(key)
        assert found is not None
        return b"".join([piece async for piece in found.read(0, found.info.size_bytes, MIB)]), found.info


MOTO_CANNOT = {name for name in StoreSuite.CHECKS if name.startswith("check_of_many_")}
"""moto keeps no condition of concurrent requests: five of eight large completions at once were taken there, and of
replacements every one. (The race of the probe did not see it with its parts of five bytes.)"""

CEPH_REMOVES_NOTHING = {
    "check_removed_twice_is_removed_once",
    "check_of_a_removal_and_a_replacement_one_happens",
    "check_what_is_removed_is_read_to_its_end_or_not_at_all",
}
"""Ceph 16 passes over ``If-Match`` on DELETE: the store finds that out and removes nothing, as another check holds."""
CANNOT = {"ministack": frozenset[str](), "moto": MOTO_CANNOT, "ceph": CEPH_REMOVES_NOTHING}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("server", "name"),
    [
        (server, name)
        for server in ("ministack", "moto", "ceph")
        for name in StoreSuite.CHECKS
        if name not in CANNOT[server]
    ],
    indirect=["server"],
)
async def test_the_suite_passes(server: S3Server, name: str, bucket: str) -> None:
    """Each server keeps every promise of a store, in races of four processes too."""
    opening = functools.partial(open_store, bucket, folder=pathlib.Path(), options=server.store_options)
    await StoreSuite(opening, sizes_bytes=(1000, CHUNK_BYTES + 1000), processes=4).run(name)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("server", "nightly_mib"), [("ministack", 1024), ("ceph", 4096)], indirect=["server"])
def test_memory_does_not_grow_with_the_object(
    bucket: str, server: S3Server, nightly_mib: int, is_nightly: bool
) -> None:
    """Bytes go out and come in while the rest waits: 256 MiB (nightly 1 and 4 GiB) in the memory of a few pieces.

    Not 4 GiB on ministack: it sends the head and 3 MiB, then copies the rest in memory, and says nothing for 22 s on two
    idle cores (measured on its socket), over the store's 30 s on busy ones. Ceph was never silent for half a second.
    """
    size_bytes = (nightly_mib if is_nightly else 256) * MIB
    process = start(bucket, server, kind="stream", size_bytes=size_bytes)
    before, up, down = json.loads(process.communicate(timeout=500)[0])
    print(f"{size_bytes // MIB} MiB: peak {before:.0f}, after upload {up:.0f}, after download {down:.0f}")
    assert up - before < GROWTH_MAX_MIB
    assert down - before < GROWTH_MAX_MIB


@pytest.mark.parametrize("server", ["ministack", "moto"], indirect=True)
async def test_what_a_kill_leaves_is_invisible_and_swept(bucket: str, server: S3Server) -> None:
    """A gateway is killed in the middle of a large upload: nothing stands, the key is free, the parts are found."""
    process = start(bucket, server, kind="killed", key="x", size_bytes=3 * CHUNK_BYTES, bytes="k")
    assert process.stdout.readline() == b"ready\n"
    process.stdin.write(b"go\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"halfway\n"
    process.kill()
    process.communicate()

    def uploads_under_way() -> int:
        return len(server.uploads_under_way(bucket.removeprefix("s3://")))

    async with opened(bucket, server) as store:
        assert await store.look("x") is None
        assert await store.list_objects("", "", 10) == []
        assert uploads_under_way() == 1
        assert await store.sweep(int(time.time()) - 60) == 0
        assert uploads_under_way() == 1
        assert await store.sweep(int(time.time()) + 60) == 1
        assert uploads_under_way() == 0
        staged = await store.start_upload("x", content_type="a/b", size_bytes=None, replaces=None)
        await staged.write(b"second")
        await staged.commit()

    assert (await whole(bucket, server))[0] == b"second"


@pytest.mark.parametrize("missing_bytes", [0, 1])
async def test_what_a_kill_leaves_of_a_streamed_put_is_nothing(ceph: CephServer, missing_bytes: int) -> None:
    """A gateway is killed when a large body had come but for its last byte, or whole: no object, no parts, a free key.

    With the last byte Ceph would take the PUT for whole, while the checksum is still to be compared.
    """
    bucket = f"s3://{ceph.make_bucket(f'test-{secrets.token_hex(6)}')}"
    size_bytes = 3 * CHUNK_BYTES
    announced = size_bytes + missing_bytes
    process = start(bucket, ceph, kind="killed", key="x", size_bytes=size_bytes, bytes="k", announced=announced)
    assert process.stdout.readline() == b"ready\n"
    process.stdin.write(b"go\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"halfway\n"
    process.kill()
    process.communicate()

    async with opened(bucket, ceph) as store:
        assert await store.look("x") is None
        assert ceph.uploads_under_way(bucket.removeprefix("s3://")) == []
        assert await store.sweep(int(time.time()) + 60) == 0
        staged = await store.start_upload("x", content_type="a/b", size_bytes=None, replaces=None)
        await staged.write(b"second")
        await staged.commit()

    assert (await whole(bucket, ceph))[0] == b"second"


async def test_ceph_needs_the_length_of_a_large_upload(ceph: CephServer, caplog: pytest.LogCaptureFixture) -> None:
    """It keeps conditions on PUTs alone, and a PUT needs its length: without one a large upload would not be once."""
    bucket = f"s3://{ceph.make_bucket(f'test-{secrets.token_hex(6)}')}"

    async with opened(bucket, ceph) as store:
        await store.probe()
        assert "uploads over 8 MiB need an announced length" in caplog.text
        staged = await store.start_upload("x", content_type="a/b", size_bytes=None, replaces=None)
        with pytest.raises(LengthNeeded):
            await staged.write(b"x" * (CHUNK_BYTES + 1))
        await staged.abort()
        assert await store.look("x") is None


async def test_ceph_with_versions_takes_no_uploads(ceph: CephServer, caplog: pytest.LogCaptureFixture) -> None:
    """In a bucket that keeps versions Ceph 16 passes over every condition: uploads are refused, downloads work."""
    name = ceph.make_bucket(f"test-{secrets.token_hex(6)}")
    ceph.version_bucket(name)
    ceph.request("PUT", f"{name}/x", content=b"data").raise_for_status()

    async with opened(f"s3://{name}", ceph) as store:
        await store.probe()
        assert "the bucket keeps versions" in caplog.text
        assert "downloads work, uploads are refused" in caplog.text
        with pytest.raises(NotOnce):
            await store.start_upload("y", content_type="a/b", size_bytes=1, replaces=None)

    assert (await whole(f"s3://{name}", ceph))[0] == b"data"


async def test_ceph_with_suspended_versions_overwrites_nothing(
    ceph: CephServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Conditions are kept again, so uploads are taken: what has versions from before must not be written over."""
    name = ceph.make_bucket(f"test-{secrets.token_hex(6)}")
    ceph.version_bucket(name)
    ceph.request("PUT", f"{name}/old", content=b"data").raise_for_status()
    ceph.version_bucket(name, status="Suspended")

    async with opened(f"s3://{name}", ceph) as store:
        await store.probe()
        assert "versions" not in caplog.text
        for key, stands in (("old", True), ("new", False), ("new", True)):
            staged = await store.start_upload(key, content_type="a/b", size_bytes=4, replaces=None)
            await staged.write(b"mine")
            with pytest.raises(ObjectStands) if stands else contextlib.nullcontext():
                await staged.commit()

    assert (await whole(f"s3://{name}", ceph, "old"))[0] == b"data"
    assert (await whole(f"s3://{name}", ceph, "new"))[0] == b"mine"


async def test_wrong_credentials_are_unfit(ceph: CephServer) -> None:
    """Ceph checks signatures, which no emulator does: the operator is told what to look at."""
    name = ceph.make_bucket(f"test-{secrets.token_hex(6)}")
    options = {**ceph.store_options, "aws_secret_access_key": "another"}

    store = open_store(f"s3://{name}", folder=pathlib.Path(), options=options)
    with pytest.raises(StoreUnfit, match="check the credentials"):
        await store.probe()
    await store.aclose()


async def test_a_foreign_multipart_upload_is_not_swept(bucket: str, server: S3Server) -> None:
    """Another program's upload in the same bucket is not ours to end, however old."""
    name = bucket.removeprefix("s3://")
    server.request("POST", f"{name}/theirs", query="uploads=").raise_for_status()

    async with opened(bucket, server) as store:
        assert await store.sweep(int(time.time()) + 60) == 0

    assert server.uploads_under_way(name) == ["theirs"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", ["ministack", "ceph"], indirect=True)
async def test_long_lists_are_paged_in_order(bucket: str, server: S3Server) -> None:
    """10,000 keys, page by page: each once, in the order of their bytes, and a late prefix is found.

    100,000 in bounded memory are in ``test_obstore.py``, on a server whose list takes none.
    """
    count = 10_000
    names = [f"f{number % 7}/{number:06d} é+%" for number in range(count)]

    async with opened(bucket, server) as store:
        short = store._bucket.short
        for at in range(0, count, 200):
            await asyncio.gather(*(obstore.put_async(short, name, b"") for name in names[at : at + 200]))
        begun_s = time.monotonic()
        listed, after = [], ""
        while page := await store.list_objects("", after, 1000):
            listed += [info.key for info in page]
            after = page[-1].key
        assert listed == sorted(names)
        all_s = time.monotonic() - begun_s
        begun_s = time.monotonic()
        assert [info.key for info in await store.list_objects("f6/0099", "", 1000)] == [
            name for name in sorted(names) if name.startswith("f6/0099")
        ]
        print(f"{count} keys in pages of 1,000: {all_s:.2f} s; a late prefix: {time.monotonic() - begun_s:.2f} s")


async def test_metadata_is_kept(bucket: str, server: S3Server) -> None:
    """What another program stored with an object, its type first of all, is what the viewer gets."""
    headers = {"content-type": "image/x-mine", "content-disposition": 'attachment; filename="e"'}
    path = f"{bucket.removeprefix('s3://')}/theirs.txt"
    server.request("PUT", path, content=b"data", headers=headers).raise_for_status()
    data, info = await whole(bucket, server, "theirs.txt")
    assert (data, info.content_type) == (b"data", "image/x-mine")


@pytest.mark.parametrize("size_bytes", [4, CHUNK_BYTES + 1])
async def test_headers_are_kept_with_an_object(bucket: str, server: S3Server, size_bytes: int) -> None:
    """By one PUT, by parts and by a stream; the server shows them to its other readers too."""
    kept = (("cache-control", "max-age=9"), ("content-language", "de"), ("x-amz-meta-build-id", "7"))
    async with opened(bucket, server) as store:
        staged = await store.start_upload("k", content_type="a/b", size_bytes=size_bytes, replaces=None, kept=kept)
        await staged.write(b"x" * size_bytes)
        await staged.commit()
        found = await store.look("k")
        assert found is not None
        assert (found.info.content_type, sorted(found.info.kept)) == ("a/b", sorted(kept))


async def test_a_large_upload_keeps_its_type(bucket: str, server: S3Server) -> None:
    """A multipart upload is told its type at the beginning, or never; one PUT is told it as well."""
    async with opened(bucket, server) as store:
        size_bytes = CHUNK_BYTES + 1
        staged = await store.start_upload("x", content_type="image/x-mine", size_bytes=size_bytes, replaces=None)
        await staged.write(b"x" * size_bytes)
        put = await staged.commit()
        found = (await store.look("x")).info
        assert (found.content_type, found.etag) == ("image/x-mine", put.etag)
        with pytest.raises(ObjectStands):
            staged = await store.start_upload("x", content_type="a/b", size_bytes=None, replaces=None)
            await staged.commit()


async def test_a_bucket_that_is_not_there_is_unfit(server: S3Server) -> None:
    """Else every object would be 404, and nobody would know why."""
    async with opened("s3://not-there-at-all", server) as store:
        with pytest.raises(StoreUnfit, match="no such bucket"):
            await store.probe()
