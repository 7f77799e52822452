"""Uploads to the ``file:`` store: races of processes, kills, full disks, cancelled tasks, and what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pathlib
import resource
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncGenerator, Iterator

import pytest

from oncegate.stores.directory import placing, staging
from oncegate.stores.directory.store import THREADS_MAX, DirectoryStore
from oncegate.stores.directory.upload import FLUSH_BYTES
from oncegate.stores.protocol import (
    KeyRefused,
    ObjectInfo,
    ObjectStands,
    StoreBusy,
    StoreFault,
    StoreFull,
    StoreRefused,
    Upload,
)

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def opened(root: pathlib.Path) -> AsyncGenerator[DirectoryStore]:
    """Open a store on a folder."""
    store = DirectoryStore(root)
    try:
        yield store
    finally:
        await store.aclose()


async def start(store: DirectoryStore, key: str, size_bytes: int | None = None, replaces: str | None = None) -> Upload:
    """Begin an upload with the type that files cannot keep."""
    return await store.start_upload(key, content_type="x/y", size_bytes=size_bytes, replaces=replaces)


async def put(store: DirectoryStore, key: str, content: bytes, replaces: str | None = None) -> ObjectInfo:
    """Upload a whole object."""
    upload = await start(store, key, len(content), replaces)
    await upload.write(content)
    return await upload.commit()


async def tag(store: DirectoryStore, key: str) -> str:
    """Look at an object and keep its ETag."""
    found = await store.look(key)
    assert found is not None
    await found.aclose()
    return found.info.etag


def tree(root: pathlib.Path) -> list[str]:
    """All names beneath a folder, but our own folders and the lock where nothing is staged."""
    found = {str(path.relative_to(root)) for path in root.rglob("*")}
    return sorted(found - {".oncegate", ".oncegate/staging", ".oncegate/replace.lock"})


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """An empty store."""
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture(params=["unnamed", "named"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of staging: without a name, and with one where the file system knows no such files."""
    if request.param == "named":
        monkeypatch.setattr(staging, "UNNAMED_FLAG", 0)
    return str(request.param)


@pytest.fixture(autouse=True)
def descriptors_are_given_back() -> Iterator[None]:
    """Hold every test to the number of open descriptors that it began with."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def spawn(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another gateway: a process with a store of its own, told what to do by ``script``."""
    preamble = """
        import asyncio, os, pathlib, sys
        from oncegate.stores.directory import staging
        from oncegate.stores.directory.store import DirectoryStore
        from oncegate.stores.protocol import ObjectStands
        root, way, *rest = sys.argv[1:]
        if way == "named":
            staging.UNNAMED_FLAG = 0
        """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(preamble) + textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_at_once(script: str, arguments: list[tuple[object, ...]]) -> list[str]:
    """Start processes, let all get ready, then let them go together; return what they print after ``ready``."""
    processes = [spawn(script, *each) for each in arguments]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=30)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return said


# --- an upload that goes well


@pytest.mark.parametrize("size_bytes", [1, 2 * FLUSH_BYTES + 1])
@pytest.mark.parametrize("is_announced", [True, False])
async def test_an_upload_stands_whole_with_the_tag_of_its_commit(
    root: pathlib.Path, way: str, size_bytes: int, is_announced: bool
) -> None:
    """The bytes come in odd pieces; what commit tells must be what a look tells, or no ETag would ever match."""
    content = os.urandom(size_bytes)

    async with opened(root) as store:
        upload = await start(store, "new/folder/x.txt", size_bytes if is_announced else None)
        for at in range(0, size_bytes, 100_001):
            await upload.write(content[at : at + 100_001])
        assert await store.look("new/folder/x.txt") is None
        assert [name for name in tree(root) if not name.startswith(".oncegate/staging/")] == []
        told = await upload.commit()
        found = await store.look("new/folder/x.txt")
        assert found is not None
        assert found.info == told
        assert (told.size_bytes, told.content_type) == (size_bytes, "x/y")
        assert b"".join([piece async for piece in found.read(0, size_bytes, 65536)]) == content
        await found.aclose()
        await upload.abort()

    assert tree(root) == ["new", "new/folder", "new/folder/x.txt"]


async def test_an_object_has_the_mode_that_the_umask_leaves(root: pathlib.Path, way: str) -> None:
    """Whoever reads the folder by other means should be able to, as with any file that is written there."""
    before = os.umask(0o027)
    try:
        async with opened(root) as store:
            await put(store, "a/x", b"x")
    finally:
        os.umask(before)
    assert (root / "a").stat().st_mode & 0o777 == 0o750
    assert (root / "a/x").stat().st_mode & 0o777 == 0o640


async def test_the_tag_stays_the_same_after_the_commit(root: pathlib.Path, way: str) -> None:
    """Taking away the staged name moves a file's change time; that must be over when the object is announced."""
    async with opened(root) as store:
        told = await put(store, "x", b"1")
        assert await tag(store, "x") == told.etag
        told = await put(store, "x", b"2", replaces=told.etag)
        assert await tag(store, "x") == told.etag


async def test_all_that_an_object_hangs_on_is_durable_before_the_answer(
    root: pathlib.Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes before the name, then every folder that got a new entry: after a loss of power the ETag must be true."""
    (root / "old").mkdir()
    synced: list[int] = []
    true_fsync = os.fsync

    def watch(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        assert (root / "old/new/deep/x").exists() == (len(synced) > 1)
        true_fsync(fd)

    async with opened(root) as store:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", watch)
            await put(store, "old/new/deep/x", b"1")

    assert synced[0] == (root / "old/new/deep/x").stat().st_ino
    assert sorted(synced[1:]) == sorted((root / name).stat().st_ino for name in ("old", "old/new", "old/new/deep"))


# --- conditions


async def test_an_upload_never_overwrites(root: pathlib.Path, way: str) -> None:
    """An object that appeared while the upload ran stands untouched, and nothing of the upload remains."""
    async with opened(root) as store:
        upload = await start(store, "a/x", 3)
        await upload.write(b"new")
        (root / "a").mkdir()
        (root / "a/x").write_bytes(b"old")
        with pytest.raises(ObjectStands):
            await upload.commit()
        await upload.abort()

    assert (root / "a/x").read_bytes() == b"old"
    assert tree(root) == ["a", "a/x"]


@pytest.mark.parametrize("meanwhile", ["changed", "gone", "folder gone"])
async def test_a_replacement_takes_only_the_version_that_it_names(root: pathlib.Path, way: str, meanwhile: str) -> None:
    """Another version, or none at all: 412, and no folder is made for what cannot succeed."""
    (root / "a").mkdir()
    (root / "a/x").write_bytes(b"old")

    async with opened(root) as store:
        upload = await start(store, "a/x", 3, await tag(store, "a/x"))
        await upload.write(b"new")
        if meanwhile == "changed":
            (root / "a/x").write_bytes(b"other")
        else:
            (root / "a/x").unlink()
        if meanwhile == "folder gone":
            (root / "a").rmdir()
        with pytest.raises(ObjectStands):
            await upload.commit()

    assert tree(root) == {"changed": ["a", "a/x"], "gone": ["a"], "folder gone": []}[meanwhile]


async def test_announced_and_received_must_agree(root: pathlib.Path, way: str) -> None:
    """An upload that ends early must not become an object, even if a caller forgot to count."""
    async with opened(root) as store:
        for content in (b"12", b"1234"):
            upload = await start(store, "x", 3)
            await upload.write(content)
            with pytest.raises(StoreFault):
                await upload.commit()

    assert tree(root) == []


# --- keys that cannot be


@pytest.mark.parametrize(
    "key",
    [
        "link/x",
        "real/link/x",
        "link",
        "fifo",
        "fifo/x",
        "file/x",
        "real",
        ".oncegate/x",
        ".Oncegate/staging/x",
        "n" * 256,
        "deep/" + "n" * 256,
        "n" * 256 + "/x",
        "../x",
        "a//x",
        "",
        "a\nb",
        "a\\b",
        "a\0b",
        "\ud800",
        "k/" * 512 + "k",
    ],
)
async def test_a_key_that_has_no_place_is_refused_before_a_byte_is_read(
    root: pathlib.Path, tmp_path: pathlib.Path, way: str, key: str
) -> None:
    """Through a link, through a file, over a folder, reserved, too long: said at the start, and nothing is made."""
    (tmp_path / "outside").mkdir()
    (root / "real").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "real/link").symlink_to(tmp_path / "outside")
    (root / "file").write_bytes(b"file")
    os.mkfifo(root / "fifo")
    before = tree(root)

    async with opened(root) as store:
        with pytest.raises(KeyRefused):
            await start(store, key, 1)

    assert tree(root) == before
    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.parametrize("swap", ["folder", "link", "file above", "link above"])
async def test_a_name_taken_meanwhile_by_no_object_is_refused(
    root: pathlib.Path, tmp_path: pathlib.Path, way: str, swap: str
) -> None:
    """A folder or a link put in the way during the upload: it is neither overwritten nor followed."""
    (tmp_path / "outside").mkdir()

    async with opened(root) as store:
        upload = await start(store, "a/x", 1)
        await upload.write(b"1")
        if swap.endswith("above"):
            (root / "a").write_bytes(b"") if swap.startswith("file") else (root / "a").symlink_to(tmp_path / "outside")
        else:
            (root / "a").mkdir()
            (root / "a/x").mkdir() if swap == "folder" else (root / "a/x").symlink_to(tmp_path / "outside/x")
        with pytest.raises(KeyRefused):
            await upload.commit()

    assert os.listdir(tmp_path / "outside") == []
    assert not any(name.startswith(".oncegate/staging/") for name in tree(root))


# --- endings before the end


@pytest.mark.parametrize("held_bytes", [0, 10, FLUSH_BYTES])
async def test_an_aborted_upload_leaves_nothing(root: pathlib.Path, way: str, held_bytes: int) -> None:
    """Neither bytes nor folders; twice is as good as once, and after it nothing can be committed."""
    async with opened(root) as store:
        upload = await start(store, "new/x", 1 << 20)
        await upload.write(b"x" * held_bytes)
        await upload.abort()
        await upload.abort()
        with pytest.raises(StoreFault):
            await upload.commit()

    assert tree(root) == []


async def test_a_cancelled_write_leaves_an_upload_that_cannot_be_committed(
    root: pathlib.Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread still writes when the viewer is gone: abort waits for it, so it never writes to another's descriptor."""
    true_append = staging.StagedFile.append

    async with opened(root) as store:
        started, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow_append(self: staging.StagedFile, data: bytes) -> None:
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            true_append(self, data)

        monkeypatch.setattr(staging.StagedFile, "append", slow_append)
        upload = await start(store, "x")
        task = asyncio.create_task(upload.write(b"x" * FLUSH_BYTES))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(StoreFault):
            await upload.commit()
        ending = asyncio.create_task(upload.abort())
        await asyncio.sleep(0)
        assert not ending.done()
        go_on.set()
        await ending

    assert tree(root) == []


async def test_a_start_that_is_cancelled_leaves_nothing(
    root: pathlib.Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread opens a staged file for a viewer who is gone: nobody else would ever close it."""
    true_reserve = staging.StagedFile.reserve

    async with opened(root) as store:
        started, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow_reserve(self: staging.StagedFile, size_bytes: int) -> None:
            loop.call_soon_threadsafe(started.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            true_reserve(self, size_bytes)

        monkeypatch.setattr(staging.StagedFile, "reserve", slow_reserve)
        task = asyncio.create_task(start(store, "x", 1000))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        deadline = loop.time() + 5
        while tree(root) and loop.time() < deadline:
            await asyncio.sleep(0.01)

    assert tree(root) == []


async def test_an_abort_that_is_cancelled_while_all_threads_are_busy_still_happens(
    root: pathlib.Path, way: str
) -> None:
    """Work that only waits in the queue goes when its waiter is cancelled, unless it is shielded: the file would stay."""
    async with opened(root) as store:
        upload = await start(store, "x", 1000)
        go_on = threading.Event()
        for _ in range(THREADS_MAX):
            store._pool.submit(go_on.wait, 10)
        ending = asyncio.create_task(upload.abort())
        await asyncio.sleep(0)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        go_on.set()

    assert tree(root) == []


async def test_an_upload_that_lost_takes_its_folders_along(
    root: pathlib.Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders are made at the commit; if then the link fails, they go again, but never one that another one uses."""

    def fail(*_: object, **__: object) -> None:
        (root / "new/shared/other").write_bytes(b"")
        raise OSError(errno.ENOSPC, "full")

    (root / "old").mkdir()

    async with opened(root) as store:
        upload = await start(store, "new/shared/deep/er/x", 1)
        await upload.write(b"1")
        with monkeypatch.context() as patch, pytest.raises(StoreFull):
            patch.setattr(os, "link", fail)
            await upload.commit()

    assert tree(root) == ["new", "new/shared", "new/shared/other", "old"]


async def test_a_folder_that_goes_between_step_and_link_is_made_again(
    root: pathlib.Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another upload lost and took its folder away at the worst moment: this one must not fail for it, nor try for ever."""
    true_link = staging.StagedFile.link_to
    tries: list[int] = []

    async def work(store: DirectoryStore, vanishing: int) -> None:
        def vanish(self: staging.StagedFile, name: bytes, folder_fd: int) -> None:
            tries.append(1)
            if len(tries) <= vanishing:
                (root / "a/b").rmdir()
            true_link(self, name, folder_fd)

        with monkeypatch.context() as patch:
            patch.setattr(staging.StagedFile, "link_to", vanish)
            tries.clear()
            await put(store, "a/b/x", b"1")

    with pytest.raises(StoreBusy):
        async with opened(root) as store:
            await work(store, placing.PLACING_TRIES_MAX)
    assert tree(root) == []
    async with opened(root) as store:
        await work(store, placing.PLACING_TRIES_MAX - 1)
    assert tree(root) == ["a", "a/b", "a/b/x"]


async def test_who_holds_the_lock_for_replacing_and_stops_is_not_waited_for_for_ever(
    root: pathlib.Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped gateway must not take the threads of all others: after a while it is 503, and the object stands."""
    (root / "x").write_bytes(b"old")
    holder = spawn(
        """
        import fcntl
        os.makedirs(root + "/.oncegate", exist_ok=True)
        fd = os.open(root + "/.oncegate/replace.lock", os.O_WRONLY | os.O_CREAT)
        fcntl.flock(fd, fcntl.LOCK_EX)
        print("ready", flush=True)
        sys.stdin.readline()
        """,
        root,
        way,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    monkeypatch.setattr(placing, "LOCK_WAIT_MAX_S", 0.05)

    try:
        async with opened(root) as store:
            with pytest.raises(StoreBusy):
                await put(store, "x", b"new", replaces=await tag(store, "x"))
        assert tree(root) == ["x"]
        assert (root / "x").read_bytes() == b"old"
    finally:
        holder.communicate("\n", timeout=10)


# --- whose fault it is


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("write", errno.ENOSPC, StoreFull),
        ("write", errno.EDQUOT, StoreFull),
        ("write", errno.EFBIG, StoreFull),
        ("write", errno.EIO, StoreFault),
        ("fsync", errno.EIO, StoreFault),
        ("link", errno.EACCES, StoreRefused),
        ("link", errno.EROFS, StoreRefused),
        ("link", errno.EMFILE, StoreBusy),
        ("mkdir", errno.EACCES, StoreRefused),
        ("mkdir", errno.ENOSPC, StoreFull),
    ],
)
async def test_each_errno_of_an_upload_has_its_kind(
    root: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int, kind: type[StoreFault]
) -> None:
    """507, 502 or 503 hangs on this; no errno may escape as an OSError, and nothing remains."""

    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    async with opened(root) as store:
        upload = await start(store, "a/x")
        await upload.write(b"1")
        with monkeypatch.context() as patch, pytest.raises(StoreFault) as caught:
            patch.setattr(os, name, fail)
            await upload.commit()
        assert type(caught.value) is kind

    assert tree(root) == []


async def test_a_file_limit_is_a_full_store(root: pathlib.Path, way: str) -> None:
    """The real EFBIG, at the limit that an operator set for the process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    async with opened(root) as store:
        upload = await start(store, "new/x")
        resource.setrlimit(resource.RLIMIT_FSIZE, (FLUSH_BYTES * 2 - 10, limits[1]))
        try:
            await upload.write(b"x" * FLUSH_BYTES)
            with pytest.raises(StoreFull):
                await upload.write(b"x" * FLUSH_BYTES)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await upload.abort()

    assert tree(root) == []


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of 1 MiB, where this machine lets us mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "oncegate-test", disk], check=False, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if mounted.returncode != 0:
        pytest.skip("no file system may be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_is_met_before_a_byte_is_read(small_disk: pathlib.Path, way: str) -> None:
    """The viewer said how much will come: no room is no room at the start, and the room is free again after."""
    async with opened(small_disk) as store:
        with pytest.raises(StoreFull):
            await start(store, "new/x", 1 << 21)
        await put(store, "y", b"y" * (1 << 19))

    assert tree(small_disk) == ["y"]


async def test_a_disk_that_fills_up_midway_leaves_nothing(small_disk: pathlib.Path, way: str) -> None:
    """Of unknown length, the upload fails when the disk is full, and gives back all that it took."""
    async with opened(small_disk) as store:
        upload = await start(store, "new/x")
        with pytest.raises(StoreFull):
            for _ in range(8):
                await upload.write(b"x" * FLUSH_BYTES)
        await upload.abort()
        await put(store, "y", b"y" * (1 << 19))

    assert tree(small_disk) == ["y"]


@pytest.mark.parametrize("replaces", [False, True])
async def test_below_a_mount_point_nothing_is_visible_before_its_time(
    root: pathlib.Path, small_disk: pathlib.Path, replaces: bool
) -> None:
    """Hard links do not cross file systems: a new object is staged in its own; a replacement is refused, not risked."""
    (root / "mnt").mkdir()
    bound = subprocess.run(["mount", "--bind", small_disk, root / "mnt"], check=False, capture_output=True)
    if bound.returncode != 0:
        pytest.skip("no folder may be mounted here")
    try:
        async with opened(root) as store:
            told = await put(store, "mnt/a/x", b"1")
            if replaces:
                with pytest.raises(KeyRefused):
                    await put(store, "mnt/a/x", b"2", replaces=told.etag)
            assert await tag(store, "mnt/a/x") == told.etag
        assert tree(root) == ["mnt", "mnt/a", "mnt/a/x"]
    finally:
        subprocess.run(["umount", root / "mnt"], check=True)


# --- races of processes

RACE = """
    async def one(store, replaces, content):
        upload = await store.start_upload(
            "new/folder/x", content_type="x/y", size_bytes=len(content), replaces=replaces
        )
        for at in range(0, len(content), 70_000):
            await upload.write(content[at : at + 70_000])
        try:
            await upload.commit()
        except ObjectStands:
            return "stands"
        return "won"

    async def main():
        name, count, replaces = rest[0], int(rest[1]), rest[2] or None
        store = DirectoryStore(pathlib.Path(root))
        print("ready", flush=True)
        sys.stdin.readline()
        contents = [f"{name}{i:02}".encode() * 100_000 for i in range(count)]
        print(*await asyncio.gather(*(one(store, replaces, content) for content in contents)))
        await store.aclose()

    asyncio.run(main())
    """


def is_one_upload(content: bytes) -> bool:
    """Tell whether all of a raced object is from one upload."""
    return len(content) == 300_000 and content == content[:3] * 100_000


def test_of_32_uploads_over_3_processes_one_wins(root: pathlib.Path, way: str) -> None:
    """One key, three gateways: exactly one commit succeeds, the object is that one's, whole, and nothing else remains."""
    said = run_at_once(RACE, [(root, way, "a", 11, ""), (root, way, "b", 11, ""), (root, way, "c", 10, "")])
    assert " ".join(said).split().count("won") == 1
    assert " ".join(said).split().count("stands") == 31
    assert is_one_upload((root / "new/folder/x").read_bytes())
    assert tree(root) == ["new", "new/folder", "new/folder/x"]


async def test_of_32_replacements_over_3_processes_one_wins(root: pathlib.Path, way: str) -> None:
    """Each saw the same version: comparing and renaming are one step for all gateways, or two would win."""
    async with opened(root) as store:
        etag = (await put(store, "new/folder/x", b"old")).etag
    said = run_at_once(RACE, [(root, way, "a", 11, etag), (root, way, "b", 11, etag), (root, way, "c", 10, etag)])
    assert " ".join(said).split().count("won") == 1
    assert " ".join(said).split().count("stands") == 31
    assert is_one_upload((root / "new/folder/x").read_bytes())
    assert tree(root) == ["new", "new/folder", "new/folder/x"]


async def test_comparing_and_renaming_are_one_step(
    root: pathlib.Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replacement comes at the one moment that matters, which races of processes hit only sometimes."""
    true_rename = staging.StagedFile.rename_to
    came_between: list[StoreFault | ObjectInfo] = []

    async with opened(root) as store:
        etag = (await put(store, "x", b"old")).etag
        first, second = [await start(store, "x", 3, etag) for _ in range(2)]
        await first.write(b"1st")
        await second.write(b"2nd")
        loop = asyncio.get_running_loop()

        def come_between(self: staging.StagedFile, name: bytes, folder_fd: int) -> None:
            monkeypatch.setattr(staging.StagedFile, "rename_to", true_rename)
            try:
                came_between.append(asyncio.run_coroutine_threadsafe(second.commit(), loop).result(10))
            except StoreFault as fault:
                came_between.append(fault)
            true_rename(self, name, folder_fd)

        monkeypatch.setattr(staging.StagedFile, "rename_to", come_between)
        monkeypatch.setattr(placing, "LOCK_WAIT_MAX_S", 0.05)
        await first.commit()

    assert [type(outcome) for outcome in came_between] == [StoreBusy]
    assert (root / "x").read_bytes() == b"1st"


# --- kills

UPLOADING = """
    async def main():
        store = DirectoryStore(pathlib.Path(root))
        upload = await store.start_upload("new/x", content_type="x/y", size_bytes=1 << 20, replaces=rest[0] or None)
        await upload.write(b"x" * (1 << 19))
        if rest[1:] == ["in the rename"]:
            def hang(*_, **__):
                print("ready", flush=True)
                sys.stdin.readline()
            os.rename = hang
            await upload.write(b"x" * (1 << 19))
            await upload.commit()
        print("ready", flush=True)
        sys.stdin.readline()

    asyncio.run(main())
    """

SOON_S = 60


def kill_when_ready(process: subprocess.Popen[str]) -> None:
    """Kill -9, as soon as the process says that it is where it should die."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate(timeout=10)


async def test_a_killed_upload_is_never_seen_and_is_swept(root: pathlib.Path, way: str) -> None:
    """Killed midway: no object, no folder; without names nothing at all remains, with names until the sweep."""
    kill_when_ready(spawn(UPLOADING, root, way, ""))
    left = tree(root)
    assert len(left) == (1 if way == "named" else 0)
    assert all(name.startswith(".oncegate/staging/") for name in left)
    now_s = int(time.time())

    async with opened(root) as store:
        assert await store.look("new/x") is None
        assert await store.list_objects("", "", 10) == []
        assert await store.sweep(now_s - SOON_S) == 0, "it is not old enough"
        assert await store.sweep(now_s + SOON_S) == len(left)
        assert await store.sweep(now_s + SOON_S) == 0

    assert tree(root) == []


async def test_a_kill_between_naming_and_renaming_is_swept(root: pathlib.Path, way: str) -> None:
    """A replacement has a staged name for a moment, in both ways; the lock goes with the process, the name by the sweep."""
    async with opened(root) as store:
        etag = (await put(store, "new/x", b"old")).etag
    kill_when_ready(spawn(UPLOADING, root, way, etag, "in the rename"))

    async with opened(root) as store:
        assert await tag(store, "new/x") == etag
        assert await store.sweep(int(time.time()) + SOON_S) == 1
        await put(store, "new/x", b"new", replaces=etag)
    assert tree(root) == ["new", "new/x"]
    assert (root / "new/x").read_bytes() == b"new"


async def test_a_sweep_never_takes_a_live_upload(root: pathlib.Path, way: str) -> None:
    """However old its last write is: a slow upload, here or in another process, is still one."""
    other = spawn(UPLOADING, root, way, "")
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"

    async with opened(root) as store:
        upload = await start(store, "y", 3)
        assert await store.sweep(int(time.time()) + SOON_S) == 0
        await upload.write(b"123")
        await upload.commit()

    assert (root / "y").read_bytes() == b"123"
    other.kill()
    other.communicate(timeout=10)


async def test_a_sweep_takes_only_its_own(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A link, a folder or a FIFO in the staging folder is not ours: it is neither followed nor waited for."""
    (tmp_path / "secret").write_bytes(b"secret")
    (root / ".oncegate/staging/folder").mkdir(parents=True)
    (root / ".oncegate/staging/link").symlink_to(tmp_path / "secret")
    os.mkfifo(root / ".oncegate/staging/fifo")
    (root / ".oncegate/staging/left").write_bytes(b"half")

    async with opened(root) as store:
        assert await store.sweep(int(time.time()) + SOON_S) == 1

    assert sorted(os.listdir(root / ".oncegate/staging")) == ["fifo", "folder", "link"]
    assert (tmp_path / "secret").read_bytes() == b"secret"


async def test_a_sweep_of_a_new_store_finds_nothing(root: pathlib.Path) -> None:
    """Before the first upload there is no staging folder, which is no fault, and none is made."""
    async with opened(root) as store:
        assert await store.sweep(int(time.time())) == 0
    assert tree(root) == []
