"""What a refusal costs beside a download of 1 KiB, and the worst requests of a stranger, in server CPU.

python benchmarks/refusals.py
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import uvloop
from downloads import cpu_s

from oncegate.testing.installation import Installation

COUNT, CONNECTIONS, ROUNDS = 6000, 64, 3
WORST_COUNT = 300
GOOD_COUNT, FLOODING = 1000, 4
HEAD_BYTES, TARGET_BYTES = 32_000, 16_300


def worst(path: str) -> dict[str, tuple[str, str]]:
    """Requests of a stranger that cost most: target and further headers, each as large as it is let in.

    Args:
        path: of a genuine link that was used, for what is read only after the signature.
    """
    policy = {"Statement": [{"Resource": "http://127.0.0.1/*" + "a" * 4_800 + "b", "Condition": {}}]}
    wild = policy | {"Statement": [policy["Statement"][0] | {"Condition": {"DateLessThan": {"AWS:EpochTime": 9**9}}}]}
    encoded = base64.b64encode(json.dumps(wild).encode()).decode().translate(str.maketrans("+=/", "-_~"))
    signed = f"Policy={encoded}&Signature=AA__&Key-Pair-Id=K1"
    return {
        "policy with wildcards": ("/" + "a" * (TARGET_BYTES - len(signed) - 2) + "?" + signed, ""),
        "policy of brackets": (
            f"/a?Policy={base64.b64encode(b'[' * 8_000).decode()}&Signature=AA__&Key-Pair-Id=K1",
            "",
        ),
        "path of escapes": (
            "/" + "%41" * (TARGET_BYTES // 3) + "?Expires=9999999999&Signature=AA__&Key-Pair-Id=K1",
            "",
        ),
        "200 parameters": ("/a?" + "&".join(["%41" * 26] * 199), ""),
        "cookies": ("/a", "Cookie: CloudFront-a=b;" + ";a" * 8_000),
        "host of labels": ("/a", "Host: " + "a." * 15_000),
        "etags, of a used link": (path, 'If-None-Match: "a"' + " " * (HEAD_BYTES - 1_000) + "x"),
        "range, of a used link": (path, "Range: bytes=" + " " * (HEAD_BYTES - 1_000) + "x"),
        "agent, of a used link": (path, "User-Agent: " + "slackbo " * ((HEAD_BYTES - 1_000) // 8)),
        "headers": ("/a", "\r\n".join("a:" for _ in range(7_000))),
    }


async def ask(port: int, paths: list[str], headers: str = "", *, connections: int = CONNECTIONS) -> set[int]:
    """GET every path once; the statuses that came, 0 for a connection that was closed."""
    waiting, statuses = list(paths), set[int]()
    host = "" if headers.startswith("Host:") else "Host: 127.0.0.1\r\n"
    end = f"{headers}\r\n\r\n" if headers else "\r\n"

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while waiting:
            writer.write(f"GET {waiting.pop()} HTTP/1.1\r\n{host}{end}".encode())
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0"))
                statuses.add(int(head.split()[1]))
            except (asyncio.IncompleteReadError, ConnectionError):
                statuses.add(0)
            if 0 in statuses or b"connection: close" in head:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    return statuses


async def p99_ms(port: int, paths: list[str], flood: list[tuple[str, str]]) -> float:
    """How long the slowest of a hundred downloads of one good viewer takes, beside a flood of the worst requests."""

    async def keep_asking(first: int) -> None:
        for path, headers in itertools.islice(itertools.cycle(flood), first, None):
            await ask(port, [path] * 10, headers, connections=1)

    flooding = [asyncio.create_task(keep_asking(first)) for first in range(FLOODING if flood else 0)]
    waits: list[float] = []
    for path in paths:
        began = time.perf_counter()
        assert await ask(port, [path], connections=1) == {200}
        waits.append(time.perf_counter() - began)
    for task in flooding:
        task.cancel()
    await asyncio.gather(*flooding, return_exceptions=True)
    return statistics.quantiles(waits, n=100)[98] * 1e3


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
            spent = made.link("a.bin")[len(made.public_url) :]
            uvloop.run(ask(made.port, [spent]))
            for name, (path, headers) in worst(spent).items():
                before = cpu_s([gateway.process.pid])
                statuses = uvloop.run(ask(made.port, [path] * WORST_COUNT, headers))
                cpu_us = (cpu_s([gateway.process.pid]) - before) / WORST_COUNT * 1e6
                print(f"{name:24}{cpu_us:6.0f} us CPU of at most 5000, {statuses}")
            alone, beside = (
                uvloop.run(
                    p99_ms(made.port, [made.link("a.bin")[len(made.public_url) :] for _ in range(GOOD_COUNT)], flood)
                )
                for flood in ([], list(worst(spent).values()))
            )
            print(
                f"a good viewer's p99: {alone:.1f} ms, beside a flood {beside:.1f} ms: {beside / alone:.1f} of at most 5"
            )
        served = statistics.median(used["served"])
        for name, figures in used.items():
            print(f"{name:10}{statistics.median(figures):6.0f} us CPU {statistics.median(figures) / served:6.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
