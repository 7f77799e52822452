"""What an object of the ledger ``s3:`` holds, and the one that holds how far records were swept.

An insert reads that limit after its write. Many inserts share one read, which begins after all their writes: a read that
is under way already may have seen the limit before it was raised.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import NamedTuple

from oncegate.ledgers.s3.bucket import Bucket

TRIES_MAX = 5
LIMIT = "swept-until"


class Stored(NamedTuple):
    """What an object of the ledger holds: ``nonce forget_after_s``, a new line, the record."""

    nonce: str
    forget_after_s: int
    record: bytes

    def to_bytes(self) -> bytes:
        """Write it."""
        return f"{self.nonce} {self.forget_after_s}\n".encode() + self.record


def stored_of(data: bytes) -> Stored:
    """Read it.

    Raises:
        ValueError: it is no record.
    """
    head, _, record = data.partition(b"\n")
    nonce, forget_after_s = head.decode().split(" ")
    return Stored(nonce, int(forget_after_s), record)


class SweptUntil:
    """The limit of sweeps, seconds since 1970 UTC. It never falls.

    Args:
        bucket: where.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._reading: asyncio.Task[int] | None = None
        self._reading_next: asyncio.Task[int] | None = None

    async def aclose(self) -> None:
        """Wait for the reads under way."""
        reading = [task for task in (self._reading, self._reading_next) if task is not None]
        await asyncio.gather(*reading, return_exceptions=True)

    async def as_of_now(self) -> int:
        """Read the limit by a read that begins after this call; all that wait share it."""
        if self._reading_next is None:
            self._reading_next = asyncio.create_task(self._read_after(self._reading))
        return await asyncio.shield(self._reading_next)

    async def _read_after(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait({before})
        self._reading, self._reading_next = self._reading_next, None
        return await self.read()

    async def read(self) -> int:
        """Read it now; -1 where none is stored."""
        found = await self._bucket.get(LIMIT)
        return -1 if found is None else stored_of(found.data).forget_after_s

    async def raise_to(self, now_s: int) -> int:
        """Store the limit of a sweep unless a higher one stands; return the one that then does.

        Raises:
            OSError: others store theirs all the time.
        """
        for _ in range(TRIES_MAX):
            mine = Stored(secrets.token_urlsafe(9), now_s, b"").to_bytes()
            found = await self._bucket.get(LIMIT)
            if found is None:
                written = await self._bucket.create(LIMIT, mine)
            elif (stands_s := stored_of(found.data).forget_after_s) >= now_s:
                return stands_s
            else:
                written = await self._bucket.replace(LIMIT, mine, found.etag)
            if written is not None:
                return now_s
        raise OSError("the limit of the sweep could not be stored: others store theirs")
