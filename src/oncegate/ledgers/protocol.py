"""What a ledger is: a place where records are kept so that of many writers exactly one wins.

A ledger knows nothing of links, uses or time: it stores bytes under a 16-byte id with a version, on two conditions
(no record is stored under the id; the stored one has this version). All meaning is in the record, which pure code computes
(``uses/use.py``), so a new backend has no policy to get wrong.

The optional interfaces (``Scans``, ``Sweeps``, ``CountsRepeats``, ``KeepsEvents``) are Protocols of their own: ask with ``isinstance``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from oncegate.unfit import Unfit

LINK_ID_BYTES = 16
PLAIN_ID_BYTE = 0xFF
"""Ids of links without a ticket begin with it; those of tickets with the milliseconds of their making, six bytes."""
FORGET_NEVER_S = 2**63 - 1
FORGET_MARGIN_S = 86_400
CLOCK_SKEW_MAX_S = 300


def forget_after(expires_s: int) -> int:
    """Until when the record of a link must live: a day longer than the link (docs/record.md)."""
    return min(expires_s + FORGET_MARGIN_S, FORGET_NEVER_S)


Version = int | str
"""Names one state of a record: a count in databases, an ETag in a bucket. Opaque: compared, never computed."""

Event = Mapping[str, str | int | bool | None]
"""An audit event: a flat row of ``events.py``, with ``at`` (seconds UTC) and ``event``."""


@dataclass(frozen=True, slots=True)
class Done:
    """The write happened, and only this caller's."""

    version: Version


@dataclass(frozen=True, slots=True)
class Stands:
    """Not written; this is the record that is stored (for a replace: with another version than the one named)."""

    record: bytes
    version: Version


@dataclass(frozen=True, slots=True)
class Gone:
    """Not written; no record is stored under this id any more."""


@dataclass(frozen=True, slots=True)
class Swept:
    """Not written: a record with this ``forget_after_s`` may have been swept, so the link may have been used."""


UnknownKind = Literal["lost", "exchanged", "closed"]
"""Why an outcome is unknown: no good answer came; the ledger is gone, or another is in its place; this process closed it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The write may or may not have happened, now or later. ``why`` is for the log, never for a viewer.

    Attributes:
        why: what went wrong, in words.
        kind: the same for the program, which never reads ``why``.
    """

    why: str
    kind: UnknownKind = "lost"


CLOSED = Unknown("the ledger is closed", "closed")
"""What every call answers after ``aclose``."""


class Insert(NamedTuple):
    """What ``Ledger.insert`` is asked."""

    link_id: bytes
    record: bytes
    forget_after_s: int


class Replace(NamedTuple):
    """What ``Ledger.replace`` is asked."""

    link_id: bytes
    version: Version
    record: bytes
    forget_after_s: int


class Read(NamedTuple):
    """What ``Ledger.read`` is asked."""

    link_id: bytes


InsertOutcome = Done | Stands | Swept | Unknown
ReplaceOutcome = Done | Stands | Gone | Unknown
ReadOutcome = Stands | Gone | Unknown


class Repair(NamedTuple):
    """What a ledger keeps after its limit of sweeping was lowered, so that nothing that was used comes back.

    Attributes:
        refused_before_ms: tickets made before this instant are refused, whatever ``[ledger] accept_from`` says.
        plain_until_s: how far was swept before. Links without a ticket carry no time of making, so those with a
            ``forget_after_s`` up to this are refused on.
    """

    refused_before_ms: int = 0
    plain_until_s: int = -1

    def refuses(self, link_id: bytes, forget_after_s: int) -> bool:
        """Whether a record of this link may have been forgotten before the limit was lowered."""
        if link_id[0] == PLAIN_ID_BYTE:
            return forget_after_s <= self.plain_until_s
        return int.from_bytes(link_id[:6]) < self.refused_before_ms


NO_REPAIR = Repair()


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """What ``probe`` found out.

    Attributes:
        born_ms: milliseconds since 1970 UTC at which the ledger was created; tickets made before are refused.
        clock_ahead_s: the server's clock minus ours; 0 for a ledger in this process.
        accepted: names of the weaker promises that were found and accepted by configuration.
        swept_until_s: records whose ``forget_after_s`` is not above this may have been forgotten; -1: none.
        repair: of the last ``Repairs.repair``; all zero where there was none.
    """

    born_ms: int
    clock_ahead_s: float = 0.0
    accepted: tuple[str, ...] = ()
    swept_until_s: int = -1
    repair: Repair = NO_REPAIR


class LedgerUnfit(Unfit):
    """This ledger cannot keep the guarantee here; the message says why and what to change. The program must not start."""


class LedgerExchanged(LedgerUnfit):
    """The ledger that this process began with is gone, or another is in its place: used links would open again in it."""


class LedgerAway(LedgerUnfit):
    """Nobody answers, so nothing is known of the ledger; a program that runs goes on with what it knew."""


class Ledger(Protocol):
    """Where records are kept.

    Guarantee: of any number of inserts of one link id, from any number of processes and hosts, at most one ends in
    ``Done`` while the record lives, and the record lives until its ``forget_after_s``. Of any number of replaces that
    name one version, at most one ends in ``Done``.

    ``Unknown`` means that the write may have happened, or may still happen. A ledger never raises for an expected
    fault and never decides ``Unknown`` by a read. Every call ends within a few seconds, or in ``Unknown``. A call may be
    cancelled while it waits; what it asked for may then still happen, and the ledger goes on working.
    """

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none is stored.

        Args:
            link_id: 16 bytes.
            record: UTF-8 JSON; 62 bytes of a usual link, under 8 KiB with 32 claims, the object key and a label.
            forget_after_s: seconds since 1970 UTC, at most ``FORGET_NEVER_S``; until then the record must live.
        """
        ...

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version."""
        ...

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Return the stored record, as of after every write that was answered before this call."""
        ...

    async def probe(self) -> LedgerFacts:
        """Open the ledger for real and check that it can keep the guarantee.

        Raises:
            LedgerUnfit: it cannot; the message is for the operator.
        """
        ...

    async def aclose(self) -> None:
        """Finish the writes that wait and let go of everything. Calls after it end in ``Unknown``."""
        ...


@runtime_checkable
class AsksAgain(Protocol):
    """A ledger that can be asked again, while it is used, whether it is still fit, at less cost than by ``probe``."""

    async def ask_again(self) -> LedgerFacts:
        """Look at all that may have changed since ``probe``; writes nothing.

        Raises:
            LedgerAway: nobody answers.
            LedgerUnfit: it no longer keeps the guarantee.
        """
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One stored record, as ``scan`` lists it."""

    link_id: bytes
    record: bytes
    version: Version
    forget_after_s: int


@runtime_checkable
class Scans(Protocol):
    """A ledger that can list its records."""

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List up to ``limit`` records whose id is above ``after`` (exclusive; ``b""`` begins), in order of id.

        Raises:
            OSError: the ledger cannot be read.
        """
        ...


class SweepState(NamedTuple):
    """What a ledger keeps of its sweeps.

    Attributes:
        swept_until_s: records whose ``forget_after_s`` is not above this may have been forgotten; -1: none.
        tries_s: instants of the last tries to sweep, seconds since 1970 UTC, in the order in which they were made.
    """

    swept_until_s: int = -1
    tries_s: tuple[int, ...] = ()

    @property
    def tries_text(self) -> str:
        """The tries as ledgers store them: decimal numbers between commas, at most 264 characters."""
        return ",".join(map(str, self.tries_s))

    @classmethod
    def of_text(cls, swept_until_s: int, tries: str) -> SweepState:
        """Read what a ledger stored.

        Raises:
            ValueError: ``tries`` is no list of numbers.
        """
        return cls(swept_until_s, tuple(int(word) for word in tries.split(",") if word))


@runtime_checkable
class Sweeps(Protocol):
    """A ledger that can forget."""

    async def sweep_state(self) -> SweepState:
        """Return what is kept of the sweeps so far.

        Raises:
            OSError: the ledger cannot be read.
        """
        ...

    async def keep_sweep(self, before: SweepState, after: SweepState) -> bool:
        """Store what a try leaves behind, unless something else than ``before`` is stored; return whether it was.

        Forced to the disk like a claim, also where ``after`` is ``before``.

        Raises:
            OSError: the ledger cannot be written, or it is not known whether it was.
        """
        ...

    async def sweep(self, now_s: int, *, force: bool = False) -> int:
        """Try to sweep: forget records as far as ``sweeping.after_try`` allows; return how many.

        The limit is stored first (``swept_until``, which never falls): from then on an insert whose
        ``forget_after_s`` is not above it answers ``Swept``. Works in small steps, and pauses while claims wait.

        Args:
            now_s: seconds since 1970 UTC.
            force: go as far as ``now_s``, whatever earlier tries said.

        Raises:
            LedgerUnfit: this clock differs from the server's by more than ``CLOCK_SKEW_MAX_S``.
            OSError: the ledger cannot be read or written; what was forgotten before stays so.
        """
        ...


@runtime_checkable
class Repairs(Protocol):
    """A ledger whose limit of sweeping can be lowered, and whose birth can be set."""

    async def rebirth(self, born_ms: int, repair: Repair, swept_until_s: int) -> None:
        """Set birth, repair and limit in one write, and forget the tries to sweep.

        Every other process that has the ledger open then meets another birth, and answers nothing until it starts anew.

        Args:
            born_ms: milliseconds since 1970 UTC.
            repair: see ``Repair``.
            swept_until_s: the new limit; may be lower than before.

        Raises:
            OSError: the ledger cannot be written, or it is not known whether it was.
        """
        ...


@runtime_checkable
class CountsRepeats(Protocol):
    """A ledger that asks again by itself before it says ``Unknown``."""

    @property
    def repeats(self) -> int:
        """How often it has, since it was opened: the answer was lost, or the server was busy."""
        ...


RECEIPTS = ("download", "upload")
"""Names of the events that tell the end of a transfer: where there is no room, they are the last to be forgotten."""


class LinkEvents(NamedTuple):
    """What a ledger kept of one link's events.

    Attributes:
        newest: the newest of each name (``event``), all together oldest first.
        counts: how many there are of each name; one that stands for several (``count``) counts as these.
        is_whole: every event was looked at; if not, there are at least ``counts``.
    """

    newest: Sequence[Event] = ()
    counts: Mapping[str, int] = {}
    is_whole: bool = True


@runtime_checkable
class LimitsEvents(Protocol):
    """A ledger whose events take room on this machine."""

    def limit_events(self, size_bytes: int) -> None:
        """Let the events take at most so many bytes, give or take a batch; to be called before the first is appended."""
        ...


@runtime_checkable
class KeepsEvents(Protocol):
    """A ledger that keeps audit events. They are not records: no rule reads them, and a crash may lose the last ones."""

    async def append_events(self, events: Sequence[Event]) -> None:
        """Append a batch; a fault is logged and swallowed, never raised."""
        ...

    async def read_events(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List up to ``limit`` events whose number is above ``after``, oldest first; of one link where given.

        Raises:
            OSError: the ledger cannot be read.
        """
        ...

    async def events_of_link(self, link_id: str, limit: int) -> LinkEvents:
        """Return the newest events of one link, up to ``limit`` of each name, and how many there are.

        Of each name, so that a thousand refusals do not hide one download.

        Raises:
            OSError: the ledger cannot be read.
        """
        ...
