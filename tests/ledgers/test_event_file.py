"""Audit events beside the ledger: kept within limits, and no fault of theirs reaches a claim."""

import logging
import pathlib
import sqlite3
from contextlib import closing

import pytest

from oncegate.ledgers.sqlite.events import EventFile


@pytest.fixture
def path(tmp_path):
    """Give a file that does not exist yet."""
    return tmp_path / "ledger-events.db"


def events_at(*seconds: int) -> list[dict[str, str | int | bool | None]]:
    """Make one event for each second."""
    return [{"at": at_s, "event": "complete", "link_id": f"link {at_s % 2}"} for at_s in seconds]


async def append(path, events, **limits) -> list[int]:
    """Append each event by itself; return the numbers that are kept."""
    kept = EventFile(path, **limits)
    for event in events:
        await kept.append([event])
    numbers = [number for number, _ in await kept.read(0, 1000)]
    await kept.aclose()
    return numbers


@pytest.mark.anyio
async def test_numbers_go_on_after_a_reopening(path: pathlib.Path) -> None:
    """A reader that remembers the last number must never see an old event as new, or miss one."""
    assert await append(path, events_at(1, 2)) == [1, 2]
    assert await append(path, events_at(3)) == [1, 2, 3]


@pytest.mark.anyio
async def test_the_file_is_its_owners(path: pathlib.Path) -> None:
    """Events hold addresses of viewers."""
    await append(path, events_at(1))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.anyio
async def test_reading_makes_no_file(path: pathlib.Path) -> None:
    """Nothing was recorded: nothing is listed, and nothing made."""
    assert await append(path, []) == []
    assert not path.exists()


@pytest.mark.anyio
async def test_the_newest_are_kept(path: pathlib.Path) -> None:
    """At the limit all are kept, above it the oldest go; their numbers are not given again."""
    assert await append(path, events_at(1, 2, 3), kept_max=3) == [1, 2, 3]
    assert await append(path, events_at(4), kept_max=3) == [2, 3, 4]


@pytest.mark.anyio
async def test_the_old_are_dropped(path: pathlib.Path) -> None:
    """Reckoned from the newest event, both sides of the boundary; no clock that jumps can drop everything."""
    assert await append(path, events_at(100, 101, 110), kept_s=9) == [2, 3]


@pytest.mark.anyio
async def test_events_of_a_link_are_found_by_index(path: pathlib.Path) -> None:
    """Status asks for one link's events; it must not read a million others."""
    await append(path, events_at(1, 2, 3))
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT number, event FROM events WHERE link_id = ? AND number > ? ORDER BY number LIMIT ?",
            ("link 1", 0, 10),
        ).fetchall()
    assert "USING INDEX events_of_link" in plan[0][3]


@pytest.mark.anyio
async def test_appending_forces_nothing_to_the_disk(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events wait for no disk: only then may they be appended at the rate of claims."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remember(*args, **kwargs):
        made.append(connect(*args, **kwargs, check_same_thread=False))
        return made[-1]

    monkeypatch.setattr("oncegate.ledgers.sqlite.events.sqlite3.connect", remember)

    kept = EventFile(path)
    await kept.append(events_at(1))
    assert made[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert made[0].execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL
    await kept.aclose()


@pytest.mark.anyio
async def test_a_broken_file_is_logged_once_and_swallowed(path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is the matter with events, downloads go on; the log says it once, not once an event."""
    path.write_bytes(b"this is no database, and never was one" * 100)
    with caplog.at_level(logging.ERROR):
        assert await append(path, events_at(1, 2, 3)) == []
    assert [record.message for record in caplog.records] == [f"{path}: events are not kept"]


@pytest.mark.anyio
async def test_a_file_of_another_program_is_left_alone(path: pathlib.Path, caplog: pytest.LogCaptureFixture) -> None:
    """A database that happens to have the name gets no table of ours."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("CREATE TABLE theirs (x)")
    with caplog.at_level(logging.ERROR):
        assert await append(path, events_at(1)) == []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


@pytest.mark.anyio
async def test_events_are_kept_again_when_the_fault_is_gone(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """No restart is needed."""
    path.mkdir()
    kept = EventFile(path)
    await kept.append(events_at(1))
    path.rmdir()
    await kept.append(events_at(2))
    assert [event["at"] for _, event in await kept.read(0, 10)] == [2]
    await kept.aclose()
