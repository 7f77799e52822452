"""The calls under way of a ledger that asks its server for each caller by itself (``dynamodb:``, ``s3:``).

Closing waits for them; calls that are made afterwards send nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager


class UnderWay:
    """Counts calls. Of one event loop."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()
        self.is_closed: bool = False

    @contextmanager
    def one(self) -> Generator[None]:
        """Count one while the block runs."""
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    @property
    def is_busy(self) -> bool:
        """Whether any call runs."""
        return self._count > 0

    async def close(self) -> None:
        """Say that no more are taken, and wait for those that run."""
        self.is_closed = True
        await self._none.wait()
