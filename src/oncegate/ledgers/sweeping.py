"""How far a ledger may be swept: the one decision, from what earlier tries said and the clock of this one.

A sweep forgets records by a clock, and a link whose record may be gone is refused for good. So one wrong clock must move
nothing. The ledger keeps the instants of its last 24 tries to sweep; a sweep goes as far as the earliest of them and of
now, and nowhere before there are 24. A gateway whose clock is 26 hours, or 400 days, ahead then needs 24 tries of its
own, and no other gateway whose clock is right, before it is followed. Nothing is known here but numbers.

Source: our choice; simulated with fleets of one to five gateways whose clocks were wrong by minutes to 400 days, one of
them right: the limit was never more than six minutes ahead of the true time.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from oncegate.ledgers.protocol import FORGET_MARGIN_S, SweepState

TRIES_KEPT = 24
SAME_TRY_S = 1_800
"""Two tries within half an hour are the same: many gateways, or one that is restarted again and again, count once."""
TRY_EVERY_S = 3_600


SETTLED_WITHIN = 5
"""Attempts to store a try while others store theirs."""
WAITS_MAX_S = 0.25
"""How long one step of a sweep lets claims go first; under a load that never ends it then takes its turn."""
LOOKS_EVERY_S = 0.005
RESTS = 9
"""A sweep takes a tenth of the time at most: without rests, claims of PostgreSQL fell to 0.64 beside one, of Redis to
0.56; with four, claims of Redis to 0.79."""
REST_MAX_S = 1.0


def after_try(state: SweepState, now_s: int, *, force: bool = False) -> SweepState | None:
    """Decide what a try to sweep leaves behind.

    Args:
        state: what the ledger keeps.
        now_s: seconds since 1970 UTC, by the clock of whoever tries.
        force: go as far as now, whatever earlier tries said.

    Returns:
        What the ledger is to keep from then on; its ``swept_until_s`` is how far to forget. None: somebody tried just
        now, so there is nothing to do.
    """
    if force:
        return SweepState(max(state.swept_until_s, now_s), _with(state.tries_s, now_s))
    if any(abs(now_s - try_s) < SAME_TRY_S for try_s in state.tries_s):
        return None
    is_known = len(state.tries_s) >= TRIES_KEPT
    limit_s = min(*state.tries_s, now_s) if is_known else state.swept_until_s
    return SweepState(max(state.swept_until_s, limit_s), _with(state.tries_s, now_s))


def next_try_in_s(state: SweepState, now_s: int) -> int:
    """How many seconds until the next try is worth making; 0: now.

    Args:
        state: what the ledger keeps.
        now_s: seconds since 1970 UTC. A try that lies ahead of it was made by a wrong clock and counts for nothing here.
    """
    before = [try_s for try_s in state.tries_s if try_s <= now_s]
    return max(0, before[-1] + TRY_EVERY_S - now_s) if before else 0


def refused_until_s(swept_until_s: int, now_s: int) -> int | None:
    """Say which links a clock that was wrong has had refused.

    Args:
        swept_until_s: how far the ledger was swept.
        now_s: seconds since 1970 UTC.

    Returns:
        Links that expire at this instant or before are refused, although it lies ahead; None where there are none.
    """
    until_s = swept_until_s - FORGET_MARGIN_S
    return until_s if until_s > now_s else None


def _with(tries_s: tuple[int, ...], now_s: int) -> tuple[int, ...]:
    return (*tries_s, now_s)[-TRIES_KEPT:]


class SweepsByTries(ABC):
    """The sweep of every ledger: decide by ``after_try``, store the limit, then forget what is due by it."""

    async def sweep(self, now_s: int, *, force: bool = False) -> int:
        """Try to sweep; see ``Sweeps.sweep``."""
        await self._check_clock(now_s)
        for _ in range(SETTLED_WITHIN):
            before = await self.sweep_state()
            after = after_try(before, now_s, force=force)
            if after is None:
                return 0
            if await self.keep_sweep(before, after):
                return await self._forget_due(after.swept_until_s, force=force)
        return 0  # others sweep just now

    @abstractmethod
    async def _check_clock(self, now_s: int) -> None:
        """Raise ``LedgerUnfit`` where ``now_s`` is more than ``CLOCK_SKEW_MAX_S`` from the server's clock."""

    @abstractmethod
    async def sweep_state(self) -> SweepState:
        """Return what is kept; see ``Sweeps.sweep_state``."""

    @abstractmethod
    async def keep_sweep(self, before: SweepState, after: SweepState) -> bool:
        """Store what a try leaves behind; see ``Sweeps.keep_sweep``."""

    @abstractmethod
    async def _forget_due(self, limit_s: int, *, force: bool) -> int:
        """Forget the records whose ``forget_after_s`` is not above the limit, which is stored; return how many.

        Args:
            limit_s: seconds since 1970 UTC.
            force: somebody asked for it by hand.
        """


class Pace:
    """How fast a sweep walks, step by step: claims go first, and get most of the time of whatever serves both.

    After each step it rests for ``RESTS`` times as long as that took. Claims of other processes are not seen here, and
    those of this one are seen only while they wait: a batch that is under way is not.

    Args:
        is_waiting: whether claims wait for the ledger now.
    """

    def __init__(self, is_waiting: Callable[[], bool]) -> None:
        self._is_waiting = is_waiting
        self._began_s: float | None = None

    async def next_step(self) -> None:
        """Wait until the next step may begin: after a rest, and when no claim waits or ``WAITS_MAX_S`` are over."""
        if self._began_s is not None:
            took_s = time.monotonic() - self._began_s
            await asyncio.sleep(min(RESTS * took_s, REST_MAX_S))
        for _ in range(int(WAITS_MAX_S / LOOKS_EVERY_S)):
            if not self._is_waiting():
                break
            await asyncio.sleep(LOOKS_EVERY_S)
        self._began_s = time.monotonic()
