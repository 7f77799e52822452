"""One request to a server for all that wait, in asyncio; the ledgers ``postgresql:`` and ``redis:`` stand on it.

While one batch is at the server, further requests gather for the next, so the size of a batch follows the load: a
single claim waits for nobody, and sixty-four claims at once share one commit.

A batch holds each key at most once: of two inserts of one key in a statement the server would refuse one, and its
answer does not say which. Later waiters of a key go into the next batch, in their order.

It knows nothing of records: ``send`` does. It never repeats a batch, and it answers every caller: after
``answer_within_s`` the answer is ``lost``, whatever the server does. (``thread.py`` is the same for a thread.)
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from oncegate.ledgers.batching.sizes import BatchSizes

ANSWER_WITHIN_S = 4.0
"""A viewer is answered within five seconds, so the runner waits 4.5 (``runner.WAIT_MAX_S``); this is half a second
less, for the rest of the claim."""
BATCH_MAX = 128
WAITING_MAX = 16_384

_log = logging.getLogger(__name__)

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Slot(Generic[Ask, Answer]):
    """One ask, the future that takes its answer, and the time after which the ask is ``lost``."""

    ask: Ask
    key: Hashable
    future: asyncio.Future[Answer]
    late_s: float


class Batcher(Generic[Ask, Answer]):
    """Lets the coroutines of one event loop share requests; one request is under way at a time.

    Args:
        send: sends a batch and returns one answer for each ask, in order. It should end within ``answer_within_s`` by
            itself; whatever it raises makes every ask of the batch ``lost``.
        key_of: of two asks with equal keys, the later one goes into a later batch. None where that does not matter.
        lost: makes the answer for an ask that got none; its argument says why, for the log.
        sizes: counts the batches by their size.
        batch_max: asks in one batch.
        waiting_max: asks that may wait; one more is ``lost`` at once and certainly not done.
        answer_within_s: seconds after which an ask without an answer is ``lost``; it may still be done.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Ask]], Awaitable[Sequence[Answer]]],
        *,
        key_of: Callable[[Ask], Hashable] | None,
        lost: Callable[[str], Answer],
        sizes: BatchSizes | None = None,
        batch_max: int = BATCH_MAX,
        waiting_max: int = WAITING_MAX,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._send = send
        self._key_of = key_of
        self._lost = lost
        self._sizes = sizes or BatchSizes()
        self._batch_max = batch_max
        self._waiting_max = waiting_max
        self._answer_within_s = answer_within_s
        self._queue: deque[_Slot[Ask, Answer]] = deque()
        self._unanswered: deque[_Slot[Ask, Answer]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def ask(self, ask: Ask) -> Answer:
        """Put one request into the next batch that has room and does not hold its key, and wait for the answer.

        If the caller is cancelled before the batch is sent, the request is dropped. After that it may still be carried
        out.
        """
        if self._is_closed:
            return self._lost("the ledger is closed")
        if len(self._queue) >= self._waiting_max:
            return self._lost(f"{self._waiting_max} requests wait for the ledger already")
        loop = asyncio.get_running_loop()
        slot = _Slot[Ask, Answer](
            ask,
            self._key_of(ask) if self._key_of else object(),
            loop.create_future(),
            loop.time() + self._answer_within_s,
        )
        self._queue.append(slot)
        self._unanswered.append(slot)
        if self._task is None:
            self._task = loop.create_task(self._run())
        if self._timer is None:  # one timer for all: a timer per ask would cost more than the ask
            self._timer = loop.call_at(slot.late_s, self._watch)
        return await slot.future

    @property
    def is_waiting(self) -> bool:
        """Whether somebody waits for the next batch."""
        return bool(self._queue)

    async def aclose(self) -> None:
        """Finish what waits; what is not finished within ``answer_within_s`` is ``lost``."""
        self._is_closed = True
        task = self._task
        if task is not None:
            await asyncio.wait({task}, timeout=self._answer_within_s)
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=self._answer_within_s)
        self._give_up(late_at_s=float("inf"))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)  # what is asked in the same turn of the event loop comes along
            while batch := self._gather():
                self._sizes.observe(len(batch))
                answers = await self._answers([slot.ask for slot in batch])
                for slot, answer in zip(batch, answers, strict=True):
                    if not slot.future.done():
                        slot.future.set_result(answer)
                self._forget_answered()
                # Those who were answered go first: what they ask next shares the batch with those who wait already.
                await asyncio.sleep(0)
        finally:
            self._task = None

    def _gather(self) -> Sequence[_Slot[Ask, Answer]]:
        """Take the next batch off the queue: in order, each key once, without those that nobody waits for."""
        batch: dict[Hashable, _Slot[Ask, Answer]] = {}
        later: list[_Slot[Ask, Answer]] = []
        while self._queue and len(batch) < self._batch_max:
            slot = self._queue.popleft()
            if slot.future.done():
                continue
            if slot.key in batch:
                later.append(slot)
            else:
                batch[slot.key] = slot
        self._queue.extendleft(reversed(later))
        return list(batch.values())

    async def _answers(self, asks: Sequence[Ask]) -> Sequence[Answer]:
        try:
            answers = await self._send(asks)
            if len(answers) != len(asks):
                raise RuntimeError(f"{len(answers)} answers for {len(asks)} asks")
        except Exception as fault:  # noqa: BLE001  a task that died would leave every later caller without an answer
            _log.exception("the ledger met a fault that it does not know")
            return [self._lost(type(fault).__name__)] * len(asks)
        return answers

    def _watch(self) -> None:
        """Answer ``lost`` to every ask that is late, and set the timer for the next one."""
        self._timer = None
        loop = asyncio.get_running_loop()
        self._give_up(late_at_s=loop.time())
        if self._unanswered:
            self._timer = loop.call_at(self._unanswered[0].late_s, self._watch)

    def _give_up(self, *, late_at_s: float) -> None:
        self._forget_answered()
        while self._unanswered and self._unanswered[0].late_s <= late_at_s:
            future = self._unanswered.popleft().future
            if not future.done():
                future.set_result(self._lost(f"no answer within {self._answer_within_s:g} s"))
            self._forget_answered()

    def _forget_answered(self) -> None:
        while self._unanswered and self._unanswered[0].future.done():
            self._unanswered.popleft()
