"""The file of the ledger ``sqlite:``: made, opened, and looked at before anything is trusted to it.

It never makes a ledger anew where a file stands, however broken: an empty ledger opens every used link again.

It opens the database through SQLite alone. POSIX drops all locks that a process holds on a file when the process
closes any descriptor of it, so one ``open`` here would silently take the locks from every connection of the process
(SQLite, "How To Corrupt An SQLite Database File", section 2.2).

Files beside it: ``-wal`` and ``-shm`` are SQLite's and belong to the database; ``-lock`` is ours and holds nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import sqlite3
import stat
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from oncegate.ledgers.file_system import Mount, mount_of
from oncegate.ledgers.protocol import LedgerFacts, LedgerUnfit

NETWORK_FILE_SYSTEM = "sqlite-network-file-system"

APPLICATION_ID = 0x6F6E6365  # "once" in ASCII; `file` and SQLite's own tools show it
SCHEMA_VERSION = 1
SQLITE_OLDEST = (3, 24, 0)  # ON CONFLICT DO UPDATE
BUSY_S = 4.0
CHECKED_WHOLE_BYTES_MAX = 64 * 2**20  # 600,000 records; a tenth of a second when cached, one from a slow disk

# WITHOUT ROWID: the row lies in the tree of its id, once. An index on forget_after would cost 25 bytes a record, so
# sweeping walks the ids instead. version_floor: the highest version ever swept; new records begin above it, so that
# no version names two states of one link.
_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE records (
    link_id BLOB PRIMARY KEY,
    version INTEGER NOT NULL,
    forget_after INTEGER NOT NULL,
    record BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    born_ms INTEGER NOT NULL,
    swept_until INTEGER NOT NULL,
    version_floor INTEGER NOT NULL
);
"""

_MIGHT_REOPEN = "a new ledger would open used links again"


@dataclass(frozen=True, slots=True)
class OpenLedger:
    """A connection to a ledger that was recognised as one of ours."""

    connection: sqlite3.Connection
    born_ms: int
    identity: tuple[int, int]


def create(path: pathlib.Path, *, born_ms: int | None = None) -> None:
    """Make an empty ledger, whole or not at all, readable by its owner only.

    Args:
        path: where; its folder exists.
        born_ms: milliseconds since 1970 UTC; by default the moment of the call.

    Raises:
        LedgerUnfit: something stands there, or the folder is missing or cannot be written to.
    """
    path = resolved(path)
    _check_folder(path.parent)
    with file_lock(path):
        if path.exists():
            raise LedgerUnfit(f"{path} exists: a ledger is made once; {_MIGHT_REOPEN}")
        _make(path, time.time_ns() // 1_000_000 if born_ms is None else born_ms)


def check(
    path: pathlib.Path,
    *,
    accept: Sequence[str] = (),
    find_mount: Callable[[pathlib.Path], Mount | None] = mount_of,
    busy_s: float = BUSY_S,
) -> LedgerFacts:
    """Find out whether this file can keep the guarantee; make it where none stands.

    Raises:
        LedgerUnfit: it cannot; the message names the file, what is the matter, and what to do.
    """
    if sqlite3.sqlite_version_info < SQLITE_OLDEST:
        raise LedgerUnfit(f"SQLite {sqlite3.sqlite_version} is too old for a ledger: 3.24 or newer is needed")
    path = resolved(path)
    _check_folder(path.parent)
    accepted = _check_mount(path, find_mount(path), accept)
    with file_lock(path, busy_s=busy_s):
        if not path.exists():
            _make(path, time.time_ns() // 1_000_000)
        _check_file(path)
        opened = connect(path, busy_s=busy_s)
        with contextlib.closing(opened.connection) as connection, _explained(path):
            if path.stat().st_size <= CHECKED_WHOLE_BYTES_MAX:
                (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict)
            # A page is really written and forced to the disk; only that shows a full or read-only one.
            connection.execute("UPDATE ledger SET swept_until = swept_until")
    return LedgerFacts(born_ms=opened.born_ms, accepted=accepted)


def connect(path: pathlib.Path, *, busy_s: float = BUSY_S) -> OpenLedger:
    """Open an existing ledger for one thread; every commit on it is forced to the disk.

    Raises:
        LedgerUnfit: there is none, or it is not one of ours, or of another version.
    """
    path = resolved(path)
    with _explained(path):
        identity = identity_of(path)
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=busy_s)
        try:
            return OpenLedger(connection, _recognise(connection, path), identity)
        except BaseException:
            connection.close()
            raise


def resolved(path: pathlib.Path) -> pathlib.Path:
    """Follow symbolic links, of a file that need not exist: SQLite puts its files beside the real one, and so must we."""
    return pathlib.Path(os.path.realpath(path))


def identity_of(path: pathlib.Path) -> tuple[int, int]:
    """Return what names the file itself, whatever it is called: device and inode."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def open_lock(path: pathlib.Path) -> int:
    """Open the lock file beside a ledger; the descriptor is the caller's."""
    return os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def take_lock(descriptor: int, *, busy_s: float) -> None:
    """Take the lock among processes, or fail after ``busy_s``.

    SQLite has its own; this one is for two reasons. SQLite before 3.51.3 can lose committed pages when one process
    commits while another checkpoints ("WAL-reset bug", sqlite.org/wal.html), so no two do either at once. And SQLite
    waits in sleeps that grow to 100 ms: with three processes on one file, 64 claims waiting in each, the slowest claim
    in a hundred took 35 to 55 ms and the slowest of all 730; with this lock 10 and 40, at the same rate.

    Raises:
        TimeoutError: another process holds it.
    """
    give_up_s = time.monotonic() + busy_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_s:
                raise TimeoutError(f"another process holds the ledger's lock for more than {busy_s:g} s") from None
            time.sleep(0.0005)
        else:
            return


def release_lock(descriptor: int) -> None:
    """Let the next process write."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


@contextlib.contextmanager
def file_lock(path: pathlib.Path, *, busy_s: float = BUSY_S) -> Generator[None]:
    """Hold the lock beside a ledger while it is made or checked.

    Raises:
        LedgerUnfit: the lock file cannot be made, or another process holds it.
    """
    with _explained(path):
        descriptor = open_lock(path)
        try:
            take_lock(descriptor, busy_s=busy_s)
        except BaseException:
            os.close(descriptor)
            raise
    try:
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def _check_folder(folder: pathlib.Path) -> None:
    if not folder.is_dir():
        raise LedgerUnfit(f"{folder} is no folder: make it, or change [ledger] url")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise LedgerUnfit(
            f"{folder} cannot be written to by user {os.geteuid()}: SQLite keeps its log beside the ledger; "
            "change the folder's owner or mode, or how it is mounted"
        )


def _check_mount(path: pathlib.Path, mount: Mount | None, accept: Sequence[str]) -> tuple[str, ...]:
    if mount is not None and mount.point == path:
        raise LedgerUnfit(
            f"{path} is mounted as a single file, so each container has a log of its own beside it and does not see "
            "the claims of the others: mount its folder instead"
        )
    if mount is not None and not mount.is_shared:
        return ()
    if NETWORK_FILE_SYSTEM in accept:
        return (NETWORK_FILE_SYSTEM,)
    if mount is None:
        raise LedgerUnfit(
            f"the kind of file system of {path} cannot be seen (no /proc/self/mountinfo): if it is a local disk, "
            f'set [ledger] accept = ["{NETWORK_FILE_SYSTEM}"]'
        )
    raise LedgerUnfit(
        f"{path} lies on {mount.point}, a file system of kind {mount.kind}: SQLite's log does not work where other "
        "machines may have the file open, and a link could be used twice. Put the ledger on a local disk, use a "
        "ledger server (postgresql:, redis:), or, if only one machine ever opens it, "
        f'set [ledger] accept = ["{NETWORK_FILE_SYSTEM}"]'
    )


def _check_file(path: pathlib.Path) -> None:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise LedgerUnfit(f"{path} is no regular file: change [ledger] url")
    if found.st_size == 0:
        raise LedgerUnfit(f"{path} is empty: restore it from a backup; {_MIGHT_REOPEN}")
    if found.st_nlink != 1:
        raise LedgerUnfit(
            f"{path} has {found.st_nlink} names (hard links): each would get a log of its own; remove the other names"
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise LedgerUnfit(f"{path} cannot be read and written by user {os.geteuid()}: change its owner or mode")


def _make(path: pathlib.Path, born_ms: int) -> None:
    for suffix in ("-wal", "-journal"):
        if path.with_name(path.name + suffix).exists():
            # SQLite would play the old log into the new file.
            raise LedgerUnfit(
                f"{path} is missing but its log {path.name}{suffix} stands there: the ledger was moved or deleted while "
                "in use; put both back, or remove the log too if it is to be forgotten"
            )
    unfinished = path.with_name(path.name + "-new")
    with _explained(path):
        for suffix in ("", "-wal", "-shm", "-journal"):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.executescript(f"BEGIN; {_SCHEMA} COMMIT")
            connection.execute("INSERT INTO ledger VALUES (1, ?, -1, 0)", (born_ms,))
            connection.execute("PRAGMA journal_mode = WAL")
        # Under the lock, and nobody else makes ledgers: nothing can stand there that this would replace.
        unfinished.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _recognise(connection: sqlite3.Connection, path: pathlib.Path) -> int:
    """Set the connection up, check whose file it is, and return when it was born (milliseconds since 1970 UTC)."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    if application_id != APPLICATION_ID:
        raise LedgerUnfit(f"{path} is a database of another program: change [ledger] url")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise LedgerUnfit(
            f"{path} was made by a newer oncegate (schema {version}, this one knows {SCHEMA_VERSION}): upgrade oncegate"
        )
    if version < SCHEMA_VERSION:
        raise LedgerUnfit(f"{path} has the older schema {version}: run `oncegate ledger migrate`")
    (journal_mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if journal_mode != "wal":
        raise LedgerUnfit(f"{path} cannot have a write-ahead log here (journal_mode is {journal_mode})")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS only: there fsync alone does not reach the disk
    connection.execute(f"PRAGMA cache_size = -{16 * 1024}")  # KiB
    connection.execute(f"PRAGMA journal_size_limit = {16 * 2**20}")  # bytes: a log that once grew is cut again
    row = connection.execute("SELECT born_ms FROM ledger").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the table `ledger` is empty")
    connection.execute("SELECT link_id, version, forget_after, record FROM records LIMIT 1").fetchone()
    return int(row[0])


@contextlib.contextmanager
def _explained(path: pathlib.Path) -> Generator[None]:
    """Turn what the driver and the operating system say into what the operator can do."""
    try:
        yield
    except sqlite3.Error as fault:
        raise LedgerUnfit(f"{path}: {fault}: {_remedy(getattr(fault, 'sqlite_errorcode', None))}") from fault
    except FileNotFoundError as fault:
        raise LedgerUnfit(f"{path} does not exist: run `oncegate init`, or change [ledger] url") from fault
    except TimeoutError as fault:
        raise LedgerUnfit(f"{path}: {fault}: find and end the process that does") from fault
    except OSError as fault:
        raise LedgerUnfit(f"{path}: {fault.strerror or fault}: check the folder's owner, mode and mount") from fault


def _remedy(code: int | None) -> str:
    match None if code is None else code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return "the disk is full; make room"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return "make file and folder writable for the user that oncegate runs as"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another program holds the file; end it (a database shell, a backup)"
        case sqlite3.SQLITE_IOERR:
            return "the disk fails; see the system's log"
        case _:
            return f"the file is damaged; restore it from a backup ({_MIGHT_REOPEN})"
