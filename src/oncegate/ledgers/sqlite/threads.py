"""The two threads of the ledger ``sqlite:``: one writes, one reads, each with a connection of its own.

The writer puts everything that waits into one transaction: look at all keys, decide each in turn, write all. A key may
be in a batch several times: the second write sees what the first did, exactly as if each had been alone. Whatever fails,
every write of the batch is ``Unknown``, the connection is thrown away, and the next batch opens a new one; so the
ledger works again by itself when the fault is gone. Nothing is repeated here: callers repeat, because they know why.

A driver's error becomes ``Unknown`` or ``Failed`` here and nowhere else.
"""

from __future__ import annotations

import logging
import os
import pathlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncegate.ledgers.protocol import (
    Done,
    Gone,
    Insert,
    LedgerExchanged,
    LedgerUnfit,
    Read,
    Repair,
    Replace,
    Row,
    Stands,
    SweepState,
    Swept,
    Unknown,
)
from oncegate.ledgers.sqlite import file as sqlite_file
from oncegate.ledgers.sqlite import rows as sqlite_rows
from oncegate.ledgers.sqlite.connection import OwnConnection
from oncegate.ledgers.sqlite.lock import open_lock, release_lock, take_lock

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeepSweep:
    """Asks the writer to store what a try to sweep leaves behind, unless something else than ``before`` is stored."""

    before: SweepState
    after: SweepState


@dataclass(frozen=True, slots=True)
class Rebirth:
    """Asks the writer to set birth, repair and limit."""

    born_ms: int
    repair: Repair
    swept_until_s: int


@dataclass(frozen=True, slots=True)
class BeginWalk:
    """Asks the writer what stands, as the walk of a sweep begins."""


@dataclass(frozen=True, slots=True)
class EndWalk:
    """Tells the writer the smallest ``forget_after_s`` that a walk left."""

    least_s: int


@dataclass(frozen=True, slots=True)
class DeleteDue:
    """Asks the writer to delete the records from ``after`` (exclusive) to ``upto`` (inclusive) that are due."""

    after: bytes
    upto: bytes
    limit_s: int


@dataclass(frozen=True, slots=True)
class LookAtPage:
    """Asks the reader to look at the next records of a walk, from ``after`` (exclusive) to ``upto`` at most."""

    after: bytes
    upto: bytes
    limit_s: int


@dataclass(frozen=True, slots=True)
class ReadSweep:
    """Asks the reader what is kept of the sweeps."""


@dataclass(frozen=True, slots=True)
class ListRows:
    """Asks the reader for a page of records."""

    after: bytes
    limit: int


@dataclass(frozen=True, slots=True)
class Count:
    """A number: how many, whether, or an instant."""

    count: int


Upkeep = KeepSweep | Rebirth | BeginWalk | EndWalk | DeleteDue
WriterAsk = Insert | Replace | Upkeep
WriterAnswer = Done | Stands | Gone | Swept | Count | sqlite_rows.Walk | Unknown
ReaderAsk = Read | LookAtPage | ReadSweep | ListRows
ReaderAnswer = Stands | Gone | sqlite_rows.Page | SweepState | Sequence[Row] | Unknown


class Writer:
    """Decides and writes whatever waits in one transaction; runs in a thread of its own.

    Args:
        path: the ledger's file.
        busy_s: seconds to wait for other processes.
    """

    def __init__(self, path: pathlib.Path, *, busy_s: float = sqlite_file.BUSY_S) -> None:
        self._path = path
        self._busy_s = busy_s
        self._connection = OwnConnection(path, busy_s=busy_s)
        self._lock: int | None = None
        self._is_faulty = False

    def begin_with(self, born_ms: int) -> None:
        """Refuse every ledger with another birth, milliseconds since 1970 UTC, from now on."""
        self._connection.begin_with(born_ms)

    def do(self, asks: Sequence[WriterAsk]) -> Sequence[WriterAnswer]:
        """Commit all of it, or answer ``Unknown`` to all of it."""
        try:
            answers = self._commit(asks)
        except (sqlite3.Error, OSError, LedgerUnfit) as fault:
            self._note(fault)
            self._connection.drop()
            if isinstance(fault, sqlite3.DatabaseError) and _is_damage(fault) and len(asks) > 1:
                # One damaged page must not take down with it every write that happens to wait beside it.
                return [self.do([ask])[0] for ask in asks]
            return [_unknown(fault)] * len(asks)
        if self._is_faulty:
            self._is_faulty = False
            _log.warning("%s: the ledger takes writes again", self._path)
        return answers

    def lost(self, why: str) -> Unknown:
        """Answer for a write whose fate is not known."""
        return Unknown(why)

    def close(self) -> None:
        """Close the file; SQLite then moves its log into the database."""
        self._connection.drop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _commit(self, asks: Sequence[WriterAsk]) -> Sequence[WriterAnswer]:
        if self._lock is None:
            self._lock = open_lock(self._path)
        take_lock(self._lock, busy_s=self._busy_s)
        try:
            connection = self._connection.get()
            connection.execute("BEGIN IMMEDIATE")
            first = self._commit_first_claims(connection, asks)
            if first is not None:
                return first
            keys = {ask.link_id for ask in asks if isinstance(ask, Insert | Replace)}
            standing = sqlite_rows.find_standing(connection, list(keys))
            self._connection.check_birth(standing.born_ms)
            answers = _write(connection, asks, standing)
            # Where nothing was changed this writes nothing and forces nothing to the disk: refusing is cheap.
            connection.execute("COMMIT")
        except BaseException:
            self._connection.drop()
            raise
        finally:
            release_lock(self._lock)
        return answers

    def _commit_first_claims(
        self, connection: sqlite3.Connection, asks: Sequence[WriterAsk]
    ) -> Sequence[WriterAnswer] | None:
        """Commit a batch of inserts of which each wins, without a look at what stands, as nearly every batch is.

        Returns:
            None where it is another batch: nothing is written, and the transaction is as it was.
        """
        inserts = [ask for ask in asks if isinstance(ask, Insert)]
        if len(inserts) != len(asks):
            return None
        standing = sqlite_rows.find_standing(connection, [])
        self._connection.check_birth(standing.born_ms)
        least_s = min([ask.forget_after_s for ask in inserts])
        if least_s <= standing.swept_until_s:
            return None
        version = standing.version_floor + 1
        inserts.sort()
        if sqlite_rows.insert_new(connection, inserts, version) != len(inserts):
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            return None
        if least_s < standing.least_new_s:
            sqlite_rows.lower_least_new(connection, least_s)
        connection.execute("COMMIT")
        return [Done(version)] * len(asks)

    def _note(self, fault: Exception) -> None:
        """Log the first of several faults in a row; otherwise a broken disk would fill the log that is stored on it."""
        if not self._is_faulty:
            self._is_faulty = True
            _log.error("%s: the ledger takes no writes: %s", self._path, fault)


class Reader:
    """Reads what is committed; runs in a thread of its own, so that a slow disk or a long list stalls no claim."""

    def __init__(self, path: pathlib.Path, *, busy_s: float = sqlite_file.BUSY_S) -> None:
        self._connection = OwnConnection(path, busy_s=busy_s)

    def begin_with(self, born_ms: int) -> None:
        """Refuse every ledger with another birth, milliseconds since 1970 UTC, from now on."""
        self._connection.begin_with(born_ms)

    def do(self, asks: Sequence[ReaderAsk]) -> Sequence[ReaderAnswer]:
        """Answer all reads from one look, and lists and sweeps each from its own."""
        try:
            connection = self._connection.get()
            link_ids = list({ask.link_id for ask in asks if isinstance(ask, Read)})
            standing = sqlite_rows.find_standing(connection, link_ids)
            self._connection.check_birth(standing.born_ms)
            return [_read(connection, ask, standing.records) for ask in asks]
        except (sqlite3.Error, OSError, LedgerUnfit) as fault:
            self._connection.drop()
            return [_unknown(fault)] * len(asks)

    def lost(self, why: str) -> Unknown:
        """Answer for a read that failed."""
        return Unknown(why)

    def close(self) -> None:
        """Close the file."""
        self._connection.drop()


def _unknown(fault: Exception) -> Unknown:
    kind = "exchanged" if isinstance(fault, LedgerExchanged) else "lost"
    return Unknown(f"{type(fault).__name__}: {fault}", kind)


def _write(
    connection: sqlite3.Connection, asks: Sequence[WriterAsk], standing: sqlite_rows.Standing
) -> Sequence[WriterAnswer]:
    records = dict(standing.records)
    changed: dict[bytes, Row] = {}
    answers: dict[int, WriterAnswer] = {}
    for place, ask in enumerate(asks):
        if isinstance(ask, Insert | Replace):
            answers[place] = answer = _decide(ask, records.get(ask.link_id), standing)
            if isinstance(answer, Done) and isinstance(answer.version, int):
                records[ask.link_id] = answer.version, ask.record
                changed[ask.link_id] = Row(ask.link_id, ask.record, answer.version, ask.forget_after_s)
    if changed:
        sqlite_rows.put_rows(connection, [changed[link_id] for link_id in sorted(changed)])
        least_s = min(row.forget_after_s for row in changed.values())
        if least_s < standing.least_new_s:
            sqlite_rows.lower_least_new(connection, least_s)
    for place, ask in enumerate(asks):  # after the writes: what was decided above must still be so
        if isinstance(ask, Upkeep):
            answers[place] = _keep_up(connection, ask)
    return [answers[place] for place in range(len(asks))]


def _decide(
    ask: Insert | Replace, found: tuple[int, bytes] | None, standing: sqlite_rows.Standing
) -> Done | Stands | Gone | Swept:
    """The whole rule: an insert needs nothing to stand, a replace this version."""
    if isinstance(ask, Insert):
        if found is not None:
            return Stands(found[1], found[0])
        if ask.forget_after_s <= standing.swept_until_s:
            return Swept()
        return Done(standing.version_floor + 1)
    if found is None:
        return Gone()
    if found[0] != ask.version:
        return Stands(found[1], found[0])
    return Done(found[0] + 1)


def _keep_up(connection: sqlite3.Connection, ask: Upkeep) -> Count | sqlite_rows.Walk:
    match ask:
        case KeepSweep(before, after):
            if sqlite_rows.read_sweep(connection) != before:
                return Count(0)
            sqlite_rows.put_sweep(connection, after)
            return Count(1)
        case Rebirth(born_ms, repair, swept_until_s):
            sqlite_rows.put_rebirth(connection, born_ms, repair, swept_until_s)
            return Count(1)
        case BeginWalk():
            return sqlite_rows.begin_walk(connection)
        case EndWalk(least_s):
            sqlite_rows.end_walk(connection, least_s)
            return Count(1)
        case DeleteDue(after, upto, limit_s):
            return Count(sqlite_rows.delete_due(connection, after=after, upto=upto, limit_s=limit_s))


def _read(connection: sqlite3.Connection, ask: ReaderAsk, records: Mapping[bytes, tuple[int, bytes]]) -> ReaderAnswer:
    match ask:
        case Read(link_id):
            found = records.get(link_id)
            return Gone() if found is None else Stands(found[1], found[0])
        case LookAtPage(after, upto, limit_s):
            return sqlite_rows.look_at_page(connection, after=after, upto=upto, limit_s=limit_s)
        case ReadSweep():
            return sqlite_rows.read_sweep(connection)
        case ListRows(after, limit):
            return sqlite_rows.list_rows(connection, after=after, limit=limit)


def _is_damage(fault: sqlite3.DatabaseError) -> bool:
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT
