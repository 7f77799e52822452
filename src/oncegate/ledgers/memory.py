"""The ledger ``memory:``: records in this process, for tests and demonstrations; they are gone when it ends.

It is born when it is made, so no ticket from before can be used again in it. One event loop runs one coroutine at a
time and no method here waits between looking and writing: that is all the atomicity it needs, and all that it has.
It is never shared between processes or event loops in several threads.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import pathlib
import time
from collections import deque
from collections.abc import Sequence
from operator import itemgetter

from oncegate.ledgers.link_events import pick
from oncegate.ledgers.protocol import (
    CLOSED,
    NO_REPAIR,
    RECEIPTS,
    Done,
    Event,
    Gone,
    InsertOutcome,
    Ledger,
    LedgerFacts,
    LinkEvents,
    ReadOutcome,
    Repair,
    ReplaceOutcome,
    Row,
    Stands,
    SweepState,
    Swept,
    Version,
)
from oncegate.ledgers.sweeping import SweepsByTries

WEAKER_PROMISES: frozenset[str] = frozenset()
EVENTS_MAX = 10_000
SWEEP_STEP_ROWS = 500


class MemoryLedger(SweepsByTries):
    """Keeps records and events in dictionaries of this process.

    Args:
        born_ms: milliseconds since 1970 UTC; by default the moment of the call.
        events_max: how many receipts are kept, and how many other events; the oldest are dropped.
    """

    def __init__(self, *, born_ms: int | None = None, events_max: int = EVENTS_MAX) -> None:
        self._born_ms = time.time_ns() // 1_000_000 if born_ms is None else born_ms
        self._rows: dict[bytes, Row] = {}
        # One count for all records: a version that was once given out never names another state, not even of a
        # record that was swept and inserted again.
        self._versions = itertools.count(1)
        self._sweeps = SweepState()
        self._repair = NO_REPAIR
        self._receipts: deque[tuple[int, Event]] = deque(maxlen=events_max)
        self._others: deque[tuple[int, Event]] = deque(maxlen=events_max)
        self._event_numbers = itertools.count(1)
        self._is_closed = False

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none is stored; see ``Ledger.insert``."""
        if self._is_closed:
            return CLOSED
        standing = self._rows.get(link_id)
        if standing is not None:
            return Stands(standing.record, standing.version)
        if forget_after_s <= self._sweeps.swept_until_s:
            return Swept()
        return self._put(link_id, record, forget_after_s)

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version; see ``Ledger.replace``."""
        if self._is_closed:
            return CLOSED
        standing = self._rows.get(link_id)
        if standing is None:
            return Gone()
        if standing.version != version:
            return Stands(standing.record, standing.version)
        return self._put(link_id, record, forget_after_s)

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Return the stored record."""
        if self._is_closed:
            return CLOSED
        standing = self._rows.get(link_id)
        return Gone() if standing is None else Stands(standing.record, standing.version)

    async def probe(self) -> LedgerFacts:
        """Say when it was born; a dictionary is always fit."""
        return LedgerFacts(born_ms=self._born_ms, swept_until_s=self._sweeps.swept_until_s, repair=self._repair)

    async def aclose(self) -> None:
        """Forget everything."""
        self._is_closed = True
        self._rows.clear()
        self._receipts.clear()
        self._others.clear()

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List up to ``limit`` records whose id is above ``after``, in order of id; see ``Scans.scan``."""
        return heapq.nsmallest(limit, (row for row in self._rows.values() if row.link_id > after), key=_link_id)

    async def sweep_state(self) -> SweepState:
        """Return what is kept; see ``Sweeps.sweep_state``."""
        return self._sweeps

    async def keep_sweep(self, before: SweepState, after: SweepState) -> bool:
        """Store what a try leaves behind; see ``Sweeps.keep_sweep``."""
        if self._sweeps != before:
            return False
        self._sweeps = after
        return True

    async def rebirth(self, born_ms: int, repair: Repair, swept_until_s: int) -> None:
        """Set birth, repair and limit; see ``Repairs.rebirth``. No other process has it open."""
        self._born_ms, self._repair, self._sweeps = born_ms, repair, SweepState(swept_until_s)

    async def _check_clock(self, now_s: int) -> None:
        """Its server is this process, which has one clock."""

    async def _forget_due(self, limit_s: int, *, force: bool) -> int:
        del force
        due = [row.link_id for row in self._rows.values() if row.forget_after_s <= limit_s]
        forgotten = 0
        for start in range(0, len(due), SWEEP_STEP_ROWS):
            for link_id in due[start : start + SWEEP_STEP_ROWS]:
                row = self._rows.get(link_id)
                if row is not None and row.forget_after_s <= limit_s:  # it may have been replaced while claims ran
                    del self._rows[link_id]
                    forgotten += 1
            await asyncio.sleep(0)  # claims that wait go first
        return forgotten

    async def append_events(self, events: Sequence[Event]) -> None:
        """Append a batch; the oldest events make room, receipts only for receipts."""
        if self._is_closed:
            return
        for event in events:
            kept = self._receipts if event.get("event") in RECEIPTS else self._others
            kept.append((next(self._event_numbers), dict(event)))

    async def read_events(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List up to ``limit`` events whose number is above ``after``, oldest first; of one link where given."""
        found = (
            (number, event)
            for number, event in self._kept_events()
            if number > after and (link_id is None or event.get("link_id") == link_id)
        )
        return list(itertools.islice(found, limit))

    def _kept_events(self) -> list[tuple[int, Event]]:
        return list(heapq.merge(self._receipts, self._others, key=itemgetter(0)))

    async def events_of_link(self, link_id: str, limit: int) -> LinkEvents:
        """Return the newest events of one link and their counts; see ``KeepsEvents.events_of_link``."""
        return pick((event for _, event in self._kept_events()[::-1] if event.get("link_id") == link_id), limit)

    def _put(self, link_id: bytes, record: bytes, forget_after_s: int) -> Done:
        version = next(self._versions)
        self._rows[link_id] = Row(link_id, record, version, forget_after_s)
        return Done(version)


def _link_id(row: Row) -> bytes:
    return row.link_id


def open_from_url(url: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
    """Make an empty ledger; there is nothing to choose."""
    del url, folder, accept
    return MemoryLedger()


def create_from_url(url: str, *, folder: pathlib.Path) -> None:
    """Do nothing: it is created when it is opened."""
    del url, folder
