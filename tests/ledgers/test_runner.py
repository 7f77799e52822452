"""One write under way per link, patience that ends, and what goes on after it: the runner over a ledger that is late."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from oncegate.ledgers import claiming, runner
from oncegate.ledgers.claiming import GiveBack, Talk, give_back, rewrite
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.protocol import InsertOutcome, Stands, Unknown
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.refusal import Reason
from oncegate.uses.first import FirstClaim
from oncegate.uses.record import Record, from_json, to_json
from oncegate.uses.use import Admission, DownloadAsk, Kind, Rules, admit_download

LINK, OTHER = bytes(16), bytes(15) + b"\1"
FORGET_S = 2**40
NOW_S = 1_767_290_400
PATIENCE_S = 0.05

T = TypeVar("T")


class Way(enum.Enum):
    """Who limits the first step of a claim, and who writes its record; every test of this file holds for each."""

    RUNNER = "limited by the runner"
    LEDGER = "limited by the ledger"
    FIRST = "limited by the ledger, written before the talk begins"


way = Way.RUNNER


@pytest.fixture(autouse=True, params=Way, ids=lambda way: way.name.lower())
def short_patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer who waits 50 milliseconds, and tries that follow at once."""
    monkeypatch.setattr(sys.modules[__name__], "way", request.param)
    monkeypatch.setattr(runner, "WAIT_MAX_S", PATIENCE_S)
    monkeypatch.setattr(claiming, "PAUSE_FIRST_S", 0.0)


class LateLedger(MemoryLedger):
    """Inserts follow a script, a word per call; without one they are as in memory.

    ``lost``: not written, unknown. ``written``: written, unknown. ``held``: written when ``gate`` opens.
    ``before``: written at once, answered when ``gate`` opens. ``broken``: raises. ``other``: another ledger is there.
    """

    def __init__(self, *script: str) -> None:
        super().__init__(born_ms=0)
        self.script = deque(script)
        self.gate = asyncio.Event()
        self.inserts = 0
        self.under_way = 0
        self.under_way_max = 0
        if way is not Way.RUNNER:
            self.answer_within_s = PATIENCE_S

    async def _opens(self) -> bool:
        """Wait for the gate; False where this ledger says by itself that it took too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if way is Way.RUNNER else PATIENCE_S):
                await self.gate.wait()
        return self.gate.is_set()

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Do as the script says."""
        self.inserts += 1
        self.under_way += 1
        self.under_way_max = max(self.under_way_max, self.under_way)
        try:
            word = self.script.popleft() if self.script else ""
            if word == "held" and not await self._opens():
                return Unknown("late")
            if word == "broken":
                raise OSError("the disk is on fire")
            if word == "lost":
                return Unknown("lost")
            if word == "other":
                return Unknown("another ledger", "exchanged")
            answer = await super().insert(link_id, record, forget_after_s)
            if word == "before" and not await self._opens():
                return Unknown("late")
            return Unknown("written") if word == "written" else answer
        finally:
            self.under_way -= 1

    async def uses(self, link_id: bytes = LINK) -> int:
        """How many uses the record says were taken; 0 where none stands."""
        stands = await self.read(link_id)
        return from_json(stands.record).uses if isinstance(stands, Stands) else 0


drawn = iter(range(1, 1_000_000))


def decide(record: Record | None) -> Admission:
    """The rule for a whole GET by a stranger."""
    number = next(drawn)
    ask = DownloadAsk(
        uses=1,
        size_bytes=100,
        etag="e",
        span=None,
        cookie=None,
        address=None,
        gateway="g",
        claim_id=f"C{number}",
        mark=f"m{number}",
    )
    return admit_download(record, ask, NOW_S, Rules())


def undo(admission: Admission) -> Talk[bool]:
    """Give everything back."""
    what = GiveBack(LINK, FORGET_S, admission.claim_id, f"s{next(drawn)}", 100, 100, "e")
    return give_back(what, lambda: NOW_S)


def claim(run: LedgerRunner, link_id: bytes = LINK) -> Awaitable[Admission]:
    """A viewer's claim."""
    if way is not Way.FIRST:
        return run.claim(link_id, FORGET_S, decide, undo=undo)
    first = decide(None)
    assert first.record is not None
    text = to_json(first.record)

    def decide_by(record: Record | None) -> Admission:
        return first if record is None else decide(record)

    return run.claim(link_id, FORGET_S, decide_by, undo=undo, first=FirstClaim(first, text))


def live(story: Callable[[], Awaitable[T]]) -> T:
    """Run a story in a loop of its own, with an end to it."""

    async def bounded() -> T:
        async with asyncio.timeout(20):
            return await story()

    return asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Give way until something has come about."""
    while not condition():
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_a_claim_that_is_answered_at_once_starts_no_task() -> None:
    """The hot path: one insert, and nothing left behind that a drain would wait for."""
    async with asyncio.timeout(20):
        ledger = LateLedger()
        run = LedgerRunner(ledger)
        before = asyncio.all_tasks()
        admission = await claim(run)
        assert admission.kind is Kind.ADMIT
        assert ledger.inserts == 1
        assert asyncio.all_tasks() == before
        assert run._turns == {}


@pytest.mark.anyio
async def test_of_many_claims_at_once_one_wins_and_one_write_is_under_way() -> None:
    """Without turns 50 viewers of one link would race 50 writes, and push each other's marks out."""
    async with asyncio.timeout(20):
        ledger = LateLedger()
        run = LedgerRunner(ledger)
        admissions = await asyncio.gather(*(claim(run) for _ in range(50)))
        assert [admission.kind for admission in admissions].count(Kind.ADMIT) == 1
        assert ledger.under_way_max == 1
        assert run._turns == {}


@pytest.mark.anyio
async def test_another_link_does_not_wait() -> None:
    """A turn is per link: one that hangs must not hold up the gateway."""
    async with asyncio.timeout(20):
        ledger = LateLedger("held")
        run = LedgerRunner(ledger)
        first = asyncio.ensure_future(claim(run))
        await until(lambda: ledger.under_way == 1)
        assert (await claim(run, OTHER)).kind is Kind.ADMIT
        assert not first.done()
        ledger.gate.set()
        assert (await first).kind is Kind.ADMIT


@pytest.mark.anyio
async def test_a_lost_answer_that_becomes_known_in_time_is_an_admission() -> None:
    """Two lost answers within the patience are nobody's business; the claim is known by its own mark."""
    async with asyncio.timeout(20):
        ledger = LateLedger("lost", "written")
        run = LedgerRunner(ledger)
        assert (await claim(run)).kind is Kind.ADMIT
        await run.drain()
        assert (ledger.inserts, await ledger.uses()) == (3, 1)


@pytest.mark.anyio
async def test_a_viewer_is_sent_away_when_his_patience_ends_and_the_use_is_free_again() -> None:
    """The contract says 503 within five seconds, and that nothing was used up by it: both must be true."""
    async with asyncio.timeout(20):
        ledger = LateLedger("written", *["lost"] * 1_000_000)
        run = LedgerRunner(ledger)
        loop = asyncio.get_running_loop()
        started = loop.time()
        admission = await claim(run)
        assert (admission.kind, admission.reason) == (Kind.BUSY, Reason.LEDGER_UNKNOWN)
        assert PATIENCE_S <= loop.time() - started < 5
        assert await ledger.uses() == 1  # it was written all the same
        ledger.script.clear()
        await run.drain()
        assert await ledger.uses() == 0
        assert (await claim(run)).kind is Kind.ADMIT


@pytest.mark.anyio
@pytest.mark.parametrize("word", ["held", "before"])
async def test_a_ledger_that_does_not_answer_at_all_does_not_keep_the_viewer(word: str) -> None:
    """The time of the turn and of the first call count together; the call goes on being unknown, and is given back."""
    async with asyncio.timeout(20):
        # one that limits itself is asked again at once
        ledger = LateLedger(word, *([] if way is Way.RUNNER else ["held"]))
        run = LedgerRunner(ledger)
        admission = await claim(run)
        assert (admission.kind, admission.reason) == (Kind.BUSY, Reason.LEDGER_UNKNOWN)
        await run.drain()
        assert await ledger.uses() == 0
        assert (await claim(run)).kind is Kind.ADMIT


@pytest.mark.anyio
async def test_who_waits_for_a_turn_that_does_not_come_is_sent_away_too() -> None:
    """Behind a claim whose answer stays unknown others would otherwise wait for as long as the ledger is away."""
    async with asyncio.timeout(20):
        ledger = LateLedger(*["lost"] * 1_000_000)
        run = LedgerRunner(ledger)
        kinds = [admission.kind for admission in await asyncio.gather(claim(run), claim(run), claim(run))]
        assert kinds == [Kind.BUSY] * 3
        assert (await claim(run)).reason is Reason.LEDGER_UNKNOWN
        ledger.script.clear()
        await run.drain()
        assert (run._turns, await ledger.uses()) == ({}, 0)


@pytest.mark.anyio
async def test_the_next_in_turn_waits_until_an_abandoned_claim_is_given_back() -> None:
    """Were the turn passed on before the undo, the next viewer would hear that the link has been used."""
    async with asyncio.timeout(20):
        ledger = LateLedger("written", *["lost"] * 1_000_000)
        run = LedgerRunner(ledger)
        assert (await claim(run)).kind is Kind.BUSY
        following = asyncio.ensure_future(claim(run))
        await asyncio.sleep(0)
        assert not following.done()
        ledger.script.clear()
        assert (await following).kind is Kind.ADMIT
        await run.drain()
        assert await ledger.uses() == 1


@pytest.mark.anyio
@pytest.mark.parametrize("script", [("before",), ("written", *["lost"] * 1_000_000)], ids=["first call", "later"])
async def test_a_viewer_who_is_cancelled_loses_no_use(script: tuple[str, ...]) -> None:
    """A server may cancel the request of a viewer who left: the write under way would be spent by nobody."""
    async with asyncio.timeout(20):
        ledger = LateLedger(*script)
        run = LedgerRunner(ledger)
        viewer = asyncio.ensure_future(claim(run))
        written = 1 if script == ("before",) else 2
        await until(lambda: ledger.inserts >= written)
        viewer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await viewer
        ledger.script.clear()
        await run.drain()
        assert (run._turns, await ledger.uses()) == ({}, 0)


@pytest.mark.anyio
async def test_a_viewer_who_is_cancelled_while_his_claim_becomes_known_loses_no_use() -> None:
    """Both happen in one turn of the loop: the claim's task is done, and nobody will ever take its result."""
    async with asyncio.timeout(20):
        ledger = LateLedger("lost", "held")
        run = LedgerRunner(ledger)
        viewer = asyncio.ensure_future(claim(run))
        await until(lambda: ledger.inserts == 2)
        (going_on,) = run._background
        going_on.add_done_callback(lambda _: viewer.cancel())
        ledger.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await viewer
        await run.drain()
        assert await ledger.uses() == 0


@pytest.mark.anyio
async def test_a_cancelled_waiter_passes_its_turn_on() -> None:
    """One who leaves the queue, even in the moment in which his turn comes, must not block those behind him."""
    async with asyncio.timeout(20):
        ledger = LateLedger("held")
        run = LedgerRunner(ledger)
        first, second, third, fourth = (asyncio.ensure_future(claim(run)) for _ in range(4))
        await until(lambda: ledger.under_way == 1)
        second.cancel()
        await asyncio.sleep(0)
        ledger.gate.set()
        await first  # the turn went to the third, who has not run yet
        third.cancel()
        assert (await first).kind is Kind.ADMIT
        assert (await fourth).reason is Reason.USED
        assert second.cancelled()
        await asyncio.gather(third, return_exceptions=True)
        assert run._turns == {}


@pytest.mark.anyio
@pytest.mark.parametrize("script", [("broken",), ("lost", "broken")], ids=["first call", "later"])
async def test_an_unexpected_fault_reaches_the_viewer_and_releases_the_turn(
    script: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """A bug in a ledger must be an error of one request, not the end of a link."""
    async with asyncio.timeout(20):
        ledger = LateLedger(*script)
        run = LedgerRunner(ledger)
        with pytest.raises(OSError, match="on fire"):
            await claim(run)
        assert run._turns == {}
        assert (await claim(run)).kind is Kind.ADMIT
        await run.drain()
    assert ("ended badly" in caplog.text) == (len(script) > 1)


def test_draining_waits_for_what_goes_on_in_the_background() -> None:
    """At the end of the process a give-back that was not waited for is a lost use."""

    async def story() -> None:
        ledger = LateLedger()
        run = LedgerRunner(ledger)
        admission = await claim(run)
        order: list[str] = []

        def slow() -> Talk[bool]:
            for _ in range(5):
                yield claiming.Pause(0)
            gave = yield from undo(admission)
            order.append("given back")
            return gave

        run.run_in_background(LINK, slow())
        await run.drain()
        order.append("drained")
        assert order == ["given back", "drained"]
        assert await ledger.uses() == 0

    live(story)


@pytest.mark.anyio
@pytest.mark.parametrize("pause_s", [0.0, 1_000.0])
async def test_a_process_that_ends_leaves_what_meets_another_ledger(
    monkeypatch: pytest.MonkeyPatch, pause_s: float
) -> None:
    """Nothing can be given back in a ledger that took the place of ours; waiting for it made each stop last 30 s."""
    monkeypatch.setattr(claiming, "PAUSE_FIRST_S", pause_s)
    monkeypatch.setattr(claiming, "PAUSE_MAX_S", pause_s)
    async with asyncio.timeout(20):
        ledger = LateLedger(*["other"] * 1_000_000)
        run = LedgerRunner(ledger)
        assert (await claim(run)).reason is Reason.LEDGER_UNKNOWN
        tries = ledger.inserts
        run.stop()
        await run.drain()
        assert 1 <= ledger.inserts - tries <= 2
        assert run._turns == {}


@pytest.mark.anyio
async def test_a_process_that_ends_asks_a_ledger_that_was_put_back_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first write may have been stored: the answer of long ago says nothing of what is at its place now."""
    monkeypatch.setattr(claiming, "PAUSE_FIRST_S", 1_000.0)
    monkeypatch.setattr(claiming, "PAUSE_MAX_S", 1_000.0)
    async with asyncio.timeout(20):
        ledger = LateLedger("written", "other")
        run = LedgerRunner(ledger)
        assert (await claim(run)).reason is Reason.LEDGER_UNKNOWN
        assert await ledger.uses() == 1
        run.stop()
        await run.drain()
        assert await ledger.uses() == 0


@pytest.mark.anyio
async def test_a_process_that_ends_goes_on_while_nobody_answers() -> None:
    """A ledger that restarts beside the gateway holds the use, and takes it back when it answers again."""
    async with asyncio.timeout(20):
        ledger = LateLedger("written", *["lost"] * 500)
        run = LedgerRunner(ledger)
        viewer = asyncio.ensure_future(claim(run))
        await until(lambda: ledger.inserts > 1)
        viewer.cancel()
        run.stop()
        await run.drain()
        assert ledger.script == deque()
        assert await ledger.uses() == 0


@pytest.mark.anyio
async def test_a_settlement_takes_its_turn_and_waits_as_long_as_it_must() -> None:
    """Beside a claim under way it would be a second write of this gateway; given up it would be a lost use."""
    async with asyncio.timeout(20):
        ledger = LateLedger("held")
        run = LedgerRunner(ledger)
        viewer = asyncio.ensure_future(claim(run))
        await until(lambda: ledger.under_way == 1)
        settlement = asyncio.ensure_future(run.run(LINK, rewrite(LINK, FORGET_S, lambda record: None)))
        await asyncio.sleep(0)
        assert not settlement.done()
        ledger.gate.set()
        assert (await viewer).kind is Kind.ADMIT
        assert await settlement is False
