"""Claims per second of each ledger on its real server, all that wait in one request beside one request per claim.

    python benchmarks/ledger_claims.py [SECONDS]

Starts the servers itself (PostgreSQL 18 and Redis 6.2 from wheels, fsync on, on this machine). Every claim is an insert
of a fresh id and a spent record. "one each" is the same ledger with batches of one over a pool of sixteen, which is what
a program without batching does. CPU is of the client process, and of the server's processes, per claim.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import pathlib
import platform
import sys
import tempfile
import time
from collections.abc import Callable

import uvloop

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.postgresql import PostgresqlLedger
from oncegate.ledgers.postgresql_url import parse_address as parse_postgresql
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, InsertOutcome, Ledger
from oncegate.ledgers.redis import RedisLedger
from oncegate.ledgers.redis_url import parse_address as parse_redis
from oncegate.ledgers.sqlite import SqliteLedger
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.servers import PostgresqlServer, RedisServer, Server

WAITERS = (1, 16, 64)
POOL = 16
ROUNDS = 3
RECORD = b'{"u":1,"c":[["q1w2e3r4t5y6u7i8",1767290400,"203.0.113.178","x7Qa"]]}'


class Pool:
    """Claims in turn over several ledgers that write one record per request, each waiting for its own."""

    def __init__(self, make: Callable[[], Ledger], size: int) -> None:
        self._ledgers = [make() for _ in range(size)]
        self._free: asyncio.Queue[Ledger] = asyncio.Queue()

    async def probe(self) -> None:
        """Open them."""
        for ledger in self._ledgers:
            await ledger.probe()
            self._free.put_nowait(ledger)

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Insert over whichever is free."""
        ledger = await self._free.get()
        try:
            return await ledger.insert(link_id, record, forget_after_s)
        finally:
            self._free.put_nowait(ledger)

    async def aclose(self) -> None:
        """Close them."""
        for ledger in self._ledgers:
            await ledger.aclose()


async def measure(
    ledger: Ledger | Pool, waiters: int, seconds: float, server: Server | None
) -> tuple[float, float, float]:
    """Return claims per second, and microseconds of CPU per claim of the client and of the server."""
    await ledger.probe()
    claims, stop_s = itertools.count(), 0.0

    async def wait_and_claim() -> None:
        while time.perf_counter() < stop_s:
            outcome = await ledger.insert(fresh_link_id(), RECORD, FORGET_NEVER_S)
            assert isinstance(outcome, Done), outcome
            next(claims)

    stop_s = time.perf_counter() + 0.2
    await asyncio.gather(*(wait_and_claim() for _ in range(waiters)))
    claims = itertools.count()
    begun_s, cpu_s, server_s = time.perf_counter(), time.process_time(), server.cpu_s() if server else 0.0
    stop_s = begun_s + seconds
    await asyncio.gather(*(wait_and_claim() for _ in range(waiters)))
    took_s, count = time.perf_counter() - begun_s, next(claims)
    cpu_s, server_s = time.process_time() - cpu_s, (server.cpu_s() if server else 0.0) - server_s
    await ledger.aclose()
    return count / took_s, cpu_s / count * 1e6, server_s / count * 1e6


def main() -> None:
    """Print a table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, best of {ROUNDS} times {seconds:g} s"
    )
    print("| ledger | waiters | one each /s | batched /s | ratio | client us one each, batched | server us |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with PostgresqlServer(folder) as postgresql, RedisServer(folder) as redis:
            for url in (postgresql.url, redis.url, "sqlite:./ledger.db"):
                create_ledger(url, folder=folder)
            at_postgresql = parse_postgresql(postgresql.url.partition(":")[2])
            at_redis = parse_redis(redis.url.partition(":")[2], scheme="redis", folder=folder)
            path = folder / "ledger.db"
            kinds: list[tuple[str, str, Server | None, Callable[[], Ledger], int]] = [
                ("sqlite", "sqlite:./ledger.db", None, lambda: SqliteLedger(path, batch_max=1), 1),
                ("postgresql", postgresql.url, postgresql, lambda: PostgresqlLedger(at_postgresql, batch_max=1), POOL),
                ("redis", redis.url, redis, lambda: RedisLedger(at_redis, batch_max=1), POOL),
            ]
            for kind, url, server, make, size in kinds:
                for waiters in WAITERS:
                    each, many = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
                    for _ in range(ROUNDS):  # in turns, so that both meet the same machine; the best of each
                        # One ledger with batches of one takes claims in turn; a pool of one would only add a queue.
                        one = Pool(make, min(size, waiters)) if size > 1 else make()
                        each = max(each, uvloop.run(measure(one, waiters, seconds, server)))
                        batched = open_ledger(url, folder=folder)
                        many = max(many, uvloop.run(measure(batched, waiters, seconds, server)))
                    (each_s, each_us, each_server_us), (many_s, many_us, many_server_us) = each, many
                    server_us = f"{each_server_us:.0f}, {many_server_us:.0f}" if server else "in the client"
                    print(
                        f"| {kind} | {waiters} | {each_s:,.0f} | {many_s:,.0f} | {many_s / each_s:.1f} |"
                        f" {each_us:.0f}, {many_us:.0f} | {server_us} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
