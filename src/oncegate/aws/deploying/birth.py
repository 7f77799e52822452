"""The birth of a deployed ledger: a table without one serves nothing at the edge."""

from __future__ import annotations

import asyncio
from pathlib import Path

from oncegate.ledgers.opening import open_ledger


def note_birth(table: str, region: str) -> None:
    """Write into a table when it became a ledger; one that says so already is left as it is.

    Raises:
        LedgerUnfit: the table cannot be used.
    """

    async def probe() -> None:
        ledger = open_ledger(f"dynamodb://{table}?region={region}", folder=Path())
        try:
            await ledger.probe()
        finally:
            await ledger.aclose()

    asyncio.run(probe())
