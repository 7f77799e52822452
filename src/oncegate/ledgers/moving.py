"""Moves a ledger into another while links are opened: everything that was used stays used.

    moving:FROM TO          ``[ledger] url`` of every gateway while ``oncegate ledger copy FROM TO`` runs

Each link is carried over by ``markers``, and only then claimed, in the new ledger. Nothing is swept while a ledger is
moved.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Sequence

from oncegate.ledgers.markers import carry, marker_of
from oncegate.ledgers.protocol import (
    AsksAgain,
    Event,
    Gone,
    InsertOutcome,
    KeepsEvents,
    Ledger,
    LedgerFacts,
    LedgerUnfit,
    LinkEvents,
    ReadOutcome,
    Repairs,
    ReplaceOutcome,
    Row,
    Scans,
    Stands,
    Swept,
    Unknown,
    Version,
)

PAGE_ROWS = 200
AT_ONCE = 16
_IN_OLD: Version = "in the ledger that is moved"
"""The version under which ``read`` shows a record that is not carried over yet; a replace of it carries it over first."""


class MovingLedger:
    """Claims in the new ledger what was marked in the old one.

    Args:
        old: the ledger that is moved.
        open_new: opens the ledger that it is moved to.
    """

    def __init__(self, old: Ledger, open_new: Callable[[], Ledger]) -> None:
        self._old = old
        self._open_new = open_new
        self._new = open_new()

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Carry over what is stored in the old ledger, then insert in the new one; see ``Ledger.insert``."""
        refused = await carry(self._old, self._new, link_id, forget_after_s)
        return await self._new.insert(link_id, record, forget_after_s) if refused is None else refused

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Replace in the new ledger; see ``Ledger.replace``."""
        if version != _IN_OLD:
            return await self._new.replace(link_id, version, record, forget_after_s)
        refused = await carry(self._old, self._new, link_id, forget_after_s)
        if isinstance(refused, Unknown):
            return refused
        return Gone() if isinstance(refused, Swept) else await self._new.read(link_id)

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Return the record of the new ledger, or of the old one where it is not carried over yet."""
        found = await self._new.read(link_id)
        if not isinstance(found, Gone):
            return found
        before = await self._old.read(link_id)
        if not isinstance(before, Stands):
            return before
        marker = marker_of(before.record)
        held = before.record if marker is None else marker.held
        return Gone() if held is None else Stands(held, _IN_OLD)

    async def probe(self) -> LedgerFacts:
        """Probe both, and give an empty new ledger the birth of the old one.

        Raises:
            LedgerUnfit: one of them is unfit, or the new one holds records of its own.
        """
        facts = await self._old.probe()
        if await adopt_birth(facts, self._new):
            await self._new.aclose()
            self._new = self._open_new()
            await self._new.probe()
        return facts

    async def ask_again(self) -> LedgerFacts:
        """Ask both; see ``AsksAgain``."""
        facts, _ = [
            await (one.ask_again() if isinstance(one, AsksAgain) else one.probe()) for one in (self._old, self._new)
        ]
        return facts

    async def aclose(self) -> None:
        """Close both."""
        await asyncio.gather(self._old.aclose(), self._new.aclose())

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List the records of both, each once, in order of id; see ``Scans.scan``."""
        if not isinstance(self._old, Scans) or not isinstance(self._new, Scans):
            raise OSError("a ledger that cannot list records is moved")
        pages = [await self._old.scan(after, limit), await self._new.scan(after, limit)]
        # beyond the end of a page that is full there may be more of that ledger
        until = min((page[-1].link_id for page in pages if len(page) == limit), default=b"\xff" * 17)
        old = [row for row in pages[0] if marker_of(row.record) is None]
        rows = {row.link_id: row for row in (*old, *pages[1]) if row.link_id <= until}
        listed = [rows[link_id] for link_id in heapq.nsmallest(limit, rows)]
        if listed or until == b"\xff" * 17:
            return listed
        return await self.scan(until, limit)  # a page of markers alone

    async def append_events(self, events: Sequence[Event]) -> None:
        """Append to the new ledger, if it keeps events."""
        if isinstance(self._new, KeepsEvents):
            await self._new.append_events(events)

    async def read_events(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List the events of the new ledger; those of before stay in the old one."""
        if not isinstance(self._new, KeepsEvents):
            return ()
        return await self._new.read_events(after, limit, link_id=link_id)

    async def events_of_link(self, link_id: str, limit: int) -> LinkEvents:
        """Return a link's newest events of the new ledger."""
        if not isinstance(self._new, KeepsEvents):
            return LinkEvents()
        return await self._new.events_of_link(link_id, limit)


async def adopt_birth(facts: LedgerFacts, new: Ledger) -> bool:
    """Give an empty ledger the birth, the repair and the limit of the one that is moved into it.

    Args:
        facts: of the ledger that is moved.
        new: probed here.

    Returns:
        Whether it was changed; it must then be opened anew.

    Raises:
        LedgerUnfit: it cannot take a birth, or holds records of its own.
    """
    found = await new.probe()
    if found.born_ms == facts.born_ms:
        return False
    if not isinstance(new, Repairs) or not isinstance(new, Scans):
        raise LedgerUnfit("nothing can be moved to a ledger of this kind")
    if await new.scan(b"", 1):
        what = "the ledger to move to holds records already, and was not born of the one that is moved"
        raise LedgerUnfit(what, remedy="name an empty one: 'oncegate ledger migrate' makes it")
    await new.rebirth(facts.born_ms, facts.repair, max(facts.swept_until_s, found.swept_until_s))
    return True


async def copy(old: Ledger, new: Ledger, told: Callable[[int], None]) -> int:
    """Walk the old ledger once: mark every record and carry it over.

    Args:
        old: the ledger that is moved; it can list its records.
        new: with the birth of the old one.
        told: is told how many records were looked at, now and then.

    Returns:
        How many were marked and carried over; 0 where a walk before has left nothing to do.

    Raises:
        OSError: a ledger does not answer. What was carried over stays so.
    """
    if not isinstance(old, Scans):
        raise OSError("this ledger cannot list its records")
    after, looked, carried = b"", 0, 0
    while rows := await old.scan(after, PAGE_ROWS):
        left = iter(rows)

        async def work() -> int:
            return sum([await _carry_row(old, new, row) for row in left])  # noqa: B023  awaited within this turn

        carried += sum(await asyncio.gather(*(work() for _ in range(AT_ONCE))))
        after, looked = rows[-1].link_id, looked + len(rows)
        told(looked)
    return carried


async def _carry_row(old: Ledger, new: Ledger, row: Row) -> bool:
    marker = marker_of(row.record)
    if marker is not None and marker.held is None:
        return False
    was_there = marker is not None and isinstance(await new.read(row.link_id), Stands)
    if was_there:
        return False
    told = await carry(old, new, row.link_id, row.forget_after_s)
    if isinstance(told, Unknown):
        raise OSError(f"the ledger does not answer: {told.why}")
    return not isinstance(told, Swept)


def open_moving(url: str, open_one: Callable[[str], Ledger]) -> MovingLedger:
    """Open both ledgers of ``moving:FROM TO``.

    Args:
        url: of both, between them one blank.
        open_one: opens one ledger by its URL.

    Raises:
        LedgerUnfit: it does not name two ledgers. No message repeats the URL, which may hold a password.
    """
    old, blank, new = url.partition(":")[2].strip().partition(" ")
    if not blank or not new.strip():
        raise LedgerUnfit("moving: names two ledgers", remedy='write "moving:FROM TO"', where="[ledger] url")
    return MovingLedger(open_one(old), lambda: open_one(new.strip()))
