"""A file of many records costs a claim, a refusal, an idle sweep and a start what an empty one does."""

from __future__ import annotations

import itertools
import pathlib
import time
from collections.abc import Iterator

import pytest

from oncegate.ledgers.protocol import Done, Row, Stands
from oncegate.ledgers.sqlite import file as sqlite_file
from oncegate.ledgers.sqlite import rows as sqlite_rows
from oncegate.ledgers.sqlite.ledger import SqliteLedger
from oncegate.testing.ledger_processes import fresh_link_id

RECORD = b'{"c":[["q1w2e3r4t5y6u7i8",1767290400,"203.0.113.178","x7Qa"]]}'
CLAIMS = 50
WEEK_S = 7 * 86_400


def filled(path: pathlib.Path, count: int) -> bytes:
    """Make a ledger of so many records, none due before a week is over; return the id of one."""
    sqlite_file.create(path)
    forget_after_s = int(time.time()) + WEEK_S
    numbers: Iterator[Row] = (Row(number.to_bytes(16), RECORD, 1, forget_after_s) for number in range(count))
    connection = sqlite_file.connect(path).connection
    while chunk := list(itertools.islice(numbers, 100 * sqlite_rows.KEYS_MAX)):
        connection.execute("BEGIN IMMEDIATE")
        for start in range(0, len(chunk), sqlite_rows.KEYS_MAX):
            sqlite_rows.put_rows(connection, chunk[start : start + sqlite_rows.KEYS_MAX])
        connection.execute("COMMIT")
    connection.close()
    return (count // 2).to_bytes(16)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Instructions of SQLite's machine on every connection of the ledger, counted in its one element."""
    counted, connect = [0], sqlite_file.connect

    def counting(path: pathlib.Path, *, busy_s: float = sqlite_file.BUSY_S) -> sqlite_file.OpenLedger:
        opened = connect(path, busy_s=busy_s)

        def count() -> int:
            counted[0] += 1
            return 0

        opened.connection.set_progress_handler(count, 1)
        return opened

    monkeypatch.setattr(sqlite_file, "connect", counting)
    monkeypatch.setattr("oncegate.ledgers.sqlite.fitness.connect", counting)
    # a small file is read whole at the start, on purpose: here none is small
    monkeypatch.setattr("oncegate.ledgers.sqlite.fitness.CHECKED_WHOLE_BYTES_MAX", 0)
    return counted


async def work(path: pathlib.Path, known: bytes, steps: list[int]) -> dict[str, int]:
    """Instructions that each of a ledger's tasks takes."""
    found: dict[str, int] = {}

    def note(name: str) -> None:
        found[name], steps[0] = steps[0], 0

    steps[0] = 0
    ledger = SqliteLedger(path)
    await ledger.probe()
    note("start")
    await ledger.sweep(int(time.time()), force=True)  # the first walks: what is due in a file is not known before
    await ledger.insert(fresh_link_id(), RECORD, int(time.time()) + WEEK_S)
    steps[0] = 0
    for _ in range(CLAIMS):
        assert isinstance(await ledger.insert(fresh_link_id(), RECORD, int(time.time()) + WEEK_S), Done)
    note("claims")
    for _ in range(CLAIMS):
        assert isinstance(await ledger.insert(known, RECORD, int(time.time()) + WEEK_S), Stands)
    note("refusals")
    assert await ledger.sweep(int(time.time()) + 1, force=True) == 0
    note("idle sweep")
    await ledger.aclose()
    return found


@pytest.mark.anyio
async def test_no_task_grows_with_the_records(tmp_path: pathlib.Path, is_nightly: bool, steps: list[int]) -> None:
    """One statement that walks the file would stop every claim of a busy ledger for seconds; time alone shows it late."""
    small, large = tmp_path / "small.db", tmp_path / "large.db"
    records = 10_000_000 if is_nightly else 20_000
    of_small = await work(small, filled(small, 100), steps)
    of_large = await work(large, filled(large, records), steps)
    for name, count in of_small.items():
        assert of_large[name] <= 1.1 * count + 50, (name, of_small, of_large)
