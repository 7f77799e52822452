"""What the probe tries on a server that speaks PostgreSQL's protocol: engines that are wrong on purpose are refused."""

from __future__ import annotations

import itertools
import pathlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence

import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.postgresql import ledger as postgresql_ledger
from oncegate.ledgers.postgresql.connection import Argument, DriverRow, PostgresqlConnection
from oncegate.ledgers.protocol import LedgerUnfit
from oncegate.testing.servers.postgresql import PostgresqlServer

Change = Callable[[str, Sequence[DriverRow]], Sequence[DriverRow]]
SCHEMAS = (f"trial{number}" for number in itertools.count())


@pytest.fixture
def url(postgresql: PostgresqlServer, tmp_path: pathlib.Path) -> str:
    """The URL of an empty ledger of this test's own."""
    made = f"{postgresql.url}?schema={next(SCHEMAS)}"
    create_ledger(made, folder=tmp_path)
    return made


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Generator[Callable[[Change], None]]:
    """Let the driver tell another story than the server: ``engine(change)`` alters the rows of every answer."""

    def altered(change: Change) -> None:
        class Altered(PostgresqlConnection):
            async def fetch(self, statement: str, args: Sequence[Argument] = ()) -> Sequence[DriverRow]:
                return change(statement, await super().fetch(statement, args))

        monkeypatch.setattr(postgresql_ledger, "PostgresqlConnection", Altered)

    yield altered


def with_values(rows: Sequence[DriverRow], values: Mapping[str, bool | bytes | int | None]) -> Sequence[DriverRow]:
    """Rows with other values."""
    return [{**row, **values} for row in rows]


def locks_that_do_nothing(statement: str, rows: Sequence[DriverRow]) -> Sequence[DriverRow]:
    """As an engine that has the functions and locks nothing."""
    return with_values(rows, {"got": True}) if "pg_try_advisory" in statement else rows


def many_winners(statement: str, rows: Sequence[DriverRow]) -> Sequence[DriverRow]:
    """As an engine that passes over ON CONFLICT."""
    return with_values(rows, {"is_written": True}) if "INSERT INTO" in statement else rows


def losers_see_another(statement: str, rows: Sequence[DriverRow]) -> Sequence[DriverRow]:
    """As an engine whose snapshots are its own."""
    if "INSERT INTO" not in statement or rows[0]["is_written"]:
        return rows
    return with_values(rows, {"version": 7, "record": b"{}"})


def stale_replaces(statement: str, rows: Sequence[DriverRow]) -> Sequence[DriverRow]:
    """As an engine that compares no version."""
    return with_values(rows, {"is_written": True}) if "UPDATE" in statement and "old_version" in statement else rows


def late_reads(statement: str, rows: Sequence[DriverRow]) -> Sequence[DriverRow]:
    """As a replica that reads are sent to."""
    is_late = "SELECT stands.link_id" in statement and rows[0]["record"] == b'{"probe":"a"}'
    return with_values(rows, {"link_id": None, "record": None, "version": None}) if is_late else rows


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (locks_that_do_nothing, "did not keep the other out"),
        (many_winners, "8 won"),
        (losers_see_another, "another record than the one that won"),
        (stale_replaces, "replaced again"),
        (late_reads, "does not see what the other wrote"),
    ],
    ids=["locks", "winners", "losers", "stale", "late"],
)
async def test_an_engine_that_only_speaks_the_protocol_is_refused(
    url: str, tmp_path: pathlib.Path, engine: Callable[[Change], None], change: Change, words: str
) -> None:
    """Its version is a copy, so only a try tells; each of these would let two viewers use one link."""
    ledger = open_ledger(url, folder=tmp_path)
    await ledger.probe()
    await ledger.aclose()
    engine(change)
    wrong = open_ledger(url, folder=tmp_path)
    with pytest.raises(LedgerUnfit, match=words) as refusal:
        await wrong.probe()
    assert "use PostgreSQL itself" in refusal.value.remedy
    await wrong.aclose()


@pytest.mark.anyio
async def test_the_trial_leaves_nothing_and_takes_little(
    url: str, postgresql: PostgresqlServer, tmp_path: pathlib.Path
) -> None:
    """Every start makes it: no record stays, and many gateways may start at once."""
    ledger = open_ledger(url, folder=tmp_path)
    begun_s = time.monotonic()
    for _ in range(5):
        await ledger.probe()
    assert (time.monotonic() - begun_s) / 5 < 2.0
    await ledger.aclose()
    schema = url.rpartition("=")[2]
    assert postgresql.sql(f"SELECT count(*) FROM {schema}.oncegate_records") == "0"


@pytest.mark.anyio
async def test_a_busy_machine_is_no_engine_that_locks_nothing(
    url: str, tmp_path: pathlib.Path, engine: Callable[[Change], None]
) -> None:
    """Where the second connection comes too late to meet a short lock, a longer one is held: the start must not fail."""
    begun_s: list[float] = []

    def late_looks(statement: str, rows: Sequence[DriverRow]) -> Sequence[DriverRow]:
        if "pg_try_advisory" not in statement:
            return rows
        begun_s.append(time.monotonic())
        return with_values(rows, {"got": True}) if begun_s[-1] - begun_s[0] < 0.1 else rows

    engine(late_looks)
    ledger = open_ledger(url, folder=tmp_path)
    try:
        await ledger.probe()
    finally:
        await ledger.aclose()
