"""Who asks again in the moment in which their transfer has ended and its end is not known yet."""

from __future__ import annotations

import asyncio

import pytest

from oncegate.gateway.delivery import Transfer, Transfers


async def _left(transfers: Transfers) -> Transfer:
    transfer = transfers.begin("C", "e", (0, 100))
    transfer.leave()
    return transfer


@pytest.mark.anyio
async def test_a_transfer_that_has_left_is_waited_for_until_it_is_settled() -> None:
    """A program that is cut off asks again within milliseconds; 503 or 403 would end it."""
    transfers = Transfers(asyncio.get_running_loop().time)
    transfer = await _left(transfers)
    waiting = asyncio.ensure_future(transfers.until_one_settles("C", 60))
    await asyncio.sleep(0)
    assert not waiting.done()
    transfers.end(transfer)
    assert await waiting


@pytest.mark.anyio
async def test_what_still_runs_and_what_is_another_s_is_not_waited_for() -> None:
    """They may run for hours."""
    transfers = Transfers(asyncio.get_running_loop().time)
    transfers.begin("C", "e", (0, 100))
    assert not await transfers.until_one_settles("C", 60)
    assert not await transfers.until_one_settles("other", 60)
    assert not await transfers.until_one_settles("", 60)


@pytest.mark.anyio
async def test_an_end_that_stays_unknown_is_waited_for_a_moment() -> None:
    """Its client may take minutes to read what it was sent."""
    transfers = Transfers(asyncio.get_running_loop().time)
    await _left(transfers)
    assert not await transfers.until_one_settles("C", 0.01)


@pytest.mark.anyio
async def test_a_claim_is_unended_until_its_bytes_have_arrived_and_a_moment_has_passed() -> None:
    """A reset follows the last byte at once, or means nothing any more."""
    now = 1_000.0
    transfers = Transfers(lambda: now)
    transfer = await _left(transfers)
    assert transfers.is_unended("C")
    now += 3
    assert not transfers.is_unended("C")
    transfer.has_arrived = lambda: False
    assert transfers.is_unended("C")
    assert not transfers.is_unended("other")
