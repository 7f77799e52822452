"""Claims per second of each ledger on its real server: all that wait in one request, beside one request per claim.

    python benchmarks/ledger_claims.py [SECONDS] [KIND...]

Starts the servers itself (PostgreSQL 18 and Redis 6.2 from wheels, fsync on, on this machine). Every claim is an insert
of a fresh id and a spent record. What batches are compared with:

- "one each": the same ledger with batches of one, over a pool of sixteen. This is what batching itself brings.
- "driver": what a program writes that uses the driver as its manual says, one INSERT or one SET NX per claim, over the
  driver's own pool of sixteen connections. It checks less than a ledger does. More connections bring it less or little.

All three take turns; figures are medians of the rounds, and ratios medians of the ratios within a round. CPU is of the
client process, and of the server's processes, per claim, one each and batched.
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
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  it ships none
import redis.asyncio
import uvloop

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.postgresql.address import parse_address as parse_postgresql
from oncegate.ledgers.postgresql.ledger import PostgresqlLedger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Gone, InsertOutcome, Ledger
from oncegate.ledgers.redis.address import parse_url
from oncegate.ledgers.redis.ledger import RedisLedger
from oncegate.ledgers.sqlite.ledger import SqliteLedger
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.process import Server
from oncegate.testing.servers.redis import RedisServer

WAITERS = (1, 16, 64)
POOL = 16
ROUNDS = 5
RECORD = b'{"u":1,"c":[["q1w2e3r4t5y6u7i8",1767290400,"203.0.113.178","x7Qa"]]}'


class Claims(Protocol):
    """What is measured of a ledger."""

    async def probe(self) -> object:
        """Open it."""

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome | Gone:
        """Claim."""
        ...

    async def aclose(self) -> None:
        """Close it."""


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


class _DriverPool(Protocol):
    """What is used of asyncpg.Pool."""

    async def fetchval(self, query: str, *args: object) -> object: ...
    async def close(self) -> None: ...


class AsyncpgPool:
    """One INSERT per claim, as asyncpg's manual has it; into the ledger's own table."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size = url, size

    async def probe(self) -> None:
        """Connect."""
        connect = cast("Callable[..., Awaitable[_DriverPool]]", asyncpg.create_pool)  # pyright: ignore[reportUnknownMemberType]  untyped
        self._pool = await connect(self._url, min_size=self._size, max_size=self._size)

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> Done | Gone:
        """Insert."""
        is_inserted = await self._pool.fetchval(
            "INSERT INTO oncegate_records (link_id, record, forget_after_s, version) VALUES ($1, $2, $3, 1)"
            " ON CONFLICT (link_id) DO NOTHING RETURNING true",
            link_id,
            record,
            forget_after_s,
        )
        return Done(1) if is_inserted else Gone()

    async def aclose(self) -> None:
        """Disconnect."""
        await self._pool.close()


class RedisPyPool:
    """One SET NX per claim, as redis-py's manual has it."""

    def __init__(self, port: int, size: int) -> None:
        pool = redis.asyncio.BlockingConnectionPool(host="127.0.0.1", port=port, max_connections=size)
        self._client = redis.asyncio.Redis(connection_pool=pool)

    async def probe(self) -> None:
        """It connects by itself."""

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> Done | Gone:
        """Insert; nothing here forgets it."""
        is_set = await self._client.set(b"plain:" + link_id, record, nx=True)
        return Done("") if is_set else Gone()

    async def aclose(self) -> None:
        """Disconnect."""
        await self._client.aclose()
        await self._client.connection_pool.disconnect()


@dataclass(frozen=True, slots=True)
class Figures:
    """Claims per second, and microseconds of CPU per claim."""

    claims_per_s: float
    client_us: float
    server_us: float


async def measure(ledger: Claims, waiters: int, seconds: float, server: Server | None) -> Figures:
    """Let so many claim at once, each as soon as its claim before is answered."""
    await ledger.probe()

    async def wait_and_claim(stop_s: float) -> int:
        for count in itertools.count():
            if time.perf_counter() >= stop_s:
                return count
            outcome = await ledger.insert(fresh_link_id(), RECORD, FORGET_NEVER_S)
            assert isinstance(outcome, Done), outcome
        raise AssertionError

    warm_s = time.perf_counter() + 0.2
    await asyncio.gather(*(wait_and_claim(warm_s) for _ in range(waiters)))
    begun_s, cpu_s, server_s = time.perf_counter(), time.process_time(), server.cpu_s() if server else 0.0
    count = sum(await asyncio.gather(*(wait_and_claim(begun_s + seconds) for _ in range(waiters))))
    took_s = time.perf_counter() - begun_s
    cpu_s, server_s = time.process_time() - cpu_s, (server.cpu_s() if server else 0.0) - server_s
    await ledger.aclose()
    return Figures(count / took_s, cpu_s / count * 1e6, server_s / count * 1e6)


def row(
    kind: str, waiters: int, seconds: float, server: Server | None, ways: Mapping[str, Callable[[], Claims]]
) -> str:
    """Measure every way in turns, so that all meet the same machine."""
    rounds = [
        {name: uvloop.run(measure(make(), waiters, seconds, server)) for name, make in ways.items()}
        for _ in range(ROUNDS)
    ]

    def rate(name: str) -> str:
        return f"{median(found[name].claims_per_s for found in rounds):,.0f}" if name in ways else ""

    def ratio(name: str) -> str:
        if name not in ways:
            return ""
        return f"{median(found['batched'].claims_per_s / found[name].claims_per_s for found in rounds):.1f}"

    def cpu(of: Callable[[Figures], float]) -> str:
        return ", ".join(f"{median(of(found[name]) for found in rounds):.0f}" for name in ("one each", "batched"))

    server_us = cpu(lambda found: found.server_us) if server else "in the client"
    return (
        f"| {kind} | {waiters} | {rate('driver')} | {rate('one each')} | {rate('batched')} | {ratio('driver')} |"
        f" {ratio('one each')} | {cpu(lambda found: found.client_us)} | {server_us} |"
    )


def main() -> None:
    """Print a table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {ROUNDS} x {seconds:g} s")
    print(
        "| ledger | waiters | driver /s | one each /s | batched /s | to driver | to one each | client us | server us |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with PostgresqlServer(folder) as postgresql, RedisServer(folder) as redis_server:
            urls = {"sqlite": "sqlite:./ledger.db", "postgresql": postgresql.url, "redis": redis_server.url}
            for url in urls.values():
                create_ledger(url, folder=folder)
            at_postgresql = parse_postgresql(postgresql.url.partition(":")[2])
            at_redis = parse_url(redis_server.url, folder=folder)

            def ways(kind: str, size: int) -> Mapping[str, Callable[[], Claims]]:
                batched: dict[str, Callable[[], Claims]] = {"batched": lambda: open_ledger(urls[kind], folder=folder)}
                if kind == "sqlite":
                    # One ledger with batches of one takes claims in turn; a pool would only add a queue.
                    return {"one each": lambda: SqliteLedger(folder / "ledger.db", batch_max=1), **batched}
                if kind == "postgresql":
                    return {
                        "driver": lambda: AsyncpgPool(postgresql.url, size),
                        "one each": lambda: Pool(lambda: PostgresqlLedger(at_postgresql, batch_max=1), size),
                        **batched,
                    }
                return {
                    "driver": lambda: RedisPyPool(redis_server.port, size),
                    "one each": lambda: Pool(lambda: RedisLedger(at_redis, batch_max=1), size),
                    **batched,
                }

            servers: Mapping[str, Server | None] = {"sqlite": None, "postgresql": postgresql, "redis": redis_server}
            for kind in sys.argv[2:] or urls:
                for waiters in WAITERS:
                    print(row(kind, waiters, seconds, servers[kind], ways(kind, min(POOL, waiters))), flush=True)


if __name__ == "__main__":
    main()
