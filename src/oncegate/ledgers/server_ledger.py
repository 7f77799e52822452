"""What ledgers on a server of their own share: one request for all callers that wait.

How records are stored and what is said over the wire is the backend's: it hands in what carries out a batch, and has
lists, sweeping and events as methods of its own. This module knows no server; a fault of any is ``Unknown`` or
``OSError`` before it comes here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from oncegate.ledgers.batching.batcher import Batcher
from oncegate.ledgers.batching.sizes import BatchSizes
from oncegate.ledgers.protocol import (
    CLOSED,
    Insert,
    InsertOutcome,
    LedgerFacts,
    ReadOutcome,
    Replace,
    ReplaceOutcome,
    Unknown,
    Version,
)

_log = logging.getLogger(__name__)

_Ask = TypeVar("_Ask")
_Outcome = TypeVar("_Outcome")
Send = Callable[[Sequence[_Ask]], Awaitable[Sequence[_Outcome]]]
"""Carries out a batch in which each key stands once; answers ``Unknown`` for all of a batch that was lost, never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """What carries out the batches of a backend, one function for each kind of call.

    Attributes:
        insert: inserts them all.
        replace: replaces them all.
        read: reads them all, by their ids.
    """

    insert: Send[Insert, InsertOutcome]
    replace: Send[Replace, ReplaceOutcome]
    read: Send[bytes, ReadOutcome]


class ServerLedger(ABC):
    """Batches the inserts, replaces and reads of a ledger on a server, each kind on its own.

    It touches nothing before the first call. It belongs to the event loop of its first call.

    Args:
        sends: carry out the batches.
        closes: close the backend's connections, at the end.
        batch_max: writes in one request.
        answer_within_s: seconds after which any write or read ends in ``Unknown``.
    """

    def __init__(
        self,
        sends: Sends,
        *,
        closes: Sequence[Callable[[], Awaitable[None]]],
        batch_max: int,
        answer_within_s: float,
    ) -> None:
        self._closes = closes
        self._is_closed = False
        writes, reads = BatchSizes(), BatchSizes()
        self.batch_sizes: dict[str, BatchSizes] = {"write": writes, "read": reads}
        self._inserts = Batcher[Insert, InsertOutcome](
            sends.insert,
            key_of=_link_id,
            lost=Unknown,
            sizes=writes,
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        self._replaces = Batcher[Replace, ReplaceOutcome](
            sends.replace,
            key_of=_link_id,
            lost=Unknown,
            sizes=writes,
            batch_max=batch_max,
            answer_within_s=answer_within_s,
        )
        self._reads = Batcher[bytes, ReadOutcome](
            sends.read, key_of=None, lost=Unknown, sizes=reads, batch_max=batch_max, answer_within_s=answer_within_s
        )

    @property
    def is_waiting(self) -> bool:
        """Whether claims wait for the next batch."""
        return self._inserts.is_waiting or self._replaces.is_waiting

    @abstractmethod
    async def probe(self) -> LedgerFacts:
        """Look whether the server can keep the guarantee; see ``Ledger.probe``."""

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none is; see ``Ledger.insert``. A record that is stored is shown even if it is due."""
        if self._is_closed:
            return CLOSED
        return await self._inserts.ask(Insert(link_id, record, forget_after_s))

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version; see ``Ledger.replace``."""
        if self._is_closed:
            return CLOSED
        return await self._replaces.ask(Replace(link_id, version, record, forget_after_s))

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Return the record, as of after every write that was answered before this call, by any gateway."""
        if self._is_closed:
            return CLOSED
        return await self._reads.ask(link_id)

    async def aclose(self) -> None:
        """Finish the writes that wait and close the connections. Calls after it end in ``Unknown``."""
        self._is_closed = True
        await asyncio.gather(*(batcher.aclose() for batcher in (self._inserts, self._replaces, self._reads)))
        await asyncio.gather(*(close() for close in self._closes))


class EventFaults:
    """Swallows the faults of appending events, which nobody waits for, and logs the first of a row.

    Args:
        scheme: of the URL, for the log.
    """

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._has_logged = False

    @contextlib.contextmanager
    def swallowed(self) -> Generator[None]:
        """Let no ``OSError`` out of the block."""
        try:
            yield
        except OSError as fault:
            if not self._has_logged:
                _log.error("%s: events are not kept: %s", self._scheme, fault)
            self._has_logged = True
        else:
            self._has_logged = False


def _link_id(ask: Insert | Replace) -> bytes:
    return ask.link_id
