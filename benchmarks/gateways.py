"""Many gateways over one ledger: claims per second of 1, 3 and 10, and what idle ones cost the server in an hour.

    python -m benchmarks.gateways                      both, at 100,000 and 1,000,000 records
    python -m benchmarks.gateways --records 100000 --seconds 1 --rounds 3

Starts PostgreSQL 18 and Redis 6.2 itself (from wheels, fsync on, on this machine).

Claims: each gateway is a process with a ledger of its own, which inserts fresh records. At any moment 60 claims wait,
shared out evenly (a gateway beside nine others makes batches of 6), or 60 at each gateway. The numbers of gateways take
turns. On two cores the gateways' own work is most of what many of them cost.

Idle: each gateway does what one does by itself in an hour: it asks 60 times whether the ledger is still fit, and tries
to sweep as ``service/upkeep.py`` does. Nothing is due; the records are of links that have not ended. Readiness and
metrics that others ask for are not in it. Counted are statements (Redis: commands; PostgreSQL: transactions), bytes on
the connections in both directions, and the CPU of the server's processes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import pathlib
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from statistics import median

from benchmarks.claims import measure_processes
from oncegate.ledgers.health import LedgerHealth
from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import Done, Ledger, Sweeps, SweepState
from oncegate.ledgers.sweeping import TRIES_KEPT, TRY_EVERY_S, next_try_in_s
from oncegate.testing.installation import free_port
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.redis import RedisServer

GATEWAYS = (1, 3, 10)
WAITERS = 60
ASKS_PER_HOUR = 60
RECORD = b'{"c":[["q1w2e3r4t5y6u7i8",1767290400,"203.0.113.178","x7Qa"]]}'
NO_FOLDER = pathlib.Path("/")
_Server = PostgresqlServer | RedisServer


# ---- claims per second


def print_claims(name: str, server: _Server, *, rounds: int, seconds: float) -> None:
    """Rows of the table of claims."""
    for share in ("in all", "each"):
        found = [
            {
                gateways: measure_processes(
                    server.url,
                    NO_FOLDER,
                    server,
                    processes=gateways,
                    waiters=WAITERS if share == "each" else WAITERS // gateways,
                    seconds=seconds,
                )
                for gateways in GATEWAYS
            }
            for _ in range(rounds)
        ]
        for gateways in GATEWAYS:
            rates = sorted(turn[gateways]["per_s"] for turn in found)
            ratio = median(turn[gateways]["per_s"] / turn[1]["per_s"] for turn in found)
            server_us = median(turn[gateways]["server_us"] for turn in found)
            print(
                f"| {name} | {gateways} | {WAITERS} {share} | {median(rates):,.0f} | {rates[0]:,.0f} to {rates[-1]:,.0f}"
                f" | {ratio:.2f} | {server_us:.0f} |",
                flush=True,
            )


# ---- idle gateways


class Counting:
    """A listener before a server that passes everything on, and counts the bytes of both directions."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.size_bytes = 0
        self._to = port

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                self.size_bytes += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(self._carry(reader, to_writer), self._carry(to_reader, writer))

    async def _listen(self, started: Future[Callable[[], object]]) -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        async with await asyncio.start_server(self._connect, "127.0.0.1", self.port):
            started.set_result(lambda: loop.call_soon_threadsafe(stop.set))
            await stop.wait()

    @contextlib.contextmanager
    def running(self) -> Generator[None]:
        """Pass on, in a thread, until the block ends."""
        started: Future[Callable[[], object]] = Future()
        thread = threading.Thread(target=lambda: asyncio.run(self._listen(started)), daemon=True)
        thread.start()
        stop = started.result()
        try:
            yield
        finally:
            stop()
            thread.join()


@dataclass(frozen=True, slots=True)
class Cost:
    """What the server did."""

    statements: float
    size_bytes: float
    cpu_s: float

    def since(self, before: Cost) -> Cost:
        """The difference."""
        return Cost(self.statements - before.statements, self.size_bytes - before.size_bytes, self.cpu_s - before.cpu_s)


def statements_of(server: _Server) -> float:
    """Transactions or commands that the server has done."""
    if isinstance(server, PostgresqlServer):
        counted = "SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datname = 'postgres'"
        return float(server.sql(counted))
    lines = server.cli("INFO", "stats").splitlines()
    return float(next(line.partition(":")[2] for line in lines if line.startswith("total_commands_processed:")))


async def fill(ledger: Ledger, count: int) -> None:
    """Insert records of links that end in a week."""
    left = iter(range(count))

    async def insert() -> None:
        for _ in left:
            assert isinstance(await ledger.insert(fresh_link_id(), RECORD, in_a_week()), Done)

    await asyncio.gather(*(insert() for _ in range(512)))


def in_a_week() -> int:
    """When a record of a link that was made now may be forgotten."""
    return int(time.time()) + 8 * 86_400


async def let_an_hour_pass(ledger: Ledger) -> None:
    """Set the tries back to what an hour ago was: a day's worth, the last of them due again."""
    assert isinstance(ledger, Sweeps)
    before = await ledger.sweep_state()
    now_s = int(time.time())
    tries_s = tuple(now_s - TRY_EVERY_S * (TRIES_KEPT - number) for number in range(TRIES_KEPT))
    assert await ledger.keep_sweep(before, SweepState(before.swept_until_s, tries_s))


async def an_hour(ledgers: Sequence[Ledger], healths: Sequence[LedgerHealth]) -> None:
    """What gateways do by themselves in an hour, as ``stay_fit`` and ``keep_swept`` have it."""
    for _ in range(ASKS_PER_HOUR):
        for ledger, health in zip(ledgers, healths, strict=True):
            await health.ask_again(ledger)
            assert health.unfit is None
    for ledger in ledgers:
        assert isinstance(ledger, Sweeps)
        now_s = int(time.time())
        for _ in range(2):  # before and after its jitter
            if next_try_in_s(await ledger.sweep_state(), now_s):
                break
        else:
            await ledger.sweep(now_s)


async def idle(server: _Server, url: str, counting: Counting, gateways: int) -> Cost:
    """What so many idle gateways cost in an hour."""
    ledgers = [open_ledger(url, folder=NO_FOLDER) for _ in range(gateways)]
    try:
        healths = [LedgerHealth(await ledger.probe()) for ledger in ledgers]
        await let_an_hour_pass(ledgers[0])
        await an_hour(ledgers[:1], healths[:1])  # what is loaded and made once
        await let_an_hour_pass(ledgers[0])
        await asyncio.sleep(1.2)  # PostgreSQL tells its counts once a second
        before = Cost(statements_of(server), counting.size_bytes, server.cpu_s())
        await an_hour(ledgers, healths)
        used = server.cpu_s() - before.cpu_s
        size_bytes = counting.size_bytes
        await asyncio.sleep(1.2)
        return Cost(statements_of(server), size_bytes, before.cpu_s + used).since(before)
    finally:
        for ledger in ledgers:
            await ledger.aclose()


def print_idle(name: str, server: _Server, records: int, held: int) -> int:
    """Rows of the table of idle gateways; how many records the ledger holds then."""
    counting = Counting(server.port)
    with counting.running():
        url = server.url.replace(f":{server.port}", f":{counting.port}")

        async def fill_up() -> None:
            ledger = open_ledger(server.url, folder=NO_FOLDER)
            await ledger.probe()
            await fill(ledger, records - held)
            await ledger.aclose()

        asyncio.run(fill_up())
        if isinstance(server, PostgresqlServer):
            server.sql("VACUUM ANALYZE")
        for gateways in GATEWAYS:
            cost = asyncio.run(idle(server, url, counting, gateways))
            print(
                f"| {name} | {records:,} | {gateways} | {cost.statements:,.0f} | {cost.size_bytes / 1024:,.0f} |"
                f" {cost.cpu_s:.2f} |",
                flush=True,
            )
    return max(records, held)


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", nargs="*", default=["postgresql", "redis"])
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        kinds = {"postgresql": PostgresqlServer, "redis": RedisServer}
        servers = {kind: stack.enter_context(kinds[kind](pathlib.Path(name))) for kind in given.kind}
        for server in servers.values():
            create_ledger(server.url, folder=NO_FOLDER)
        if given.rounds:
            print(
                f"| ledger | gateways | waiting | claims /s, median of {given.rounds} | from, to | to one | server us a claim |"
            )
            print("|---|---|---|---|---|---|---|")
            for kind, server in servers.items():
                print_claims(kind, server, rounds=given.rounds, seconds=given.seconds)
        print("\n| ledger | records | idle gateways | statements an hour | KiB an hour | CPU s an hour |")
        print("|---|---|---|---|---|---|")
        for kind, server in servers.items():
            held = 0
            for records in sorted(given.records):
                held = print_idle(kind, server, records, held)


if __name__ == "__main__":
    main()
