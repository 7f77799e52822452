"""What the checks of a ledger stand on: how they open it, and how they say what went wrong.

The checks themselves are in ``ledger_races.py``, ``ledger_records.py`` and ``ledger_forgetting.py``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from oncegate.ledgers.protocol import Done, Gone, InsertOutcome, Ledger, Stands, Unknown, Version
from oncegate.testing.suite import CheckFailed, CheckSkipped, Suite, check

_Optional = TypeVar("_Optional")


class LedgerChecks(Suite):
    """Opens the ledger under test for a group of checks.

    Args:
        open_ledger: opens the ledger under test, each time anew, all on the same records. Picklable where processes
            are to be raced: a function of an importable module, or a ``functools.partial`` of one.
        is_shared: whether each opening, here or in another process, sees the same records. False for a ledger that
            lives and ends with its object.
        rounds: how often each race is run.
        callers: coroutines in a race.
        processes: in a race of processes.
        kills: writing processes killed.
        ends_within_s: seconds after which a check that has not ended has failed.
    """

    def __init__(
        self,
        open_ledger: Callable[[], Ledger],
        *,
        is_shared: bool = True,
        rounds: int = 20,
        callers: int = 64,
        processes: int = 3,
        kills: int = 2,
        ends_within_s: float = 60.0,
    ) -> None:
        self._open_ledger = open_ledger
        self._is_shared = is_shared
        self._rounds = rounds
        self._callers = callers
        self._processes = processes
        self._kills = kills
        self._ends_within_s = ends_within_s

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[Ledger]:
        ledger = self._open_ledger()
        try:
            await ledger.probe()
            yield ledger
        finally:
            await ledger.aclose()

    def _needs_sharing(self) -> None:
        if not self._is_shared:
            raise CheckSkipped("each opening has records of its own")


def optional_of(ledger: Ledger, optional: type[_Optional]) -> _Optional:
    """Return the ledger as this optional interface, or skip the check."""
    if not isinstance(ledger, optional):
        raise CheckSkipped(f"the ledger is no {optional.__name__}")
    return ledger


def record_number(number: int) -> bytes:
    """Return the record of one caller."""
    return json.dumps({"caller": number}).encode()


def version_of(outcome: InsertOutcome | Gone) -> Version:
    """Return the version of a write that nothing stands against."""
    if not isinstance(outcome, Done):
        raise CheckFailed(f"nothing stood against this write, but it was told {outcome}")
    return outcome.version


def standing_of(outcome: Stands | Gone | Unknown) -> Stands:
    """Return what stands, or fail."""
    if not isinstance(outcome, Stands):
        raise CheckFailed(f"a record was written, but it reads {outcome}")
    return outcome


def check_one_winner(link_id: bytes, calls: Sequence[tuple[bytes, InsertOutcome | Gone]]) -> None:
    """Check a race: ``calls`` are what each caller wanted to store, and what it was told."""
    winners = [(record, outcome.version) for record, outcome in calls if isinstance(outcome, Done)]
    told = Counter(type(outcome).__name__ for _, outcome in calls)
    check(len(winners) == 1, f"{link_id.hex()}: one must win, {len(winners)} did: {dict(told)}")
    for _, outcome in calls:
        shown = isinstance(outcome, Done) or outcome == Stands(*winners[0])
        check(shown, f"{link_id.hex()}: {winners[0]} stands there, but a loser was told {outcome}")
