"""The ledger ``sqlite:``: records in one file on this machine's disk; the default, with no server to install.

Any number of processes of one machine may use the file at once. Durability: a write is answered after its transaction
was forced to the disk (write-ahead log, ``synchronous = FULL``), so what was answered stands after a kill and after a
loss of power. Speed: one writer thread, one transaction for all that wait (``threads.py``).

It never replaces a damaged ledger by an empty one, and it refuses a network file system unless told that only one
machine opens the file (``fitness.py``). Audit events are stored in a file of their own (``events.py``), so that they
cost a claim nothing.
"""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from oncegate.ledgers.batching.sizes import BatchSizes
from oncegate.ledgers.batching.thread import ANSWER_WITHIN_S, BatchThread
from oncegate.ledgers.protocol import (
    CLOSED,
    FORGET_NEVER_S,
    Event,
    Insert,
    InsertOutcome,
    Ledger,
    LedgerAway,
    LedgerExchanged,
    LedgerFacts,
    LinkEvents,
    Read,
    ReadOutcome,
    Repair,
    Replace,
    ReplaceOutcome,
    Row,
    SweepState,
    Unknown,
    Version,
)
from oncegate.ledgers.scanning import scan_in_steps
from oncegate.ledgers.sqlite import file as sqlite_file
from oncegate.ledgers.sqlite import fitness as sqlite_fitness
from oncegate.ledgers.sqlite.address import path_of
from oncegate.ledgers.sqlite.events import EventFile
from oncegate.ledgers.sqlite.mount import Mount, mount_of
from oncegate.ledgers.sqlite.rows import KEYS_MAX, Page, Walk
from oncegate.ledgers.sqlite.threads import (
    BeginWalk,
    Count,
    DeleteDue,
    EndWalk,
    KeepSweep,
    ListRows,
    LookAtPage,
    Reader,
    ReaderAnswer,
    ReaderAsk,
    ReadSweep,
    Rebirth,
    Writer,
    WriterAnswer,
    WriterAsk,
)
from oncegate.ledgers.sweeping import Pace, SweepsByTries

WEAKER_PROMISES = sqlite_fitness.WEAKER_PROMISES
WAITING_MAX = 16_384
STEP_ROWS = 500  # of a list

_Kind = TypeVar("_Kind")


class SqliteLedger(SweepsByTries):
    """Keeps records in one SQLite file.

    It touches nothing before the first call. It belongs to the event loop of its first call.

    Args:
        path: the file; ``probe`` makes it where none stands, no other method does.
        accept: weaker promises taken by name, of ``WEAKER_PROMISES``.
        busy_s: seconds that a write waits for other processes before it ends in ``Unknown``; under ``answer_within_s``.
        answer_within_s: seconds after which any call ends in ``Unknown``.
        batch_max: writes in one transaction, at most ``KEYS_MAX``.
        find_mount: tells the file system of a path.
    """

    def __init__(
        self,
        path: pathlib.Path,
        *,
        accept: Sequence[str] = (),
        busy_s: float = sqlite_file.BUSY_S,
        answer_within_s: float = ANSWER_WITHIN_S,
        batch_max: int = KEYS_MAX,
        find_mount: Callable[[pathlib.Path], Mount | None] = mount_of,
    ) -> None:
        if not 1 <= batch_max <= KEYS_MAX:
            raise ValueError(f"batch_max: {batch_max} is not within 1 and {KEYS_MAX}")
        # Symbolic links are followed once, here: two names of one ledger must share lock, log and events.
        path = sqlite_file.resolved(path)
        self._path = path
        self._accept = tuple(accept)
        self._busy_s = busy_s
        self._find_mount = find_mount
        self.batch_sizes: dict[str, BatchSizes] = {"write": BatchSizes(), "read": BatchSizes()}
        writer, reader = Writer(path, busy_s=busy_s), Reader(path, busy_s=busy_s)
        self._begin_with = (writer.begin_with, reader.begin_with)
        self._writer = BatchThread[WriterAsk, WriterAnswer](
            writer,
            name=f"oncegate-writer {path.name}",
            sizes=self.batch_sizes["write"],
            batch_max=batch_max,
            waiting_max=WAITING_MAX,
            answer_within_s=answer_within_s,
        )
        self._reader = BatchThread[ReaderAsk, ReaderAnswer](
            reader,
            name=f"oncegate-reader {path.name}",
            sizes=self.batch_sizes["read"],
            batch_max=KEYS_MAX,
            waiting_max=WAITING_MAX,
            answer_within_s=answer_within_s,
        )
        self.answer_within_s: float = answer_within_s
        self._is_closed = False
        self._events = EventFile(path.with_name(f"{path.stem}-events.db"))

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none is stored; see ``Ledger.insert``. A record that is stored is shown even if it is due."""
        if self._is_closed:
            return CLOSED
        # The cast: the writer answers each kind of ask with its own kinds, which a union of all cannot say.
        return cast("InsertOutcome", await self._writer.ask(Insert(link_id, record, forget_after_s)))

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version; see ``Ledger.replace``."""
        if self._is_closed:
            return CLOSED
        return cast("ReplaceOutcome", await self._writer.ask(Replace(link_id, version, record, forget_after_s)))

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Return the stored record, as of after every write that was answered before this call, by any process."""
        if self._is_closed:
            return CLOSED
        return cast("ReadOutcome", await self._reader.ask(Read(link_id)))

    async def probe(self) -> LedgerFacts:
        """Check the file for real, and make it where none stands (the first start in a fresh container).

        Raises:
            LedgerUnfit: it cannot keep the guarantee; the message names the file, what is the matter, what to do.
        """
        facts = await asyncio.to_thread(self._check)
        # a repair that comes before the first claim must be noticed too: the facts of this probe are older than it
        for begin_with in self._begin_with:
            begin_with(facts.born_ms)
        return facts

    async def ask_again(self) -> LedgerFacts:
        """Look at file, log, folder and mount; see ``AsksAgain``. The threads that write and read look at theirs."""
        for told in (await self._reader.ask(ReadSweep()), await self._writer.ask(Replace(bytes(16), -1, b"{}", 0))):
            if isinstance(told, Unknown):
                raise (LedgerExchanged if told.kind == "exchanged" else LedgerAway)(told.why)
        return await asyncio.to_thread(self._check, again=True)

    def _check(self, *, again: bool = False) -> LedgerFacts:
        return sqlite_fitness.check(
            self._path, accept=self._accept, find_mount=self._find_mount, busy_s=self._busy_s, again=again
        )

    async def aclose(self) -> None:
        """Finish the writes that wait and close the files. Calls after it end in ``Unknown``."""
        self._is_closed = True
        await asyncio.gather(self._reader.aclose(), self._events.aclose())
        # Last: SQLite empties its log when the last connection of all closes, and only the writer may do that.
        await self._writer.aclose()

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List up to ``limit`` records whose id is above ``after``, in order of id; see ``Scans.scan``.

        Raises:
            OSError: the ledger cannot be read.
        """
        return await scan_in_steps(self._page, after, limit, step_rows=STEP_ROWS)

    async def sweep_state(self) -> SweepState:
        """Return what is kept of the sweeps so far; see ``Sweeps.sweep_state``."""
        return _expect(SweepState, await self._reader.ask(ReadSweep()))

    async def keep_sweep(self, before: SweepState, after: SweepState) -> bool:
        """Store what a try leaves behind; see ``Sweeps.keep_sweep``."""
        return bool(_expect(Count, await self._writer.ask(KeepSweep(before, after))).count)

    async def rebirth(self, born_ms: int, repair: Repair, swept_until_s: int) -> None:
        """Set birth, repair and limit; see ``Repairs.rebirth``."""
        _expect(Count, await self._writer.ask(Rebirth(born_ms, repair, swept_until_s)))

    async def _check_clock(self, now_s: int) -> None:
        """The ledger's server is this machine, which has one clock."""

    async def _forget_due(self, limit_s: int, *, force: bool) -> int:
        del force
        walk = _expect(Walk, await self._writer.ask(BeginWalk()))
        if walk.least_s > limit_s:
            return 0
        pace = Pace(lambda: self._writer.is_waiting)
        forgotten, least_s = 0, FORGET_NEVER_S
        for begin, upto in walk.stretches:
            after = begin
            while after < upto:
                await pace.next_step()
                # Looked for by the reader; the writer is asked only where something is due. Its delete goes into the
                # next transaction with the claims that wait, and costs them no commit of its own.
                page = _expect(Page, await self._reader.ask(LookAtPage(after, upto, limit_s)))
                last = upto if page.last is None else page.last
                if page.due:
                    forgotten += _expect(Count, await self._writer.ask(DeleteDue(after, last, limit_s))).count
                after, least_s = last, min(least_s, page.least_s)
        _expect(Count, await self._writer.ask(EndWalk(least_s)))
        return forgotten

    def limit_events(self, size_bytes: int) -> None:
        """Limit the file of the events; see ``LimitsEvents.limit_events``."""
        self._events.limit(size_bytes)

    async def append_events(self, events: Sequence[Event]) -> None:
        """Append a batch; a fault is logged and swallowed."""
        await self._events.append(events)

    async def read_events(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List up to ``limit`` events whose number is above ``after``, oldest first; of one link where given."""
        return await self._events.read(after, limit, link_id=link_id)

    async def events_of_link(self, link_id: str, limit: int) -> LinkEvents:
        """Return the newest events of one link and their counts; see ``KeepsEvents.events_of_link``."""
        return await self._events.of_link(link_id, limit)

    async def _page(self, after: bytes, count: int) -> Sequence[Row]:
        return _expect(list[Row], await self._reader.ask(ListRows(after, count)))


def _expect(kind: type[_Kind], answer: object) -> _Kind:
    """Return the answer of the kind that this ask gets, or raise what went wrong: lists have no ``Unknown``."""
    if isinstance(answer, Unknown):
        raise OSError(f"the ledger does not answer: {answer.why}")
    return cast("_Kind", answer)


def open_from_url(url: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
    """Open the ledger; see ``opening.Backend``. After ``sqlite:`` stands a path, taken literally."""
    return SqliteLedger(path_of(url, folder), accept=accept)


def create_from_url(url: str, *, folder: pathlib.Path) -> None:
    """Make the empty ledger; see ``opening.Backend``."""
    sqlite_file.create(path_of(url, folder))
