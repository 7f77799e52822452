"""Lists of records in steps, so that no list holds up the claims beside it, however long it is.

Each step reads by itself: a record that is inserted meanwhile may be listed or not; one that was stored before and
after is listed once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from oncegate.ledgers.protocol import Row


async def scan_in_steps(
    page_of: Callable[[bytes, int], Awaitable[Sequence[Row]]], after: bytes, limit: int, *, step_rows: int
) -> Sequence[Row]:
    """List records in order of id; see ``Scans.scan``.

    Args:
        page_of: lists up to so many records above an id (exclusive), in order; fewer only where there are no more.
        after: the id above which to begin.
        limit: records, at most.
        step_rows: records in one step, at most.
    """
    rows: list[Row] = []
    while len(rows) < limit:
        step = min(step_rows, limit - len(rows))
        page = await page_of(after, step)
        rows += page
        if len(page) < step:
            break
        after = page[-1].link_id
    return rows
