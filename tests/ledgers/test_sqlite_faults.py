"""What can be the matter with a ledger's file: refused with words that help, or ``Unknown`` until it is over."""

import asyncio
import contextlib
import functools
import os
import pathlib
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing

import pytest

from oncegate.ledgers.opening import open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, LedgerUnfit, Stands, Unknown
from oncegate.ledgers.sqlite import file as sqlite_file
from oncegate.ledgers.sqlite import fitness as sqlite_fitness
from oncegate.ledgers.sqlite.ledger import SqliteLedger
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.ledger_suite import LedgerSuite

LINK, OTHER = bytes(range(16)), bytes(range(1, 17))
RECORD = b'{"c":[["q1w2e3r4t5y6u7i8",1767290400,"203.0.113.178","x7Qa"]]}'
NOBODY = 65534

pytestmark = pytest.mark.faults


@pytest.fixture
def path(tmp_path) -> pathlib.Path:
    """Give a ledger that was just made."""
    sqlite_file.create(tmp_path / "ledger.db")
    return tmp_path / "ledger.db"


def fill(path: pathlib.Path, count: int) -> list[bytes]:
    """Store records, and return their ids in order."""
    return asyncio.run(filled(path, count))


async def filled(path: pathlib.Path, count: int) -> list[bytes]:
    """Store records, and return their ids in order."""
    ids = sorted(fresh_link_id() for _ in range(count))
    ledger = SqliteLedger(path)
    for start in range(0, count, 1000):
        outcomes = [ledger.insert(key, RECORD, FORGET_NEVER_S) for key in ids[start : start + 1000]]
        assert all(isinstance(outcome, Done) for outcome in await asyncio.gather(*outcomes))
    await ledger.aclose()
    return ids


def execute(path: pathlib.Path, *statements: str) -> None:
    """Do something to the file with another program's eyes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement).fetchall()


def as_nobody(folder: pathlib.Path, path: pathlib.Path) -> str:
    """Probe as a user without rights; return what it said. Root may write everywhere, so a child gives up its rights."""
    if os.geteuid():
        with pytest.raises(LedgerUnfit) as refusal:
            sqlite_fitness.check(path)
        return str(refusal.value)
    os.chmod(folder.parent, 0o755)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.setuid(NOBODY)
        said = b"fit"
        try:
            sqlite_fitness.check(path)
        except BaseException as refusal:  # noqa: BLE001  the child must say what happened, whatever it was
            said = f"{type(refusal).__name__}: {refusal}".encode()
        os.write(writing, said)
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with open(reading, "rb") as pipe:
        return pipe.read().decode()


@pytest.fixture
def public_folder():
    """Give a folder that other users can get to, as pytest's own cannot."""
    outer = pathlib.Path(tempfile.mkdtemp())
    (outer / "ledger").mkdir()
    yield outer / "ledger"
    shutil.rmtree(outer)


# Refused by the probe.


def write_garbage(path: pathlib.Path) -> None:
    """Put something else over the header."""
    path.write_bytes(b"no database " * 1000)


def cut_off(path: pathlib.Path) -> None:
    """Lose the end, as a copy that was interrupted does."""
    fill(path, 500)
    os.truncate(path, path.stat().st_size // 2)


def empty(path: pathlib.Path) -> None:
    """Lose all."""
    os.truncate(path, 0)


def spoil_a_page(path: pathlib.Path) -> None:
    """Put noise where records are."""
    fill(path, 500)
    with open(path, "r+b") as file:
        file.seek(4 * 4096)
        file.write(os.urandom(4096))


def lose_the_birth(path: pathlib.Path) -> None:
    """Delete the one row that says when it was born."""
    execute(path, "DELETE FROM ledger")


def lose_a_table(path: pathlib.Path) -> None:
    """Drop the records."""
    execute(path, "DROP TABLE records")


def belong_to_another(path: pathlib.Path) -> None:
    """Make it another program's."""
    path.unlink()
    execute(path, "PRAGMA application_id = 7", "CREATE TABLE theirs (x)")


def be_nobodys(path: pathlib.Path) -> None:
    """Make it a database without any mark."""
    path.unlink()
    execute(path, "CREATE TABLE records (x)")


def be_newer(path: pathlib.Path) -> None:
    """Come from a later version."""
    execute(path, f"PRAGMA user_version = {sqlite_file.SCHEMA_VERSION + 1}")


def be_older(path: pathlib.Path) -> None:
    """Come from an earlier version."""
    execute(path, f"PRAGMA user_version = {sqlite_file.SCHEMA_VERSION - 1}")


def have_two_names(path: pathlib.Path) -> None:
    """Be known by a second name."""
    os.link(path, path.with_name("second.db"))


def be_a_folder(path: pathlib.Path) -> None:
    """Be no file at all."""
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (write_garbage, "not a database: the file is damaged; restore it"),
        (cut_off, "the file is damaged; restore it"),
        (empty, "is empty: restore it"),
        (spoil_a_page, "the file is damaged; restore it"),
        (lose_the_birth, "`ledger` is empty: the file is damaged; restore it"),
        (lose_a_table, "no such table: records: the file is damaged; restore it"),
        (belong_to_another, "a database of another program: correct"),
        (be_nobodys, "a database of another program: correct"),
        (be_newer, "made by a newer oncegate (schema 2, this one knows 1): upgrade oncegate"),
        (be_older, "the older schema 0: run `oncegate ledger migrate`"),
        (have_two_names, "has 2 names (hard links)"),
        (be_a_folder, "no regular file"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_and_left_as_it_is(path, harm, words):
    """Never made anew: an empty ledger opens every used link again. The words name the file, the matter, the remedy."""
    harm(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LedgerUnfit) as refusal:
        sqlite_fitness.check(path)
    assert str(path) in str(refusal.value)
    assert words in str(refusal.value)
    assert before is None or path.read_bytes() == before


def test_a_log_without_its_ledger_is_refused(path):
    """The file was moved away while in use: SQLite would play the old log into a new one."""
    path.with_name("ledger.db-wal").write_bytes(b"x" * 100)
    path.unlink()
    with pytest.raises(LedgerUnfit, match="moved or deleted while in use"):
        sqlite_fitness.check(path)
    assert not path.exists()


def test_a_missing_folder_is_named(tmp_path):
    """A volume that was not mounted shows as a missing folder; making it would hide that."""
    with pytest.raises(LedgerUnfit, match="is no folder: make it"):
        sqlite_fitness.check(tmp_path / "missing" / "ledger.db")
    assert not (tmp_path / "missing").exists()


def test_a_missing_file_in_its_folder_is_made(tmp_path):
    """The first start in a fresh container; born then, and not again at the next."""
    first = sqlite_fitness.check(tmp_path / "ledger.db")
    assert sqlite_fitness.check(tmp_path / "ledger.db") == first


def test_what_an_interrupted_making_left_is_no_ledger(tmp_path):
    """Killed while it was made: nothing has the name yet, and the next start makes it whole."""
    (tmp_path / "ledger.db-new").write_bytes(b"half")
    sqlite_fitness.check(tmp_path / "ledger.db")
    assert not (tmp_path / "ledger.db-new").exists()


def test_a_folder_that_cannot_be_written_is_refused(public_folder):
    """The usual mistake with volumes: they belong to root."""
    os.chmod(public_folder, 0o555)
    said = as_nobody(public_folder, public_folder / "ledger.db")
    assert "cannot be written to by user" in said
    assert "change the folder's owner or mode" in said


def test_a_file_that_cannot_be_written_is_refused(public_folder):
    """``init`` was run by root, ``serve`` by another: SQLite would open it read-only without a word."""
    sqlite_file.create(public_folder / "ledger.db")
    os.chmod(public_folder, 0o777)
    os.chmod(public_folder / "ledger.db", 0o444)
    os.chmod(public_folder / "ledger.db-lock", 0o666)
    assert "cannot be read and written by user" in as_nobody(public_folder, public_folder / "ledger.db")


def test_a_ledger_that_another_program_holds_is_refused(path):
    """A shell left open in a transaction: not damaged, and the words say what to end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnfit, match="another program holds the file"):
            sqlite_fitness.check(path, busy_s=0.05)


def test_a_lock_that_another_process_holds_is_named(path):
    """A process that hangs while it writes, or was stopped, is found by its lock."""
    with sqlite_file.file_lock(path), pytest.raises(LedgerUnfit, match="another process holds the ledger's lock"):
        sqlite_fitness.check(path, busy_s=0.05)


LOSE_THE_LOG = """
import pathlib, sys
from oncegate.ledgers.protocol import LedgerExchanged
from oncegate.ledgers.sqlite.connection import OwnConnection
path, does_close = pathlib.Path(sys.argv[1]), sys.argv[2] == "closed"
own, log = OwnConnection(path, busy_s=1.0), path.with_name("ledger.db-wal")
own.get().execute("INSERT INTO records VALUES (x'00', 1, 1, x'7b7d')")
log.rename(log.with_name("taken"))
log.write_bytes(b"another's")
path.with_name("before").write_bytes(path.read_bytes())
try:
    own.get()
except LedgerExchanged:
    print("noticed")
if does_close:
    own.drop()
"""


@pytest.mark.parametrize("how", ["closed", "left"])
def test_a_process_whose_log_was_exchanged_ends_without_a_write(path, how):
    """SQLite would move what our log holds into the file, and remove the log by its name: by then both are another's.

    So it would at the end of the process, where nobody has closed it.
    """
    command = [sys.executable, "-c", LOSE_THE_LOG, path, how]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout == "noticed\n"
    assert path.read_bytes() == path.with_name("before").read_bytes()
    assert path.with_name("ledger.db-wal").read_bytes() == b"another's"


# Unknown while it runs.


@contextlib.contextmanager
def files_limited_to(size_bytes: int):
    """Let no file of this process grow above a size: a real failure of a real write, without root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.anyio
async def test_a_commit_that_fails_is_unknown_and_the_next_works(
    path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log cannot be written: every write of the batch is Unknown, none stands, and it recovers by itself."""
    ledger = SqliteLedger(path)
    assert await ledger.insert(LINK, RECORD, FORGET_NEVER_S) == Done(1)
    size_bytes = path.with_name("ledger.db-wal").stat().st_size
    ids = [fresh_link_id() for _ in range(64)]
    with files_limited_to(size_bytes):
        for _ in range(3):
            outcomes = await asyncio.gather(*(ledger.insert(key, RECORD, FORGET_NEVER_S) for key in ids))
            assert all(isinstance(outcome, Unknown) for outcome in outcomes), outcomes
    outcomes = await asyncio.gather(*(ledger.insert(key, b"again", FORGET_NEVER_S) for key in ids))
    # A write told Unknown may stand all the same; each of these has one winner, the first try or the second.
    for key, outcome in zip(ids, outcomes, strict=True):
        assert outcome == Stands(RECORD, 1) or isinstance(outcome, Done)
        stands = await ledger.read(key)
        assert stands == Stands(RECORD if isinstance(outcome, Stands) else b"again", 1)
    assert await ledger.insert(LINK, RECORD, FORGET_NEVER_S) == Stands(RECORD, 1)
    await ledger.aclose()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]  # it began, it ended


def test_a_full_disk_is_unknown_and_the_next_works(tmp_path):
    """A real file system of 512 KiB, filled: Unknown while it is full; when room is made all goes on."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a small file system needs root")

    async def run() -> None:
        ledger = SqliteLedger(folder / "ledger.db")
        await ledger.probe()
        assert await ledger.insert(LINK, RECORD, FORGET_NEVER_S) == Done(1)
        ballast = folder / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        done: list[bytes] = []
        outcome = Done(0)
        while isinstance(outcome, Done):
            done.append(key := fresh_link_id())
            outcome = await ledger.insert(key, RECORD, FORGET_NEVER_S)
        assert isinstance(outcome, Unknown)
        assert "full" in outcome.why
        last = done.pop()
        ballast.unlink()
        assert isinstance(await ledger.insert(last, RECORD, FORGET_NEVER_S), Done | Stands)
        for key in [LINK, *done]:
            assert await ledger.insert(key, b"second", FORGET_NEVER_S) == Stands(RECORD, 1)
        await ledger.aclose()

    try:
        asyncio.run(run())
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.anyio
async def test_a_ledger_locked_for_long_is_unknown_in_time(path: pathlib.Path) -> None:
    """Another program holds the lock: an answer within the time, and claims go on when it lets go."""
    ledger = SqliteLedger(path, busy_s=10, answer_within_s=0.2)
    assert await ledger.insert(LINK, RECORD, FORGET_NEVER_S) == Done(1)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        outcome = await ledger.insert(OTHER, RECORD, FORGET_NEVER_S)
        assert outcome == Unknown("no answer within 0.2 s")
        holder.execute("COMMIT")
    # The write that was told Unknown is still under way and may land: exactly what Unknown says.
    outcome = await ledger.insert(OTHER, b"again", FORGET_NEVER_S)
    assert outcome in (Stands(RECORD, 1), Done(1), Unknown("no answer within 0.2 s"))
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_deleted_file_takes_no_claims(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The file goes on existing for who has it open, but no other process would see the claims in it."""
    ledger = SqliteLedger(path)
    assert await ledger.insert(LINK, RECORD, FORGET_NEVER_S) == Done(1)
    path.rename(tmp_path / "moved.db")
    for outcome in (await ledger.insert(OTHER, RECORD, FORGET_NEVER_S), await ledger.read(LINK)):
        assert isinstance(outcome, Unknown)
        assert "does not exist" in outcome.why or "No such file" in outcome.why
    assert not path.exists()
    await ledger.aclose()


@pytest.mark.anyio
async def test_another_ledger_in_its_place_takes_no_claims(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A new ledger put there while it runs knows nothing of what was used: only a restart may look at its birth."""
    ledger = SqliteLedger(path)
    assert await ledger.insert(LINK, RECORD, FORGET_NEVER_S) == Done(1)
    assert isinstance(await ledger.read(LINK), Stands)
    for found in tmp_path.glob("ledger.db*"):
        found.rename(tmp_path / f"old-{found.name}")
    sqlite_file.create(path, born_ms=1)
    for outcome in (await ledger.insert(LINK, RECORD, FORGET_NEVER_S), await ledger.read(LINK)):
        assert isinstance(outcome, Unknown)
        assert "restart it" in outcome.why
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_damaged_page_takes_down_only_what_lies_on_it(path: pathlib.Path) -> None:
    """Claims that wait beside a damaged record go on; what cannot be read is Unknown, and never won again."""
    ids = await filled(path, 5000)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 4096 // 2 * 4096)
        file.write(b"\xff" * 4096)

    ledger = SqliteLedger(path)
    outcomes = {key: await ledger.insert(key, b"second", FORGET_NEVER_S) for key in ids}
    lost = [key for key, outcome in outcomes.items() if isinstance(outcome, Unknown)]
    assert 0 < len(lost) < 1000
    assert all(outcome == Stands(RECORD, 1) for key, outcome in outcomes.items() if key not in lost)
    batch = [lost[0], *(fresh_link_id() for _ in range(10)), ids[0]]
    first, *fresh, last = await asyncio.gather(*(ledger.insert(key, b"third", FORGET_NEVER_S) for key in batch))
    assert isinstance(first, Unknown)
    assert "malformed" in first.why
    assert all(isinstance(outcome, Done) for outcome in fresh)
    assert last == Stands(RECORD, 1)
    assert isinstance(await ledger.read(lost[0]), Unknown)
    with pytest.raises(OSError, match="malformed"):
        await ledger.scan(b"", 10_000)
    await ledger.aclose()


@pytest.mark.anyio
async def test_killed_five_times_under_load_nothing_is_lost(tmp_path: pathlib.Path) -> None:
    """SIGKILL in the middle of commits: what was answered stands, the file is whole, and no id is won twice."""
    suite = LedgerSuite(functools.partial(open_ledger, "sqlite:./ledger.db", folder=tmp_path), kills=5)
    await suite.run("check_a_killed_writer_loses_nothing")
    sqlite_fitness.check(tmp_path / "ledger.db")
