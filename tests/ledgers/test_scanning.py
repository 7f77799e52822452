"""Lists in steps: every record once, none too many, and no step more than needed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from oncegate.ledgers.protocol import FORGET_NEVER_S, Row
from oncegate.ledgers.scanning import scan_in_steps

ROWS = [Row(bytes([n]) * 16, b"{}", n, FORGET_NEVER_S) for n in range(10)]


@pytest.mark.parametrize(
    ("after", "limit", "listed", "pages"),
    [
        (b"", 9, ROWS[:9], [5, 4]),
        (b"", 10, ROWS, [5, 5]),
        (b"", 11, ROWS, [5, 5, 1]),  # the last step may find nothing: only then is it known that there is no more
        (b"", 99, ROWS, [5, 5, 5]),
        (ROWS[6].link_id, 99, ROWS[7:], [5]),
        (ROWS[9].link_id, 99, [], [5]),
        (b"", 0, [], []),
    ],
)
def test_steps_neither_miss_nor_repeat(after: bytes, limit: int, listed: list[Row], pages: list[int]) -> None:
    """Both sides of a page and of the limit: one off would hide a link from its issuer, or show it twice."""
    asked: list[int] = []

    async def page_of(above: bytes, count: int) -> Sequence[Row]:
        asked.append(count)
        return [row for row in ROWS if row.link_id > above][:count]

    assert asyncio.run(scan_in_steps(page_of, after, limit, step_rows=5)) == listed
    assert asked == pages
