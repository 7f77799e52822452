"""The store ``s3:`` on a local server: CPU of the gateway, beside obstore alone and beside presigned URLs used directly.

The server is ministack, an emulator in Python: it needs more CPU than all others here, which is why each part's CPU is shown
by itself. A presigned URL has no gateway, and nothing that makes it single-use.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from obstore.store import S3Store

from benchmarks.figures import Sample, in_turns
from benchmarks.load import by_python
from benchmarks.plan import Outcome, Plan, Table
from benchmarks.processes import cpu_us
from benchmarks.servers import Links
from oncegate.links.grant import Operation
from oncegate.testing.installation import Installation
from oncegate.testing.servers.object_stores import ACCESS_KEY_ID, REGION, SECRET, MinistackServer

PARTS = Path(__file__).parents[2] / ".parts"
BUCKET = "objects"
CONNECTIONS = 8
SETTLE_S = 0.15
KIB, MIB = 1 << 10, 1 << 20


class Point(NamedTuple):
    """A size, and how many objects go in one turn."""

    name: str
    size_bytes: int
    objects: int


POINTS = (Point("1 KiB", KIB, 100), Point("16 MiB", 16 * MIB, 4))
QUICK = (Point("1 KiB", KIB, 50), Point("16 MiB", 16 * MIB, 2))
SMOKE = (Point("1 KiB", KIB, 16), Point("16 MiB", 16 * MIB, 1))


class Ways:
    """The three ways to an object."""

    def __init__(self, made: Installation, gateway: int, server: MinistackServer) -> None:
        self._links = Links(made)
        self._gateway, self._server = gateway, server
        self._store = S3Store(
            BUCKET, endpoint=server.url, access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET, region=REGION,
            virtual_hosted_style_request=False, client_options={"allow_http": True},
        )  # fmt: skip
        boto3: Any = importlib.import_module("boto3")
        self._presigner = boto3.client(
            "s3", endpoint_url=server.url, region_name=REGION, aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET,
        )  # fmt: skip

    def through(self, keys: Sequence[str], body: bytes | None) -> Sample:
        """Through oncegate."""
        operation = Operation.GET if body is None else Operation.PUT
        port, targets = self._links.made.port, self._links.each(keys, operation)
        return self._timed(keys, lambda: by_python(port, targets, connections=CONNECTIONS, body=body))

    def directly(self, keys: Sequence[str], body: bytes | None) -> Sample:
        """By presigned URLs, from the server."""
        call = "get_object" if body is None else "put_object"
        urls = [self._presigner.generate_presigned_url(call, Params={"Bucket": BUCKET, "Key": key}) for key in keys]
        targets = [url.removeprefix(self._server.url) for url in urls]
        return self._timed(keys, lambda: by_python(self._server.port, targets, connections=CONNECTIONS, body=body))

    def by_obstore(self, keys: Sequence[str], body: bytes | None) -> Sample:
        """By the library that oncegate uses, in this process."""

        async def one(key: str) -> None:
            if body is not None:
                await self._store.put_async(key, body, use_multipart=False)
                return
            async for _ in (await self._store.get_async(key)).stream(min_chunk_size=MIB):
                pass

        async def all_keys() -> None:
            room = asyncio.Semaphore(CONNECTIONS)

            async def in_turn(key: str) -> None:
                async with room:
                    await one(key)

            await asyncio.gather(*(in_turn(key) for key in keys))

        before = time.process_time()
        sample = self._timed(keys, lambda: asyncio.run(all_keys()))
        return {**sample, "cpu_us": (time.process_time() - before) / len(keys) * 1e6}

    def _timed(self, keys: Sequence[str], go: Callable[[], object]) -> Sample:
        gateway_us, server_us = cpu_us([self._gateway]), cpu_us(self._server.pids())
        begun = time.perf_counter()
        go()
        took_s = time.perf_counter() - begun
        time.sleep(SETTLE_S)
        return {
            "cpu_us": (cpu_us([self._gateway]) - gateway_us) / len(keys),
            "server_us": (cpu_us(self._server.pids()) - server_us) / len(keys),
            "per_s": len(keys) / took_s,
        }


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    with MinistackServer(plan.folder, parts=PARTS) as server:
        server.make_bucket(BUCKET)
        tables = {
            "store": {"url": f"s3://{BUCKET}"},
            "store.options": server.store_options,
            "viewer": {"connections_per_address": 0},
        }
        made = Installation(plan.folder, tables=tables)
        with made.serve() as serving:
            ways = Ways(made, serving.process.pid, server)
            for point in plan.pick(POINTS, QUICK, SMOKE):
                measure(plan, point, ways, server, outcome)
    return outcome


def measure(plan: Plan, point: Point, ways: Ways, server: MinistackServer, outcome: Outcome) -> None:
    """Measure GET and PUT of one size."""
    body = os.urandom(point.size_bytes)
    all_ways = {"oncegate": ways.through, "obstore alone": ways.by_obstore, "presigned URLs": ways.directly}
    keys = [f"{point.name.replace(' ', '')}-{number}" for number in range(point.objects)]
    for key in keys:
        server.request("PUT", f"{BUCKET}/{key}", content=body).raise_for_status()
    for method in ("GET", "PUT"):
        plan.say(f"stores: {method} of {point.name}")

        series = in_turns(
            {name: partial(_turn, way, name, keys, body, method) for name, way in all_ways.items()}, plan.pick(3, 2, 1)
        )
        outcome.raw[f"{method} {point.name}"] = series.samples
        table = Table(
            f"{method} of {point.name} over {CONNECTIONS} connections",
            ("Way", "CPU us of gateway or library", "obstore alone = 1", "CPU us of the S3 server", "a second"),
        )
        for name in series.samples:
            has_none = name == "presigned URLs"
            own = "-" if has_none else series.of(name, "cpu_us")
            ratio = "-" if has_none else series.ratio(name, "obstore alone", "cpu_us")
            table.add(name, own, ratio, series.of(name, "server_us"), series.of(name, "per_s"))
        outcome.tables.append(table)


def _turn(
    way: Callable[[Sequence[str], bytes | None], Sample],
    name: str,
    keys: Sequence[str],
    body: bytes,
    method: str,
    number: int,
) -> Sample:
    if method == "GET":
        return way(keys, None)
    return way([f"{name.split(maxsplit=1)[0]}-{number}-{key}" for key in keys], body)
