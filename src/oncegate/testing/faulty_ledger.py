"""A ledger that loses questions and answers, for tests of what claims through it.

It stands before a real one, and lets it decide everything: it adds faults and takes none away. The three that a network
has: the write never arrived, it happened and the answer was lost, and it arrives after the caller was told that its fate
is unknown. Randomness comes from a seed and no timer is used, so a failing run can be repeated.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from oncegate.ledgers.protocol import (
    InsertOutcome,
    Ledger,
    LedgerFacts,
    ReadOutcome,
    ReplaceOutcome,
    Unknown,
    Version,
)

_Outcome = TypeVar("_Outcome")


class FaultyLedger:
    """Passes calls on to another ledger and loses some.

    It has no optional interface; ask the ledger behind it for lists, sweeping and events.

    Args:
        behind: the ledger that decides.
        seed: the same seed and the same calls give the same faults.
        lost_before: share of writes that never happen; 0 to 1.
        lost_after: share of writes that happen, their answers lost.
        lost_late: share of writes that are answered ``Unknown`` first and happen later, during some other call.
        lost_reads: share of reads without an answer.

    Attributes:
        counts: how often each fault struck: ``before``, ``after``, ``late``, ``landed``, ``read``.
    """

    def __init__(
        self,
        behind: Ledger,
        *,
        seed: int,
        lost_before: float = 0.1,
        lost_after: float = 0.1,
        lost_late: float = 0.05,
        lost_reads: float = 0.1,
    ) -> None:
        if min(lost_before, lost_after, lost_late) < 0 or lost_before + lost_after + lost_late > 1:
            raise ValueError("lost_before, lost_after and lost_late are shares of all writes: together at most 1")
        self.counts: Counter[str] = Counter()
        self._behind = behind
        self._random = random.Random(seed)  # noqa: S311  a test repeats itself; nothing here is secret
        self._lost_before = lost_before
        self._lost_after = lost_after
        self._lost_late = lost_late
        self._lost_reads = lost_reads
        self._late: deque[Callable[[], Awaitable[object]]] = deque()

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none is stored, if nothing is lost."""
        return await self._write(lambda: self._behind.insert(link_id, record, forget_after_s))

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version, if nothing is lost."""
        return await self._write(lambda: self._behind.replace(link_id, version, record, forget_after_s))

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Return the stored record, if the answer is not lost; writes that are late may land before or after."""
        await self._land_some()
        if self._random.random() < self._lost_reads:
            self.counts["read"] += 1
            return Unknown("lost: the answer to a read")
        return await self._behind.read(link_id)

    async def probe(self) -> LedgerFacts:
        """Ask the ledger behind."""
        return await self._behind.probe()

    async def aclose(self) -> None:
        """Close the ledger behind; writes that are still late never land."""
        self._late.clear()
        await self._behind.aclose()

    async def land(self) -> int:
        """Let every late write land now, oldest first; return how many there were."""
        count = len(self._late)
        while self._late:
            self.counts["landed"] += 1
            await self._late.popleft()()
        return count

    async def _write(self, write: Callable[[], Awaitable[_Outcome]]) -> _Outcome | Unknown:
        await self._land_some()
        fate = self._random.random()
        if fate < self._lost_before:
            self.counts["before"] += 1
            return Unknown("lost: the write")
        fate -= self._lost_before
        if fate < self._lost_late:
            self.counts["late"] += 1
            self._late.append(write)
            return Unknown("lost: the write, for now")
        outcome = await write()
        if fate - self._lost_late < self._lost_after:
            self.counts["after"] += 1
            return Unknown("lost: the answer to a write")
        return outcome

    async def _land_some(self) -> None:
        """Let the oldest late write land before one call in two; so it may come after any number of others."""
        if self._late and self._random.random() < 0.5:
            self.counts["landed"] += 1
            await self._late.popleft()()
