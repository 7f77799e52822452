"""Write until the outcome is known: talks with any ledger, as generators that yield steps and are sent outcomes.

Only this module knows what to do about ``Unknown``: the same write is repeated until it is answered, then the answer is
searched for the mark of that write. A read never decides it, because a lost write may still arrive
(docs/decisions/0002).

A talk calls nothing itself: ``ledgers/runner.py`` drives it over an asyncio ledger, the edge function over blocking
calls, and the simulation over a ledger that loses, delays and crashes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

from oncegate.ledgers.protocol import (
    Done,
    Gone,
    Insert,
    InsertOutcome,
    Read,
    ReadOutcome,
    Replace,
    ReplaceOutcome,
    Stands,
    Swept,
    Unknown,
    Version,
)
from oncegate.links.refusal import Reason
from oncegate.uses.record import MARKS_MAX, Doubt, Record, from_json, to_json
from oncegate.uses.use import Admission, Kind, is_written, settle

ATTEMPTS_MAX = 12
PAUSE_FIRST_S, PAUSE_MAX_S = 0.05, 5.0


class Pause(NamedTuple):
    """The driver is to wait before it asks for the next step; the outcome that it sends back means nothing."""

    seconds: float


Step = Insert | Replace | Read | Pause
Outcome = InsertOutcome | ReplaceOutcome | ReadOutcome
T = TypeVar("T")
Talk = Generator[Step, Outcome, T]
Decide = Callable[[Record | None], Admission]


def claim(link_id: bytes, forget_after_s: int, decide: Decide, *, reads_first: bool = False) -> Talk[Admission]:
    """Win a use, or learn why not; one write where nobody came before.

    Args:
        link_id: 16 bytes.
        forget_after_s: until when the record must live.
        decide: the rule, asked again whenever another record is stored than the one it last saw.
        reads_first: the link has a record already, of this gateway's own making: it is read before the rule is asked.

    Returns:
        An admission whose record is written, or one that writes nothing. The talk goes on until the outcome is known;
        whoever waits may stop waiting, but must then let the talk end and give back what it won.
    """
    record: Record | None = None
    version: Version | None = None
    if reads_first and isinstance(found := (yield from _read_until_known(link_id)), Stands):
        record, version = from_json(found.record), found.version
    for _ in range(ATTEMPTS_MAX):
        admission = decide(record)
        if admission.record is None:
            return admission
        answer = yield from _until_known(_write(link_id, version, to_json(admission.record), forget_after_s))
        if isinstance(answer, Done):
            return admission
        if isinstance(answer, Swept):
            return Admission(kind=Kind.REFUSE, reason=Reason.FORGOTTEN)
        if isinstance(answer, Gone):
            record = version = None
            continue
        record, version = from_json(answer.record), answer.version
        if is_written(record, admission.mark):
            return admission
    return Admission(kind=Kind.BUSY, reason=Reason.LEDGER_UNKNOWN)


def _write(row_id: bytes, version: Version | None, text: bytes, forget_after_s: int) -> Insert | Replace:
    """An insert where no record was seen, otherwise a replace of the version that was seen."""
    if version is None:
        return Insert(row_id, text, forget_after_s)
    return Replace(row_id, version, text, forget_after_s)


def _read_until_known(link_id: bytes) -> Talk[Outcome]:
    """Repeat a read until it is answered."""
    pause_s = PAUSE_FIRST_S
    while isinstance(answer := (yield Read(link_id)), Unknown):
        yield Pause(pause_s)
        pause_s = min(2 * pause_s, PAUSE_MAX_S)
    return answer


def _until_known(write: Insert | Replace) -> Talk[Done | Stands | Gone | Swept]:
    """Repeat one write until it is answered."""
    pause_s = PAUSE_FIRST_S
    while True:
        answer = yield write
        if not isinstance(answer, Unknown):
            return answer
        yield Pause(pause_s)
        pause_s = min(2 * pause_s, PAUSE_MAX_S)


class GiveBack(NamedTuple):
    """What is to be given back of a claim whose transfer broke.

    Attributes:
        link_id: 16 bytes.
        forget_after_s: until when the record must live.
        claim_id: whose promise it was.
        mark: fresh, names this settlement.
        back_bytes: promised and never sent.
        size_bytes: of the object.
        etag: hash of its ETag.
        is_parallel: it was taken from a running transfer, for another of the same holder.
        doubt: whether the rest, which was sent, has arrived.
    """

    link_id: bytes
    forget_after_s: int
    claim_id: str
    mark: str
    back_bytes: int
    size_bytes: int
    etag: str
    is_parallel: bool = False
    doubt: Doubt = Doubt.NONE


def give_back(what: GiveBack, clock: Callable[[], int]) -> Talk[bool]:
    """Settle a broken transfer, for as long as it takes.

    If all eight stored marks are new since the last attempt, nothing is given back: our own mark may have been pushed
    out, and settling again would return the bytes twice, so that a holder could have more than size and slack. As long
    as one mark that was seen before is still stored, ours, being newer, would be stored too; it is not, so the last
    attempt was certainly not written.

    Returns:
        Whether something was given back.
    """
    seen: frozenset[str] | None = None

    def change(record: Record) -> Record | None:
        nonlocal seen
        marks = frozenset(record.marks)
        if seen is not None and len(marks) == MARKS_MAX and seen.isdisjoint(marks) and what.mark not in marks:
            return None
        seen = marks
        return settle(
            record,
            claim_id=what.claim_id,
            mark=what.mark,
            back_bytes=what.back_bytes,
            size_bytes=what.size_bytes,
            etag=what.etag,
            now_s=clock(),
            is_parallel=what.is_parallel,
            doubt=what.doubt,
        )

    return (yield from rewrite(what.link_id, what.forget_after_s, change))


def rewrite(link_id: bytes, forget_after_s: int, change: Callable[[Record], Record | None]) -> Talk[bool]:
    """Change the record that is stored, for as long as it takes.

    Args:
        link_id: 16 bytes.
        forget_after_s: until when the record must live.
        change: from the stored record to the one to store; None where nothing (more) is to be done. Doing it twice
            must be harmless: it is asked again after a write whose answer was lost.

    Returns:
        Whether this talk changed something; False too where no record is stored.
    """
    answer = yield from _read_until_known(link_id)
    while True:
        if not isinstance(answer, Stands):
            return False
        changed = change(from_json(answer.record))
        if changed is None:
            return False
        answer = yield from _until_known(Replace(link_id, answer.version, to_json(changed), forget_after_s))
        if isinstance(answer, Done):
            return True


def insert_or_rewrite(
    link_id: bytes, forget_after_s: int, change: Callable[[Record | None], Record | None]
) -> Talk[Record | None]:
    """Change what stands, or insert where nothing does: revoking and issuing. As ``rewrite`` otherwise.

    Returns:
        What stands in the end; None where the link is so old that its record may have been forgotten.
    """
    return (yield from insert_or_change(link_id, forget_after_s, change, from_json, to_json))


def insert_or_change(
    row_id: bytes,
    forget_after_s: int,
    change: Callable[[T | None], T | None],
    read: Callable[[bytes], T],
    write: Callable[[T], bytes],
    *,
    reads_first: bool = False,
) -> Talk[T | None]:
    """``insert_or_rewrite`` for a row of any kind.

    Args:
        row_id: 16 bytes.
        forget_after_s: until when the row must live.
        change: from what stands to what is to be stored; None where nothing is to be done. Asked again after a write
            whose answer was lost.
        read: from the bytes that the ledger keeps.
        write: to them.
        reads_first: ``change`` is first asked of what stands, not of nothing.
    """
    stands: T | None = None
    version: Version | None = None
    if reads_first and isinstance(found := (yield from _read_until_known(row_id)), Stands):
        stands, version = read(found.record), found.version
    while True:
        changed = change(stands)
        if changed is None:
            return stands
        answer = yield from _until_known(_write(row_id, version, write(changed), forget_after_s))
        if isinstance(answer, Done):
            return changed
        if isinstance(answer, Swept):
            return None
        stands, version = (None, None) if isinstance(answer, Gone) else (read(answer.record), answer.version)
