"""Uploads to ``file:`` beside nginx's dav, by size and number of connections.

oncegate verifies, takes a lease, stages, forces the object to the disk, puts it in place by a condition, and spends the
link; nginx's dav does none of this: it writes a file and renames it. So the ratio says what all of that costs.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Sample, in_turns
from benchmarks.load import by_python, measured
from benchmarks.plan import Chart, Outcome, Plan, Table
from benchmarks.processes import cpu_us
from benchmarks.servers import Links, Server, missing_peers, oncegate, peers
from oncegate.links.grant import Operation
from oncegate.testing.installation import Installation

SETTLE_S = 0.15
OURS, DAV = "oncegate, sqlite", "nginx, dav"
KIB, MIB = 1 << 10, 1 << 20


class Point(NamedTuple):
    """A size, a number of connections, and how many uploads there are in one turn."""

    name: str
    size_bytes: int
    connections: int
    uploads: int


POINTS = (
    Point("1 KiB", KIB, 1, 100),
    Point("1 KiB", KIB, 64, 800),
    Point("64 KiB", 64 * KIB, 64, 600),
    Point("1 MiB", MIB, 64, 128),
    Point("64 MiB", 64 * MIB, 1, 3),
    Point("64 MiB", 64 * MIB, 4, 8),
)
QUICK = (Point("1 KiB", KIB, 64, 100), Point("64 MiB", 64 * MIB, 1, 2))


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    if missing := missing_peers():
        outcome.left_out.append(f"upload: the peers, because {missing}")
        return outcome
    (plan.folder / "nginx").mkdir()
    made = Installation(plan.folder, key="rsa", tables={"viewer": {"connections_per_address": 0}})
    with oncegate(made, "sqlite", plan.folder) as ours, peers(made, plan.folder / "nginx") as nginx:
        for point in QUICK if plan.is_quick else POINTS:
            plan.say(f"upload {point.name} over {point.connections} connections")
            body = os.urandom(point.size_bytes)
            ways = {
                OURS: _way(ours, point, body, Links(made), made.objects),
                DAV: _way(nginx.dav, point, body, None, plan.folder / "nginx" / "dav"),
            }
            series = in_turns(ways, plan.count(5, 1))
            where = f"{point.name}, {point.connections} connection{'s' if point.connections > 1 else ''}"
            outcome.raw[where] = series.samples
            table = Table(f"Upload of {where}", ("Server", "CPU us", f"{DAV} = 1", "a second", "p50 ms", "p99 ms"))
            for name in series.samples:
                figures = (series.of(name, metric) for metric in ("per_s", "p50_ms", "p99_ms"))
                table.add(name, series.of(name, "cpu_us"), series.ratio(name, DAV, "cpu_us"), *figures)
            outcome.tables.append(table)
            if point.size_bytes == 64 * MIB and point.connections == 1:
                outcome.measured["64 MiB"] = series.ratio(OURS, DAV, "cpu_us")
                bars = tuple((name, series.of(name, "cpu_us")) for name in series.samples)
                outcome.charts.append(Chart("upload-64mib", f"Server CPU of one upload, {where}", "us", bars))
    return outcome


def _way(server: Server, point: Point, body: bytes, links: Links | None, root: Path) -> Callable[[int], Sample]:
    """Return a function that measures one turn: uploads to new keys, whose files go away after it.

    Args:
        server: that is measured.
        point: of this turn.
        body: of each upload.
        links: draws links to the keys; None: the server takes any target.
        root: where the server puts its files.
    """

    def turn(number: int) -> Sample:
        folder = f"up-{number}"
        (root / folder).mkdir()
        keys = [f"{folder}/{name}" for name in range(point.uploads)]
        targets = [f"/{key}" for key in keys] if links is None else links.each(keys, Operation.PUT)
        before_us = cpu_us(server.pids())
        load = by_python(
            server.port,
            targets,
            connections=min(point.connections, point.uploads),
            status=201 if links is None else 200,
            body=body,
        )
        time.sleep(SETTLE_S)
        sample = measured(load, before_us, server.pids())
        shutil.rmtree(root / folder)
        return sample

    return turn
