"""Claims of each ledger on its real server; large ledgers, sweeping, several processes, and what an event costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path

import uvloop

from benchmarks import large_ledgers
from benchmarks.claims import RECORD, AsyncpgPool, Claims, Database, measure, measure_processes, ways
from benchmarks.figures import Sample, Series, in_turns, spread
from benchmarks.plan import Chart, Curves, Outcome, Plan, Table
from oncegate.ledgers.opening import create_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Event
from oncegate.ledgers.sqlite.events import EventFile
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.redis import RedisServer

WAITERS, WIDE = (1, 16, 64, 256), 64
EVENTS_SIZE_BYTES, EVENTS_BATCH = 4 * 2**20, 256


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    claims = plan.folder / "claims"
    claims.mkdir()
    with servers(claims) as databases:
        limits(plan, databases, claims, outcome)
        found = {kind: batches(plan, kind, *there, outcome) for kind, there in databases.items()}
        for metric, words, unit in (
            ("per_s", "Claims a second", "a second"),
            ("p99_ms", "The slowest claim in a hundred", "ms"),
        ):
            lines = {
                f"oncegate, {kind}:": {
                    str(waiters): series.of("batched", metric) for waiters, series in by_waiters.items()
                }
                for kind, by_waiters in found.items()
            }
            places = list(lines["oncegate, sqlite:"])
            name = f"claims-by-waiters-{metric.partition('_')[0]}"
            outcome.charts.append(Curves(name, f"{words}, by how many wait", unit, places, lines))
        processes(plan, databases, outcome)
    swept = plan.pick(1_000_000, 10_000, 10_000)
    for records in plan.pick((10_000, 1_000_000, 10_000_000), (10_000, 1_000_000), (10_000,)):
        large(plan, "sqlite", records, outcome, sweeps=plan.is_large or records <= swept)
    if not plan.is_large:
        outcome.left_out.append(f"ledger: sweeping more than {swept:,} records, and large ledgers on servers (--large)")
    if plan.is_large:
        for kind in ("postgresql", "redis"):
            large(plan, kind, 1_000_000, outcome, sweeps=True)
    events(plan, outcome)
    return outcome


@contextlib.contextmanager
def servers(folder: Path) -> Generator[dict[str, tuple[str, Database]]]:
    """Yield the URL of each kind of ledger, made, and its server."""
    with PostgresqlServer(folder) as postgresql, RedisServer(folder) as redis:
        found: dict[str, tuple[str, Database]] = {
            "sqlite": ("sqlite:./ledger.db", None),
            "postgresql": (postgresql.url, postgresql),
            "redis": (redis.url, redis),
        }
        for url, _ in found.values():
            create_ledger(url, folder=folder)
        yield found


def batches(plan: Plan, kind: str, url: str, database: Database, outcome: Outcome) -> Mapping[int, Series]:
    """Measure claims by the number of those that wait, and return that; at 64 also without batches, and by the driver."""
    table = Table(
        f"Claims, {kind}:", ("Waiters", "Way", "a second", "one each = 1", "p50 ms", "p99 ms", "client us", "server us")
    )
    folder = plan.folder / "claims"
    found: dict[int, Series] = {}
    for waiters in plan.pick(WAITERS, WAITERS, (1, WIDE)):
        plan.say(f"ledger {kind}, {waiters} waiters")
        all_ways = ways(kind, url, folder, database, waiters)
        chosen = all_ways if waiters == WIDE else {"batched": all_ways["batched"]}
        seconds = plan.pick(0.3, 0.25, 0.1)

        def turn(_: int, make: Callable[[], Claims], waiters: int = waiters, seconds: float = seconds) -> Sample:
            return measure(make, waiters, seconds, database)

        ways_of = {name: partial(turn, make=make) for name, make in chosen.items()}
        found[waiters] = series = in_turns(ways_of, plan.pick(5, 3, 1))
        outcome.raw[f"{kind}, {waiters} waiters"] = series.samples
        for name in chosen:
            ratio = series.ratio(name, "one each", "per_s") if waiters == WIDE else ""
            rest = [series.of(name, metric) for metric in ("p50_ms", "p99_ms", "client_us")]
            rest += [series.of(name, "server_us")] if database else []
            table.add(waiters, name, series.of(name, "per_s"), ratio, *rest, *([] if database else ["in the client"]))
        if waiters == WIDE:
            if kind == "sqlite":
                outcome.measured["batched"] = series.ratio("batched", "one each", "per_s")
            bars = tuple(
                (f"oncegate, {name}" if name == "batched" else name, series.of(name, "per_s")) for name in chosen
            )
            outcome.charts.append(Chart(f"claims-{kind}", f"Claims a second, {kind}:, {WIDE} waiting", "/s", bars))
    outcome.tables.append(table)
    return found


def limits(plan: Plan, databases: dict[str, tuple[str, Database]], folder: Path, outcome: Outcome) -> None:
    """Measure what one after another is the limit of every ledger: a forced write, an INSERT, a SET."""
    plan.say("ledger: the limits of disk and servers")
    count = plan.pick(300, 200, 30)
    _, redis = databases["redis"]
    _, postgresql = databases["postgresql"]
    assert isinstance(redis, RedisServer)
    assert isinstance(postgresql, PostgresqlServer)
    series = in_turns(
        {
            "fdatasync of 100 bytes": lambda _: _rate(partial(_forced_write, folder / "raw"), count),
            "INSERT, SQLite, synchronous FULL": lambda _: _inserts(folder / "raw.db", count),
            "INSERT, PostgreSQL, fsync": lambda _: uvloop.run(_inserts_at(postgresql.url, count)),
            "SET, Redis, appendfsync always": lambda _: _sets(redis.port, count),
        },
        plan.pick(5, 3, 1),
    )
    outcome.raw["limits"] = series.samples
    table = Table("One write after another", ("Write", "a second"))
    for name in series.samples:
        table.add(name, series.of(name, "per_s"))
    outcome.tables.append(table)
    bars = tuple((name, series.of(name, "per_s")) for name in series.samples)
    outcome.charts.append(Chart("limits", table.title, "/s", bars))


def _rate(write: Callable[[int], object], count: int) -> Sample:
    begun = time.perf_counter()
    for number in range(count):
        write(number)
    return {"per_s": count / (time.perf_counter() - begun)}


def _forced_write(path: Path, number: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.pwrite(descriptor, RECORD, number * 100)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _inserts(path: Path, count: int) -> Sample:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS records (id BLOB PRIMARY KEY, record BLOB) WITHOUT ROWID")
    try:
        return _rate(
            lambda _: connection.execute("INSERT INTO records VALUES (?, ?)", (fresh_link_id(), RECORD)), count
        )
    finally:
        connection.close()


async def _inserts_at(url: str, count: int) -> Sample:
    driver = AsyncpgPool(url, 1)
    await driver.probe()
    begun = time.perf_counter()
    for _ in range(count):
        assert isinstance(await driver.insert(fresh_link_id(), RECORD, FORGET_NEVER_S), Done)
    took_s = time.perf_counter() - begun
    await driver.aclose()
    return {"per_s": count / took_s}


def _sets(port: int, count: int) -> Sample:
    with socket.create_connection(("127.0.0.1", port)) as redis:

        def one(_: int) -> None:
            parts = (b"SET", fresh_link_id(), RECORD, b"NX")
            redis.sendall(b"*4\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
            assert redis.recv(64) == b"+OK\r\n"

        return _rate(one, count)


def processes(plan: Plan, databases: dict[str, tuple[str, Database]], outcome: Outcome) -> None:
    """Measure the claims of one process and of three over one ledger, by how many wait at each."""
    table = Table(
        "Claims of several processes, each with so many that wait",
        ("Ledger", "Waiters at each", "Processes", "a second", "one = 1", "p50 ms", "p99 ms", "server us"),
    )
    seconds = plan.pick(0.5, 0.3, 0.2)
    for kind, (url, database) in databases.items():
        plan.say(f"ledger {kind}, one process and three")
        for waiters in plan.pick(WAITERS, WAITERS, (WIDE,)):
            measured = partial(
                measure_processes, url, plan.folder / "claims", database, waiters=waiters, seconds=seconds
            )

            def turn(_: int, number: int, measured: Callable[..., Sample] = measured) -> Sample:
                return measured(processes=number)

            ways = {str(number): partial(turn, number=number) for number in (1, 3)}
            series = in_turns(ways, plan.pick(3, 2, 1), is_warm=True)
            outcome.raw[f"{kind}, {waiters} waiters, processes"] = series.samples
            for name in ways:
                figures = [series.of(name, metric) for metric in ("p50_ms", "p99_ms")]
                server = series.of(name, "server_us") if database else "in the client"
                ratio = series.ratio(name, "1", "per_s")
                table.add(kind, waiters, name, series.of(name, "per_s"), ratio, *figures, server)
    outcome.tables.append(table)


def large(plan: Plan, kind: str, records: int, outcome: Outcome, *, sweeps: bool) -> None:
    """Measure a ledger with so many records beside an empty one, and where it is swept beside a sweep of what is due."""
    plan.say(f"ledger {kind}, {records:,} records")
    folder = plan.folder / f"{kind}-{records}"
    folder.mkdir()
    found = large_ledgers.measure(kind, records, plan.pick(1.0, 0.5, 0.3), folder, sweeps=sweeps)
    beside_empty = spread([one / other for one, other in found.claims])
    outcome.raw[f"{kind}, {records} records"] = {
        "claims": found.claims,
        "swept": [(turn.alone, turn.beside, turn.records, turn.took_s) for turn in found.swept],
        "idle_ms": found.idle_ms,
        "starts_ms": found.starts_ms,
        "disk_bytes": found.disk_bytes,
    }
    table = Table(f"{kind}: with {records:,} records", ("What", "Figure"))
    table.add("claims a second", spread([one for one, _ in found.claims]))
    table.add("the same, an empty ledger = 1", beside_empty)
    if sweeps:
        beside_sweep = spread([turn.beside / turn.alone for turn in found.swept])
        table.add("claims beside a sweep, alone = 1", beside_sweep)
        table.add("records that were swept", sum(turn.records for turn in found.swept))
        table.add("ms of a sweep that finds nothing", spread(found.idle_ms))
        if kind == "sqlite":
            outcome.measured["sweep"] = beside_sweep
    table.add("ms of the start", spread(found.starts_ms))
    if found.disk_bytes:
        table.add("bytes of a record on the disk", spread([found.disk_bytes]))
    outcome.tables.append(table)
    if kind == "sqlite":
        # the largest ledger of this run counts
        outcome.measured |= {"large": beside_empty, "disk": spread([found.disk_bytes])}


def events(plan: Plan, outcome: Outcome) -> None:
    """Measure the CPU that keeping an event takes once the file is full, and the oldest ones go."""
    plan.say("ledger: events")

    def event(number: int) -> Event:
        return {
            "at": int(time.time()), "event": "download", "link_id": f"{number:022}", "key": "reports/2026/summary.pdf",
            "outcome": "complete", "status": 200, "bytes": 1_024, "of": 1_024, "ms": 3, "address": "203.0.113.178",
        }  # fmt: skip

    async def measured() -> list[float]:
        file = EventFile(plan.folder / "events.db", size_max_bytes=EVENTS_SIZE_BYTES)
        found: list[float] = []
        try:
            for number in range(plan.pick(200, 200, 80)):
                batch = [event(number * EVENTS_BATCH + at) for at in range(EVENTS_BATCH)]
                begun = time.process_time()
                await file.append(batch)
                found.append((time.process_time() - begun) / EVENTS_BATCH * 1e6)
        finally:
            await file.aclose()
        return found[len(found) // 2 :]

    found = asyncio.run(measured())
    outcome.raw["events_us"] = found
    outcome.measured["event"] = spread(found)
    table = Table("Events, in a file that is full", ("What", "CPU us"))
    table.add(f"an event, {EVENTS_BATCH} in a batch", spread(found))
    outcome.tables.append(table)
