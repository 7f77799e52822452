"""Audit events of the ledger ``sqlite:``, in a file of their own beside it, ``<ledger>-events.db``.

They are not records: no rule reads them. So nothing is forced to the disk for them (``synchronous = NORMAL``): a loss of
power may lose the last ones and never damages the file. They take nothing from claims: another file, another
thread. A fault is logged once and swallowed. The file is made with the first event.

A row holds up to ``CHUNK_EVENTS`` events: a row for each, with its place in two indexes, cost several times as much
processor time. The names of members stand once for all events of an append that have the same, which is half of an
event as JSON. So that few rows hold many events however slowly they come, a row that is no larger than what is appended
is joined with it. The events of one link are looked for in the ends of all link ids, 15 ms at the most.

Limits: ``SIZE_MAX_BYTES`` (a setting) and the last ``KEPT_S``; at most ``WAITING_MAX`` batches wait, the rest are dropped.
Where there is no room the oldest refusals, previews and the like go first, downloads and uploads last.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import pathlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from oncegate.ledgers.batching.thread import BatchThread
from oncegate.ledgers.link_events import pick
from oncegate.ledgers.protocol import RECEIPTS, Event, LinkEvents
from oncegate.links.link_id import id_of_text, is_uuid7

SIZE_MAX_BYTES = 256 * 2**20
KEPT_S = 90 * 86_400
WAITING_MAX = 1_024
BATCHES_MAX = 64
CHUNK_EVENTS = 256
DROP_STEP = 4  # chunks dropped with one append, so that none waits for a long clean-up

_APPLICATION_ID = 0x6F6E6576  # "onev" in ASCII
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
CREATE TABLE IF NOT EXISTS parts (
    last INTEGER PRIMARY KEY AUTOINCREMENT, -- number of its last event; those before it count down from there
    at_s INTEGER NOT NULL, -- of its newest event
    size INTEGER NOT NULL, -- how many events
    others INTEGER NOT NULL, -- how many of them are no receipts
    ids TEXT NOT NULL, -- the ends of their link ids, one behind the other
    events TEXT NOT NULL -- lines of JSON; see _text_of
);
CREATE INDEX IF NOT EXISTS parts_ids ON parts (at_s, ids);
CREATE INDEX IF NOT EXISTS parts_that_go_first ON parts (last) WHERE others;
DROP TABLE IF EXISTS events; -- before the first release: a row for each event
DROP TABLE IF EXISTS chunks; -- and rows with the names of members in each event
"""
_LAST = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'parts'), 0)"
_TAIL = "SELECT last, at_s, size, others, ids, events FROM parts ORDER BY last DESC LIMIT 1"
_PUT = "INSERT INTO parts (last, at_s, size, others, ids, events) VALUES (?, ?, ?, ?, ?, ?)"
# Of what is too old only the oldest are looked at.
_DROP_OLD = """
DELETE FROM parts WHERE last IN (SELECT last FROM parts ORDER BY last LIMIT ?)
AND at_s < (SELECT at_s FROM parts ORDER BY last DESC LIMIT 1) - ?
"""
_GOES_FIRST = "SELECT last, events FROM parts WHERE others ORDER BY last LIMIT ?"
_DROP_ANY = "DELETE FROM parts WHERE last IN (SELECT last FROM parts ORDER BY last LIMIT ?)"
_READ = "SELECT last, events FROM parts WHERE last > ? ORDER BY last"
# One step of SQLite, and searched in Python: rows.py says why; instr() would take ten times as long.
_IDS = "SELECT group_concat(last || ' ' || ids, char(10)) FROM parts WHERE at_s >= ? AND last > ?"
_READ_SOME = "SELECT last, events FROM parts WHERE last IN (SELECT value FROM json_each(?)) ORDER BY last"
_EARLIER_MAX_S = 2 * 86_400  # tickets are taken that were made a day ahead
_ID_END = 6  # characters; of a ticket's id they are random, and what fits by chance is looked at and passed over

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Append:
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class _Read:
    after: int
    limit: int
    link_id: str | None


@dataclass(frozen=True, slots=True)
class _OfLink:
    link_id: str
    limit: int


_Ask = _Append | _Read | _OfLink
_Found = Sequence[tuple[int, Event]]


class EventFile:
    """Appends events to a file and lists them.

    Args:
        path: the file, made with the first event.
        size_max_bytes: of the file, give or take a batch; the oldest events that are no receipts go first.
        kept_s: seconds that an event is kept, reckoned back from the newest event's ``at``, not from a clock.
    """

    def __init__(self, path: pathlib.Path, *, size_max_bytes: int = SIZE_MAX_BYTES, kept_s: int = KEPT_S) -> None:
        self._work = _EventWork(path, size_max_bytes=size_max_bytes, kept_s=kept_s)
        self._thread = BatchThread[_Ask, _Found | LinkEvents](
            self._work,
            name=f"oncegate-events {path.name}",
            batch_max=BATCHES_MAX,
            waiting_max=WAITING_MAX,
        )

    def limit(self, size_bytes: int) -> None:
        """Set another limit of the file's size; before the first event."""
        self._work.size_max_bytes = size_bytes

    async def append(self, events: Sequence[Event]) -> None:
        """Append a batch and wait until it is in the file, though not on the disk; a fault is logged and swallowed."""
        if events:
            await self._thread.ask(_Append(events))

    async def read(self, after: int, limit: int, *, link_id: str | None = None) -> Sequence[tuple[int, Event]]:
        """List up to ``limit`` events whose number is above ``after``, oldest first; nothing after a fault.

        Args:
            after: the number of the last event seen; 0 begins.
            limit: events, at most.
            link_id: only events with this ``link_id``.
        """
        return cast("_Found", await self._thread.ask(_Read(after, limit, link_id)))

    async def of_link(self, link_id: str, limit: int) -> LinkEvents:
        """Return the newest events of a link, up to ``limit`` of each name, and their counts; nothing after a fault."""
        found = await self._thread.ask(_OfLink(link_id, limit))
        return found if isinstance(found, LinkEvents) else LinkEvents()

    async def aclose(self) -> None:
        """Write what waits and close the file."""
        await self._thread.aclose()


class _EventWork:
    """What the thread of the events does."""

    def __init__(self, path: pathlib.Path, *, size_max_bytes: int, kept_s: int) -> None:
        self._path = path
        self.size_max_bytes = size_max_bytes
        self._kept_s = kept_s
        self._connection: sqlite3.Connection | None = None
        self._is_faulty = False

    def do(self, asks: Sequence[_Ask]) -> Sequence[_Found | LinkEvents]:
        events = [event for ask in asks if isinstance(ask, _Append) for event in ask.events]
        try:
            if events:
                self._append(self._connected(), events)
            found = [self._find(ask) for ask in asks]
        except (sqlite3.Error, OSError, ValueError, TypeError) as fault:
            self.close()
            if not self._is_faulty:
                self._is_faulty = True
                _log.exception("%s: events are not kept", self._path, exc_info=fault)
            return [()] * len(asks)
        if events:
            self._is_faulty = False
        return found

    def lost(self, why: str) -> _Found:
        if not self._is_faulty:
            self._is_faulty = True
            _log.error("%s: events are not kept: %s", self._path, why)
        return ()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(self._path, isolation_level=None)
            self._connection.execute("PRAGMA page_size = 16384")  # of a new file; a row takes several
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(f"PRAGMA journal_size_limit = {16 * 2**20}")  # bytes
            (application_id,) = self._connection.execute("PRAGMA application_id").fetchone()
            if application_id not in {0, _APPLICATION_ID}:
                raise ValueError("the file belongs to another program")
            self._connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT")
        return self._connection

    def _append(self, connection: sqlite3.Connection, events: Sequence[Event]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        (last,) = connection.execute(_LAST).fetchone()
        for start in range(0, len(events), CHUNK_EVENTS):
            some = events[start : start + CHUNK_EVENTS]
            last += len(some)
            connection.execute(_PUT, _joined(connection, _chunk_of(some, last)))
        connection.execute(_DROP_OLD, (DROP_STEP, self._kept_s))
        for _ in range(1 + len(events) // (DROP_STEP * CHUNK_EVENTS)):
            if self._used_bytes(connection) > self.size_max_bytes:
                _make_room(connection)
        connection.execute("COMMIT")

    def _used_bytes(self, connection: sqlite3.Connection) -> int:
        """Return what the file holds; pages of deleted events are used again, so it grows no further."""
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _find(self, ask: _Ask) -> _Found | LinkEvents:
        if isinstance(ask, _Append) or (self._connection is None and not self._path.exists()):
            return ()
        connection = self._connected()
        if isinstance(ask, _OfLink):
            found = [event for _, event in self._read(connection, 0, ask.link_id)]
            return pick(reversed(found), ask.limit)
        return list(itertools.islice(self._read(connection, ask.after, ask.link_id), ask.limit))

    def _read(self, connection: sqlite3.Connection, after: int, link_id: str | None) -> Iterator[tuple[int, Event]]:
        """Yield events and their numbers, oldest first; none that is too old, though its chunk may be there yet."""
        chunk = connection.execute(_TAIL).fetchone()
        oldest_s = _Chunk(*chunk).at_s - self._kept_s if chunk is not None else 0
        if link_id is None:
            chunks = connection.execute(_READ, (after,))
        else:
            (ids,) = connection.execute(_IDS, (_made_s(link_id), after)).fetchone()
            rows = [row.partition(" ")[0] for row in (ids or "").split("\n") if link_id[-_ID_END:] in row]
            chunks = connection.execute(_READ_SOME, (f"[{','.join(rows)}]",))
        for last, text in chunks:
            events = _events_of(text)
            for number, event in enumerate(events, last - len(events) + 1):
                if event is None or number <= after or _at_s(event) < oldest_s:
                    continue
                if link_id is None or event.get("link_id") == link_id:
                    yield number, event


class _Chunk(NamedTuple):
    """A row; see the schema."""

    last: int
    at_s: int
    size: int
    others: int
    ids: str
    events: str


_to_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps makes a new one each time


def _chunk_of(events: Sequence[Event | None], last: int) -> _Chunk:
    """Make a row of the events up to this number."""
    given = [event for event in events if event is not None]
    return _Chunk(
        last,
        max(cast("list[int]", [event.get("at") or 0 for event in given]), default=0),
        len(events),
        sum([event["event"] not in RECEIPTS for event in given]),
        "".join([cast("str", event.get("link_id") or "")[-_ID_END:] for event in given]),
        _text_of(events),
    )


def _joined(connection: sqlite3.Connection, new: _Chunk) -> _Chunk:
    """Join a new row with the last ones, which are taken out, as long as they are no larger and there is room."""
    while True:
        row = connection.execute(_TAIL).fetchone()
        tail = None if row is None else _Chunk(*row)
        if tail is None or tail.last != new.last - new.size or tail.size > min(new.size, CHUNK_EVENTS - new.size):
            return new
        connection.execute("DELETE FROM parts WHERE last = ?", (tail.last,))
        new = _Chunk(
            new.last,
            max(tail.at_s, new.at_s),
            tail.size + new.size,
            tail.others + new.others,
            tail.ids + new.ids,
            f"{tail.events}\n{new.events}",
        )


def _text_of(events: Sequence[Event | None]) -> str:
    """Write events as a line: the lists of names that they have, and of each its list's number and its values.

    What was dropped is null. Lines that follow each other in a row are the events of appends that were joined.
    """
    names: dict[tuple[str, ...], int] = {}
    events_of_line = [event and [names.setdefault(tuple(event), len(names)), *event.values()] for event in events]
    return _to_json((list(names), events_of_line))


def _events_of(text: str) -> list[Event | None]:
    events: list[Event | None] = []
    for line in text.split("\n"):  # within JSON it is escaped
        names, given = cast(
            "tuple[list[list[str]], list[tuple[int, *tuple[str | int | bool | None, ...]] | None]]", json.loads(line)
        )
        events += [dict(zip(names[one[0]], one[1:], strict=True)) if one else None for one in given]
    return events


def _at_s(event: Event) -> int:
    at_s = event.get("at")
    return at_s if isinstance(at_s, int) else 0


def _made_s(link_id: str) -> int:
    """From when on there can be events of a link: a ticket says when it was made, give or take the clocks; else 0."""
    try:
        nonce = id_of_text(link_id)
    except ValueError:
        return 0
    return int.from_bytes(nonce[:6]) // 1_000 - _EARLIER_MAX_S if is_uuid7(nonce) else 0


def _make_room(connection: sqlite3.Connection) -> None:
    """Drop what goes first out of a step of the oldest rows that have any of it, or else a step of the oldest rows."""
    rows = connection.execute(_GOES_FIRST, (DROP_STEP,)).fetchall()
    for last, text in rows:
        kept = [event if event is not None and event["event"] in RECEIPTS else None for event in _events_of(text)]
        connection.execute("DELETE FROM parts WHERE last = ?", (last,))
        if any(kept):
            connection.execute(_PUT, _chunk_of(kept, last))
    if not rows:
        connection.execute(_DROP_ANY, (DROP_STEP,))
