"""What ledgers on a server of their own share: requests for all that wait, upkeep aside, and a birth that never changes.

How records lie there and what is said over the wire is the backend's: its ``Batches`` carry out whole batches, its
``Upkeep`` lists, sweeps and keeps events (``postgresql*.py``, ``redis*.py``). Here is the rest, once. It knows neither
server, and a fault of either is ``Unknown`` or ``OSError`` before it comes here.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from oncegate.ledgers.batching.batcher import Batcher
from oncegate.ledgers.batching.sizes import BatchSizes
from oncegate.ledgers.protocol import (
    Event,
    Insert,
    InsertOutcome,
    LedgerFacts,
    LedgerUnfit,
    ReadOutcome,
    Replace,
    ReplaceOutcome,
    Row,
    Unknown,
    Version,
)

_log = logging.getLogger(__name__)


class Batches(Protocol):
    """Carries out whole batches. What a lost or failed request did is ``Unknown`` for each of its batch, never raised."""

    async def insert(self, asks: Sequence[Insert]) -> Sequence[InsertOutcome]:
        """Insert them all; each key is there once."""
        ...

    async def replace(self, asks: Sequence[Replace]) -> Sequence[ReplaceOutcome]:
        """Replace them all; each key is there once."""
        ...

    async def read(self, asks: Sequence[bytes]) -> Sequence[ReadOutcome]:
        """Read them all, by their ids."""
        ...


class Upkeep(Protocol):
    """Lists and forgets records, keeps events; on a connection of its own, so that no claim waits.

    Each raises ``OSError`` where the ledger cannot be read or written.
    """

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List records; see ``Scans.scan``."""
        ...

    async def sweep(self, now_s: int) -> int:
        """Forget what is due; see ``Sweeps.sweep``."""
        ...

    async def append_events(self, events: Sequence[Event]) -> None:
        """Append a batch."""
        ...

    async def read_events(self, after: int, limit: int, *, link_id: str | None) -> Sequence[tuple[int, Event]]:
        """List events; see ``KeepsEvents.read_events``."""
        ...


class Closes(Protocol):
    """A connection, or what has one."""

    async def aclose(self) -> None:
        """Let go."""
        ...


class Birth:
    """When the ledger was born, as this process first saw it: one that took its place would open used links again.

    Args:
        scheme: of the URL, for the message.
    """

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._ms: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether this process has seen a ledger."""
        return self._ms is not None

    def check(self, born_ms: int | None) -> int:
        """Look at what a new connection shows, and return it.

        Args:
            born_ms: of the ledger there, milliseconds since 1970 UTC; None where none stands.

        Raises:
            LedgerUnfit: it is another ledger, or none.
        """
        if born_ms is None:
            raise LedgerUnfit(f"{self._scheme}: the ledger is gone; a program that starts anew makes an empty one")
        if self._ms is None:
            self._ms = born_ms
        if born_ms != self._ms:
            raise LedgerUnfit(f"{self._scheme}: another ledger than the one this process began with: restart it")
        return born_ms

    async def known_ms(self, ask: Callable[[], Awaitable[object]]) -> int:
        """Return it, in milliseconds since 1970 UTC.

        Args:
            ask: asks the server whatever it likes: the new connection is checked first.
        """
        if self._ms is None:
            await ask()
        if self._ms is None:
            raise RuntimeError("a connection answered that nobody has looked at")
        return self._ms


class ServerLedger(ABC):
    """Keeps records on a server.

    It touches nothing before the first call. It belongs to the event loop of its first call.

    Args:
        scheme: of the URL, for the log.
        batches: carries out batches of writes and reads.
        upkeep: everything else.
        connections: theirs, closed at the end.
        batch_max: writes in one request.
        answer_within_s: seconds after which any write or read ends in ``Unknown``.
    """

    def __init__(
        self,
        scheme: str,
        batches: Batches,
        upkeep: Upkeep,
        connections: Sequence[Closes],
        *,
        batch_max: int,
        answer_within_s: float,
    ) -> None:
        self._scheme = scheme
        self._upkeep = upkeep
        self._connections = connections
        self._is_closed = False
        self._has_lost_events = False
        writes, reads = BatchSizes(), BatchSizes()
        self.batch_sizes = {"write": writes, "read": reads}
        self._inserts = Batcher[Insert, InsertOutcome](
            batches.insert,
            key_of=_link_id,
            lost=Unknown,
            sizes=writes,
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        self._replaces = Batcher[Replace, ReplaceOutcome](
            batches.replace,
            key_of=_link_id,
            lost=Unknown,
            sizes=writes,
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        self._reads = Batcher[bytes, ReadOutcome](
            batches.read, key_of=None, lost=Unknown, sizes=reads, batch_max=batch_max, answer_within_s=answer_within_s
        )

    @abstractmethod
    async def probe(self) -> LedgerFacts:
        """Look whether the server can keep the guarantee; see ``Ledger.probe``."""

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none stands; see ``Ledger.insert``. A record that stands is shown even if it is due."""
        return await self._inserts.ask(Insert(link_id, record, forget_after_s))

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version; see ``Ledger.replace``."""
        return await self._replaces.ask(Replace(link_id, version, record, forget_after_s))

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Say what stands there, as of after every write that was answered before this call, by any gateway."""
        return await self._reads.ask(link_id)

    async def aclose(self) -> None:
        """Finish the writes that wait and close the connections. Calls after it end in ``Unknown``."""
        self._is_closed = True
        await asyncio.gather(*(batcher.aclose() for batcher in (self._inserts, self._replaces, self._reads)))
        await asyncio.gather(*(connection.aclose() for connection in self._connections))

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List up to ``limit`` records whose id is above ``after``, in order of id; see ``Scans.scan``.

        Raises:
            OSError: the ledger cannot be read.
        """
        return await self._upkeep.scan(after, limit)

    async def sweep(self, now_s: int) -> int:
        """Forget records whose ``forget_after_s`` is not above ``now_s``; see ``Sweeps.sweep``.

        Raises:
            LedgerUnfit: ``now_s`` is more than ``CLOCK_SKEW_MAX_S`` from the server's clock.
            OSError: the ledger cannot be read or written; what was forgotten before stays so.
        """
        return await self._upkeep.sweep(now_s)

    async def append_events(self, events: Sequence[Event]) -> None:
        """Append a batch; a fault is logged once and swallowed."""
        if self._is_closed or not events:
            return
        try:
            await self._upkeep.append_events(events)
        except OSError as fault:
            if not self._has_lost_events:
                _log.error("%s: events are not kept: %s", self._scheme, fault)
            self._has_lost_events = True
        else:
            self._has_lost_events = False

    async def read_events(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List up to ``limit`` events whose number is above ``after``, oldest first; of one link where given.

        Raises:
            OSError: the ledger cannot be read.
        """
        return await self._upkeep.read_events(after, limit, link_id=link_id)


def _link_id(ask: Insert | Replace) -> bytes:
    return ask.link_id
