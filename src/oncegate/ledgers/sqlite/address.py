"""The URLs of the ledger ``sqlite:``. Nothing is opened here.

What could mean two files, or none that is kept, is refused: a guess might make a second, empty ledger.
"""

from __future__ import annotations

import pathlib

from oncegate.ledgers.protocol import LedgerUnfit


def path_of(url: str, folder: pathlib.Path) -> pathlib.Path:
    """Return the file that a URL names: what stands after ``sqlite:``, taken literally, seen from ``folder``.

    Raises:
        LedgerUnfit: it names none, or could mean two.
    """
    path = url.partition(":")[2]
    if not path or path.endswith("/"):
        raise LedgerUnfit(f"{url} names no file", remedy="write sqlite:./ledger.db")
    if path.startswith("//"):
        # Elsewhere sqlite:///x means a relative path, or an absolute one; guessing wrong would make a second ledger.
        raise LedgerUnfit(f"{url} is ambiguous", remedy="write sqlite:./ledger.db or sqlite:/folder/ledger.db")
    if path == ":memory:":
        raise LedgerUnfit("sqlite::memory: keeps nothing", remedy='write [ledger] url = "memory:"')
    if "\0" in path:
        raise LedgerUnfit("sqlite: the path holds a NUL")
    return folder.absolute() / path
