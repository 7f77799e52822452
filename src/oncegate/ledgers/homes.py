"""The ledgers of ``[ledger.homes]``: each is opened when a link of its home is first asked for, and then kept.

One that does not answer delays nothing else: the links of its home are refused until it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from oncegate.ledgers.health import LedgerHealth
from oncegate.ledgers.protocol import Ledger, LedgerFacts
from oncegate.ledgers.runner import WAIT_MAX_S, LedgerRunner
from oncegate.meters import Meters


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeLedger:
    """The ledger of one home, after its probe found it fit.

    Attributes:
        ledger: itself.
        runner: over it.
        born_ms: milliseconds since 1970 UTC.
    """

    ledger: Ledger
    runner: LedgerRunner
    born_ms: int


def _knows_none(name: str) -> Ledger:
    raise KeyError(name)


async def _probe(ledger: Ledger) -> LedgerFacts:
    return await ledger.probe()


def _notes_nothing(home: HomeLedger) -> None:
    del home


class FurtherHomes:
    """The homes beside the installation's own.

    Args:
        names: as tickets name them.
        open_home: opens the ledger of a home; touches nothing.
        meters: for all of them.
        on_open: is told of each that was opened and probed.
        probe: finds out whether a ledger is fit.
    """

    def __init__(
        self,
        names: Iterable[str] = (),
        *,
        open_home: Callable[[str], Ledger] = _knows_none,
        meters: Meters | None = None,
        on_open: Callable[[HomeLedger], None] = _notes_nothing,
        probe: Callable[[Ledger], Awaitable[LedgerFacts]] = _probe,
    ) -> None:
        self.names: tuple[str, ...] = tuple(names)
        self._open_home = open_home
        self._meters = meters
        self._on_open = on_open
        self._probe = probe
        self._open: dict[str, HomeLedger] = {}
        self._locks = {name: asyncio.Lock() for name in self.names}

    async def at(self, name: str) -> HomeLedger:
        """Return the ledger of a home, within ``WAIT_MAX_S``.

        Args:
            name: one of ``names``.

        Raises:
            LedgerUnfit: it does not answer, or cannot keep its promise; the next call asks again.
            OSError: it does not answer.
        """
        if name not in self._open:
            async with asyncio.timeout(WAIT_MAX_S), self._locks[name]:
                if name not in self._open:
                    self._open[name] = await self._probed(name)
                    self._on_open(self._open[name])
        return self._open[name]

    async def _probed(self, name: str) -> HomeLedger:
        ledger = self._open_home(name)
        try:
            facts = await self._probe(ledger)
        except BaseException:
            await ledger.aclose()
            raise
        runner = LedgerRunner(ledger, self._meters, health=LedgerHealth(facts))
        return HomeLedger(ledger=ledger, runner=runner, born_ms=facts.born_ms)

    async def drain(self) -> None:
        """Wait until everything that goes on in the background is known and given back."""
        for home in self._open.values():
            await home.runner.drain()

    async def aclose(self) -> None:
        """Close every ledger that was opened."""
        for home in self._open.values():
            await home.ledger.aclose()
