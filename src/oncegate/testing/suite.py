"""What a suite of checks is: names to run one by one, words for what failed, and an end to every check.

``ledger_suite.py`` and ``store_suite.py`` are made of it. No test framework is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import ClassVar


class CheckFailed(AssertionError):
    """What was checked does not keep its contract; the message says what was seen."""


class CheckSkipped(Exception):
    """What was checked has not what this check is about."""


def check(holds: bool, what: str) -> None:  # noqa: FBT001  as assert: the condition comes first
    """Fail with these words unless it holds."""
    if not holds:
        raise CheckFailed(what)


def names_of_checks(groups: Sequence[type]) -> tuple[str, ...]:
    """Return the names of all checks of some classes, in the order in which they are written."""
    return tuple(name for group in groups for name in vars(group) if name.startswith("check_"))


class Suite:
    """Runs its checks by name.

    Attributes:
        CHECKS: names of all checks, in the order to run them.
    """

    CHECKS: ClassVar[tuple[str, ...]]
    _ends_within_s: float

    async def run(self, name: str) -> None:
        """Run one check.

        Raises:
            CheckFailed: the contract was not kept, a call raised what it may not, or the check had not ended in time.
            CheckSkipped: what is checked has not what this check is about.
            ValueError: no check has this name.
        """
        if name not in self.CHECKS:
            raise ValueError(f"no check is called {name}")
        try:
            async with asyncio.timeout(self._ends_within_s):
                await getattr(self, name)()
        except TimeoutError as late:
            raise CheckFailed(f"not at an end after {self._ends_within_s:g} s: some call was never answered") from late
        except (CheckFailed, CheckSkipped):
            raise
        except Exception as error:
            raise CheckFailed(f"a call raised {type(error).__name__}: {error}") from error

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
