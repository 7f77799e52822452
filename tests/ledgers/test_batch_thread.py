"""The thread that does in one go what waits for it: nobody is left without an answer, whatever it is stuck in."""

import asyncio
import logging
import threading
import time

import pytest

from oncegate.ledgers.batching.thread import BatchThread


class Doubling:
    """Answers each number with its double, and remembers the batches; can be made to wait."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.is_closed = False

    def do(self, asks):
        """Wait until it may go on, then answer."""
        self.batches.append(list(asks))
        self.begun.set()
        self.may_go_on.wait()
        return [ask * 2 for ask in asks]

    def lost(self, why):
        """Answer with the reason."""
        return why

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True


def thread_of(work, **limits) -> BatchThread:
    """Make a thread with small limits."""
    return BatchThread(work, name="test", **{"batch_max": 8, "waiting_max": 100, **limits})


async def until(event: threading.Event) -> None:
    """Wait for the thread without blocking the loop."""
    await asyncio.to_thread(event.wait)


@pytest.mark.anyio
async def test_what_is_asked_in_one_turn_is_one_batch() -> None:
    """64 tasks that ask at once must not make a transaction for the first and another for the rest."""
    work = Doubling()
    thread = thread_of(work, batch_max=64)
    assert await asyncio.gather(*(thread.ask(n) for n in range(64))) == [n * 2 for n in range(64)]
    assert [len(batch) for batch in work.batches] == [64]
    await thread.aclose()
    assert work.is_closed


@pytest.mark.anyio
async def test_a_batch_has_its_limit() -> None:
    """More than ``batch_max`` goes in several batches, in the order in which it was asked."""
    work = Doubling()
    thread = thread_of(work)
    await asyncio.gather(*(thread.ask(n) for n in range(20)))
    assert work.batches == [list(range(8)), list(range(8, 16)), list(range(16, 20))]
    await thread.aclose()


@pytest.mark.anyio
async def test_too_many_waiting_are_refused_at_once() -> None:
    """Both sides of the limit: the last that may wait waits, one more is told at once, and never done."""
    work = Doubling()
    work.may_go_on.clear()
    thread = thread_of(work, waiting_max=10)
    asks = [thread.ask(n) for n in range(10)]
    assert not asks[-1].done()
    assert "10 requests wait" in (one_more := thread.ask(10)).result()
    assert one_more.done()
    work.may_go_on.set()
    assert await asyncio.gather(*asks) == [n * 2 for n in range(10)]
    assert await thread.ask(11) == 22
    assert 10 not in [ask for batch in work.batches for ask in batch]
    await thread.aclose()


@pytest.mark.anyio
async def test_a_stuck_thread_leaves_nobody_waiting() -> None:
    """A disk that hangs: each caller is told, also those who wait behind, and it goes on when the disk does."""
    work = Doubling()
    work.may_go_on.clear()
    thread = thread_of(work, answer_within_s=0.05)
    first = thread.ask(1)
    await until(work.begun)
    second = thread.ask(2)
    assert "no answer within 0.05 s" in await first
    assert "no answer within 0.05 s" in await second
    work.may_go_on.set()
    assert await thread.ask(3) == 6
    # The second was given up before the thread came to it: it is then better not done.
    assert [2] not in work.batches
    await thread.aclose()


@pytest.mark.anyio
async def test_a_stuck_thread_does_not_hold_up_closing() -> None:
    """A program must be able to end while its disk hangs; who waited is told."""
    work = Doubling()
    work.may_go_on.clear()
    thread = thread_of(work, answer_within_s=0.05)
    ask = thread.ask(1)
    await until(work.begun)
    await thread.aclose()
    assert "no answer" in await ask
    work.may_go_on.set()
    while not work.is_closed:
        await asyncio.sleep(0)


@pytest.mark.anyio
async def test_closing_finishes_what_waits() -> None:
    """What was asked before is answered, what is asked after is not; closing twice is harmless."""
    work = Doubling()
    thread = thread_of(work)
    asks = [thread.ask(n) for n in range(20)]
    await asyncio.gather(thread.aclose(), thread.aclose())
    assert [ask.result() for ask in asks] == [n * 2 for n in range(20)]
    assert await thread.ask(1) == "the ledger is closed"
    assert "test" not in {running.name for running in threading.enumerate()}


@pytest.mark.anyio
async def test_closing_what_never_began() -> None:
    """No thread was started: nothing is to be ended."""
    await thread_of(Doubling()).aclose()


@pytest.mark.anyio
async def test_a_cancelled_ask_is_not_done() -> None:
    """Its caller left before the thread came to it; what was already begun goes on, and nothing breaks."""
    work = Doubling()
    work.may_go_on.clear()
    thread = thread_of(work)
    begun = thread.ask(1)
    await until(work.begun)
    waiting, stays = thread.ask(2), thread.ask(3)
    begun.cancel()
    waiting.cancel()
    work.may_go_on.set()
    assert await stays == 6
    assert work.batches == [[1], [3]]
    await thread.aclose()


def test_an_unknown_fault_does_not_end_the_thread(caplog):
    """A mistake in the work must not leave every later caller without an answer."""

    class Faulty(Doubling):
        def do(self, asks):
            if asks == [13]:
                raise ZeroDivisionError("thirteen")
            return super().do(asks)

    async def run() -> None:
        thread = thread_of(Faulty())
        assert await thread.ask(13) == "ZeroDivisionError: thirteen"
        assert await thread.ask(1) == 2
        await thread.aclose()

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert "does not know" in caplog.text


@pytest.mark.anyio
async def test_a_busy_loop_gives_way() -> None:
    """A loop that is never idle starves a thread that wants the interpreter: one ask often took over 1,000 turns."""

    class ManyCalls(Doubling):
        def do(self, asks):
            for _ in range(20):
                time.sleep(0.0003)  # lets go of the interpreter and wants it back, as each step of a database does
            return super().do(asks)

    thread = thread_of(ManyCalls())
    turns = 0
    for number in range(10):
        answer = thread.ask(number)
        while not answer.done():
            turns += 1
            assert turns < 1000, "the thread was starved"  # about 20 an ask where the loop gives way
            busy_until_s = time.perf_counter() + 0.002
            while time.perf_counter() < busy_until_s:
                pass
            await asyncio.sleep(0)
    await thread.aclose()


@pytest.mark.anyio
async def test_another_event_loop_is_refused() -> None:
    """Futures of one loop must not be resolved from another: a mistake that would hang is named."""

    async def ask(thread) -> None:
        await thread.ask(1)

    thread = thread_of(Doubling())
    await thread.ask(1)
    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, ask(thread))
    await thread.aclose()


@pytest.mark.anyio
async def test_a_loop_that_ended_is_no_fault() -> None:
    """A program that forgot to close: the thread has nobody to tell, and must not die of it."""
    work = Doubling()
    work.may_go_on.clear()
    thread = thread_of(work)

    ask = thread.ask(1)
    await until(work.begun)
    ask.cancel()
    work.may_go_on.set()
    thread._queue.put(None)
    thread._thread.join()
    assert work.is_closed
