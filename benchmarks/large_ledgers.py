"""A ledger that is large: claims beside an empty one, beside a sweep, an idle sweep, the start, bytes a record.

Records are of real shape: ids in the order of time over a week, nine in ten spent by one claim, the rest with a break or
a label; one in ten is due. The large ledger and an empty one, on the same server, take turns, so that both meet the same
machine. What is due is swept in slices (one in sqlite:, where each walks through the whole file): claims while a slice is
swept, beside those just before.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import uvloop

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import FORGET_MARGIN_S, Done, Ledger, Row, Sweeps, Unknown
from oncegate.ledgers.sqlite import file as sqlite_file
from oncegate.ledgers.sqlite import rows as sqlite_rows
from oncegate.ledgers.sweeping import SweepsByTries
from oncegate.links.grant import Operation
from oncegate.links.link_id import uuid7
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.redis import RedisServer
from oncegate.uses.record import Claim, Issued, Record, to_json

WAITERS, ROUNDS, STARTS = 64, 5, 7
SWEPT_TURNS_MAX = 10
"""For so many turns claims come beside a sweep at most; in a small ledger they are as many as it walks through."""
WEEK_S = 7 * 86_400
DUE_PART = 10
"""One record in so many is due."""
KINDS_OF_RECORDS = 1_000
"""So many different ones are drawn: nothing packs them."""
SLICES = 5
"""Those are due at so many instants."""


def record_of(number: int) -> bytes:
    """A record as a gateway leaves it: spent by one claim, and some with a break or a label."""
    claim = Claim(claim_id=os.urandom(12).hex()[:16], at_s=1_767_290_400, address="203.0.113.178", gateway="x7Qa")
    if number % 20 == 1:
        broken = claim._replace(size_bytes=8_388_608, etag="5d41402a", paid=8_388_608, over=65_536)
        return to_json(Record(uses=1, claims=(broken,), marks=("q1w2e3r4", "t5y6u7i8")))
    if number % 20 == 2:
        issued = Issued("reports/2026/november.pdf", Operation.GET, 1, 1_767_290_000, 1_767_895_200, "invoice 4711")
        return to_json(Record(uses=1, claims=(claim,), issued=issued))
    return to_json(Record(uses=1, claims=(claim,)))


def rows(count: int, now_s: int) -> Iterator[Row]:
    """Records of the last week, oldest first; of links that lived an hour to a week, one in ten due."""
    drawn = random.Random(1)
    records = [record_of(number) for number in range(KINDS_OF_RECORDS)]
    for number in range(count):
        link_id = uuid7((now_s - WEEK_S) * 1000 + number * WEEK_S * 1000 // count, drawn.randbytes(10))
        forget_after_s = now_s + drawn.randrange(FORGET_MARGIN_S, WEEK_S)
        if number % DUE_PART == 0:
            forget_after_s = now_s - 1 - number // DUE_PART % SLICES
        yield Row(link_id, records[number % KINDS_OF_RECORDS], 1, forget_after_s)


async def claims_per_s(ledger: Ledger, seconds: float, until: asyncio.Future[int] | None = None) -> float:
    """Claim fresh links with all waiters for so long, or until something has ended."""
    start, count = time.perf_counter(), 0

    async def one_waiter() -> None:
        nonlocal count
        while time.perf_counter() - start < seconds and not (until and until.done()):
            now_s = int(time.time())
            link_id = uuid7(now_s * 1000, os.urandom(10))
            count += isinstance(await ledger.insert(link_id, record_of(0), now_s + WEEK_S), Done)

    await asyncio.gather(*(one_waiter() for _ in range(WAITERS)))
    return count / (time.perf_counter() - start)


async def fill(ledger: Ledger, count: int, now_s: int) -> None:
    """Insert by the ledger itself, with many waiters."""
    numbers = rows(count, now_s)

    async def one_waiter() -> None:
        for row in numbers:
            while isinstance(await ledger.insert(row.link_id, row.record, row.forget_after_s), Unknown):
                pass  # a busy disk answered late

    await asyncio.gather(*(one_waiter() for _ in range(1_000)))


def fill_file(path: Path, count: int, now_s: int) -> None:
    """Write the rows into the ledger's file in large transactions, which takes a tenth of the time."""
    opened = sqlite_file.connect(path)
    numbers = rows(count, now_s)
    while chunk := list(itertools.islice(numbers, 128 * sqlite_rows.KEYS_MAX)):
        opened.connection.execute("BEGIN IMMEDIATE")
        for start in range(0, len(chunk), sqlite_rows.KEYS_MAX):
            sqlite_rows.put_rows(opened.connection, chunk[start : start + sqlite_rows.KEYS_MAX])
        opened.connection.execute("COMMIT")
    opened.connection.close()


async def start_ms(url: str, folder: Path) -> float:
    """Milliseconds from nothing to a ledger that was probed."""
    start = time.perf_counter()
    ledger = open_ledger(url, folder=folder)
    await ledger.probe()
    took_s = time.perf_counter() - start
    await ledger.aclose()
    return took_s * 1000


@dataclass(frozen=True, slots=True)
class Beside:
    """Claims per second alone and beside a sweep, of so many records in so many seconds."""

    alone: float
    beside: float
    records: int
    took_s: float


async def beside_a_sweep(ledger: Ledger, limit_s: int, seconds: float) -> Beside:
    """Sweep as far as a limit while claims come; without its bookkeeping, which knows the hour alone."""
    alone = await claims_per_s(ledger, seconds)
    begun = time.perf_counter()
    forget = cast("SweepsByTries", ledger)._forget_due  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  slices of an hour
    sweeping = asyncio.ensure_future(forget(limit_s, force=True))
    beside = await claims_per_s(ledger, SWEPT_TURNS_MAX * seconds, sweeping)
    records = await sweeping
    return Beside(alone, beside, records, time.perf_counter() - begun)


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured of a large ledger and an empty one that took turns.

    Attributes:
        claims: a second, of the large one and of the empty one, by round.
        swept: claims beside a sweep, by slice.
        idle_ms: of sweeps that found nothing due.
        starts_ms: of the large one.
        disk_bytes: of a record; 0 where it is not known.
    """

    claims: list[tuple[float, float]]
    swept: list[Beside]
    idle_ms: list[float]
    starts_ms: list[float]
    disk_bytes: float


async def _measure(
    large: str, empty: str, folder: Path, seconds: float, *, now_s: int, slices: int, sweeps: bool
) -> Found:
    starts = [await start_ms(large, folder) for _ in range(STARTS)]
    full, other = open_ledger(large, folder=folder), open_ledger(empty, folder=folder)
    for ledger in (full, other):
        await ledger.probe()
        await claims_per_s(ledger, 0.5)
    claims = [(await claims_per_s(full, seconds), await claims_per_s(other, seconds)) for _ in range(ROUNDS)]
    swept, idle = list[Beside](), list[float]()
    if sweeps:
        swept = [await beside_a_sweep(full, now_s - slices + n, seconds) for n in range(slices)]
        await cast("Sweeps", full).sweep(int(time.time()), force=True)
    for _ in range(STARTS if sweeps else 0):
        begun = time.perf_counter()
        await cast("Sweeps", full).sweep(int(time.time()) - 30, force=True)
        idle.append((time.perf_counter() - begun) * 1000)
    for ledger in (full, other):
        await ledger.aclose()
    return Found(claims, swept, idle, starts, 0)


@contextlib.contextmanager
def ledgers(kind: str, folder: Path) -> Generator[tuple[str, str]]:
    """URLs of two ledgers on one server: the one to fill, and the one that stays empty."""
    if kind == "sqlite":
        yield "sqlite:./large.db", "sqlite:./empty.db"
    elif kind == "redis":
        with RedisServer(folder) as redis:
            yield f"{redis.url}?prefix=large:", f"{redis.url}?prefix=empty:"
    else:
        with PostgresqlServer(folder) as postgresql:
            mark = "&" if "?" in postgresql.url else "?"
            yield f"{postgresql.url}{mark}schema=large", f"{postgresql.url}{mark}schema=nothing"


async def fill_server(url: str, folder: Path, count: int, now_s: int) -> None:
    """Fill a ledger on a server."""
    ledger = open_ledger(url, folder=folder)
    await ledger.probe()
    await fill(ledger, count, now_s)
    await ledger.aclose()


def measure(kind: str, records: int, seconds: float, folder: Path, *, sweeps: bool) -> Found:
    """Fill a ledger with so many records, and measure it beside an empty one.

    Args:
        kind: sqlite, postgresql or redis.
        records: in the large one.
        seconds: of each turn.
        folder: empty.
        sweeps: whether it is swept too, which takes minutes where records are many.
    """
    with ledgers(kind, folder) as (large, empty):
        for url in (large, empty):
            create_ledger(url, folder=folder)
        now_s = int(time.time())
        disk_bytes = 0.0
        if kind == "sqlite":
            fill_file(folder / "large.db", records, now_s)
            disk_bytes = (folder / "large.db").stat().st_size / records
        else:
            uvloop.run(fill_server(large, folder, records, now_s))
        slices = 1 if kind == "sqlite" else SLICES
        found = uvloop.run(_measure(large, empty, folder, seconds, now_s=now_s, slices=slices, sweeps=sweeps))
    return replace(found, disk_bytes=disk_bytes)
