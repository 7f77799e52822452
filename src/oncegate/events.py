"""Every log line and audit event: its name, its fields, its level; and the journal that writes them.

An event is a flat row. The audited ones go to the ledger's events, in batches after the answer, never waited for, read
by no rule; all others, and these too where the ledger keeps no events, are lines of the log. No row has room for a signature, a policy, a token, a
cookie or a URL: fields that are not listed here are refused, so a secret cannot slip in.

Refusals and previews of one link are counted, because anyone who holds a link can cause a thousand a second: each link
and reason has at most one event a minute, with a count.

The log never stops the gateway: lines are handed to a thread of their own in one piece per tick, and dropped (and
counted) while nobody reads the other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring as _to_text

Value = str | int | bool | None
Event = dict[str, Value]

TICK_S = 0.1
PENDING_EVENTS_MAX = 10_000
PENDING_LOG_CHUNKS_MAX = 64
COUNTED_S = 60.0
"""For how long events of one link and reason are counted together."""
COUNTED_MAX = 10_000
"""How many links and reasons are counted at a time; some 300 bytes each."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of event.

    Attributes:
        level: of its log line.
        fields: beside ``at`` and ``event``.
        audited: whether the issuer is to see it.
        counted_by: the field that, with ``link_id``, tells which events are counted together; empty: none are.
    """

    level: str
    fields: frozenset[str]
    audited: bool = False
    counted_by: str = ""


def _row(level: str, fields: str, *, audited: bool = False, counted_by: str = "") -> Row:
    return Row(level, frozenset(fields.split()), audited, counted_by)


ROWS: dict[str, Row] = {
    # One line for each request, at its end.
    "request": _row("info", "method status reason link_id key bytes ms address request_id outcome"),
    # What the issuer of a link may want to know.
    "download": _row("info", "link_id key outcome bytes acked taken_by size address agent by", audited=True),
    "upload": _row("info", "link_id key outcome bytes address agent reason", audited=True),
    "preview": _row("info", "link_id key why address agent count", audited=True, counted_by="why"),
    "refused": _row("info", "link_id key reason address agent count", audited=True, counted_by="reason"),
    "issued": _row("info", "link_id key operation uses expires label token", audited=True),
    "revoked": _row("info", "link_id token", audited=True),
    "removed": _row("info", "link_id key outcome", audited=True),
    # The program itself.
    "ready": _row("info", "listener url"),
    "draining": _row("info", "transfers limit_s"),
    "stopped": _row("info", "transfers"),
    "keys-changed": _row("info", "keys"),
    "signing-changed": _row("info", "key"),
    "settings-changed": _row("warning", "settings what"),
    "swept": _row("info", "records leftovers"),
    "fault": _row("error", "where what request_id"),
    "dropped": _row("warning", "lines events"),
}


@dataclass(slots=True)
class _Counted:
    """Events of one kind, link and reason since ``since_s``, after one that was written then."""

    since_s: float
    fields: dict[str, Value]
    count: int = 0


class Journal:
    """Writes events as lines to a file descriptor, and hands the audited ones to the ledger that keeps them."""

    def __init__(
        self,
        *,
        descriptor: int = 2,
        console: bool = False,
        keep: Callable[[Sequence[Event]], Coroutine[object, object, None]] | None = None,
        clock: Callable[[], float] = time.time,
        counted_s: float = COUNTED_S,
    ) -> None:
        """Start nothing yet: the thread that writes lines starts with the first event.

        Args:
            descriptor: where lines go.
            console: for a person's eye, in place of JSON.
            keep: takes a batch of audited events; None: the log is all there is.
            clock: seconds since 1970 UTC.
            counted_s: for how long refusals and previews are counted together.
        """
        self._descriptor = descriptor
        self._format = _console_line if console else json_line
        self._keep = keep
        self._clock = clock
        self._lines: list[tuple[float, str, Event]] = []
        self._audited: list[Event] = []
        self._dropped_lines = self._dropped_events = 0
        self._counted_s = counted_s
        self._counted: dict[tuple[str, Value, Value], _Counted] = {}  # in order of ``since_s``
        self._counting: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._chunks: queue.Queue[bytes | None] = queue.Queue(PENDING_LOG_CHUNKS_MAX)
        self._thread: threading.Thread | None = None

    def write(self, name: str, **fields: Value) -> None:
        """Record an event; must be called in the event loop.

        Args:
            name: a row of ``ROWS``.
            fields: of that row; those that are None are left out.

        Raises:
            KeyError: no such event.
            ValueError: a field that the row does not have.
        """
        row = ROWS[name]
        if not row.fields.issuperset(fields):
            raise ValueError(f"event {name} has no {', '.join(sorted(set(fields) - row.fields))}")
        if row.counted_by and self._is_counted(name, row, fields):
            return
        self._write(name, row, fields)

    def _is_counted(self, name: str, row: Row, fields: dict[str, Value]) -> bool:
        """Return whether the event was only counted; the first of its kind, link and reason is written at once."""
        key = (name, fields.get("link_id"), fields.get(row.counted_by))
        counted = self._counted.get(key)
        if counted is not None:
            counted.count += 1
            counted.fields = fields
            return True
        loop = asyncio.get_running_loop()
        if len(self._counted) >= COUNTED_MAX:
            self._end_count(next(iter(self._counted)))
        self._counted[key] = _Counted(loop.time(), fields)
        if self._counting is None:
            self._counting = loop.call_later(self._counted_s, self._end_counts)
        return False

    def _end_counts(self) -> None:
        """Write the counts whose time is over; what was counted goes on being counted, what was not is forgotten."""
        loop = asyncio.get_running_loop()
        self._counting = None
        while self._counted:
            key = next(iter(self._counted))
            left_s = self._counted[key].since_s + self._counted_s - loop.time()
            if left_s > 0:
                self._counting = loop.call_later(left_s, self._end_counts)
                return
            counted = self._counted[key]
            if self._end_count(key):
                self._counted[key] = _Counted(loop.time(), counted.fields)

    def _end_count(self, key: tuple[str, Value, Value]) -> bool:
        """Write one count and forget it; return whether there was anything to write."""
        counted = self._counted.pop(key)
        if counted.count:
            more = {"count": counted.count} if counted.count > 1 else {}
            self._write(key[0], ROWS[key[0]], {**counted.fields, **more})
        return counted.count > 0

    def _write(self, name: str, row: Row, fields: dict[str, Value]) -> None:
        now = self._clock()
        event: Event = {"at": int(now), "event": name}
        event |= {key: value for key, value in fields.items() if value is not None}
        if not row.audited or self._keep is None:
            self._lines.append(
                (now, row.level, event)
            )  # formatted together with the other lines of the tick, which costs half
        elif len(self._audited) < PENDING_EVENTS_MAX:
            self._audited.append(event)
        else:
            self._dropped_events += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._lines:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_lines, name="oncegate-log", daemon=True)
                self._thread.start()
            try:
                self._chunks.put_nowait("".join([self._format(*line) for line in self._lines]).encode())
            except queue.Full:
                self._dropped_lines += len(self._lines)
            self._lines.clear()
        if self._audited and self._keep is not None and (self._keeping is None or self._keeping.done()):
            batch, self._audited = self._audited, []
            self._keeping = asyncio.create_task(self._keep_batch(batch))
        if self._dropped_lines or self._dropped_events:
            dropped, self._dropped_lines = self._dropped_lines, 0
            events, self._dropped_events = self._dropped_events, 0
            self.write("dropped", lines=dropped, events=events)

    async def _keep_batch(self, batch: list[Event]) -> None:
        if self._keep is not None:
            await self._keep(batch)

    def _write_lines(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            try:
                while chunk:
                    chunk = chunk[os.write(self._descriptor, chunk) :]
            except OSError:
                continue  # the reader of the log is gone, and there is nobody to tell

    async def aclose(self) -> None:
        """Write what is pending; wait at most a second for a log that is not read. Events may follow again."""
        if self._counting is not None:
            self._counting.cancel()
            self._counting = None
        while self._counted:
            self._end_count(next(iter(self._counted)))
        if self._timer is not None:
            self._timer.cancel()
        self._tick()
        while self._keeping is not None:
            await self._keeping
            self._keeping = None
            if self._audited:
                self._tick()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._thread is not None:
            try:
                self._chunks.put_nowait(None)
            except queue.Full:
                return
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 1.0)
            self._thread = None


class JournalHandler(logging.Handler):
    """Brings what modules below say through ``logging`` into the journal, from any thread; never a traceback."""

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as the event ``fault``."""
        what = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            what = f"{what}: {record.exc_info[0].__name__}"

        def note() -> None:
            self._journal.write("fault", where=record.name, what=what)

        with contextlib.suppress(RuntimeError):  # the loop is closed, so no event is written any more
            self._loop.call_soon_threadsafe(note)


def json_line(now: float, level: str, event: Event) -> str:
    """Write an event as a line of JSON: what a JSON encoder would write of a flat row, in a third of its time.

    Rows of one kind mostly have the same fields, so the text between their values is made once.
    """
    text = _template(level, tuple(event)) % (
        _instant(now),
        *[_to_text(value) if type(value) is str else value if type(value) is int else _plain(value)
          for value in event.values()],
    )  # fmt: skip
    # Legal in JSON, but line breaks to many readers of logs: an object key could forge a line of its own.
    return text if text.isascii() else text.replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")


@lru_cache(maxsize=256)
def _template(level: str, names: tuple[str, ...]) -> str:
    members = "".join(f",{_to_text(name)}:%s" for name in names)
    return f'{{"time":"%s","level":"{level}"{members}}}\n'


def _plain(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)


def _console_line(now: float, level: str, event: Event) -> str:
    fields = " ".join(
        f"{key}={json.dumps(value, ensure_ascii=False) if isinstance(value, str) and ' ' in value else value}"
        for key, value in event.items()
        if key not in ("at", "event")
    )
    return f"{_instant(now)} {level:7} {event['event']:9} {fields}\n"


def _instant(now: float) -> str:
    second = int(now)
    return f"{_second(second)}.{int((now - second) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(now_s: int) -> str:
    return dt.datetime.fromtimestamp(now_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
