"""What a refusal costs beside a download of 1 KiB: spent, forged and unsigned links, in server CPU.

python benchmarks/refusals.py
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import uvloop
from downloads import cpu_s

from oncegate.testing.installation import Installation

COUNT, CONNECTIONS, ROUNDS = 6000, 64, 3


async def ask(port: int, paths: list[str]) -> set[int]:
    """GET every path once; the statuses that came."""
    waiting, statuses = list(paths), set[int]()

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            writer.write(f"GET {waiting.pop()} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            statuses.add(int(head.split()[1]))
        writer.close()

    await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    return statuses


def main() -> None:
    """Print a table."""
    folder = Path(tempfile.mkdtemp(prefix="oncegate-bench-"))
    made = Installation(folder)
    made.put("a.bin", os.urandom(1024))
    used: dict[str, list[float]] = {"served": [], "spent": [], "forged": [], "unsigned": []}
    try:
        with made.serve() as gateway:
            for _ in range(ROUNDS):
                fresh = [made.link("a.bin")[len(made.public_url) :] for _ in range(COUNT)]
                forged = [path.replace("Expires=1", "Expires=2", 1) for path in fresh]
                for name, paths in (
                    ("served", fresh),
                    ("spent", fresh),
                    ("forged", forged),
                    ("unsigned", ["/a.bin"] * COUNT),
                ):
                    before = cpu_s([gateway.process.pid])
                    assert uvloop.run(ask(made.port, paths)) == {200 if name == "served" else 403}
                    used[name].append((cpu_s([gateway.process.pid]) - before) / COUNT * 1e6)
        served = statistics.median(used["served"])
        for name, figures in used.items():
            print(f"{name:10}{statistics.median(figures):6.0f} us CPU {statistics.median(figures) / served:6.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
