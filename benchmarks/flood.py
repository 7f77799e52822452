"""A good viewer beside a flood of the worst requests that a stranger can send: the 99th percentile of its wait.

    python benchmarks/flood.py [--flooders 4] [--count 1000]

Nothing genuine is in the flood but a key id and one spent link, which anybody may have. Each flooder sends the next
request when the last was answered. The good viewer opens fresh links of 1 KiB, one after another, alone and beside the
flood, in turns; the ratio of the two 99th percentiles is the figure (budget 5). CPU is of the gateway's process for one
request of each shape.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import uvloop
from downloads import cpu_s

from oncegate.testing.installation import Installation
from oncegate.testing.raw_http import request_bytes, target_of

ALONE_COUNT, ROUNDS = 200, 5


def cloudfront_text(data: bytes) -> str:
    """Base64 as CloudFront writes it."""
    return base64.b64encode(data).decode().replace("+", "-").replace("=", "_").replace("/", "~")


def shapes(made: Installation, spent: str) -> Mapping[str, bytes]:
    """The worst requests by what they make long, each close to the largest size that is let in."""
    host = made.public_url.removeprefix("http://")
    signature = cloudfront_text(bytes(256))

    def policy(size_bytes: int) -> str:
        resource = f"http://{host}/" + "*a" * ((size_bytes - 120) // 2) + "b"
        condition = {"DateLessThan": {"AWS:EpochTime": 9_999_999_999}}
        return cloudfront_text(json.dumps({"Statement": [{"Resource": resource, "Condition": condition}]}).encode())

    def get(target: str, **headers: str) -> bytes:
        return request_bytes(
            "GET", target, host=host, headers={name.replace("_", "-"): headers[name] for name in headers}
        )

    amz = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
    amz += "&X-Amz-Date=20260101T000000Z&X-Amz-Expires=604800&X-Amz-SignedHeaders=host&X-Amz-Signature=" + "0" * 64
    cookies = (
        f"CloudFront-Policy={policy(6_000)}; CloudFront-Signature={signature}; CloudFront-Key-Pair-Id={made.key_id}"
    )
    return {
        "wildcards in a policy": get(
            f"/{'a' * 4_000}?Policy={policy(6_000)}&Signature={signature}&Key-Pair-Id={made.key_id}"
        ),
        "wildcards in a cookie": get(f"/{'a' * 4_000}", Cookie=cookies),
        "escapes in a path": get(f"/{'%61' * 1_000}?Expires=9&Signature={signature}&Key-Pair-Id={made.key_id}"),
        "blanks between ETags": get(target_of(spent), If_None_Match='"a"' + " " * 1_000 + "x"),
        "many ETags": get(target_of(spent), If_None_Match=",".join(['"a"'] * 250)),
        "many ranges": get(target_of(spent), Range="bytes=" + ",".join(["0-0"] * 1_000)),
        "labels of a host": request_bytes(
            "GET", target_of(spent), host=host, headers={"Host": ".".join(["a"] * 7_000)}
        ),
        "parameters of S3": get(f"/a?{amz}" + "".join(f"&p{number}=%2F" for number in range(190))),
        "many cookies": get(target_of(spent), Cookie="; ".join(f"a{number}=b" for number in range(1_500))),
    }


async def answer(reader: asyncio.StreamReader) -> int:
    """Read a whole answer; its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length: " in head:
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    return int(head.split()[1])


class Flooder:
    """One connection that sends requests, and another where a gateway closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> int:
        """Send one request and wait for its answer; the status, 0 where the connection was closed."""
        if self._open is None:
            self._open = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._open
        try:
            writer.write(request)
            return await answer(reader)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            self._open = None
            return 0


async def costs(port: int, pid: int, requests: Mapping[str, bytes]) -> None:
    """Print what one request of each shape costs."""
    for name, request in requests.items():
        flooder, statuses = Flooder(port), set[int]()
        before = cpu_s([pid])
        for _ in range(ALONE_COUNT):
            statuses.add(await flooder.send(request))
        used = (cpu_s([pid]) - before) / ALONE_COUNT * 1e3
        print(
            f"{name:24}{len(request):7,} bytes{used:9.2f} ms CPU   {', '.join(map(str, sorted(statuses)))}", flush=True
        )


async def good_waits_s(port: int, requests: list[bytes]) -> list[float]:
    """What a good viewer waits for each of its downloads."""
    viewer, waits = Flooder(port), []
    for request in requests:
        began = time.perf_counter()
        assert await viewer.send(request) == 200
        waits.append(time.perf_counter() - began)
    return waits


async def beside_flood(port: int, worst: list[bytes], flooders: int, requests: list[bytes]) -> tuple[list[float], int]:
    """The same beside a flood; and how many requests the flood had answered."""
    count = 0

    async def flood(number: int) -> None:
        nonlocal count
        flooder = Flooder(port)
        while True:
            await flooder.send(worst[(count + number) % len(worst)])
            count += 1

    tasks = [asyncio.create_task(flood(number)) for number in range(flooders)]
    try:
        return await good_waits_s(port, requests), count
    finally:
        for task in tasks:
            task.cancel()


def p99_ms(waits_s: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(waits_s, n=100)[98] * 1e3


def main() -> None:
    """Print the cost of each shape, then the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flooders", type=int, default=4)
    parser.add_argument("--count", type=int, default=1_000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="oncegate-bench-"))
    made = Installation(folder)
    made.put("a.bin", os.urandom(1024))

    def fresh(count: int) -> list[bytes]:
        host = made.public_url.removeprefix("http://")
        return [request_bytes("GET", target_of(made.link("a.bin")), host=host) for _ in range(count)]

    try:
        with made.serve() as gateway:
            uvloop.run(good_waits_s(made.port, fresh(100)))
            spent = made.link("a.bin")
            host = made.public_url.removeprefix("http://")
            uvloop.run(good_waits_s(made.port, [request_bytes("GET", target_of(spent), host=host)]))
            worst = shapes(made, spent)
            uvloop.run(costs(made.port, gateway.process.pid, worst))
            ratios: list[float] = []
            for _ in range(ROUNDS):
                alone = p99_ms(uvloop.run(good_waits_s(made.port, fresh(given.count))))
                waits, count = uvloop.run(
                    beside_flood(made.port, [*worst.values()], given.flooders, fresh(given.count))
                )
                ratios.append(p99_ms(waits) / alone)
                print(
                    f"p99 alone {alone:.1f} ms, beside {count} of the flood {p99_ms(waits):.1f} ms: {ratios[-1]:.1f}",
                    flush=True,
                )
            print(f"median of the ratios {statistics.median(ratios):.1f} (budget 5)")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
