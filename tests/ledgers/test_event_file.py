"""Audit events beside the ledger: kept within limits, and no fault of theirs reaches a claim."""

import asyncio
import logging
import pathlib
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncegate.ledgers.link_events import pick
from oncegate.ledgers.protocol import Event
from oncegate.ledgers.sqlite.events import _GOES_FIRST, _IDS, EventFile
from oncegate.links.link_id import text_of_id, uuid7


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


SIZE_BYTES = 400_000


async def fill(path: pathlib.Path, *names: str, times: int) -> list[tuple[int, Event]]:
    """Append so many batches of these events, 100 at a time, and return what is kept."""
    kept = EventFile(path, size_max_bytes=SIZE_BYTES)
    for at_s in range(times):
        await kept.append([{"at": at_s, "event": name, "link_id": "a", "note": "x" * 100} for name in names * 100])
    found = await kept.read(0, 1_000_000)
    await kept.aclose()
    return list(found)


@pytest.mark.anyio
async def test_the_newest_are_kept_within_the_size(path: pathlib.Path) -> None:
    """Below the limit all are kept, above it the oldest go, and the file grows no further; numbers are not given again."""
    assert [number for number, _ in await fill(path, "refused", times=10)] == list(range(1, 1_001))
    numbers = [number for number, _ in await fill(path, "refused", times=200)]
    assert numbers == list(range(numbers[0], 21_001))
    assert numbers[0] > 15_000
    assert path.stat().st_size < 2 * SIZE_BYTES


@pytest.mark.anyio
async def test_receipts_are_the_last_to_be_forgotten(path: pathlib.Path) -> None:
    """A flood of refusals pushed everybody's downloads and uploads out of the file in a quarter of an hour."""
    await fill(path, "download", "upload", times=3)
    kept = Counter(str(event["event"]) for _, event in await fill(path, "refused", "preview", times=100))
    assert (kept["download"], kept["upload"]) == (300, 300)


@pytest.mark.anyio
async def test_where_nothing_else_is_left_receipts_go_too(path: pathlib.Path) -> None:
    """The limit holds whatever the events are: a file that grows for ever stops the gateway beside it."""
    numbers = [number for number, _ in await fill(path, "download", times=200)]
    assert numbers == list(range(numbers[0], 20_001))
    assert numbers[0] > 10_000
    assert path.stat().st_size < 2 * SIZE_BYTES


@pytest.mark.anyio
async def test_what_goes_first_is_found_by_index(path: pathlib.Path) -> None:
    """It is looked for with each batch once the file is full, among thousands of rows."""
    await append(path, events_at(1, 2, 3))
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {_GOES_FIRST}", (10,)).fetchall()
    assert any("parts_that_go_first" in row[3] for row in plan), plan


@pytest.mark.anyio
async def test_a_file_of_an_older_version_gets_the_index(path: pathlib.Path) -> None:
    """Nobody makes the file anew for it."""
    await append(path, events_at(1))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX parts_that_go_first")
    assert await append(path, events_at(2)) == [1, 2]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'parts_that_go_first'").fetchone()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("table", "made", "filled"),
    [
        ("events", "number INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT", "(event) VALUES ('{}')"),
        ("chunks", "last INTEGER PRIMARY KEY AUTOINCREMENT, events TEXT", "(events) VALUES ('[{}]')"),
    ],
    ids=["a row for each event", "names in each event"],
)
async def test_a_file_of_an_earlier_form_is_taken_over(path: pathlib.Path, table: str, made: str, filled: str) -> None:
    """Rows that nobody reads any more would never be dropped, and take the room of new events for ever."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE {table} ({made})")
        connection.execute(f"INSERT INTO {table} {filled}")
        connection.commit()
    assert await append(path, events_at(1)) == [1]
    with closing(sqlite3.connect(path)) as connection:
        assert not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone()


@pytest.mark.anyio
async def test_events_keep_their_members_and_values(path: pathlib.Path) -> None:
    """Names stand once for events that have the same: others, in another order, and dropped ones, do not take them over."""
    given: list[Event] = [
        {"at": 1, "event": "download", "link_id": "a", "key": 'two\nlines, "quoted" \u2028', "bytes": 2**60},
        {"event": "download", "at": 1, "link_id": "a", "is_late": True},
        {"at": 2, "event": "refused", "note": None},
        {"at": 3, "event": "download", "link_id": "b", "key": "", "bytes": 0},
    ]
    kept = EventFile(path)
    await kept.append(given[:2])
    await kept.append(given[2:])
    found = [event for _, event in await kept.read(0, 9)]
    await kept.aclose()
    assert [list(event.items()) for event in found] == [list(event.items()) for event in given]


@pytest.mark.anyio
async def test_few_rows_hold_many_events(path: pathlib.Path) -> None:
    """A quiet gateway appends events one by one, and a row for each would cost as much as it did before."""
    await append(path, events_at(*range(300)))
    with closing(sqlite3.connect(path)) as connection:
        sizes = [size for (size,) in connection.execute("SELECT size FROM parts ORDER BY last")]
    assert sum(sizes) == 300
    assert len(sizes) <= 10


@pytest.mark.anyio
async def test_events_of_a_link_are_whole_after_others_went(path: pathlib.Path) -> None:
    """What was dropped out of a row leaves its place empty, so that numbers of the rest stay what they were."""
    kept = EventFile(path, size_max_bytes=SIZE_BYTES)
    for at_s in range(100):
        await kept.append([{"at": at_s, "event": "refused", "link_id": "a", "note": "x" * 100} for _ in range(99)])
        await kept.append([{"at": at_s, "event": "download", "link_id": "b"}])
    receipts = await kept.read(0, 1_000, link_id="b")
    assert [number for number, _ in receipts] == [100 * n for n in range(1, 101)]
    assert (await kept.of_link("b", 3)).counts == {"download": 100}
    await kept.aclose()


def event_of(link: str, name: str) -> Event:
    """Make an event; those of one link have a member more."""
    return {"at": 7, "event": name, "link_id": link} | ({"note": "more"} if link == "c" else {})


@settings(max_examples=30, deadline=None)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["download", "refused"])), max_size=70)
    ),
    after=st.integers(0, 300),
    limit=st.integers(1, 50),
)
def test_chunks_read_as_if_each_event_had_a_row(batches: list[list[tuple[str, str]]], after: int, limit: int) -> None:
    """Whatever the batches, numbers, pages and the events of a link are those of a plain list."""
    made = [[event_of(link, name) for link, name in batch] for batch in batches]
    events = [event for batch in made for event in batch]
    numbered = list(enumerate(events, 1))

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            kept = EventFile(pathlib.Path(folder) / "events.db")
            for batch in made:
                await kept.append(batch)
            assert list(await kept.read(after, limit)) == [pair for pair in numbered if pair[0] > after][:limit]
            of_link = [pair for pair in numbered if pair[0] > after and pair[1]["link_id"] == "a"]
            assert list(await kept.read(after, limit, link_id="a")) == of_link[:limit]
            newest = pick(reversed([event for event in events if event["link_id"] == "b"]), limit)
            found = await kept.of_link("b", limit)
            assert (list(found.newest), found.counts) == (list(newest.newest), newest.counts)
            await kept.aclose()

    asyncio.run(run())


@pytest.mark.anyio
async def test_the_old_are_dropped(path: pathlib.Path) -> None:
    """Reckoned from the newest event, both sides of the boundary; no clock that jumps can drop everything."""
    assert await append(path, events_at(100, 101, 110), kept_s=9) == [2, 3]


@pytest.mark.anyio
async def test_events_of_a_link_are_found_by_index(path: pathlib.Path) -> None:
    """Status asks for one link's events; it must not read a million others, but the index of their ids."""
    await append(path, events_at(1, 2, 3))
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {_IDS}", (0, 0)).fetchall()
    assert "USING COVERING INDEX parts_ids" in plan[0][3]


@pytest.mark.anyio
async def test_events_of_a_ticket_are_looked_for_from_its_making(path: pathlib.Path) -> None:
    """Rows of before are passed over; clocks may differ by a day, and a ticket be made as much ahead."""
    made_s = 1_800_000_000
    link_id = text_of_id(uuid7(made_s * 1_000, bytes(10)))
    kept = EventFile(path)
    for at_s in (made_s - 86_400, made_s, made_s + 86_400):
        await kept.append([{"at": at_s, "event": "download", "link_id": link_id}])
        await kept.append([{"at": at_s, "event": "download", "link_id": "another"}] * 2)
    assert (await kept.of_link(link_id, 9)).counts == {"download": 3}
    await kept.aclose()


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
