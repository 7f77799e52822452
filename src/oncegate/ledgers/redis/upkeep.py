"""Lists, sweeping and events of the ledger ``redis:``; on a connection of their own, in scripts of a millisecond or two."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import cast

from oncegate.ledgers.birth import Birth
from oncegate.ledgers.link_events import pick
from oncegate.ledgers.protocol import (
    CLOCK_SKEW_MAX_S,
    RECEIPTS,
    Event,
    LedgerUnfit,
    LinkEvents,
    Repair,
    Row,
    SweepState,
)
from oncegate.ledgers.redis.connection import LedgerFault, RedisConnection, Reply
from oncegate.ledgers.redis.fitness import clock_ahead_s
from oncegate.ledgers.redis.scripts import (
    ADOPT,
    APPEND,
    EVENTS,
    FORGET,
    KEEP_SWEEP,
    REBIRTH,
    SCAN,
    Script,
    Scripts,
    row_of,
)
from oncegate.ledgers.scanning import scan_in_steps
from oncegate.ledgers.server_ledger import EventFaults
from oncegate.ledgers.sweeping import Pace, SweepsByTries

STEP_ROWS = 200
FORGET_ROWS = 500
"""Each step is forced to the disk by itself, beside the claims."""
EVENTS_STEP = 1_000
EVENTS_KEPT = 100_000
"""They lie in memory, some 300 bytes each. Refusals, previews and the like are forgotten before downloads and uploads."""
EVENTS_OF_LINK_MAX = 1_000


class RedisUpkeep(SweepsByTries):
    """The part of the ledger that no claim waits for: lists, sweeping, events.

    Args:
        prefix: of all keys.
        birth: of the ledger that this process began with.
        connection: of our own.
        is_waiting: whether claims wait for the ledger.
    """

    def __init__(
        self, prefix: str, birth: Birth, connection: RedisConnection, *, is_waiting: Callable[[], bool]
    ) -> None:
        self._meta, self._ids, self._due, self._events, self._receipts, self._record = (
            f"{prefix}{name}".encode() for name in ("meta", "ids", "due", "events", "receipts", "r:")
        )
        self._aside = connection
        self._is_waiting = is_waiting
        self._event_faults = EventFaults("redis")
        self._is_closed = False  # set by ServerLedger.aclose
        self._scripts = Scripts(connection)
        self._birth = birth

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List up to ``limit`` records whose id is above ``after``, in order of id; see ``Scans.scan``.

        Raises:
            OSError: the ledger cannot be read.
        """
        try:
            return await scan_in_steps(self._page, after, limit, step_rows=STEP_ROWS)
        except LedgerFault as fault:
            raise _unreadable(fault) from None

    async def sweep_state(self) -> SweepState:
        """Return what is kept of the sweeps so far; see ``Sweeps.sweep_state``."""
        try:
            (told,) = await self._aside.call([("HMGET", self._meta, "swept_until_s", "tries")])
            limit_s, tries = _listed(told)
            return SweepState.of_text(int(_bytes(limit_s)), _bytes(tries or b"").decode())
        except LedgerFault as fault:
            raise _unreadable(fault) from None

    async def keep_sweep(self, before: SweepState, after: SweepState) -> bool:
        """Store what a try leaves behind; see ``Sweeps.keep_sweep``."""
        told = [before.swept_until_s, before.tries_text, after.swept_until_s, after.tries_text]
        return await self._run(KEEP_SWEEP, *told) == 1

    async def rebirth(self, born_ms: int, repair: Repair, swept_until_s: int) -> None:
        """Set birth, repair and limit; see ``Repairs.rebirth``."""
        await self._run(REBIRTH, born_ms, *repair, swept_until_s)

    async def _check_clock(self, now_s: int) -> None:
        try:
            server_s = await clock_ahead_s(self._aside.call) + time.time()
        except LedgerFault as fault:
            raise _unreadable(fault) from None
        if abs(server_s - now_s) > CLOCK_SKEW_MAX_S:
            raise LedgerUnfit(f"redis: nothing is swept: our clock says {now_s}, the server's {server_s:.0f}")

    async def _forget_due(self, limit_s: int, *, force: bool) -> int:
        del force
        await self._adopt()
        pace, forgotten, looked = Pace(self._is_waiting), 0, FORGET_ROWS
        while looked == FORGET_ROWS:
            await pace.next_step()
            looked, count = (
                _number(part) for part in _listed(await self._run(FORGET, self._record, limit_s, FORGET_ROWS))
            )
            forgotten += count
        return forgotten

    async def _adopt(self) -> None:
        """Put into ``due`` what an earlier version, which may run beside this one, has left out."""
        try:
            counts = await self._aside.call([("ZCARD", self._ids), ("ZCARD", self._due)])
        except LedgerFault as fault:
            raise _unreadable(fault) from None
        if counts[0] == counts[1]:
            return
        pace, after = Pace(self._is_waiting), b""
        # no more steps than what stood when it began takes, or it would follow the claims: the next sweep has the rest
        for _ in range(_number(counts[0]) // STEP_ROWS + 1):
            await pace.next_step()
            after = _bytes(await self._run(ADOPT, self._record, _above(after), STEP_ROWS))
            if not after:
                return

    async def _run(self, script: Script, *args: bytes | int | str) -> Reply:
        try:
            born_ms = await self._known_born_ms()
            return await self._scripts.run(script, [self._meta, self._ids, self._due], [born_ms, *args])
        except LedgerFault as fault:
            raise _unreadable(fault) from None

    async def append_events(self, events: Sequence[Event]) -> None:
        """Append a batch; a fault is logged once and swallowed."""
        if self._is_closed or not events:
            return
        args: list[bytes | int | str] = []
        for event in events:
            link_id, is_receipt = event.get("link_id"), event.get("event") in RECEIPTS
            text = json.dumps(dict(event), separators=(",", ":"))
            args += [int(is_receipt), link_id if isinstance(link_id, str) else "", text]
        with self._event_faults.swallowed():
            try:
                head = [await self._known_born_ms(), EVENTS_KEPT]
                await self._scripts.run(APPEND, [self._meta, self._events, self._receipts], [*head, *args])
            except LedgerFault as fault:
                raise _unreadable(fault) from None

    async def read_events(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List up to ``limit`` events whose number is above ``after``, oldest first; of one link where given.

        The events of one link are looked for among all.

        Raises:
            OSError: the ledger cannot be read.
        """
        found: list[tuple[int, Event]] = []
        wanted = None if link_id is None else link_id.encode()
        try:
            while len(found) < limit:
                page = await self._page_of_events("XRANGE", f"({after}-0", "+")
                found += [(number, event) for number, of_link, event in page if wanted is None or of_link == wanted]
                if len(page) < EVENTS_STEP:
                    break
                after = page[-1][0]
        except LedgerFault as fault:
            raise _unreadable(fault) from None
        return found[:limit]

    async def events_of_link(self, link_id: str, limit: int) -> LinkEvents:
        """Return the newest events of one link and their counts; see ``KeepsEvents.events_of_link``.

        They are looked for among all, from the newest back, until ``EVENTS_OF_LINK_MAX`` are found.

        Raises:
            OSError: the ledger cannot be read.
        """
        found: list[Event] = []
        wanted, end = link_id.encode(), "+"
        try:
            while len(found) < EVENTS_OF_LINK_MAX:
                page = await self._page_of_events("XREVRANGE", end, "-")
                found += [event for _, of_link, event in page if of_link == wanted]
                if len(page) < EVENTS_STEP:
                    return pick(found, limit)
                end = f"({page[-1][0]}-0"
        except LedgerFault as fault:
            raise _unreadable(fault) from None
        return pick(found, limit, is_whole=False)

    async def _page_of_events(self, command: str, first: str, last: str) -> Sequence[tuple[int, bytes, Event]]:
        """Return the next ``EVENTS_STEP`` of both streams, in their order; fewer are the last."""
        args = [await self._known_born_ms(), command, first, last, EVENTS_STEP]
        told = _listed(await self._scripts.run(EVENTS, [self._meta, self._events, self._receipts], args))
        both = [_event(entry) for part in told for entry in _listed(part)]
        return sorted(both, key=lambda entry: entry[0], reverse=command == "XREVRANGE")[:EVENTS_STEP]

    async def _page(self, after: bytes, count: int) -> Sequence[Row]:
        args = [await self._known_born_ms(), self._record, _above(after), count]
        flat = _listed(await self._scripts.run(SCAN, [self._meta, self._ids], args))
        return [row_of(_bytes(flat[n]), flat[n + 1]) for n in range(0, len(flat), 2)]

    async def _known_born_ms(self) -> int:
        return await self._birth.known_ms(lambda: self._aside.call([("PING",)]))


def _above(after: bytes) -> bytes:
    """Return the lowest id as ZRANGEBYLEX has it: exclusive, or the beginning."""
    return b"(" + after if after else b"-"


def _event(entry: Reply) -> tuple[int, bytes, Event]:
    number, fields = _listed(entry)
    _, of_link, _, text = _listed(fields)
    return int(_bytes(number).partition(b"-")[0]), _bytes(of_link), cast("Event", json.loads(_bytes(text)))


def _listed(reply: object) -> list[Reply]:
    if not isinstance(reply, list):
        raise LedgerFault(f"a list was expected, not {reply!r:.80}")
    return cast("list[Reply]", reply)


def _bytes(reply: Reply) -> bytes:
    if not isinstance(reply, bytes):
        raise LedgerFault("a string was expected")
    return reply


def _number(reply: object) -> int:
    if not isinstance(reply, int):
        raise OSError("redis: a number was expected")
    return reply


def _unreadable(fault: LedgerFault) -> OSError:
    return OSError(f"the ledger does not answer: {fault}")
