"""How far a sweep goes: the rule alone, by injected clocks. No clock that is wrong moves the limit; a right one does."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from oncegate.ledgers import sweeping
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.protocol import FORGET_MARGIN_S, Done, SweepState
from oncegate.ledgers.sweeping import (
    SAME_TRY_S,
    TRIES_KEPT,
    TRY_EVERY_S,
    Pace,
    after_try,
    next_try_in_s,
    refused_until_s,
)

NOW_S = 1_767_290_400
HOUR_S = 3_600
DAY_S = 24 * HOUR_S
LINK_S = HOUR_S
"""A link of one hour; its record is kept a day longer, so it is refused once the limit reaches an hour and a day ahead."""
STEADY = SweepState(NOW_S - DAY_S, tuple(NOW_S - HOUR_S * back for back in range(TRIES_KEPT, 0, -1)))
"""A ledger that was swept every hour by a right clock."""


def tried(state: SweepState, now_s: int) -> SweepState:
    """What is kept after a try, made or not."""
    return after_try(state, now_s) or state


def hours_refused(state: SweepState, hours: int, clocks: Callable[[int], Sequence[int]]) -> int:
    """In how many of the next hours a good link of one hour would be refused.

    Args:
        state: what is kept at the start.
        hours: of true time.
        clocks: for an hour the instants by the clocks of those who try then, seconds beside the true time.
    """
    refused = 0
    for hour in range(hours):
        true_s = NOW_S + hour * HOUR_S
        for beside_s in clocks(hour):
            state = tried(state, true_s + beside_s)
        refused += true_s + LINK_S + FORGET_MARGIN_S <= state.swept_until_s
    return refused


def test_nothing_is_swept_before_there_are_24_tries() -> None:
    """A new ledger knows no clock that it could believe; its first day costs disk alone."""
    state = SweepState()
    for number in range(TRIES_KEPT):
        state = tried(state, NOW_S + number * HOUR_S)
        assert state.swept_until_s == -1
    assert tried(state, NOW_S + TRIES_KEPT * HOUR_S).swept_until_s == NOW_S


def test_a_right_clock_sweeps_a_day_behind() -> None:
    """An hourly try moves the limit by an hour: as far as the try of 24 hours before."""
    assert tried(STEADY, NOW_S).swept_until_s == NOW_S - DAY_S
    assert tried(tried(STEADY, NOW_S), NOW_S + HOUR_S).swept_until_s == NOW_S - 23 * HOUR_S


def test_two_tries_within_half_an_hour_are_one() -> None:
    """A gateway that is started forty times in a minute, or forty gateways, must not fill the memory with one clock."""
    assert after_try(STEADY, NOW_S - HOUR_S + SAME_TRY_S - 1) is None
    assert after_try(STEADY, NOW_S - HOUR_S + SAME_TRY_S) is not None
    state = tried(STEADY, NOW_S + 400 * DAY_S)
    for restart in range(40):
        state = tried(state, NOW_S + 400 * DAY_S + restart)
    assert state.swept_until_s <= NOW_S


@pytest.mark.parametrize(
    ("clocks", "hours"),
    [
        (lambda hour: [26 * HOUR_S] if hour == 0 else [0], 60),
        (lambda hour: [26 * HOUR_S] if hour < 12 else [0], 60),
        (lambda hour: [26 * HOUR_S] if hour < 48 else [0], 100),
        (lambda _: [26 * HOUR_S, 0], 300),
        (lambda hour: [400 * DAY_S, 0] if hour < 7 * 24 else [0], 400),
        (lambda hour: [400 * DAY_S] if hour == 0 else [0], 60),
        (lambda hour: [-30 * HOUR_S] if hour < 10 else [0], 60),
        (lambda _: [-30 * HOUR_S, 0], 300),
    ],
    ids=[
        "+26h once",
        "+26h 12h",
        "+26h 48h",
        "+26h beside",
        "+400d a week beside",
        "+400d start",
        "-30h",
        "-30h beside",
    ],
)
def test_a_wrong_clock_refuses_no_good_link(clocks: Callable[[int], Sequence[int]], hours: int) -> None:
    """At the start, for hours, alone or beside a right one: a link of one hour opens throughout."""
    assert hours_refused(STEADY, hours, clocks) == 0
    assert hours_refused(SweepState(), hours, clocks) == 0


def test_after_a_quiet_week_the_limit_follows_within_a_day() -> None:
    """Nobody ran for a week: the old tries hold the limit back until 24 new ones are known, and no link suffers."""
    state, later_s = STEADY, NOW_S + 7 * DAY_S
    for hour in range(TRIES_KEPT):
        state = tried(state, later_s + hour * HOUR_S)
        assert state.swept_until_s < later_s
    assert tried(state, later_s + TRIES_KEPT * HOUR_S).swept_until_s == later_s


def test_by_force_it_goes_to_now_and_never_back() -> None:
    """The operator answers for the clock; what is swept stays swept."""
    forced = after_try(STEADY, NOW_S, force=True)
    assert forced is not None
    assert forced.swept_until_s == NOW_S
    again = after_try(forced, NOW_S - 60, force=True)
    assert again is not None
    assert again.swept_until_s == NOW_S


def test_fleets_with_one_right_clock_stay_within_six_minutes() -> None:
    """Fleets of one to five gateways, wrong by minutes to 400 days, one of them right: the limit is never far ahead."""
    for seed in range(400):
        drawn = random.Random(seed)
        offsets_s = [0, *(drawn.choice((1, -1)) * drawn.randrange(60, 400 * DAY_S) for _ in range(drawn.randrange(5)))]
        state, true_s = SweepState(), NOW_S
        for _ in range(400):
            true_s += drawn.randrange(60, 2 * HOUR_S // len(offsets_s))
            state = tried(state, true_s + drawn.choice(offsets_s))
            if true_s > NOW_S + 14 * DAY_S and seed % 3 == 0:
                offsets_s = [0]
        ahead_s = state.swept_until_s - true_s
        assert ahead_s <= 360 or not _has_right(state, true_s), (seed, ahead_s)


def _has_right(state: SweepState, true_s: int) -> bool:
    """Whether a right clock is among the tries that count."""
    return any(try_s <= true_s for try_s in state.tries_s)


def test_the_next_try_is_an_hour_after_the_last() -> None:
    """A gateway that starts looks first: somebody swept within the hour, so it sleeps. A try ahead of now is no reason."""
    assert next_try_in_s(STEADY, NOW_S) == 0
    assert next_try_in_s(STEADY, NOW_S - 1) == 1
    assert next_try_in_s(tried(STEADY, NOW_S), NOW_S + 60) == TRY_EVERY_S - 60
    assert next_try_in_s(SweepState(-1, (NOW_S + 400 * DAY_S,)), NOW_S) == 0
    assert next_try_in_s(SweepState(), NOW_S) == 0


def test_a_limit_ahead_of_now_is_told() -> None:
    """Links that have not expired are refused then: it is what doctor, readiness, status and explain look for."""
    assert refused_until_s(NOW_S + FORGET_MARGIN_S, NOW_S) is None
    assert refused_until_s(NOW_S + FORGET_MARGIN_S + 1, NOW_S) == NOW_S + 1


def test_what_is_stored_is_read_back() -> None:
    """At most 264 characters, so that it fits into a row, an item or a field."""
    assert SweepState.of_text(5, STEADY.tries_text) == SweepState(5, STEADY.tries_s)
    assert SweepState.of_text(-1, "") == SweepState()
    assert len(STEADY.tries_text) <= 264


@pytest.mark.anyio
async def test_one_start_with_a_clock_a_day_ahead_refuses_nothing() -> None:
    """The whole way, in a ledger: before, this one try refused every link of an hour for good."""
    ledger = MemoryLedger()
    await ledger.sweep(NOW_S + 26 * HOUR_S)
    forget_after_s = NOW_S + LINK_S + FORGET_MARGIN_S
    assert isinstance(await ledger.insert(bytes(16), b"{}", forget_after_s), Done)


@pytest.mark.anyio
async def test_a_sweep_takes_a_tenth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims of other processes, and a batch under way, are not seen to wait: what serves both is shared by time."""
    now_s, slept = 100.0, list[float]()

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        slept.append(seconds)
        now_s += seconds

    monkeypatch.setattr(sweeping.time, "monotonic", lambda: now_s)
    monkeypatch.setattr(sweeping.asyncio, "sleep", sleep)
    pace = Pace(lambda: False)
    for took_s in (0.02, 0.1, 60.0):
        await pace.next_step()
        now_s += took_s
    await pace.next_step()
    assert slept == pytest.approx([0.18, 0.9, 1.0])  # no rest before the first step, and none above a second


@pytest.mark.anyio
@pytest.mark.parametrize("waits_s", [0.03, 1_000.0])
async def test_a_sweep_waits_for_claims_that_wait_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, waits_s: float
) -> None:
    """Under a load that never ends it must come to its end too: the ledger would grow for ever."""
    slept = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds

    monkeypatch.setattr(sweeping.asyncio, "sleep", sleep)
    await Pace(lambda: slept < waits_s).next_step()
    assert slept == pytest.approx(min(waits_s, sweeping.WAITS_MAX_S), abs=0.006)
