"""What an object of the ledger ``s3:`` holds, and the one that holds how far records were swept, and by which tries.

An insert reads the limit after its write. Many inserts share one read, which begins after all their writes: a read that
began earlier may have seen the limit before it was raised.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import NamedTuple

from oncegate.ledgers.protocol import SweepState
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


class Kept(NamedTuple):
    """What is kept of the sweeps.

    Attributes:
        state: the limit, and the tries.
        walked_until_s: the limit by which all records were last looked at.
        etag: of the object; None where there is none.
    """

    state: SweepState
    walked_until_s: int
    etag: str | None


class SweptUntil:
    """The object that holds the limit of sweeps, seconds since 1970 UTC, which never falls, and their tries.

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
        return (await self.kept()).state.swept_until_s

    async def kept(self) -> Kept:
        """Read all that is kept of the sweeps.

        Raises:
            ValueError: it is nothing of a ledger.
        """
        found = await self._bucket.get(LIMIT)
        if found is None:
            return Kept(SweepState(), -1, None)
        stored = stored_of(found.data)
        tries, _, walked = stored.record.decode().partition("\n")
        return Kept(SweepState.of_text(stored.forget_after_s, tries), int(walked or -1), found.etag)

    async def put(self, kept: Kept, state: SweepState, walked_until_s: int) -> bool:
        """Store in place of what was read, unless something else is stored; return whether it was."""
        record = f"{state.tries_text}\n{walked_until_s}".encode()
        mine = Stored(secrets.token_urlsafe(9), state.swept_until_s, record).to_bytes()
        if kept.etag is None:
            return await self._bucket.create(LIMIT, mine) is not None
        return await self._bucket.replace(LIMIT, mine, kept.etag) is not None
