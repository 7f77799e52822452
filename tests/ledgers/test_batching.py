"""One request for all that wait: sizes, keys, order, faults, patience; the servers' own tests are beside this."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncGenerator, Sequence

import pytest

from oncegate.ledgers.batching.batcher import Batcher


class Desk:
    """Answers batches with what was asked, when it is let; remembers them."""

    def __init__(self) -> None:
        self.batches = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault = None

    async def send(self, asks):
        """Take a batch."""
        self.batches.append(list(asks))
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return [f"did {ask}" for ask in asks]


def batcher(desk, **settings):
    """Make a batcher whose asks are words, their first letter the key."""
    return Batcher(desk.send, key_of=lambda ask: ask[0], lost=lambda why: f"lost: {why}", **settings)


@contextlib.asynccontextmanager
async def desk_in_use() -> AsyncGenerator[Desk]:
    """Give a desk, and complain of tasks that are left behind when the block ends."""
    before = asyncio.all_tasks()
    desk = Desk()
    yield desk
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before, "a task was left behind"
    gc.collect()


@pytest.mark.anyio
async def test_all_that_wait_share_a_batch() -> None:
    """What is asked in one turn of the loop goes together, and each gets its own answer."""
    async with desk_in_use() as desk:
        batch = batcher(desk)
        assert await asyncio.gather(*(batch.ask(word) for word in "abc")) == ["did a", "did b", "did c"]
        assert desk.batches == [["a", "b", "c"]]


@pytest.mark.anyio
async def test_one_batch_is_under_way_at_a_time() -> None:
    """While the first is at the server the rest gathers; nothing overtakes it."""
    async with desk_in_use() as desk:
        batch = batcher(desk)
        desk.gate.clear()
        first = asyncio.ensure_future(batch.ask("a"))
        await asyncio.sleep(0.01)
        rest = [asyncio.ensure_future(batch.ask(word)) for word in "bcd"]
        await asyncio.sleep(0.01)
        assert desk.batches == [["a"]]
        desk.gate.set()
        assert await asyncio.gather(first, *rest) == ["did a", "did b", "did c", "did d"]
        assert desk.batches == [["a"], ["b", "c", "d"]]


@pytest.mark.anyio
async def test_a_key_is_in_a_batch_once() -> None:
    """The second and third of a key go one batch later each, in their order; other keys do not wait for them."""
    async with desk_in_use() as desk:
        batch = batcher(desk)
        asks = ["a1", "a2", "b1", "a3", "b2", "c1"]
        assert await asyncio.gather(*(batch.ask(word) for word in asks)) == [f"did {ask}" for ask in asks]
        assert desk.batches == [["a1", "b1", "c1"], ["a2", "b2"], ["a3"]]


@pytest.mark.anyio
async def test_without_keys_nothing_waits() -> None:
    """Reads of one key are harmless together: a hundred HEADs are one question."""
    async with desk_in_use() as desk:
        batch = Batcher(desk.send, key_of=None, lost=str)
        await asyncio.gather(*(batch.ask("a") for _ in range(100)))
        assert [len(asks) for asks in desk.batches] == [100]


@pytest.mark.anyio
@pytest.mark.parametrize(("asks", "sizes"), [(8, [8]), (9, [8, 1]), (17, [8, 8, 1])])
async def test_a_batch_has_its_limit(asks, sizes) -> None:
    """One statement must not grow with the load."""
    async with desk_in_use() as desk:
        batch = batcher(desk, batch_max=8)
        await asyncio.gather(*(batch.ask(chr(97 + number)) for number in range(asks)))
        assert [len(sent) for sent in desk.batches] == sizes


@pytest.mark.anyio
async def test_more_than_may_wait_is_refused_at_once() -> None:
    """At the limit an ask is told, and was certainly not done: the queue must not grow with a server that hangs."""
    async with desk_in_use() as desk:
        batch = batcher(desk, waiting_max=2)
        asks = [asyncio.ensure_future(batch.ask(word)) for word in "abc"]
        assert await asyncio.gather(*asks) == ["did a", "did b", "lost: 2 requests wait for the ledger already"]
        assert desk.batches == [["a", "b"]]


@pytest.mark.anyio
async def test_a_failed_batch_is_lost_for_each() -> None:
    """One fault, and no ask of the batch knows what became of it; the next batch is tried as if nothing had been."""
    logging.disable(logging.CRITICAL)
    try:
        async with desk_in_use() as desk:
            batch = batcher(desk)
            desk.fault = OSError("no route, password=secret")
            assert await asyncio.gather(batch.ask("a"), batch.ask("b")) == ["lost: OSError"] * 2
            desk.fault = None
            assert await batch.ask("a") == "did a"
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.anyio
async def test_too_few_answers_are_no_answers(caplog: pytest.LogCaptureFixture) -> None:
    """Answers that cannot be matched to asks must not be dealt out to the wrong ones."""

    async def send(asks: Sequence[str]) -> Sequence[str]:
        return ["only one"]

    async with desk_in_use():
        batch = Batcher(send, key_of=None, lost=str)
        assert await asyncio.gather(batch.ask("a"), batch.ask("b")) == ["RuntimeError"] * 2
    assert "does not know" in caplog.text


@pytest.mark.anyio
async def test_nobody_waits_longer_than_promised() -> None:
    """Those in the batch and those behind it are told when their time is up, each counted from his own start."""
    async with desk_in_use() as desk:
        batch = batcher(desk, answer_within_s=0.2)
        desk.gate.clear()
        begun_s = asyncio.get_running_loop().time()
        first = asyncio.ensure_future(batch.ask("a"))
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(batch.ask("b"))
        assert await first == "lost: no answer within 0.2 s"
        assert 0.19 < asyncio.get_running_loop().time() - begun_s < 0.29
        assert await second == "lost: no answer within 0.2 s"
        assert asyncio.get_running_loop().time() - begun_s > 0.29
        desk.gate.set()
        assert await batch.ask("c") == "did c"
        assert desk.batches == [["a"], ["c"]], "what was given up before it was sent must not be sent"


@pytest.mark.anyio
async def test_cancelled_waiters_harm_nobody() -> None:
    """One leaves before his batch is sent: it goes without him. One leaves after: the others get their answers."""
    async with desk_in_use() as desk:
        batch = batcher(desk)
        desk.gate.clear()
        first = [asyncio.ensure_future(batch.ask(word)) for word in "ab"]
        await asyncio.sleep(0.01)
        second = [asyncio.ensure_future(batch.ask(word)) for word in "cd"]
        await asyncio.sleep(0.01)
        first[0].cancel()
        second[0].cancel()
        desk.gate.set()
        told = await asyncio.gather(*first, *second, return_exceptions=True)
        assert [type(answer).__name__ for answer in told] == ["CancelledError", "str", "CancelledError", "str"]
        assert desk.batches == [["a", "b"], ["d"]]


@pytest.mark.anyio
async def test_closing_finishes_what_waits() -> None:
    """Answers are given out, later asks are lost, and closing twice or unused is harmless."""
    async with desk_in_use() as desk:
        batch = batcher(desk)
        asks = [asyncio.ensure_future(batch.ask(word)) for word in ("a1", "a2")]
        await asyncio.sleep(0)
        await batch.aclose()
        assert await asyncio.gather(*asks) == ["did a1", "did a2"]
        assert await batch.ask("b") == "lost: the ledger is closed"
        await batch.aclose()
        await batcher(desk).aclose()


@pytest.mark.anyio
async def test_closing_does_not_wait_for_ever() -> None:
    """A server that hangs is left behind: whoever waits is told, and no task remains."""
    async with desk_in_use() as desk:
        batch = batcher(desk, answer_within_s=0.05)
        desk.gate.clear()
        ask = asyncio.ensure_future(batch.ask("a"))
        await asyncio.sleep(0)
        await batch.aclose()
        assert (await ask).startswith("lost: ")
