"""Whether database and log of an open ledger are still the files that have their names; asked before each transaction.

A file that was deleted or renamed would go on taking claims that no other process sees. To look at both each time costs
more than it seems: 11 us, and since Linux 6.13 a file whose times were asked for notes them anew with its next write,
20 us more where that file is the log. So the folder is looked at: whatever is made, deleted or renamed in it changes its
``ctime``, which nobody can set. Only where it has changed, and once in ``LOOK_EVERY_S``, the files are looked at.
"""

from __future__ import annotations

import os
import pathlib
import time

LOOK_EVERY_S = 1.0
"""For what changes no folder: a file that is mounted over another."""
COARSE_NS = 50_000_000
"""Two changes within the same tick of the kernel's clock, 10 ms at most, leave one ``ctime``: so that of a folder tells a
later change only once it is older than this. On a file system with coarser times ``LOOK_EVERY_S`` tells it."""

Identity = tuple[int, int]
"""What names a file itself, whatever it is called: device and inode."""


def identity_of(path: pathlib.Path) -> Identity:
    """Return what names the file under this path."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


class Watch:
    """Watches the files of one connection.

    Args:
        files: each with what it was when the connection was made; all in one folder.
    """

    def __init__(self, *files: tuple[pathlib.Path, Identity]) -> None:
        self._files = files
        self._folder = str(files[0][0].parent)
        self._settled: tuple[int, int, int] | None = None
        self._look_at_s = 0.0

    def missing(self) -> pathlib.Path | None:
        """Return the first of the files that is no longer under its name, or None.

        Raises:
            OSError: it cannot be found out.
        """
        folder = self._folder_state()  # before the files: what changes after it is seen the next time
        now_s = time.monotonic()
        if folder is not None and folder == self._settled and now_s < self._look_at_s:
            return None
        for path, identity in self._files:
            if not _is_at(path, identity):
                return path
        is_telling = folder is not None and time.time_ns() - folder[2] > COARSE_NS
        self._settled, self._look_at_s = folder if is_telling else None, now_s + LOOK_EVERY_S
        return None

    def _folder_state(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._folder)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, found.st_ctime_ns


def _is_at(path: pathlib.Path, identity: Identity) -> bool:
    try:
        return identity_of(path) == identity
    except FileNotFoundError:
        return False
