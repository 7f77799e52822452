"""The checks that every ledger must pass; run them on a backend of your own, against its real server.

    suite = LedgerSuite(functools.partial(open_ledger, "sqlite:./ledger.db", folder=folder))
    for name in LedgerSuite.CHECKS:
        asyncio.run(suite.run(name))

Each check opens the ledger anew, uses ids of its own, and raises ``CheckFailed`` with what it saw. Checks of an optional
interface, or of several processes, raise ``CheckSkipped`` where there is none. A ledger may hold other records; due
ones are swept. No test framework is needed; with pytest, parametrize over ``CHECKS``.

What is not here: loss of power, and answers lost on the way (``faulty_ledger.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from oncegate.testing.ledger_checks import CheckFailed, CheckSkipped
from oncegate.testing.ledger_forgetting import ForgettingChecks
from oncegate.testing.ledger_races import RaceChecks
from oncegate.testing.ledger_records import RecordChecks

__all__ = ["CheckFailed", "CheckSkipped", "LedgerSuite"]

_GROUPS = (RaceChecks, RecordChecks, ForgettingChecks)


class LedgerSuite(RaceChecks, RecordChecks, ForgettingChecks):
    """Runs the checks on one kind of ledger; ``LedgerChecks`` says what it is made with."""

    CHECKS: ClassVar[tuple[str, ...]] = tuple(
        name for group in _GROUPS for name in vars(group) if name.startswith("check_")
    )
    """Names of all checks, in the order to run them."""

    async def run(self, name: str) -> None:
        """Run one check.

        Raises:
            CheckFailed: the ledger did not keep it.
            CheckSkipped: the ledger has not what it is about.
            ValueError: no check has this name.
        """
        if name not in self.CHECKS:
            raise ValueError(f"no check is called {name}")
        try:
            async with asyncio.timeout(self._ends_within_s):
                await getattr(self, name)()
        except TimeoutError as late:
            raise CheckFailed(f"not at an end after {self._ends_within_s:g} s: some call was never answered") from late

    async def run_all(self) -> Mapping[str, str]:
        """Run all checks; say ``passed``, ``skipped: why`` or ``failed: why`` of each."""
        verdicts: dict[str, str] = {}
        for name in self.CHECKS:
            try:
                await self.run(name)
            except CheckSkipped as reason:
                verdicts[name] = f"skipped: {reason}"
            except CheckFailed as failure:
                verdicts[name] = f"failed: {failure}"
            else:
                verdicts[name] = "passed"
        return verdicts
