"""Drive the talks of ``claiming`` over an asyncio ledger: one write under way per link, and nobody waits for ever.

A viewer waits at most ``WAIT_MAX_S``. A claim whose outcome is not known by then goes on in the background until it is
known, and is then given back; ``drain`` waits for that. No rule is decided here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from oncegate.ledgers import claiming
from oncegate.ledgers.claiming import Decide, Outcome, Pause, Step, Talk
from oncegate.ledgers.health import LedgerHealth
from oncegate.ledgers.protocol import (
    Done,
    Insert,
    InsertOutcome,
    Ledger,
    LedgerExchanged,
    Read,
    Replace,
    ReplaceOutcome,
    Unknown,
)
from oncegate.links.refusal import Reason
from oncegate.meters import Meters
from oncegate.uses.first import FirstClaim
from oncegate.uses.use import Admission, Kind

WAIT_MAX_S = 4.5
"""The contract says 503 within five seconds."""

T = TypeVar("T")
_log = logging.getLogger("oncegate.ledger")
_NOT_KNOWN = Admission(kind=Kind.BUSY, reason=Reason.LEDGER_UNKNOWN)


@runtime_checkable
class AnswersInTime(Protocol):
    """A ledger that says by itself ``Unknown`` when it has no answer in time."""

    @property
    def answer_within_s(self) -> float:
        """Seconds after which any write or read ends in ``Unknown``, give or take a hundredth."""
        ...


@dataclass(slots=True)
class _Viewer:
    """Whether somebody still waits for a claim."""

    waits: bool = True


class LedgerRunner:
    """Runs talks over one ledger, for one gateway process."""

    def __init__(self, ledger: Ledger, meters: Meters | None = None, *, health: LedgerHealth | None = None) -> None:
        """Take a ledger.

        Args:
            ledger: the one that all gateways share.
            meters: gets each call, its outcome and its seconds, and each retry; for ``/metrics``.
            health: what is known of the ledger; claims are refused by it, and it learns what became of writes.
        """
        self._ledger = ledger
        self.health: LedgerHealth = LedgerHealth() if health is None else health
        self._meters = Meters() if meters is None else meters
        self._is_in_time = isinstance(ledger, AnswersInTime) and ledger.answer_within_s <= WAIT_MAX_S
        self._turns: dict[bytes, deque[asyncio.Future[None]]] = {}
        self._background: set[asyncio.Task[object]] = set()
        self._stopping = asyncio.Event()

    async def claim(
        self,
        link_id: bytes,
        forget_after_s: int,
        decide: Decide,
        *,
        undo: Callable[[Admission], Talk[bool]],
        reads_first: bool = False,
        first: FirstClaim | None = None,
    ) -> Admission:
        """Win a use, or learn why not, within ``WAIT_MAX_S``.

        Args:
            link_id: 16 bytes.
            forget_after_s: until when the record must live.
            decide: the rule.
            undo: the talk that gives back an admission for which nobody waits any more.
            reads_first: see ``claiming.claim``.
            first: what ``decide`` says where nothing is recorded, and its record as text.
        """
        if (unfit := self._refusal_of_health(link_id, forget_after_s)) is not None:
            return unfit
        deadline = asyncio.get_running_loop().time() + WAIT_MAX_S
        viewer = _Viewer()
        talk: Talk[Admission] | None = None
        step: Step | None = None
        try:
            if self._is_in_time and link_id not in self._turns:
                # nearly every claim ends with its first step; a limit of our own would cost more than the rest of it
                self._turns[link_id] = deque()
                talk = claiming.claim(link_id, forget_after_s, decide, reads_first=reads_first)
                if first is None:
                    step = talk.send(await self._carry(next(talk)))
                else:
                    outcome = await self._insert_first(talk, link_id, first.text, forget_after_s)
                    if isinstance(outcome, Done):
                        self._end_turn(link_id)
                        return first.admission
                    step = talk.send(outcome)
            async with asyncio.timeout_at(deadline):
                if talk is None or step is None:
                    await self._take_turn(link_id)
                    talk = claiming.claim(link_id, forget_after_s, decide, reads_first=reads_first)
                    step = next(talk)
                while not isinstance(step, Pause):
                    step = talk.send(await self._carry(step))
        except StopIteration as stop:
            self._end_turn(link_id)
            return stop.value
        except (TimeoutError, asyncio.CancelledError) as left:
            if talk is not None:
                # the write is under way and may still happen: find out, and give back
                viewer.waits = False
                talk.send(Unknown("nobody waited for the answer"))
                self._spawn(self._go_on(link_id, talk, viewer, undo))
            if isinstance(left, asyncio.CancelledError):
                raise
            return _NOT_KNOWN
        except BaseException:
            self._end_turn(link_id)
            raise
        return await self._claim_slowly(link_id, talk, viewer, deadline, undo)

    def _refusal_of_health(self, link_id: bytes, forget_after_s: int) -> Admission | None:
        if self.health.unfit is not None:
            return _NOT_KNOWN
        if self.health.refuses(link_id, forget_after_s):
            return Admission(kind=Kind.REFUSE, reason=Reason.FORGOTTEN)
        return None

    async def _insert_first(
        self, talk: Talk[Admission], link_id: bytes, record: bytes, forget_after_s: int
    ) -> InsertOutcome:
        """Carry out the step with which a talk would begin; it is begun only where that is not its end."""
        started = time.perf_counter()
        try:
            outcome = await self._ledger.insert(link_id, record, forget_after_s)
        except asyncio.CancelledError:
            next(talk)
            raise
        self._note_write("insert", outcome, started)
        if not isinstance(outcome, Done):
            next(talk)
        return outcome

    def _note_write(self, call: str, outcome: InsertOutcome | ReplaceOutcome, started: float) -> None:
        self.health.note_write(outcome)
        self._meters.ledger_call(call, type(outcome).__name__.lower(), time.perf_counter() - started)

    async def _claim_slowly(
        self,
        link_id: bytes,
        talk: Talk[Admission],
        viewer: _Viewer,
        deadline: float,
        undo: Callable[[Admission], Talk[bool]],
    ) -> Admission:
        """An answer was lost: go on in a task of its own, which outlives the viewer's patience."""
        task = self._spawn(self._go_on(link_id, talk, viewer, undo))
        try:
            await asyncio.wait({task}, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        except asyncio.CancelledError:
            viewer.waits = False
            if task.done() and not task.cancelled() and not task.exception() and task.result().record is not None:
                self.run_in_background(link_id, undo(task.result()))  # it became known while we were being cancelled
            raise
        if task.done():
            return task.result()
        viewer.waits = False
        return _NOT_KNOWN

    async def _go_on(
        self, link_id: bytes, talk: Talk[Admission], viewer: _Viewer, undo: Callable[[Admission], Talk[bool]]
    ) -> Admission:
        """Drive a claim until it is known; what is won when nobody waits any more is given back in the same turn."""
        try:
            admission = await self._drive(talk)
            if not viewer.waits and admission.record is not None:
                _log.warning("a claim became known after its viewer had been sent away; giving it back")
                await self._drive(undo(admission))
        except LedgerExchanged:
            return _NOT_KNOWN
        else:
            return admission
        finally:
            self._end_turn(link_id)

    async def run(self, link_id: bytes, talk: Talk[T]) -> T:
        """Run any other talk about a link to its end, in its turn."""
        async with self._turn(link_id):
            return await self._drive(talk)

    def run_in_background(self, link_id: bytes, talk: Talk[object]) -> asyncio.Task[object]:
        """Start a talk that outlives whoever asked for it; ``drain`` waits for it."""
        return self._spawn(self.run(link_id, talk))

    async def read(self, link_id: bytes) -> Outcome:
        """Read what stands, for those who write nothing (HEAD, pages, status)."""
        return await self._carry(Read(link_id))

    def stop(self) -> None:
        """Say that the process ends: from now on no talk goes on with a ledger that is another than at the start.

        While the process lives, such a talk is repeated, because the right ledger may be put back. At the end each
        talk that pauses tries once more at once. One that meets another ledger is left: nothing can be given back in
        it. One that meets silence goes on, as the ledger may answer yet.
        """
        self._stopping.set()

    async def drain(self) -> None:
        """Wait until everything that goes on in the background is known and given back, or left: see ``stop``."""
        while self._background:
            await asyncio.wait(self._background)

    async def _drive(self, talk: Talk[T]) -> T:
        try:
            step = next(talk)
            while True:
                outcome = await self._carry(step)
                if self._stopping.is_set() and isinstance(outcome, Unknown) and outcome.kind == "exchanged":
                    raise LedgerExchanged(outcome.why)
                step = talk.send(outcome)
        except StopIteration as stop:
            return stop.value

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until the process is told to end; after that, the whole pause."""
        if self._stopping.is_set():
            await asyncio.sleep(seconds)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _carry(self, step: Step) -> Outcome:
        started = time.perf_counter()
        match step:
            case Insert():
                outcome = await self._ledger.insert(*step)
                self._note_write("insert", outcome, started)
            case Replace():
                outcome = await self._ledger.replace(*step)
                self._note_write("replace", outcome, started)
            case Read():
                outcome = await self._ledger.read(step.link_id)
                self._meters.ledger_call("read", type(outcome).__name__.lower(), time.perf_counter() - started)
            case Pause():
                self._meters.ledger_retry()
                await self._pause(step.seconds)
                return Unknown("paused")
        return outcome

    def _spawn(self, coroutine: Coroutine[object, object, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[object]) -> None:
        self._background.discard(task)
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, LedgerExchanged):
            _log.warning("a write to the ledger was left undone at the end: %s", fault)
        elif fault is not None:
            _log.error("a talk with the ledger ended badly", exc_info=fault)

    @asynccontextmanager
    async def _turn(self, link_id: bytes) -> AsyncGenerator[None]:
        await self._take_turn(link_id)
        try:
            yield
        finally:
            self._end_turn(link_id)

    async def _take_turn(self, link_id: bytes) -> None:
        waiting = self._turns.get(link_id)
        if waiting is None:
            self._turns[link_id] = deque()
            return
        mine = asyncio.get_running_loop().create_future()
        waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self._end_turn(link_id)  # the turn came while we were being cancelled: pass it on
            raise

    def _end_turn(self, link_id: bytes) -> None:
        waiting = self._turns[link_id]
        while waiting:
            following = waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        del self._turns[link_id]
