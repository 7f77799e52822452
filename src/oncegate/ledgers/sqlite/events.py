"""Audit events of the ledger ``sqlite:``, in a file of their own beside it, ``<ledger>-events.db``.

They are not records: no rule reads them. So nothing is forced to the disk for them (``synchronous = NORMAL``): a loss of
power may lose the last ones and never damages the file. They take nothing from claims: another file, another
thread. A fault is logged once and swallowed. The file is made with the first event.

Limits: ``SIZE_MAX_BYTES`` (a setting) and the last ``KEPT_S``; at most ``WAITING_MAX`` batches wait, the rest are dropped.
Where there is no room the oldest refusals, previews and the like go first, downloads and uploads last.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from oncegate.ledgers.batching.thread import BatchThread
from oncegate.ledgers.protocol import RECEIPTS, Event, LinkEvents

SIZE_MAX_BYTES = 256 * 2**20
KEPT_S = 90 * 86_400
WAITING_MAX = 1_024
BATCHES_MAX = 64
DROP_STEP = 2_000  # events dropped with one append, so that none waits for a long clean-up

_APPLICATION_ID = 0x6F6E6576  # "onev" in ASCII
_GOES_FIRST = f"json_extract(event, '$.event') NOT IN {RECEIPTS}"
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_s INTEGER NOT NULL,
    link_id TEXT,
    event TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_of_link ON events (link_id, number) WHERE link_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS events_that_go_first ON events (number) WHERE {_GOES_FIRST};
"""
_APPEND = """
INSERT INTO events (at_s, link_id, event)
SELECT coalesce(json_extract(value, '$.at'), 0), json_extract(value, '$.link_id'), value FROM json_each(?)
"""

# Of what is too old only the oldest are looked at.
_DROP_OLD = """
DELETE FROM events WHERE number IN (SELECT number FROM events ORDER BY number LIMIT ?)
AND at_s < (SELECT at_s FROM events ORDER BY number DESC LIMIT 1) - ?
"""
_DROP_FIRST = f"""
DELETE FROM events WHERE number IN (SELECT number FROM events WHERE {_GOES_FIRST} ORDER BY number LIMIT ?)
"""  # noqa: S608 - names of our own
_DROP_ANY = "DELETE FROM events WHERE number IN (SELECT number FROM events ORDER BY number LIMIT ?)"
_COUNTS_OF_LINK = """
SELECT json_extract(event, '$.event'), sum(coalesce(json_extract(event, '$.count'), 1))
FROM events WHERE link_id = ? GROUP BY 1
"""
_NEWEST_OF_LINK = """
SELECT event FROM (
    SELECT number, event, row_number() OVER (PARTITION BY json_extract(event, '$.event') ORDER BY number DESC) AS place
    FROM events WHERE link_id = ?
) WHERE place <= ? ORDER BY number
"""

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
        # one step of SQLite for all of them: sqlite_rows says why
        connection.execute(_APPEND, (json.dumps(events, separators=(",", ":")),))
        connection.execute(_DROP_OLD, (DROP_STEP, self._kept_s))
        for _ in range(1 + len(events) // DROP_STEP):
            if self._used_bytes(connection) > self.size_max_bytes:
                self._make_room(connection)
        connection.execute("COMMIT")

    def _used_bytes(self, connection: sqlite3.Connection) -> int:
        """Return what the file holds; pages of deleted events are used again, so it grows no further."""
        pages, free, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Drop a step of the oldest; both statements look at an index, which costs the same at any size."""
        if not connection.execute(_DROP_FIRST, (DROP_STEP,)).rowcount:
            connection.execute(_DROP_ANY, (DROP_STEP,))

    def _find(self, ask: _Ask) -> _Found | LinkEvents:
        if isinstance(ask, _Append) or (self._connection is None and not self._path.exists()):
            return ()
        connection = self._connected()
        if isinstance(ask, _OfLink):
            newest = connection.execute(_NEWEST_OF_LINK, (ask.link_id, ask.limit)).fetchall()
            counts = connection.execute(_COUNTS_OF_LINK, (ask.link_id,)).fetchall()
            return LinkEvents([cast("Event", json.loads(event)) for (event,) in newest], dict(counts))
        if ask.link_id is None:
            found = connection.execute(
                "SELECT number, event FROM events WHERE number > ? ORDER BY number LIMIT ?", (ask.after, ask.limit)
            )
        else:
            found = connection.execute(
                "SELECT number, event FROM events WHERE link_id = ? AND number > ? ORDER BY number LIMIT ?",
                (ask.link_id, ask.after, ask.limit),
            )
        return [(number, cast("Event", json.loads(event))) for number, event in found]
