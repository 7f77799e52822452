"""The ``file:`` store: what is an object and what never is, what a read gives, and how names are listed.

What every store keeps is in the suite (``test_store_suite.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pathlib
import re
import resource
import socket
import stat
import tempfile
from collections.abc import AsyncGenerator, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncegate.links.media_types import media_type_of
from oncegate.stores.directory import listing, walk
from oncegate.stores.directory.store import COLD_READ_BYTES_MAX, DirectoryStore
from oncegate.stores.opening import open_store
from oncegate.stores.protocol import (
    NotKept,
    ObjectChanged,
    OpenDescriptor,
    OpenObject,
    ReadsNow,
    StoreBusy,
    StoreFault,
    StoreRefused,
    StoreUnfit,
)

pytestmark = pytest.mark.anyio

AWKWARD_NAMES = ["n" * 255, "\u00e9" * 127, "-rf", " lead and trail ", "\N{PILE OF POO}"]
"""As long as a name can be, and some that another program may give a file; the suite has the others."""


@contextlib.asynccontextmanager
async def opened(root: pathlib.Path) -> AsyncGenerator[DirectoryStore]:
    """Open a store on a folder."""
    store = DirectoryStore(root)
    try:
        yield store
    finally:
        await store.aclose()


async def read_all(found: OpenObject, chunk_bytes: int = 65536) -> bytes:
    """Read an open object from its first to its last byte."""
    return b"".join([piece async for piece in found.read(0, found.info.size_bytes, chunk_bytes)])


async def get(root: pathlib.Path, key: str, chunk_bytes: int = 65536) -> bytes | None:
    """Look, read whole, close; None where nothing is there."""
    async with opened(root) as store:
        found = await store.look(key)
        if found is None:
            return None
        try:
            return await read_all(found, chunk_bytes)
        finally:
            await found.aclose()


async def keys(root: pathlib.Path, prefix: str = "", after: str = "", limit: int = 1000) -> list[str]:
    """List one page and keep the keys."""
    async with opened(root) as store:
        return [info.key for info in await store.list_objects(prefix, after, limit)]


def wait_for_another_time_stamp(path: pathlib.Path) -> None:
    """Touch a file beside ``path`` until the kernel's clock of files has moved on; older ones count by 4 ms."""
    probe = path.with_name("clock")
    probe.touch()
    before_ns = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before_ns:
        probe.touch()
    probe.unlink()


def make_cold(path: pathlib.Path) -> None:
    """Take a file out of the page cache."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A store's folder, with a secret beside it that no key may reach."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    made = tmp_path / "root"
    (made / "a" / "b").mkdir(parents=True)
    (made / "top").write_bytes(b"top")
    (made / "a" / "b" / "deep").write_bytes(b"deep")
    return made


@pytest.fixture(autouse=True)
def descriptors_are_given_back() -> Iterator[None]:
    """Hold every test to the number of open descriptors that it began with."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


# --- what is an object


async def test_an_object_is_found_at_every_depth(root: pathlib.Path) -> None:
    """A key leads to its file, whether or not there are folders above it: the walk has a case for each."""
    assert await get(root, "top") == b"top"
    assert await get(root, "a/b/deep") == b"deep"


@pytest.mark.parametrize(
    "key", ["", ".", "..", "../secret", "a/../top", "a/./b/deep", "/top", "top/", "a//b/deep", "a\0b", "\ud800"]
)
async def test_a_key_that_verify_refuses_is_not_there_either(root: pathlib.Path, key: str) -> None:
    """The walk would follow ``..`` out of the root: the store must not trust that a caller checked before."""
    assert await get(root, key) is None


@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_no_symlink_leads_out_of_the_root_at_any_depth(
    root: pathlib.Path, tmp_path: pathlib.Path, depth: int
) -> None:
    """A linked file or folder is not there, whatever it points to and wherever in the key it stands."""
    above = ["", "a/", "a/b/"][depth]
    (root / above / "file-link").symlink_to(tmp_path / "secret")
    (root / above / "folder-link").symlink_to(tmp_path / "outside")
    (root / above / "inner-link").symlink_to(root / "top")
    (root / above / "loop").symlink_to("loop")
    assert (root / above / "folder-link" / "secret").read_bytes() == b"secret"
    for name in ("file-link", "folder-link/secret", "folder-link", "inner-link", "loop", "loop/x"):
        assert await get(root, above + name) is None, name


async def test_a_folder_swapped_for_a_link_during_the_walk_is_not_followed(
    root: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two steps of the walk somebody puts a link to the outside in a folder's place: still nothing of it is served."""
    (tmp_path / "outside" / "deep").write_bytes(b"secret")
    true_open = os.open

    def open_and_swap(path: bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        fd = true_open(path, flags, mode, dir_fd=dir_fd)
        if path == b"a":
            (root / "a" / "b").rename(root / "a" / "moved")
            (root / "a" / "b").symlink_to(tmp_path / "outside")
        return fd

    monkeypatch.setattr(walk.os, "open", open_and_swap)
    assert await get(root, "a/b/deep") is None


async def test_special_files_neither_hang_nor_are_served(root: pathlib.Path) -> None:
    """A FIFO would hold the event loop for ever, a device could be read without end; both are not there."""
    os.mkfifo(root / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(root)  # a socket's path is limited to 107 bytes
    try:
        listener.bind("socket")
    finally:
        os.chdir(here)
        listener.close()
    special = ["fifo", "socket"]
    try:
        os.mknod(root / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        special.append("zero")
    except PermissionError:
        pass  # only root may; the two others are seen all the same
    for key in special:
        assert await get(root, key) is None, key
    assert await keys(root) == ["a/b/deep", "top"]


@pytest.mark.parametrize("name", AWKWARD_NAMES)
async def test_awkward_names_are_exact(root: pathlib.Path, name: str) -> None:
    """A name is bytes: nothing is decoded, normalized, globbed or trimmed, at the look and in the list."""
    for key in (name, f"{name}/{name}x"[:255] if len(name.encode()) < 128 else f"in/{name}"):
        path = pathlib.Path(os.fsdecode(os.fsencode(root) + b"/" + key.encode()))
        if path.is_file() or (root / name).is_file():
            (root / name).unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
        assert await get(root, key) == key.encode()
        assert await keys(root, prefix=key) == [key]


async def test_a_name_longer_than_the_file_system_takes_is_not_there(root: pathlib.Path) -> None:
    """255 bytes fit, 256 do not: the error of the file system is an answer, no fault."""
    (root / ("n" * 255)).write_bytes(b"fits")
    assert await get(root, "n" * 255) == b"fits"
    assert await get(root, "n" * 256) is None
    assert await get(root, "n" * 256 + "/x") is None


@pytest.mark.parametrize("key", [".oncegate/staging/x", ".oncegate", ".ONCEGATE/staging/x"])
async def test_the_staging_folder_is_never_served_nor_listed(root: pathlib.Path, key: str) -> None:
    """What is half uploaded lies beneath the root: no key may open it, in no case that some file system ignores."""
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    assert await get(root, key) is None
    assert await keys(root) == ["a/b/deep", "top"]
    assert await keys(root, prefix=".oncegate/") == []


async def test_only_the_top_folder_is_reserved(root: pathlib.Path) -> None:
    """``.oncegate`` deeper down, or as a part of a name, belongs to the users."""
    (root / "a" / ".oncegate").mkdir()
    for key in ("a/.oncegate/x", ".oncegate2", ".oncegat"):
        (root / key).write_bytes(b"mine")
        assert await get(root, key) == b"mine"
    assert await keys(root, prefix=".o") == [".oncegat", ".oncegate2"]


# --- what a look tells


async def test_the_etag_is_strong_and_changes_with_the_object(root: pathlib.Path) -> None:
    """Same file, same tag; other bytes of one length, a new file of one name, or a set-back clock make another one."""
    path = root / "top"

    async def tag() -> str:
        async with opened(root) as store:
            found = await store.look("top")
            assert found is not None
            await found.aclose()
            return found.info.etag

    tags = [await tag()]
    assert await tag() == tags[0]
    assert re.fullmatch(r'"[0-9a-f]{16}"', tags[0]), "32 digits would be taken for an MD5"
    before = path.stat()
    wait_for_another_time_stamp(path)
    path.write_bytes(b"TOP")
    tags.append(await tag())
    wait_for_another_time_stamp(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    tags.append(await tag())
    path.rename(root / "old")
    path.write_bytes(b"top")
    tags.append(await tag())
    assert len(set(tags)) == len(tags)


async def test_a_look_tells_size_date_and_type(root: pathlib.Path) -> None:
    """What goes into headers comes from the file and its name."""
    (root / "report.PDF").write_bytes(b"12345")
    os.utime(root / "report.PDF", (1_700_000_000.9, 1_700_000_000.9))

    async with opened(root) as store:
        found = await store.look("report.PDF")
        assert found is not None
        await found.aclose()
        await found.aclose()
        info = found.info
        assert (info.key, info.size_bytes, info.modified_s) == ("report.PDF", 5, 1_700_000_000)
        assert info.content_type == "application/pdf"


def test_types_come_from_one_fixed_table() -> None:
    """The machine's mime.types and the version of Python must not change an answer; compressed files are what they are."""
    table = {
        "a.txt": "text/plain",
        "x/a.JSON": "application/json",
        "a.tar.gz": "application/gzip",
        "a.svg": "image/svg+xml",
        "a.webp": "image/webp",
        "a": "application/octet-stream",
        "a.unheard-of": "application/octet-stream",
        "a.txt/b": "application/octet-stream",
        "txt": "application/octet-stream",
        "a.": "application/octet-stream",
    }
    assert {key: media_type_of(key) for key in table} == table


# --- reading


@pytest.mark.parametrize("chunk_bytes", [1, 7, 4096, 65536, 1 << 20])
async def test_any_range_is_read_exactly_in_chunks(root: pathlib.Path, chunk_bytes: int) -> None:
    """Every piece but the last has the length asked for, and together they are the range, cached or not."""
    content = os.urandom(100_003) if chunk_bytes > 7 else os.urandom(1_003)
    (root / "big").write_bytes(content)

    async with opened(root) as store:
        for start, end in (
            (0, len(content)),
            (1, len(content) - 1),
            (500, 501),
            (9, 9),
            (len(content) - 1, len(content)),
        ):
            for cold in (False, True):
                if cold:
                    make_cold(root / "big")
                found = await store.look("big")
                assert found is not None
                pieces = [piece async for piece in found.read(start, end, chunk_bytes)]
                await found.aclose()
                assert b"".join(pieces) == content[start:end]
                assert {len(piece) for piece in pieces[:-1]} <= {chunk_bytes}


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.EOPNOTSUPP])
async def test_where_nothing_can_be_read_without_waiting_a_thread_reads(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Cold files and file systems without RWF_NOWAIT are read by threads: never in the loop, and by at most 1 MiB each."""
    content = os.urandom((3 << 20) + 5)
    (root / "big").write_bytes(content)
    asked: list[int] = []
    true_pread = os.pread

    def refuse(*_: object) -> int:
        asked.append(0)
        raise OSError(code, "not without waiting")

    def watch(fd: int, size_bytes: int, at: int) -> bytes:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        assert size_bytes <= COLD_READ_BYTES_MAX
        return true_pread(fd, min(size_bytes, 100_000), at)  # and a file system may give less than was asked for

    monkeypatch.setattr(os, "preadv", refuse)
    monkeypatch.setattr(os, "pread", watch)
    assert await get(root, "big", chunk_bytes=1 << 18) == content
    assert len(asked) == (1 if code == errno.EOPNOTSUPP else 4), "who cannot is asked once"


async def test_a_cached_file_is_read_in_the_loop(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread costs 17 times more CPU: what the page cache holds must not take that way (where the system can tell)."""
    monkeypatch.setattr(os, "pread", lambda *_: pytest.fail("a thread was asked"))
    fd = os.open(root / "top", os.O_RDONLY)
    try:
        os.preadv(fd, [bytearray(3)], 0, os.RWF_NOWAIT)
    except OSError as error:
        pytest.skip(f"this file system has no RWF_NOWAIT: {error}")
    finally:
        os.close(fd)
    assert await get(root, "top") == b"top"


async def test_a_descriptor_sends_what_is_in_memory(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending never waits for a disk in the loop: a cold part is read by a thread before; without the system's word, None."""
    content = os.urandom(600_000)
    (root / "big").write_bytes(content)
    true_pread, read = os.pread, list[int]()

    def watch(fd: int, size_bytes: int, at: int) -> bytes:
        read.append(size_bytes)
        return true_pread(fd, size_bytes, at)

    def refuse(code: int) -> None:
        def refusing(*_: object) -> int:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "preadv", refusing)

    async with opened(root) as store:
        found = await store.look("big")
        assert isinstance(found, OpenDescriptor)
        monkeypatch.setattr(os, "pread", watch)
        refuse(errno.EAGAIN)
        fd = await found.descriptor(100_000, 500_000)
        assert fd is not None
        assert (sum(read), true_pread(fd, 400_000, 100_000)) == (400_000, content[100_000:500_000])
        refuse(errno.EOPNOTSUPP)
        assert await found.descriptor(0, 100_000) is None
        await found.aclose()  # type: ignore[attr-defined]  # it is an open object too


async def test_a_replaced_object_is_read_to_its_end_as_it_was(root: pathlib.Path) -> None:
    """Another file takes the name while it is read: what was looked at is what is sent, whole."""
    content = os.urandom(300_000)
    (root / "top").write_bytes(content)

    async with opened(root) as store:
        found = await store.look("top")
        assert found is not None
        reading = found.read(0, len(content), 65536)
        got = await anext(reading)
        (root / "new").write_bytes(b"other")
        (root / "new").rename(root / "top")
        got += b"".join([piece async for piece in reading])
        await found.aclose()
        assert got == content
        again = await store.look("top")
        assert again is not None
        assert again.info.size_bytes == 5
        await again.aclose()


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("change", ["truncate", "append", "overwrite"])
async def test_an_object_changed_in_place_never_ends_cleanly(root: pathlib.Path, change: str, cold: bool) -> None:
    """Half of one version and half of another must not pass for an object: the last piece is not yielded."""
    size_bytes = 3 << 20
    (root / "top").write_bytes(os.urandom(size_bytes))
    os.utime(root / "top", (1_700_000_000, 1_700_000_000))

    async with opened(root) as store:
        found = await store.look("top")
        assert found is not None
        reading = found.read(0, size_bytes, 65536)
        got_bytes = len(await anext(reading))
        if change == "truncate":
            os.truncate(root / "top", size_bytes // 2)
        else:
            with (root / "top").open("ab" if change == "append" else "r+b") as file:
                file.write(b"changed")
        if cold:
            make_cold(root / "top")
        with pytest.raises(ObjectChanged):
            async for piece in reading:
                got_bytes += len(piece)
        assert got_bytes < size_bytes
        await found.aclose()


async def test_a_read_that_is_cancelled_in_a_thread_leaves_no_descriptor_to_others(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed under a reading thread, a descriptor's number may become another file: it is closed when the thread is done."""
    (root / "top").write_bytes(b"x" * 1000)
    true_pread = os.pread

    async with opened(root) as store:
        started, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        read_from: list[tuple[int, int]] = []

        def slow_pread(fd: int, size_bytes: int, at: int) -> bytes:
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            read_from.append((os.fstat(fd).st_ino, (root / "top").stat().st_ino))
            return true_pread(fd, size_bytes, at)

        monkeypatch.setattr(os, "preadv", lambda *_: 0)
        monkeypatch.setattr(os, "pread", slow_pread)
        found = await store.look("top")
        assert found is not None
        task = asyncio.create_task(read_all(found))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await found.aclose()
        go_on.set()
        await store.aclose()
        assert [a == b for a, b in read_from] == [True]


async def test_a_closed_object_is_not_read(root: pathlib.Path) -> None:
    """After aclose the number may be another file's; reading must not even try."""
    async with opened(root) as store:
        found = await store.look("top")
        assert found is not None
        await found.aclose()
        with pytest.raises(ValueError, match="closed"):
            await read_all(found)


# --- whose fault it is


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EACCES, StoreRefused),
        (errno.EPERM, StoreRefused),
        (errno.EMFILE, StoreBusy),
        (errno.ENFILE, StoreBusy),
        (errno.EAGAIN, StoreBusy),
        (errno.EIO, StoreFault),
    ],
)
async def test_each_errno_of_a_look_has_its_kind(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[StoreFault]
) -> None:
    """503 or 502 hangs on this; no errno may escape as an OSError."""

    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    async with opened(root) as store:
        with monkeypatch.context() as patch, pytest.raises(StoreFault) as caught:
            patch.setattr(walk, "open_object", fail)
            await store.look("top")
        assert type(caught.value) is kind


async def test_a_failing_disk_midway_is_a_fault(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EIO while reading, in the loop or in a thread, is the store's fault and reaches the caller as such."""

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "bad sector")

    for name in ("preadv", "pread"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "preadv", lambda *_: 0)
            patch.setattr(os, name, fail)
            with pytest.raises(StoreFault, match="bad sector"):
                await get(root, "top")


async def test_without_descriptors_the_store_is_busy(root: pathlib.Path) -> None:
    """At the real limit of descriptors, a look is worth another try and leaks none of the few there are."""
    async with opened(root) as store:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        held: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, hard))
        try:
            with pytest.raises(OSError, match="open files"):
                while True:
                    held.append(os.open(root, os.O_PATH))
            for free in range(3):
                with pytest.raises(StoreBusy):
                    await store.look("a/b/deep")
                if free < 1:
                    os.close(held.pop())  # the first step fits, the second does not
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in held:
                os.close(fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
async def test_an_unreadable_object_is_refused_by_the_store(root: pathlib.Path) -> None:
    """A real EACCES: the operator forgot to give the gateway the right, which is no 404."""
    (root / "top").chmod(0o600)

    async with opened(root) as store:
        os.chmod(root, 0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(StoreRefused):
                await store.look("top")
        finally:
            os.seteuid(0)


# --- listing


async def test_what_could_be_no_key_is_not_listed(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Links, names in other encodings, control characters and backslashes: no link could open them."""
    (root / "link").symlink_to("top")
    (root / "folder-link").symlink_to(tmp_path / "outside")
    for name in (b"latin-\xe9", b"line\nbreak", b"del\x7f", b"back\\slash", b"c1-\xc2\x85"):
        pathlib.Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(b"")
    (root / "bad\nfolder").mkdir()
    (root / "bad\nfolder" / "x").write_bytes(b"")
    assert await keys(root) == ["a/b/deep", "top"]


async def test_a_key_of_1024_bytes_is_listed_and_one_of_1025_is_not(root: pathlib.Path) -> None:
    """Both sides of the limit: what is longer could not be asked for."""
    folder = root / "/".join(["d" * 200] * 5)  # 1,004 bytes
    folder.mkdir(parents=True)
    (folder / ("x" * 19)).write_bytes(b"")
    (folder / ("y" * 20)).write_bytes(b"")
    assert [len(key) for key in await keys(root, prefix="d")] == [1024]


async def test_a_prefix_need_not_end_at_a_slash(root: pathlib.Path) -> None:
    """Prefixes are of keys, as in S3, and never lead out of the root or through a file."""
    (root / "a" / "bb").write_bytes(b"")
    assert await keys(root, prefix="a/b") == ["a/b/deep", "a/bb"]
    assert await keys(root, prefix="a/b/") == ["a/b/deep"]
    assert await keys(root, prefix="to") == ["top"]
    for prefix in ("nope", "nope/x", "/", "../", "a/../", "top/", "\ud800", "\ud800/", "a//"):
        assert await keys(root, prefix=prefix) == [], prefix
    assert await keys(root, after="\udfff") == []


async def test_pages_of_5000_files_are_whole_and_bounded(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page gives each key once and in order, and holds no more names at a time than a page has."""
    expected = ["a/b/deep", "top"]
    for folder in range(10):
        (root / f"f{folder}").mkdir()
        for number in range(500):
            expected.append(f"f{folder}/{number:x}")
            os.close(os.open(root / expected[-1], os.O_CREAT | os.O_WRONLY))
    expected.sort(key=str.encode)
    held: list[int] = []
    true_nsmallest = listing.heapq.nsmallest
    monkeypatch.setattr(
        listing.heapq, "nsmallest", lambda count, names: held.append(count) or true_nsmallest(count, names)
    )

    got: list[str] = []
    async with opened(root) as store:
        while page := await store.list_objects("", got[-1] if got else "", 700):
            assert len(page) <= 700
            got += [info.key for info in page]
    assert got == expected
    assert max(held) <= 700
    assert len(held) < 40, "a page must not open the folders of earlier pages"


async def test_folders_outside_of_a_prefix_are_not_opened(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of a small folder must not cost a walk through a large store."""
    for name in ("a/b1", "a/c", "a/b1/in", "z"):
        (root / name).mkdir()
        (root / name / "x").write_bytes(b"")
    walked: list[int] = []
    true_scandir = os.scandir
    monkeypatch.setattr(listing.os, "scandir", lambda fd: walked.append(os.fstat(fd).st_ino) or true_scandir(fd))
    assert await keys(root, prefix="a/b1") == ["a/b1/in/x", "a/b1/x"]
    assert walked == [(root / name).stat().st_ino for name in ("a", "a/b1", "a/b1/in")]


async def test_empty_folders_do_not_end_a_list(root: pathlib.Path) -> None:
    """Where a whole page of names holds no object, the next names are asked for, and those only."""
    for number in range(10):
        (root / f"empty{number}").mkdir()
    assert await keys(root, limit=3) == ["a/b/deep", "top"]
    assert await keys(root, limit=1, after="a/b/deep") == ["top"]


async def test_a_tree_as_deep_as_a_key_can_be_is_listed(root: pathlib.Path) -> None:
    """511 folders above one object: the walk must not meet Python's recursion limit."""
    folder_fd = os.open(root, os.O_RDONLY)
    for _ in range(511):
        os.mkdir("z", dir_fd=folder_fd)
        inner_fd = os.open("z", os.O_RDONLY, dir_fd=folder_fd)
        os.close(folder_fd)
        folder_fd = inner_fd
    os.close(os.open("zz", os.O_CREAT | os.O_WRONLY, dir_fd=folder_fd))
    os.close(folder_fd)
    assert await keys(root, after="top") == ["z/" * 511 + "zz"]


async def test_a_folder_that_may_not_be_read_does_not_hide_the_others(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every disk has a lost+found: it is left out of the list, with a warning."""
    (root / "lost+found").mkdir()
    true_open = os.open

    def refuse(path: bytes, flags: int, *, dir_fd: int | None = None) -> int:
        if path == b"lost+found":
            raise PermissionError(errno.EACCES, "no")
        return true_open(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(listing.os, "open", refuse)
    assert await keys(root) == ["a/b/deep", "top"]
    assert "lost+found" in caplog.text


NAMES = st.text(st.sampled_from("a.-/0b\u00e9\U0001f600"), min_size=1, max_size=6)


@settings(max_examples=40)
@given(st.sets(NAMES, max_size=25), NAMES | st.just(""), NAMES | st.just(""), st.integers(1, 30))
async def test_any_tree_lists_as_sorted_keys(wanted: set[str], prefix: str, after: str, limit: int) -> None:
    """Against the plain definition: all keys, sorted as bytes, those with the prefix after ``after``, cut at the limit."""
    with tempfile.TemporaryDirectory() as folder:
        stored: list[str] = []
        for key in wanted:
            if walk.segments_of(key) is None:
                continue
            path = pathlib.Path(folder) / key
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
            except OSError:
                continue  # a file where this key needs a folder, or the other way round
            stored.append(key)
        stored.sort(key=str.encode)
        expected = [key for key in stored if key.startswith(prefix) and key.encode() > after.encode()][:limit]
        assert await keys(pathlib.Path(folder), prefix, after, limit) == expected


# --- opening and probing


async def test_a_file_url_is_relative_to_the_configuration(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    """``file:./root`` and the absolute spellings open one folder; the working directory is nobody's business."""
    for url in ("file:./root", "file:root", f"file:{root}", f"file://{root}", f"file://localhost{root}"):
        store = open_store(url, folder=tmp_path, options={})
        assert isinstance(store, DirectoryStore)
        await store.probe()
        assert [info.key for info in await store.list_objects("", "", 9)] == ["a/b/deep", "top"]
        await store.aclose()
        await store.aclose()


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("s3:bucket", {}, "write s3://bucket"),
        ("objects", {}, "is no store"),
        ("file:", {}, "needs a folder"),
        ("file://server/share", {}, "another machine"),
        ("file:./missing", {}, "make it first"),
        ("file:./secret", {}, "Not a directory"),
        ("file:./root", {"region": "x"}, "remove region"),
    ],
)
def test_what_cannot_be_opened_says_what_to_change(
    tmp_path: pathlib.Path, root: pathlib.Path, url: str, options: dict[str, str], words: str
) -> None:
    """A wrong configuration ends with words for the operator, not with a traceback of the driver."""
    assert root.is_dir()
    with pytest.raises(StoreUnfit, match=words):
        open_store(url, folder=tmp_path, options=options)


async def test_a_probe_leaves_nothing_but_the_staging_folder(root: pathlib.Path) -> None:
    """It tries writing, linking, renaming and locking, and cleans up; a second one is the same."""
    for _ in range(2):
        async with opened(root) as store:
            await store.probe()
    assert sorted(os.listdir(root)) == [".oncegate", "a", "top"]
    assert os.listdir(root / ".oncegate" / "staging") == []


async def test_a_probe_refuses_a_staging_folder_that_is_a_link(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Uploads would be staged wherever it points to."""
    (root / ".oncegate").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreUnfit, match=r"\.oncegate"):
        async with opened(root) as store:
            await store.probe()
    assert os.listdir(tmp_path / "outside") == ["secret"]


@pytest.mark.parametrize("name", ["link", "mkdir", "rename"])
async def test_a_probe_refuses_a_file_system_that_cannot(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """FAT has no hard links, a folder of another user takes nothing: said at the start, not at the first upload."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    async with opened(root) as store:
        with monkeypatch.context() as patch, pytest.raises(StoreUnfit):
            patch.setattr(os, name, fail)
            await store.probe()

    staging = root / ".oncegate" / "staging"
    assert not staging.exists() or os.listdir(staging) == []


async def test_a_read_only_mount_serves_downloads_alone(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A gateway that must not write is mounted so on purpose; an upload must then fail in words for the operator."""
    true_open = os.open
    (root / "stands.txt").write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    def read_only_open(path: bytes, flags: int, *more: int, **where: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            refuse()
        return true_open(path, flags, *more, **where)

    async with opened(root) as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "mkdir", refuse)
            patch.setattr(os, "open", read_only_open)
            await store.probe()
            assert "downloads alone" in caplog.text
            stands = await store.look("stands.txt")
            assert stands is not None
            await stands.aclose()
            with pytest.raises(StoreRefused):
                await store.start_upload("new.txt", content_type="text/plain", size_bytes=1, replaces=None)


async def test_a_probe_refuses_a_root_that_was_replaced(root: pathlib.Path) -> None:
    """A disk mounted over the folder after the start: the gateway would serve what nobody sees."""
    async with opened(root) as store:
        root.rename(root.with_name("moved"))
        with pytest.raises(StoreUnfit, match="no longer there"):
            await store.probe()
        root.mkdir()
        with pytest.raises(StoreUnfit, match="another folder"):
            await store.probe()


async def test_a_file_system_that_ignores_case_is_named(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There two keys are one object; the operator should know, but it is his choice."""
    true_stat = os.stat
    monkeypatch.setattr(
        os,
        "stat",
        lambda path, **how: true_stat(path.lower() if isinstance(path, bytes) else path, **how),
    )
    async with opened(root) as store:
        await store.probe()
    assert "ignores case" in caplog.text


async def found_in(store: DirectoryStore, key: str) -> OpenObject:
    """An object that is there."""
    found = await store.look(key)
    assert found is not None
    return found


async def etag_of(store: DirectoryStore, key: str) -> str:
    """The ETag of an object that is there."""
    found = await found_in(store, key)
    await found.aclose()
    return found.info.etag


KEPT = (
    ("cache-control", "max-age=9"),
    ("content-encoding", "gzip"),
    ("x-amz-meta-build-id", "7"),
)


@pytest.mark.parametrize("replaces", [False, True])
async def test_headers_are_kept_with_a_file(root: pathlib.Path, replaces: bool) -> None:
    """They have their place before the file has its name, so nobody sees it without them."""
    async with opened(root) as store:
        stands = None
        if replaces:
            (root / "k.txt").write_bytes(b"before")
            stands = await etag_of(store, "k.txt")
        staged = await store.start_upload("k.txt", content_type="a/b", size_bytes=4, replaces=stands, kept=KEPT)
        await staged.write(b"data")
        told = await staged.commit()
        found = await found_in(store, "k.txt")
        assert found.info == told
        assert (found.info.content_type, found.info.kept) == ("a/b", KEPT)
        await found.aclose()


async def test_a_file_whose_name_tells_its_type_keeps_nothing(root: pathlib.Path) -> None:
    """An attribute less to read at each look."""
    async with opened(root) as store:
        staged = await store.start_upload("k.txt", content_type="text/plain", size_bytes=0, replaces=None)
        await staged.commit()
    assert os.listxattr(root / "k.txt") == []


@pytest.mark.parametrize("text", [b"", b"no json", b"[]", b'{"content-encoding":7}', b"\xff", b"null"])
async def test_an_attribute_that_another_program_wrote_counts_as_none(root: pathlib.Path, text: bytes) -> None:
    """The object is what its bytes and its name say."""
    (root / "k.txt").write_bytes(b"data")
    os.setxattr(root / "k.txt", "user.oncegate", text)
    async with opened(root) as store:
        found = await found_in(store, "k.txt")
        assert (found.info.content_type, found.info.kept) == ("text/plain", ())
        await found.aclose()


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOSPC, errno.E2BIG])
async def test_a_file_system_without_attributes_keeps_nothing_and_says_so(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """501 by the header's name, before a byte of the body; a type that nobody signed is only a guess."""

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "setxattr", fail)
    async with opened(root) as store:
        for kept in (KEPT, (("content-type", "a/b"),)):
            with pytest.raises(NotKept) as caught:
                await store.start_upload("k.txt", content_type="a/b", size_bytes=4, replaces=None, kept=kept)
            assert caught.value.header == kept[0][0]
        staged = await store.start_upload("k.txt", content_type="a/b", size_bytes=0, replaces=None)
        await staged.commit()
        assert (root / "k.txt").read_bytes() == b""


async def test_what_is_read_at_once_is_what_a_read_gives(tmp_path: pathlib.Path) -> None:
    """Small files go out by it, whole and in parts: another byte of it would be another file."""
    (tmp_path / "a").write_bytes(bytes(range(256)) * 40)
    async with opened(tmp_path) as store:
        found = await store.look("a")
        assert isinstance(found, ReadsNow)
        for start, end in ((0, 10_240), (0, 1), (10_239, 10_240), (100, 5_000)):
            pieces = b"".join([piece async for piece in found.read(start, end, 65_536)])
            assert found.read_now(start, end) in (pieces, None)
        await found.aclose()


async def test_a_file_that_was_written_to_is_not_read_at_once(tmp_path: pathlib.Path) -> None:
    """A mixture of two versions must not go out under the ETag of one of them."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    os.utime(path, (1, 1))
    async with opened(tmp_path) as store:
        found = await store.look("a")
        path.write_bytes(b"y" * 100)
        assert isinstance(found, ReadsNow)
        with pytest.raises(ObjectChanged):
            found.read_now(0, 100)
        await found.aclose()


async def test_what_would_wait_is_not_read_at_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop serves everybody else meanwhile: bytes that are not in memory are for a thread to wait for."""

    def wait_for_disk(*_: object) -> int:
        raise BlockingIOError

    (tmp_path / "a").write_bytes(b"x" * 100)
    async with opened(tmp_path) as store:
        found = await store.look("a")
        monkeypatch.setattr(os, "preadv", wait_for_disk)
        assert isinstance(found, ReadsNow)
        assert found.read_now(0, 100) is None
        assert await read_all(found) == b"x" * 100
        await found.aclose()
