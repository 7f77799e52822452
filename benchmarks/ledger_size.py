"""The SQLite ledger when it is large: claims per second beside an empty one, and bytes a record on disk.

python benchmarks/ledger_size.py                       ten million records; some minutes, 1.2 GB
python benchmarks/ledger_size.py --records 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path

import uvloop

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import Done, Ledger
from oncegate.links.link_id import uuid7
from oncegate.uses.record import Claim, Record, to_json

WAITERS, MEASURED = 64, 60_000


async def claim(ledger: Ledger, count: int, first_ms: int, waiters: int) -> float:
    """Insert so many spent records with ids in the order of time; claims per second."""
    numbers = iter(range(count))

    async def one_waiter() -> None:
        for number in numbers:
            record = Record(
                uses=1,
                claims=(
                    Claim(claim_id=os.urandom(8).hex(), at_s=1_767_290_400, address="203.0.113.178", gateway="x7Qa"),
                ),
            )
            link_id = uuid7(first_ms + number // 20, os.urandom(10))
            assert isinstance(await ledger.insert(link_id, to_json(record), 1_899_999_999), Done)

    start = time.perf_counter()
    await asyncio.gather(*(one_waiter() for _ in range(waiters)))
    return count / (time.perf_counter() - start)


async def measure(folder: Path, records: int) -> None:
    """Fill a ledger, and claim before and after."""
    ledger = open_ledger("sqlite:./ledger.db", folder=folder)
    await ledger.probe()
    start_ms = time.time_ns() // 10**6
    empty = await claim(ledger, MEASURED, start_ms, WAITERS)
    await claim(ledger, records, start_ms + 10**6, 1000)
    full = await claim(ledger, MEASURED, start_ms + 10**9, WAITERS)
    await ledger.aclose()
    size = (folder / "ledger.db").stat().st_size
    print(f"{records} records: {full:.0f} claims/s, empty {empty:.0f}, ratio {full / empty:.2f} (budget 0.7)")
    print(f"{size / (records + 2 * MEASURED):.0f} bytes a record on disk (budget 120)")


def main() -> None:
    """Print two figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000_000)
    folder = Path(tempfile.mkdtemp(prefix="oncegate-bench-"))
    try:
        create_ledger("sqlite:./ledger.db", folder=folder)
        uvloop.run(measure(folder, parser.parse_args().records))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
