"""The connection of one thread to a ledger in SQLite: opened when needed, thrown away after a fault.

It is never used on a file that was exchanged, nor on a ledger of another birth. Nothing is read or written here but what
a lost log still holds.
"""

from __future__ import annotations

import contextlib
import pathlib
import sqlite3
import sys

from oncegate.ledgers.protocol import LedgerExchanged
from oncegate.ledgers.sqlite import file as sqlite_file


class OwnConnection:
    """One thread's connection.

    Args:
        path: of the ledger's file.
        busy_s: seconds to wait for other processes.
    """

    def __init__(self, path: pathlib.Path, *, busy_s: float) -> None:
        self._path = sqlite_file.resolved(path)
        self._busy_s = busy_s
        self._open: sqlite_file.OpenLedger | None = None
        self._born_ms: int | None = None
        self._lost_log: LedgerExchanged | None = None

    def get(self) -> sqlite3.Connection:
        """Return a connection to the ledger that was first opened.

        Raises:
            LedgerUnfit, OSError, sqlite3.Error: there is none, or another stands in its place.
        """
        if self._lost_log is not None:
            raise self._lost_log
        missing = None if self._open is None else self._open.watch.missing()
        if missing == self._path:
            self.drop()
        elif missing is not None and self._open is not None:
            self._leave_log(self._open)
        if self._open is None:
            opened = sqlite_file.connect(self._path, busy_s=self._busy_s)
            if self._born_ms not in {None, opened.born_ms}:
                opened.connection.close()
                raise self._exchanged()
            self._open, self._born_ms = opened, opened.born_ms
        return self._open.connection

    def begin_with(self, born_ms: int) -> None:
        """Take this birth for the one that this process began with, unless one is known."""
        if self._born_ms is None:
            self._born_ms = born_ms

    def check_birth(self, born_ms: int) -> None:
        """Compare what a statement saw with what this process began with.

        Raises:
            LedgerExchanged: the ledger was repaired, or another was copied over it.
        """
        if born_ms != self._born_ms:
            raise self._exchanged()

    def _exchanged(self) -> LedgerExchanged:
        what = f"{self._path} is another ledger than the one this process began with"
        return LedgerExchanged(what, remedy="restart it")

    def _leave_log(self, opened: sqlite_file.OpenLedger) -> None:
        """The log was deleted or exchanged: save what only our descriptor of it still holds, and refuse from then on.

        Another process may open the database at any moment, and would find it without the last claims.
        """
        log = sqlite_file.log_of(self._path)
        if not log.exists():
            with contextlib.suppress(sqlite3.Error):
                opened.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        _write_nothing_at_the_end(opened.connection)
        what = f"{self._path}: its log {log.name} was deleted or exchanged while in use"
        self._lost_log = LedgerExchanged(what, remedy="end every program that uses the ledger, then start them again")
        raise self._lost_log

    def drop(self) -> None:
        """Close it, undoing what was not committed."""
        if self._open is None:
            return
        if self._lost_log is not None and sys.version_info < (3, 12):
            return  # see _write_nothing_at_the_end
        with contextlib.suppress(sqlite3.Error):
            self._open.connection.close()
        self._open = None


def _write_nothing_at_the_end(connection: sqlite3.Connection) -> None:
    """Let the end of a connection leave the files alone, whoever ends it: ``drop``, or the end of the process.

    SQLite would move the lost log into a file that others may have written since, and remove the log by its name, which
    may be theirs. Before Python 3.12 it cannot be told so; there the connection is never closed at all.
    """
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
    else:
        import ctypes  # noqa: PLC0415  only where a log was lost

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
