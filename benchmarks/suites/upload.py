"""Uploads to ``file:`` beside nginx's dav, by size and number of connections.

oncegate verifies, takes a lease, stages, forces the object to the disk, puts it in place by a condition, and spends the
link; nginx's dav does none of this: it writes a file and renames it. So the ratio says what all of that costs.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import Sample, Series, Spread, in_turns
from benchmarks.load import by_python, measured
from benchmarks.plan import Curves, Outcome, Plan, Table
from benchmarks.processes import cpu_us
from benchmarks.servers import Links, Server, missing_peers, oncegate, peers
from oncegate.links.grant import Operation
from oncegate.testing.installation import Installation

SETTLE_S = 0.15
_FOLDERS = itertools.count()
"""One for each turn: what a turn with wrong answers left behind is in the way of none."""
OURS, DAV = "oncegate, sqlite", "nginx, dav"
KIB, MIB = 1 << 10, 1 << 20


class Point(NamedTuple):
    """A size and a number of connections.

    Attributes:
        counts: of uploads in one turn: of a whole, a quick and a smoke run; 0: not measured there.
    """

    name: str
    size_bytes: int
    connections: int
    counts: tuple[int, int, int]


POINTS = (
    Point("1 KiB", KIB, 1, (100, 60, 0)),
    Point("1 KiB", KIB, 64, (800, 400, 100)),
    Point("1 KiB", KIB, 256, (1_000, 512, 0)),
    Point("1 KiB", KIB, 1_024, (1_500, 1_024, 0)),
    Point("64 KiB", 64 * KIB, 1, (100, 50, 0)),
    Point("64 KiB", 64 * KIB, 64, (600, 300, 0)),
    Point("64 KiB", 64 * KIB, 256, (800, 400, 0)),
    Point("64 KiB", 64 * KIB, 1_024, (1_200, 0, 0)),
    Point("1 MiB", MIB, 1, (40, 20, 0)),
    Point("1 MiB", MIB, 64, (128, 64, 0)),
    Point("1 MiB", MIB, 256, (256, 0, 0)),
    Point("64 MiB", 64 * MIB, 1, (4, 4, 2)),
    Point("64 MiB", 64 * MIB, 4, (8, 4, 0)),
)
LEFT_OUT = (
    "upload: 1 MiB over 1,024 connections and 64 MiB over 64 and more, where the disk is what is measured",
    "upload: in a quick run also 64 KiB over 1,024 connections and 1 MiB over 256",
)


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome(left_out=[*LEFT_OUT])
    if missing := missing_peers():
        outcome.left_out.append(f"upload: the peers, because {missing}")
        return outcome
    (plan.folder / "nginx").mkdir()
    made = Installation(plan.folder, key="rsa", tables={"viewer": {"connections_per_address": 0}})
    found: dict[str, dict[int, Series]] = {point.name: {} for point in POINTS}
    with oncegate(made, "sqlite", plan.folder) as ours, peers(made, plan.folder / "nginx") as nginx:
        for point in POINTS:
            count = plan.pick(*point.counts)
            if not count:
                continue
            plan.say(f"upload {point.name} over {point.connections} connections")
            body = os.urandom(point.size_bytes)
            ways = {
                OURS: _way(ours, point, count, body, Links(made), made.objects),
                DAV: _way(nginx.dav, point, count, body, None, plan.folder / "nginx" / "dav"),
            }
            # the first one warms up for all
            is_warm = bool(found["1 KiB"])
            found[point.name][point.connections] = in_turns(ways, plan.pick(3, 2, 1), is_warm=is_warm)
    for name, by_connections in found.items():
        if by_connections:
            _note(outcome, name, by_connections)
    outcome.measured["64 MiB"] = found["64 MiB"][1].ratio(OURS, DAV, "cpu_us")
    return outcome


def _note(outcome: Outcome, name: str, found: Mapping[int, Series]) -> None:
    """Put one size into a table and a picture."""
    columns = ("Connections", "Server", "CPU us", f"{DAV} = 1", "a second", "p50 ms", "p99 ms")
    table = Table(f"Upload of {name}", columns)
    lines: dict[str, dict[str, Spread]] = {OURS: {}, DAV: {}}
    for connections, series in found.items():
        outcome.raw[f"{name}, {connections} connections"] = series.samples
        for server, line in lines.items():
            line[str(connections)] = cpu = series.of(server, "cpu_us")
            figures = (series.of(server, metric) for metric in ("per_s", "p50_ms", "p99_ms"))
            table.add(connections, server, cpu, series.ratio(server, DAV, "cpu_us"), *figures)
    outcome.tables.append(table)
    places = [str(connections) for connections in found]
    chart = f"upload-{name.replace(' ', '').lower()}-cpu"
    outcome.charts.append(Curves(chart, f"Server CPU of one upload, {name}, by connections", "us", places, lines))


def _way(
    server: Server, point: Point, count: int, body: bytes, links: Links | None, root: Path
) -> Callable[[int], Sample]:
    """Return a function that measures one turn: uploads to new keys, whose files go away after it.

    Args:
        server: that is measured.
        point: of this turn.
        count: of uploads.
        body: of each upload.
        links: draws links to the keys; None: the server takes any target.
        root: where the server puts its files.
    """

    def turn(_: int) -> Sample:
        folder = f"up-{next(_FOLDERS)}"
        (root / folder).mkdir()
        keys = [f"{folder}/{name}" for name in range(count)]
        targets = [f"/{key}" for key in keys] if links is None else links.each(keys, Operation.PUT)
        before_us = cpu_us(server.pids())
        load = by_python(
            server.port,
            targets,
            connections=min(point.connections, count),
            status=201 if links is None else 200,
            body=body,
        )
        time.sleep(SETTLE_S)
        sample = measured(load, before_us, server.pids())
        shutil.rmtree(root / folder)
        return sample

    return turn
