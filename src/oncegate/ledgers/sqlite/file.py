"""The file of the ledger ``sqlite:``, made and opened; ``fitness.py`` says whether it can be trusted.

It never replaces a file that exists, however broken it is: an empty ledger would open every used link again.

It opens the database through SQLite alone. POSIX drops all locks that a process holds on a file when the process
closes any descriptor of it, so one ``open`` here would silently take the locks from every connection of the process
(SQLite, "How To Corrupt An SQLite Database File", section 2.2).
Files beside it: ``-wal`` and ``-shm`` are SQLite's and belong to the database; ``-lock`` is ours and holds nothing.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
import time
from collections.abc import Generator
from dataclasses import dataclass

from oncegate.ledgers.protocol import LedgerAway, LedgerExchanged, LedgerUnfit
from oncegate.ledgers.sqlite.lock import open_lock, take_lock
from oncegate.ledgers.sqlite.watch import Watch, identity_of

APPLICATION_ID = 0x6F6E6365  # "once" in ASCII; `file` and SQLite's own tools show it
SCHEMA_VERSION = 1
BUSY_S = 4.0

# WITHOUT ROWID: the row is stored once, in the tree of its id. version_floor: the highest version ever swept; new
# records begin above it, so that no version names two states of one link.
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
# Added to a file of an earlier version as well: that version works on beside it. An index on forget_after would cost 24
# bytes a record, so the smallest is remembered, and a sweep walks only where something is due: least_due is of all
# records that the last walk left, least_new of all that were written since that walk began. Both begin at 0: the first sweep walks.
_ADDED = """
CREATE TABLE IF NOT EXISTS sweeping (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    tries TEXT NOT NULL,
    refused_before_ms INTEGER NOT NULL,
    plain_until INTEGER NOT NULL,
    least_due INTEGER NOT NULL,
    least_new INTEGER NOT NULL
);
INSERT OR IGNORE INTO sweeping VALUES (1, '', 0, -1, 0, 0);
"""

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
MIGHT_REOPEN = "a new ledger would open used links again"


@dataclass(frozen=True, slots=True)
class OpenLedger:
    """A connection to a ledger that was recognised as one of ours."""

    connection: sqlite3.Connection
    born_ms: int
    watch: Watch


def create(path: pathlib.Path, *, born_ms: int | None = None) -> None:
    """Make an empty ledger, whole or not at all, readable by its owner only.

    Args:
        path: where; its folder exists.
        born_ms: milliseconds since 1970 UTC; by default the moment of the call.

    Raises:
        LedgerUnfit: the file exists, or its folder is missing or cannot be written to.
    """
    path = resolved(path)
    check_folder(path.parent)
    with file_lock(path):
        if path.exists():
            raise LedgerUnfit(f"{path} exists", remedy=f"a ledger is made once; {MIGHT_REOPEN}")
        make(path, time.time_ns() // 1_000_000 if born_ms is None else born_ms)


def connect(path: pathlib.Path, *, busy_s: float = BUSY_S) -> OpenLedger:
    """Open an existing ledger for one thread; every commit on it is forced to the disk.

    Raises:
        LedgerUnfit: there is none, or it is not one of ours, or of another version.
    """
    path = resolved(path)
    with explained(path):
        identity = identity_of(path)
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=busy_s)
        try:
            born_ms = _recognise(connection, path)
            watch = Watch((path, identity), (log_of(path), identity_of(log_of(path))))
            return OpenLedger(connection, born_ms, watch)
        except BaseException:
            connection.close()
            raise


def resolved(path: pathlib.Path) -> pathlib.Path:
    """Follow symbolic links, of a file that need not exist: SQLite puts its files beside the real one, and so must we."""
    return pathlib.Path(os.path.realpath(path))


def log_of(path: pathlib.Path) -> pathlib.Path:
    """The path of SQLite's write-ahead log: the last commits are stored there alone."""
    return path.with_name(f"{path.name}-wal")


def add_missing(connection: sqlite3.Connection) -> None:
    """Make the table that a file of an earlier version lacks; under the lock of the ledger.

    Raises:
        sqlite3.Error: they cannot be made.
    """
    if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'sweeping'").fetchone()[0]:
        connection.executescript(f"BEGIN IMMEDIATE; {_ADDED} COMMIT")


@contextlib.contextmanager
def file_lock(path: pathlib.Path, *, busy_s: float = BUSY_S) -> Generator[None]:
    """Hold the lock beside a ledger while it is made or checked.

    Raises:
        LedgerUnfit: the lock file cannot be made, or another process holds it.
    """
    with explained(path):
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


def check_folder(folder: pathlib.Path) -> None:
    """Look whether files can be made there.

    Raises:
        LedgerUnfit: they cannot.
    """
    if not folder.is_dir():
        raise LedgerUnfit(f"{folder} is no folder", remedy="make it, or correct [ledger] url")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise LedgerUnfit(
            f"{folder} cannot be written to by user {os.geteuid()}: SQLite keeps its log beside the ledger",
            remedy="change the folder's owner or mode, or how it is mounted",
        )


def make(path: pathlib.Path, born_ms: int) -> None:
    """Make the file, whole or not at all; under its lock, and where none stands.

    Raises:
        LedgerUnfit: it cannot be made, or the log of another database is beside it.
    """
    for suffix in ("-wal", "-journal"):
        if path.with_name(path.name + suffix).exists():
            # SQLite would play the old log into the new file.
            raise LedgerUnfit(
                f"{path} is missing but its log {path.name}{suffix} stands there: the ledger was moved or deleted while "
                "in use",
                remedy="put both back, or remove the log too if it is to be forgotten",
            )
    unfinished = path.with_name(path.name + "-new")
    with explained(path):
        for suffix in ("", "-wal", "-shm", "-journal"):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
            connection.executescript(f"BEGIN; {_SCHEMA} {_ADDED} COMMIT")
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
        raise LedgerUnfit(f"{path} is a database of another program", remedy="correct [ledger] url")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise LedgerUnfit(
            f"{path} was made by a newer oncegate (schema {version}, this one knows {SCHEMA_VERSION})",
            remedy="upgrade oncegate",
        )
    if version < SCHEMA_VERSION:
        raise LedgerUnfit(f"{path} has the older schema {version}", remedy="run `oncegate ledger migrate`")
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
def explained(path: pathlib.Path) -> Generator[None]:
    """Turn what the driver and the operating system say into what the operator can do."""
    try:
        yield
    except sqlite3.Error as fault:
        code = getattr(fault, "sqlite_errorcode", None)
        kind = LedgerAway if code is not None and code & 0xFF in _BUSY else LedgerUnfit
        raise kind(f"{path}: {fault}", remedy=_remedy(code)) from fault
    except FileNotFoundError as fault:
        remedy = "run `oncegate init`, or correct [ledger] url"
        raise LedgerExchanged(f"{path} does not exist", remedy=remedy) from fault
    except TimeoutError as fault:
        raise LedgerAway(f"{path}: {fault}", remedy="find and end the process that does") from fault
    except OSError as fault:
        raise LedgerUnfit(
            f"{path}: {fault.strerror or fault}", remedy="check the folder's owner, mode and mount"
        ) from fault


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
            return f"the file is damaged; restore it from a backup ({MIGHT_REOPEN})"
