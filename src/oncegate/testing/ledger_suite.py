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

from oncegate.testing.ledger_forgetting import ForgettingChecks
from oncegate.testing.ledger_races import RaceChecks
from oncegate.testing.ledger_records import RecordChecks
from oncegate.testing.suite import CheckFailed, CheckSkipped, names_of_checks

__all__ = ["CheckFailed", "CheckSkipped", "LedgerSuite"]

_GROUPS = (RaceChecks, RecordChecks, ForgettingChecks)


class LedgerSuite(RaceChecks, RecordChecks, ForgettingChecks):
    """Runs the checks on one kind of ledger; ``LedgerChecks`` says what it is made with."""

    CHECKS = names_of_checks(_GROUPS)
