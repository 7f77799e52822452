"""Who sweeps, and when: of many gateways one, which looks first, also at its start."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.protocol import SweepState
from oncegate.ledgers.sweeping import TRY_EVERY_S
from oncegate.service import upkeep

NOW_S = 1_767_290_400


class Stopped(Exception):
    """The gateway has slept as long as a test lets it."""


def gateway() -> Any:
    """What a gateway's upkeep is told: the time, and where to write."""
    return SimpleNamespace(now_s=lambda: NOW_S, journal=SimpleNamespace(write=lambda *_, **__: None))


async def slept(ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch, naps: int) -> list[float]:
    """Run the upkeep of one gateway for so many naps, and return how long each was to be."""
    told: list[float] = []

    async def sleep(seconds: float) -> None:
        told.append(seconds)
        if len(told) == naps:
            raise Stopped

    monkeypatch.setattr(upkeep, "asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(Stopped):
        await upkeep.keep_swept(gateway(), ledger)
    return told


async def with_tries(*tries_s: int) -> MemoryLedger:
    """A ledger that others tried to sweep."""
    ledger = MemoryLedger()
    await ledger.keep_sweep(SweepState(), SweepState(-1, tries_s))
    return ledger


@pytest.mark.anyio
async def test_the_first_gateway_tries_soon_after_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody tried within the hour: it does, and sleeps until the next."""
    ledger = await with_tries(NOW_S - TRY_EVERY_S)
    first, second = await slept(ledger, monkeypatch, 2)
    assert first <= 1.0
    assert second == TRY_EVERY_S
    assert (await ledger.sweep_state()).tries_s[-1] == NOW_S


@pytest.mark.anyio
async def test_a_gateway_that_starts_within_the_hour_of_another_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred gateways that are restarted walk nothing: each sleeps until an hour after the last try, and a little."""
    ledger = await with_tries(NOW_S - 60)
    (nap,) = await slept(ledger, monkeypatch, 1)
    assert TRY_EVERY_S - 60 <= nap <= TRY_EVERY_S - 60 + upkeep.JITTER_S
    assert (await ledger.sweep_state()).tries_s == (NOW_S - 60,)


@pytest.mark.anyio
async def test_who_wakes_second_finds_that_another_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """They sleep until the same moment and a little; between the look and the try another may have been first."""
    ledger = await with_tries(NOW_S - TRY_EVERY_S)
    look = ledger.sweep_state
    looks = 0

    async def second_look_sees_another() -> SweepState:
        nonlocal looks
        looks += 1
        state = await look()
        return state._replace(tries_s=(*state.tries_s, NOW_S)) if looks == 2 else state

    monkeypatch.setattr(ledger, "sweep_state", second_look_sees_another)
    await slept(ledger, monkeypatch, 2)
    assert (await look()).tries_s == (NOW_S - TRY_EVERY_S,)


@pytest.mark.anyio
async def test_an_outage_does_not_end_sweeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger out of reach raises; the gateway tries again some minutes later, for ever."""

    class Away(MemoryLedger):
        async def sweep_state(self) -> SweepState:
            raise OSError("no answer")

    assert await slept(Away(), monkeypatch, 3) == [upkeep.AFTER_FAULT_S] * 3


@pytest.mark.anyio
async def test_a_ledger_is_asked_again_soon_while_it_is_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every minute while it is fit; after somebody mended it, it serves again within seconds."""
    told: list[float] = []

    class Health:
        unfit: object = None

        async def ask_again(self, _: object) -> None:
            self.unfit = "unfit" if self.unfit is None else None

    async def sleep(seconds: float) -> None:
        told.append(seconds)
        if len(told) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(upkeep, "asyncio", SimpleNamespace(sleep=sleep))
    with pytest.raises(asyncio.CancelledError):
        await upkeep.stay_fit(Health(), MemoryLedger())  # type: ignore[arg-type]  # all of it that is used
    assert told == [upkeep.ASK_EVERY_S, upkeep.ASK_SOON_S, upkeep.ASK_EVERY_S]
