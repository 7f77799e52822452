"""The lock of the ledger ``sqlite:`` among processes: a file beside it that holds nothing.

SQLite has its own; this one is for two reasons. SQLite before 3.51.3 can lose committed pages when one process commits
while another checkpoints ("WAL-reset bug", sqlite.org/wal.html), so no two do either at once. And SQLite waits in sleeps
that grow to 100 ms: with three processes on one file, 64 claims waiting in each, the slowest claim in a hundred took 35
to 55 ms and the slowest of all 730; with this lock 10 and 40, at the same rate.
"""

from __future__ import annotations

import fcntl
import os
import pathlib
import time


def open_lock(path: pathlib.Path) -> int:
    """Open the lock file beside a ledger; the descriptor is the caller's."""
    return os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def take_lock(descriptor: int, *, busy_s: float) -> None:
    """Take the lock, or fail after ``busy_s``.

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
