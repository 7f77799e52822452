"""Claims of a ledger: as batches, as one request each, and as a program writes them that uses the driver as its manual says.

Every claim is an insert of a fresh id and a spent record. "one each" is the same ledger with batches of one, over a pool of
sixteen: what batching itself brings. "driver" is one INSERT or one SET NX per claim over the driver's own pool of
sixteen connections; it checks less than a ledger does. More connections bring it less or little.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError
from typing import Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  it ships none
import redis.asyncio
import uvloop

from benchmarks.processes import cpu_us
from oncegate.ledgers.opening import open_ledger
from oncegate.ledgers.postgresql.address import parse_address as parse_postgresql
from oncegate.ledgers.postgresql.ledger import PostgresqlLedger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Gone, InsertOutcome, Ledger, Unknown
from oncegate.ledgers.redis.address import parse_url
from oncegate.ledgers.redis.ledger import RedisLedger
from oncegate.ledgers.sqlite.ledger import SqliteLedger
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.redis import RedisServer

POOL = 16
WARM_S = 0.1
START_WITHIN_S = 120
RECORD = b'{"u":1,"c":[["q1w2e3r4t5y6u7i8",1767290400,"203.0.113.178","x7Qa"]]}'
Database = PostgresqlServer | RedisServer | None


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


async def _measure(
    ledger: Claims, waiters: int, seconds: float, database: Database, begin: Callable[[], object] = lambda: None
) -> tuple[dict[str, float], list[float]]:
    await ledger.probe()
    waits_s: list[float] = []

    async def wait_and_claim(stop_s: float) -> None:
        while (begun := time.perf_counter()) < stop_s:
            outcome = await ledger.insert(fresh_link_id(), RECORD, FORGET_NEVER_S)
            # on a disk that stands still for seconds a claim's fate is not known in time, which counts as long as it took
            assert isinstance(outcome, Done | Unknown), outcome
            waits_s.append(time.perf_counter() - begun)

    warm_s = time.perf_counter() + WARM_S
    await asyncio.gather(*(wait_and_claim(warm_s) for _ in range(waiters)))
    begin()
    waits_s.clear()
    pids = database.pids() if database else ()
    begun_s, client_s, server_us = time.perf_counter(), time.process_time(), cpu_us(pids)
    await asyncio.gather(*(wait_and_claim(begun_s + seconds) for _ in range(waiters)))
    took_s = time.perf_counter() - begun_s
    client_s, server_us = time.process_time() - client_s, cpu_us(pids) - server_us
    await ledger.aclose()
    count = len(waits_s)
    rest = {"client_us": client_s / count * 1e6, "server_us": server_us / count}
    return {"per_s": count / took_s, **_latency(waits_s), **rest}, waits_s


def _latency(waits_s: list[float]) -> dict[str, float]:
    waits_s.sort()
    return {"p50_ms": waits_s[len(waits_s) // 2] * 1e3, "p99_ms": waits_s[int(len(waits_s) * 0.99)] * 1e3}


def measure(make: Callable[[], Claims], waiters: int, seconds: float, database: Database) -> dict[str, float]:
    """Let so many claim at once, each as soon as its claim before is answered."""
    return uvloop.run(_measure(make(), waiters, seconds, database))[0]


_BARRIERS: list[Barrier] = []
"""Of this process: the one at which all wait for each other."""


def _meet_at(barrier: Barrier) -> None:
    _BARRIERS.append(barrier)


def _one_of_many(url: str, folder: Path, waiters: int, seconds: float) -> tuple[float, list[float]]:
    """Claim in a process of its own, beginning when all are ready; return the rate and how long each claim took."""
    ready = _BARRIERS[-1]
    try:
        sample, waits_s = uvloop.run(_measure(open_ledger(url, folder=folder), waiters, seconds, None, ready.wait))
    except BaseException:
        ready.abort()  # the others would wait for it
        raise
    return sample["per_s"], waits_s


def measure_processes(
    url: str, folder: Path, database: Database, *, processes: int, waiters: int, seconds: float
) -> dict[str, float]:
    """Let processes claim at once over one ledger, each with a connection of its own and so many that wait.

    Returns:
        Claims a second of all together, their latency, and the CPU of the ledger's server for each.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ready = context.Barrier(processes + 1)
    with ProcessPoolExecutor(processes, context, initializer=_meet_at, initargs=(ready,)) as pool:
        running = [pool.submit(_one_of_many, url, folder, waiters, seconds) for _ in range(processes)]
        with contextlib.suppress(BrokenBarrierError):  # one has failed, and its result says why
            ready.wait(START_WITHIN_S)
        before_s = database.cpu_s() if database else 0
        parts = [one.result() for one in running]
    server_us = (database.cpu_s() - before_s) * 1e6 if database else 0
    waits_s = [wait_s for _, waits in parts for wait_s in waits]
    per_s = sum(rate for rate, _ in parts)
    return {"per_s": per_s, **_latency(waits_s), "server_us": server_us / len(waits_s)}


def ways(kind: str, url: str, folder: Path, database: Database, waiters: int) -> Mapping[str, Callable[[], Claims]]:
    """Return in which ways a ledger is claimed of, the batches first."""
    size = min(POOL, waiters)
    batched: dict[str, Callable[[], Claims]] = {"batched": lambda: open_ledger(url, folder=folder)}
    if isinstance(database, PostgresqlServer):
        at_postgresql = parse_postgresql(database.url.partition(":")[2])
        return batched | {
            "one each": lambda: Pool(lambda: PostgresqlLedger(at_postgresql, batch_max=1), size),
            "driver": lambda: AsyncpgPool(database.url, size),
        }
    if isinstance(database, RedisServer):
        at_redis = parse_url(database.url, folder=folder)
        return batched | {
            "one each": lambda: Pool(lambda: RedisLedger(at_redis, batch_max=1), size),
            "driver": lambda: RedisPyPool(database.port, size),
        }
    # one ledger with batches of one takes claims in turn; a pool would only add a queue
    return batched | {"one each": lambda: SqliteLedger(folder / "ledger.db", batch_max=1)}
