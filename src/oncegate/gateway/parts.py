"""What a gateway is made of; ``service/gateway.py`` puts it together."""

from __future__ import annotations

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

from oncegate.events import Journal
from oncegate.gateway.delivery import Transfers
from oncegate.gateway.handed_over import HandedOver
from oncegate.gateway.spent import SpentLinks
from oncegate.ledgers.homes import FurtherHomes
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.verify import Trust
from oncegate.meters import Meters
from oncegate.settings import Settings
from oncegate.stores.protocol import Store
from oncegate.uses.use import Rules
from oncegate.web.pages import Pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that the viewer's listener needs.

    Attributes:
        settings: of the configuration.
        store: where the objects are.
        runner: over the ledger.
        born_ms: of the ledger, milliseconds since 1970 UTC.
        trust: whom to believe, now (keys change).
        journal: for log and events.
        clock: seconds since 1970 UTC.
        monotonic: seconds, for time limits.
        pages: what people see.
        gateway: name of this process in records, 4 characters.
        transfers: of this process.
        meters: counts, for ``/metrics``.
        spent: the links that this process knows as used.
        homes: the ledgers of other homes, whose links are served here too.
        handed: what proxies send in this process's place; None: nothing.
        removal_wanted: set where an object may be removed at once, so that nobody waits for the next look.
        rules: the configured rules of a use.
    """

    settings: Settings
    store: Store
    runner: LedgerRunner
    born_ms: int
    trust: Callable[[], Trust]
    journal: Journal
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    transfers: Transfers
    pages: Pages
    # 24 random bits: of two processes with one name, one would say 403 where 503 is due, and nothing worse
    gateway: str = field(default_factory=lambda: b64encode(os.urandom(3), b"-_").decode())
    meters: Meters = field(default_factory=Meters)
    spent: SpentLinks = field(default_factory=SpentLinks)
    homes: FurtherHomes = field(default_factory=FurtherHomes)
    handed: HandedOver | None = None
    removal_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    rules: Rules = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", Rules(resume_window_s=self.settings.links.resume_window_s))

    def now_s(self) -> int:
        """The time, in whole seconds."""
        return int(self.clock())


class _Drawn:
    """Random bytes, drawn from the system many at a time: each call of it lets another thread take the interpreter."""

    def __init__(self) -> None:
        self._text = ""
        self._at = 0

    def next(self, characters: int) -> str:
        """Return so many base64url characters that were not returned before."""
        at = self._at
        if len(self._text) - at < characters:
            self._text, at = b64encode(os.urandom(3_072), b"-_").decode(), 0
        self._at = at + characters
        return self._text[at : self._at]


_drawn = _Drawn()


def fresh_claim_id() -> str:
    """16 characters, 96 bits: a secret of the holder's cookie."""
    return _drawn.next(16)


def fresh_mark() -> str:
    """8 characters: tells this write from the last few of one link."""
    return _drawn.next(8)
