"""What the ledger ``sqlite:`` says to SQLite: every statement that touches records, and nothing else.

Each function is one statement, or a few, for any number of records. That is on purpose: Python gives up its global
lock around every step of SQLite and must win it back from the event loop, which can take 5 ms each time. A batch of
64 claims costs four steps, not two hundred. So rows are bound in one long VALUES list, and come back as one text.

No transaction begins or ends here.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from oncegate.ledgers.protocol import FORGET_NEVER_S, Insert, Repair, Row, SweepState, Version

KEYS_MAX = 128  # 4 x 128 parameters: older builds of SQLite stop at 999
LOOK_ROWS = 8_192
"""Of a step of a walk. A step waits up to a quarter of a second for claims, which must not write more than it looks at."""
DUE_MAX = 500
"""Of these, how many one transaction deletes: a few milliseconds at most."""
_PLAIN = b"\xff"
"""Ids of plain links begin with it, those of tickets lie below (``links/link_id.py``)."""
_REPLACE = "DO UPDATE SET version = excluded.version, forget_after = excluded.forget_after, record = excluded.record"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a transaction finds.

    Attributes:
        swept_until_s: records with a ``forget_after_s`` up to this, inclusive, may have been swept.
        version_floor: versions up to this, inclusive, may have been given out for records that are no more.
        born_ms: of the ledger, milliseconds since 1970 UTC.
        least_new_s: the smallest ``forget_after_s`` of all records written since the last walk of a sweep began.
        records: version and record for those of the keys that stand.
    """

    swept_until_s: int
    version_floor: int
    born_ms: int
    least_new_s: int
    records: Mapping[bytes, tuple[int, bytes]]


def find_standing(connection: sqlite3.Connection, link_ids: list[bytes]) -> Standing:
    """Look up records and the ledger's own numbers, in one statement.

    Args:
        connection: in a transaction, where a write follows.
        link_ids: 0 to ``KEYS_MAX``.

    Raises:
        sqlite3.Error: it could not be read.
    """
    places = _padded_count(len(link_ids))
    padding = link_ids[-1:] * (places - len(link_ids))
    row = connection.execute(_standing_sql(places), (*link_ids, *padding)).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the table `ledger` is empty")
    swept_until_s, version_floor, born_ms, least_new_s, found = row
    records: dict[bytes, tuple[int, bytes]] = {}
    for entry in found.split(",") if found else ():
        link_id, version, record = entry.split(" ")
        records[bytes.fromhex(link_id)] = (int(version), bytes.fromhex(record))
    return Standing(swept_until_s, version_floor, born_ms, least_new_s, records)


def put_rows(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write rows over whatever stands; the caller has looked, in the same transaction.

    Args:
        connection: in a transaction that holds the write lock.
        rows: 1 to ``KEYS_MAX``, each key once.
    """
    _insert(connection, [(row.link_id, row.version, row.forget_after_s, row.record) for row in rows], _REPLACE)


def insert_new(connection: sqlite3.Connection, inserts: Sequence[Insert], version: int) -> int:
    """Write the records whose keys do not stand, of each key the first; return how many.

    Args:
        connection: in a transaction that holds the write lock.
        inserts: 1 to ``KEYS_MAX``.
        version: of all of them.
    """
    rows = [(link_id, version, forget_after_s, record) for link_id, record, forget_after_s in inserts]
    return _insert(connection, rows, "DO NOTHING")


def _insert(connection: sqlite3.Connection, rows: Sequence[tuple[bytes, Version, int, bytes]], on_conflict: str) -> int:
    places = _padded_count(len(rows))
    parameters = [value for row in rows for value in row]
    parameters += parameters[-4:] * (places - len(rows))
    return connection.execute(_insert_sql(places, on_conflict), parameters).rowcount


def read_sweep(connection: sqlite3.Connection) -> SweepState:
    """Read what is kept of the sweeps so far."""
    swept_until_s, tries = connection.execute(
        "SELECT swept_until, tries FROM ledger JOIN sweeping USING (one)"
    ).fetchone()
    return SweepState.of_text(swept_until_s, tries)


def put_sweep(connection: sqlite3.Connection, state: SweepState) -> None:
    """Store what a try to sweep leaves behind; the caller has looked, in the same transaction."""
    connection.execute("UPDATE ledger SET swept_until = ?", (state.swept_until_s,))
    connection.execute("UPDATE sweeping SET tries = ?", (state.tries_text,))


def read_repair(connection: sqlite3.Connection) -> Repair:
    """Read what the last repair left behind."""
    return Repair(*connection.execute("SELECT refused_before_ms, plain_until FROM sweeping").fetchone())


def put_rebirth(connection: sqlite3.Connection, born_ms: int, repair: Repair, swept_until_s: int) -> None:
    """Set birth, repair and limit, and forget the tries; see ``Repairs.rebirth``."""
    connection.execute("UPDATE ledger SET born_ms = ?, swept_until = ?", (born_ms, swept_until_s))
    connection.execute("UPDATE sweeping SET tries = '', refused_before_ms = ?, plain_until = ?", repair)


def lower_least_new(connection: sqlite3.Connection, least_s: int) -> None:
    """Note that a record with this ``forget_after_s`` was written."""
    connection.execute("UPDATE sweeping SET least_new = ? WHERE least_new > ?", (least_s, least_s))


class Walk(NamedTuple):
    """What a walk is to look at: all records that stand when it begins, and few that are written later.

    The ids of tickets rise with time and those of plain links lie above them all, so without an end for each of the two
    a walk would follow the claims.

    Attributes:
        least_s: the smallest ``forget_after_s`` that it could find.
        last_ticket: the highest id of a ticket; None: there is none.
        last_plain: the highest id of a plain link; None: there is none.
    """

    least_s: int
    last_ticket: bytes | None
    last_plain: bytes | None

    @property
    def stretches(self) -> Sequence[tuple[bytes, bytes]]:
        """From (exclusive) and to (inclusive) which ids it goes."""
        ends = (b"", self.last_ticket), (_PLAIN, self.last_plain)
        return [(after, upto) for after, upto in ends if upto is not None]


def begin_walk(connection: sqlite3.Connection) -> Walk:
    """Begin to gather ``least_new`` anew: what is written from now on need not be looked at."""
    connection.execute("UPDATE sweeping SET least_due = min(least_due, least_new), least_new = ?", (FORGET_NEVER_S,))
    found = connection.execute(
        "SELECT least_due,"
        " (SELECT link_id FROM records WHERE link_id < :plain ORDER BY link_id DESC LIMIT 1),"
        " (SELECT link_id FROM records WHERE link_id > :plain ORDER BY link_id DESC LIMIT 1) FROM sweeping",
        {"plain": _PLAIN},
    ).fetchone()
    return Walk(*found)


def end_walk(connection: sqlite3.Connection, least_s: int) -> None:
    """Store the smallest ``forget_after_s`` that a walk left."""
    connection.execute("UPDATE sweeping SET least_due = ?", (least_s,))


def delete_due(connection: sqlite3.Connection, *, after: bytes, upto: bytes, limit_s: int) -> int:
    """Delete the records from ``after`` (exclusive) to ``upto`` (inclusive) that are due; return how many."""
    due = "link_id > :after AND link_id <= :upto AND forget_after <= :limit_s"
    span = {"after": after, "upto": upto, "limit_s": limit_s}
    connection.execute(
        f"UPDATE ledger SET version_floor = max(version_floor,"  # noqa: S608  constants only
        f" coalesce((SELECT max(version) FROM records WHERE {due}), 0))",
        span,
    )
    return connection.execute(f"DELETE FROM records WHERE {due}", span).rowcount  # noqa: S608  constants only


class Page(NamedTuple):
    """What a step of a walk looked at.

    Attributes:
        last: id of the last record; None: there were none.
        due: how many are due, at most ``DUE_MAX``.
        least_s: the smallest ``forget_after_s`` of the others.
    """

    last: bytes | None
    due: int
    least_s: int


def look_at_page(connection: sqlite3.Connection, *, after: bytes, upto: bytes, limit_s: int) -> Page:
    """Look at the next records from ``after`` (exclusive) to ``upto`` (inclusive): ``LOOK_ROWS``, ``DUE_MAX`` of them due."""
    page = "SELECT link_id, forget_after FROM records WHERE link_id > :after AND link_id <= :upto ORDER BY link_id LIMIT :rows"
    asked = {"after": after, "upto": upto, "limit_s": limit_s, "rows": LOOK_ROWS, "due": DUE_MAX - 1}
    full = connection.execute(
        f"SELECT link_id FROM ({page}) WHERE forget_after <= :limit_s LIMIT 1 OFFSET :due",  # noqa: S608  constants only
        asked,
    ).fetchone()
    if full is not None:
        asked["upto"] = full[0]
    found = connection.execute(
        "SELECT max(link_id), coalesce(sum(forget_after <= :limit_s), 0),"  # noqa: S608  constants only
        f" coalesce(min(CASE WHEN forget_after > :limit_s THEN forget_after END), :never) FROM ({page})",
        {**asked, "never": FORGET_NEVER_S},
    ).fetchone()
    return Page(*found)


def list_rows(connection: sqlite3.Connection, *, after: bytes, limit: int) -> Sequence[Row]:
    """List records above ``after``, in order of id."""
    found: Iterable[tuple[bytes, bytes, int, int]] = connection.execute(
        "SELECT link_id, record, version, forget_after FROM records WHERE link_id > ? ORDER BY link_id LIMIT ?",
        (after, limit),
    )
    return [Row(link_id, record, version, forget_after_s) for link_id, record, version, forget_after_s in found]


def _padded_count(count: int) -> int:
    """Round up to a power of two, so that eight statements serve all counts and stay prepared.

    The last key is repeated to fill up: looking twice changes nothing, nor does writing the same row twice.
    """
    return 1 << (count - 1).bit_length() if count else 0


@functools.lru_cache
def _standing_sql(places: int) -> str:
    marks = ",".join("?" * places)
    return (
        "SELECT swept_until, version_floor, born_ms, least_new, (SELECT group_concat(hex(link_id) || ' ' || version || ' ' || hex(record))"  # noqa: S608  question marks only
        f" FROM records WHERE link_id IN ({marks})) FROM ledger JOIN sweeping USING (one)"
    )


@functools.lru_cache
def _insert_sql(places: int, on_conflict: str) -> str:
    values = ",".join(["(?,?,?,?)"] * places)
    return (
        f"INSERT INTO records (link_id, version, forget_after, record) VALUES {values}"  # noqa: S608  question marks only
        f" ON CONFLICT (link_id) {on_conflict}"
    )
