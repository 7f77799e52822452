"""What a server or the network can do to a ledger, as checks that the backends behind a server share.

Each takes an ``Outage``: the server, how to open its ledger, and a proxy where the network is to blame. Loaded by
``conftest.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from oncegate.ledgers.claiming import GiveBack, Talk, give_back
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Ledger, Stands, Unknown
from oncegate.ledgers.runner import LedgerRunner
from oncegate.testing.ledger_processes import fresh_link_id, record_of
from oncegate.testing.servers.process import Server
from oncegate.uses.record import Record, from_json
from oncegate.uses.use import Admission, DownloadAsk, Kind, Rules, admit_download

UNKNOWN_WITHIN_S = 5.0
BACK_WITHIN_S = 5.0
NOW_S = 1_767_290_400

_drawn = itertools.count(1)


@dataclass
class Outage:
    """A server, its ledger, and the proxy before it, if any."""

    server: Server
    open: Callable[[], Ledger]
    proxy: Any = None
    connections: Callable[[], int] | None = None


@contextlib.asynccontextmanager
async def probed(outage: Outage):
    """Open the ledger, with all connections made."""
    ledger = outage.open()
    try:
        await ledger.probe()
        done = await ledger.insert(link_id := fresh_link_id(), b"{}", FORGET_NEVER_S)
        await ledger.replace(link_id, done.version, b"{}", FORGET_NEVER_S)
        await ledger.read(link_id)
        yield ledger
    finally:
        await ledger.aclose()


async def all_unknown(ledger: Ledger) -> None:
    """Check that every kind of call, many at once, ends in Unknown in time, and that lists raise."""
    begun_s = time.monotonic()
    calls = [
        call
        for _ in range(20)
        for call in (
            ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S),
            ledger.replace(fresh_link_id(), "0123456789abcdef", b"{}", FORGET_NEVER_S),
            ledger.replace(fresh_link_id(), 7, b"{}", FORGET_NEVER_S),
            ledger.read(fresh_link_id()),
        )
    ]
    aside = [ledger.append_events([{"at": 0, "event": "complete"}]) for _ in range(5)]
    aside += [ledger.scan(b"", 1), ledger.sweep(int(time.time()), force=True), ledger.probe()]
    aside = [asyncio.ensure_future(call) for call in aside]
    told = await asyncio.gather(*calls)
    assert time.monotonic() - begun_s < UNKNOWN_WITHIN_S
    assert Counter(type(what).__name__ for what in told) == {"Unknown": len(told)}
    raised = await asyncio.gather(*aside, return_exceptions=True)
    assert time.monotonic() - begun_s < UNKNOWN_WITHIN_S
    assert [type(what).__name__ for what in raised] == ["NoneType"] * 5 + ["OSError", "OSError", "LedgerAway"]


async def works_again(ledger: Ledger) -> None:
    """Check that it serves by itself in time, asked as often as viewers would."""
    begun_s = time.monotonic()
    link_id = fresh_link_id()
    while isinstance(await ledger.insert(link_id, record_of("us"), FORGET_NEVER_S), Unknown):
        assert time.monotonic() - begun_s < BACK_WITHIN_S
        await asyncio.sleep(0.05)
    what = await ledger.read(link_id)
    while isinstance(what, Unknown) and time.monotonic() - begun_s < BACK_WITHIN_S:
        what = await ledger.read(link_id)
    assert isinstance(what, Stands)
    assert time.monotonic() - begun_s < BACK_WITHIN_S


async def outlives(outage: Outage, fail: Callable[[], None], recover: Callable[[], None], *, rounds: int = 2) -> None:
    """Check calls during an outage and after it, twice over: the first leaves connections that are half dead."""
    async with probed(outage) as ledger:
        for _ in range(rounds):
            await asyncio.to_thread(fail)
            try:
                await all_unknown(ledger)
            finally:
                await asyncio.to_thread(recover)
            await works_again(ledger)
        await nothing_leaked(outage, most=4)
    await nothing_leaked(outage, most=0)


async def nothing_leaked(outage: Outage, *, most: int) -> None:
    """Check how many connections the server has from us, when those that were cut are gone."""
    if outage.connections is None:
        return
    deadline = time.monotonic() + 5
    while (count := await asyncio.to_thread(outage.connections)) > most:
        assert time.monotonic() < deadline, f"{count} connections are open"
        await asyncio.sleep(0.05)


# Claims as viewers make them.


def viewer() -> Callable[[Record | None], Admission]:
    """Make the rule for a whole GET by a stranger, with a mark of his own."""
    number = next(_drawn)

    def decide(record: Record | None) -> Admission:
        ask = DownloadAsk(
            uses=1, size_bytes=100, etag="e", span=None, cookie=None, address=None,
            gateway="g", claim_id=f"C{number}", mark=f"m{number}",
        )  # fmt: skip
        return admit_download(record, ask, NOW_S, Rules())

    return decide


def claim(runner: LedgerRunner, link_id: bytes):
    """Claim as the gateway does; what nobody waits for any more is given back."""

    def undo(admission: Admission) -> Talk[bool]:
        what = GiveBack(link_id, FORGET_NEVER_S, admission.claim_id, f"s{next(_drawn)}", 100, 100, "e")
        return give_back(what, lambda: NOW_S)

    return asyncio.ensure_future(runner.claim(link_id, FORGET_NEVER_S, viewer(), undo=undo))


async def uses_of(ledger: Ledger, link_id: bytes) -> int:
    """Say how many uses are taken."""
    what = await ledger.read(link_id)
    return from_json(what.record).uses if isinstance(what, Stands) else 0


async def until(holds: Callable[[], bool], *, within_s: float = 8.0) -> None:
    """Wait until something holds in another thread."""
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.005)


async def a_lost_answer_costs_no_use(outage: Outage) -> None:
    """The write happens and its answer is lost: the viewer gets the object all the same, once."""
    async with probed(outage) as ledger:
        runner = LedgerRunner(ledger)
        for _ in range(3):
            link_id, lost = fresh_link_id(), outage.proxy.lost_replies
            outage.proxy.fault = "lose_replies"
            first = claim(runner, link_id)
            await until(lambda before=lost: outage.proxy.lost_replies > before)
            outage.proxy.fault = "pass_on"
            assert (await first).kind is Kind.ADMIT
            assert (await claim(runner, link_id)).kind is Kind.REFUSE
            assert await uses_of(ledger, link_id) == 1
        await runner.drain()


async def a_write_that_lands_late_wins_nothing_twice(outage: Outage) -> None:
    """The request hangs on its way; it is repeated over another connection and wins; then the first one lands."""
    async with probed(outage) as ledger:
        runner, link_id = LedgerRunner(ledger), fresh_link_id()
        held = outage.proxy.held_requests
        outage.proxy.fault = "hold_requests"
        first = claim(runner, link_id)
        await until(lambda: outage.proxy.held_requests > held)
        outage.proxy.fault = "pass_on"
        assert (await first).kind is Kind.ADMIT
        stands = await ledger.read(link_id)
        outage.proxy.release()
        await asyncio.sleep(0.3)
        assert await ledger.read(link_id) == stands
        assert (await claim(runner, link_id)).kind is Kind.REFUSE
        await runner.drain()


async def a_claim_that_lands_after_503_is_given_back(outage: Outage) -> None:
    """Nobody knows within the viewer's patience; the write lands after he was sent away: the use is free again."""
    async with probed(outage) as ledger:
        runner, link_id = LedgerRunner(ledger), fresh_link_id()
        outage.proxy.fault = "hold_requests"
        begun_s = time.monotonic()
        assert (await claim(runner, link_id)).kind is Kind.BUSY
        assert time.monotonic() - begun_s < UNKNOWN_WITHIN_S
        outage.proxy.release()
        await asyncio.wait_for(runner.drain(), 12)
        assert await uses_of(ledger, link_id) == 0
        assert (await claim(runner, link_id)).kind is Kind.ADMIT
        await runner.drain()


async def kills_lose_nothing(outage: Outage, kills: int) -> None:
    """Kill -9 under load: every write that was answered Done stands, and no id is won twice."""
    won: Counter[bytes] = Counter()
    async with probed(outage) as ledger:
        is_over = False

        async def claims(number: int) -> None:
            while not is_over:
                link_id, record = fresh_link_id(), record_of(f"claimer {number} {next(_drawn)}")
                was_unknown = False
                while isinstance(what := await ledger.insert(link_id, record, FORGET_NEVER_S), Unknown):
                    was_unknown = True
                    await asyncio.sleep(0.01)
                # Stands, with our own record, is how a write whose answer was lost is recognised.
                assert isinstance(what, Done) or (was_unknown and what.record == record)
                won[link_id] += 1

        callers = [asyncio.ensure_future(claims(number)) for number in range(32)]
        for _ in range(kills):
            before = len(won)
            await until(lambda least=before + 200: len(won) > least, within_s=40.0)
            await asyncio.to_thread(outage.server.kill)
            await asyncio.to_thread(outage.server.start)
        is_over = True
        await asyncio.gather(*callers)
        assert len(won) > 200 * kills
        assert set(won.values()) == {1}
        for start in range(0, len(keys := list(won)), 500):
            told = await asyncio.gather(
                *(ledger.insert(key, record_of("thief"), FORGET_NEVER_S) for key in keys[start : start + 500])
            )
            assert {type(what) for what in told} == {Stands}
        await nothing_leaked(outage, most=4)
