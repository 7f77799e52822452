"""Whether a file can keep what a ledger promises, as ``probe`` and ``oncegate doctor`` ask of the ledger ``sqlite:``."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
import stat
import time
from collections.abc import Callable, Sequence

from oncegate.ledgers.protocol import LedgerFacts, LedgerUnfit
from oncegate.ledgers.sqlite.file import (
    BUSY_S,
    MIGHT_REOPEN,
    add_missing,
    check_folder,
    connect,
    explained,
    file_lock,
    make,
    resolved,
)
from oncegate.ledgers.sqlite.mount import Mount, mount_of
from oncegate.ledgers.sqlite.rows import read_repair, read_sweep

NETWORK_FILE_SYSTEM = "sqlite-network-file-system"
WEAKER_PROMISES = frozenset({NETWORK_FILE_SYSTEM})

SQLITE_OLDEST = (3, 24, 0)  # ON CONFLICT DO UPDATE
CHECKED_WHOLE_BYTES_MAX = 64 * 2**20  # 600,000 records; a tenth of a second when cached, one from a slow disk


def check(
    path: pathlib.Path,
    *,
    accept: Sequence[str] = (),
    find_mount: Callable[[pathlib.Path], Mount | None] = mount_of,
    busy_s: float = BUSY_S,
    again: bool = False,
) -> LedgerFacts:
    """Find out whether this file can keep the guarantee; make it where none stands.

    Args:
        path: the file.
        accept: weaker promises taken by name.
        find_mount: tells the file system of a path.
        busy_s: seconds to wait for other processes.
        again: it was checked before and is in use: it is not made, and its pages are not read.

    Raises:
        LedgerUnfit: it cannot; the message names the file, what is the matter, and what to do.
    """
    if sqlite3.sqlite_version_info < SQLITE_OLDEST:
        raise LedgerUnfit(f"SQLite {sqlite3.sqlite_version} is too old for a ledger", remedy="3.24 or newer is needed")
    path = resolved(path)
    check_folder(path.parent)
    accepted = _check_mount(path, find_mount(path), accept)
    with file_lock(path, busy_s=busy_s):
        if not path.exists() and not again:
            make(path, time.time_ns() // 1_000_000)
        if path.exists():
            _check_file(path)
        opened = connect(path, busy_s=busy_s)
        with contextlib.closing(opened.connection) as connection, explained(path):
            if not again and path.stat().st_size <= CHECKED_WHOLE_BYTES_MAX:
                (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if verdict != "ok":
                    raise sqlite3.DatabaseError(verdict)
            add_missing(connection)
            if not again:  # a page is really written and forced to the disk; only that shows a full or read-only one
                connection.execute("UPDATE ledger SET swept_until = swept_until")
            swept_until_s, repair = read_sweep(connection).swept_until_s, read_repair(connection)
    return LedgerFacts(born_ms=opened.born_ms, accepted=accepted, swept_until_s=swept_until_s, repair=repair)


def _check_mount(path: pathlib.Path, mount: Mount | None, accept: Sequence[str]) -> tuple[str, ...]:
    if mount is not None and mount.point == path:
        raise LedgerUnfit(
            f"{path} is mounted as a single file, so each container has a log of its own beside it and does not see "
            "the claims of the others",
            remedy="mount its folder instead",
        )
    if mount is not None and not mount.is_shared:
        return ()
    if NETWORK_FILE_SYSTEM in accept:
        return (NETWORK_FILE_SYSTEM,)
    if mount is None:
        raise LedgerUnfit(
            f"the kind of file system of {path} cannot be seen (no /proc/self/mountinfo)",
            remedy=f'if it is a local disk, set [ledger] accept = ["{NETWORK_FILE_SYSTEM}"]',
        )
    raise LedgerUnfit(
        f"{path} lies on {mount.point}, a file system of kind {mount.kind}: SQLite's log does not work where other "
        "machines may have the file open, and a link could be used twice",
        remedy="put the ledger on a local disk, use a ledger server (postgresql:, redis:), or, if only one machine ever "
        f'opens it, set [ledger] accept = ["{NETWORK_FILE_SYSTEM}"]',
    )


def _check_file(path: pathlib.Path) -> None:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise LedgerUnfit(f"{path} is no regular file", remedy="correct [ledger] url")
    if found.st_size == 0:
        raise LedgerUnfit(f"{path} is empty", remedy=f"restore it from a backup; {MIGHT_REOPEN}")
    if found.st_nlink != 1:
        raise LedgerUnfit(
            f"{path} has {found.st_nlink} names (hard links): each would get a log of its own",
            remedy="remove the other names",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise LedgerUnfit(
            f"{path} cannot be read and written by user {os.geteuid()}", remedy="change its owner or mode"
        )
