"""Rows of removals in a ledger (``uses/removal.py``): how one is changed, and how all are found.

They have ids of their own, between those of tickets and those of links without one, so a ledger keeps them like any
other record, and a list of links leaves them out in one step.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

from oncegate.ledgers.claiming import Talk, insert_or_change
from oncegate.ledgers.protocol import Row, Scans
from oncegate.uses.record import RecordUnreadable
from oncegate.uses.removal import (
    LAST_REMOVAL_ID,
    REMOVAL_ID_BYTE,
    Removal,
    removal_from_json,
    removal_to_json,
)

PAGE_ROWS = 100


def change_removal(
    row_id: bytes, forget_after_s: int, change: Callable[[Removal | None], Removal | None]
) -> Talk[Removal | None]:
    """Change a row, or insert it; see ``claiming.insert_or_change``.

    Returns:
        What stands in the end; None where there is none, or where one for a link so old may have been forgotten.
    """
    return insert_or_change(row_id, forget_after_s, change, removal_from_json, removal_to_json, reads_first=True)


async def removals_of(ledger: Scans) -> AsyncGenerator[tuple[bytes, Removal]]:
    """Yield every row with its id. One that a later version wrote is left to that version.

    Raises:
        OSError: the ledger cannot be read.
    """
    after = bytes((REMOVAL_ID_BYTE,))
    while True:
        rows = [row for row in await ledger.scan(after, PAGE_ROWS) if row.link_id <= LAST_REMOVAL_ID]
        for row in rows:
            try:
                yield row.link_id, removal_from_json(row.record)
            except RecordUnreadable:
                continue
        if len(rows) < PAGE_ROWS:
            return
        after = rows[-1].link_id


async def scan_links(ledger: Scans, after: bytes, limit: int) -> Sequence[Row]:
    """List records of links; see ``Scans.scan``. Rows of removals are left out.

    Raises:
        OSError: the ledger cannot be read.
    """
    rows = await ledger.scan(after, limit)
    links = [row for row in rows if row.link_id[0] != REMOVAL_ID_BYTE]
    if len(links) == len(rows):
        return rows
    tickets = [row for row in links if row.link_id <= LAST_REMOVAL_ID]
    return [*tickets, *await ledger.scan(LAST_REMOVAL_ID, limit - len(tickets))]
