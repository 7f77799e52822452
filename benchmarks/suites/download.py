"""One-time downloads: oncegate over its ledgers beside nginx, by size and number of connections.

All verify the same RSA signature and write one durable record for each download (SQLite with synchronous FULL, PostgreSQL
with fsync, Redis with appendfsync always), but for two that are named: nginx's secure_link checks an MD5 over a shared
secret, and static files check nothing. Links are drawn once a round and used at every server, each of which counts for itself.
Load comes from wrk up to 64 KiB, above that from a client that counts the bytes.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmarks.figures import Sample, Series, in_turns
from benchmarks.load import by_python, by_wrk, has_wrk, measured
from benchmarks.plan import Chart, Outcome, Plan, Table
from benchmarks.processes import cpu_us, memory_bytes
from benchmarks.servers import Links, Server, missing_peers, oncegate, peers
from oncegate.testing.installation import Installation

SETTLE_S = 0.15
"""After the last answer, so that what a server writes behind it counts."""
LARGE_BYTES = 1 << 20
OURS, OURS_P256 = "oncegate, sqlite", "oncegate, sqlite, P-256"
NO_LIMIT = {"viewer": {"connections_per_address": 0}}
METRICS = ("cpu_us", "per_s", "p50_ms", "p99_ms", "memory_mib")


@dataclass(frozen=True, slots=True)
class Point:
    """A size and a number of connections.

    Attributes:
        count: of downloads in one turn.
        is_wide: whether the other ledgers and keys are measured here too.
    """

    name: str
    size_bytes: int
    connections: int
    count: int
    is_wide: bool = False

    @property
    def key(self) -> str:
        """Return the key of the object."""
        return self.name.replace(" ", "")

    @property
    def must_be(self) -> bool:
        """Whether a figure of it must be something."""
        return self.is_wide or self.connections == 4

    def static_targets(self, count: int) -> list[str]:
        """Return the target of a server that checks nothing."""
        return [f"/{self.key}"] * count


KIB, MIB = 1 << 10, 1 << 20
POINTS = (
    Point("1 KiB", KIB, 1, 300),
    Point("1 KiB", KIB, 64, 3_000, is_wide=True),
    Point("1 KiB", KIB, 256, 3_000),
    Point("1 KiB", KIB, 1_024, 4_000),
    Point("64 KiB", 64 * KIB, 1, 300),
    Point("64 KiB", 64 * KIB, 64, 2_000, is_wide=True),
    Point("64 KiB", 64 * KIB, 1_024, 2_500),
    Point("1 MiB", MIB, 1, 100),
    Point("1 MiB", MIB, 64, 256),
    Point("64 MiB", 64 * MIB, 1, 6),
    Point("64 MiB", 64 * MIB, 4, 16),
)
QUICK = (
    Point("1 KiB", KIB, 64, 300, is_wide=True),
    Point("64 KiB", 64 * KIB, 64, 200),
    Point("64 MiB", 64 * MIB, 4, 4),
)


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    points = QUICK if plan.is_quick else POINTS
    for name in ("rsa", "ecdsa"):
        (plan.folder / name).mkdir()
    made = Installation(plan.folder / "rsa", key="rsa", tables=NO_LIMIT)
    other = Installation(plan.folder / "ecdsa", tables=NO_LIMIT)
    for point in points:
        data = os.urandom(point.size_bytes)
        made.put(point.key, data)
        other.put(point.key, data)
    with contextlib.ExitStack() as stack:
        kinds = ("sqlite", "postgresql", "redis")
        ours = [stack.enter_context(oncegate(made, kind, plan.folder)) for kind in kinds]
        p256 = stack.enter_context(oncegate(other, "sqlite", plan.folder, name=OURS_P256))
        nginx = None
        if missing := missing_peers():
            outcome.left_out.append(f"download: the peers, because {missing}")
        else:
            (plan.folder / "nginx").mkdir()
            nginx = stack.enter_context(peers(made, plan.folder / "nginx"))
        links, links_p256 = Links(made), Links(other)
        for point in points:
            plan.say(f"download {point.name} over {point.connections} connections")
            wanted = point.count + point.connections
            draw = once_a_round(partial(links.targets, point.key, wanted))
            ways = {OURS: way(ours[0], point, draw)}
            if nginx is not None:
                weak = once_a_round(partial(links.weak_targets, point.key, wanted))
                ways[nginx.lua.name] = way(nginx.lua, point, draw)
                ways[nginx.weak.name] = way(nginx.weak, point, weak)
                ways[nginx.static.name] = way(nginx.static, point, once_a_round(partial(point.static_targets, wanted)))
            if point.is_wide:
                ways |= {server.name: way(server, point, draw) for server in ours[1:]}
                ways[p256.name] = way(p256, point, once_a_round(partial(links_p256.targets, point.key, wanted)))
            rounds = plan.count(5 if point.must_be else 3, 1)
            note(outcome, point, in_turns(ways, rounds), has_peers=nginx is not None)
    return outcome


def once_a_round(draw: Callable[[], list[str]]) -> Callable[[int], list[str]]:
    """Return a function that draws when it is asked for another round than before, so that all get the same."""
    drawn: dict[int, list[str]] = {}

    def of_round(number: int) -> list[str]:
        if number not in drawn:
            drawn.clear()
            drawn[number] = draw()
        return drawn[number]

    return of_round


def way(server: Server, point: Point, draw: Callable[[int], Sequence[str]]) -> Callable[[int], Sample]:
    """Return a function that measures one turn."""

    def turn(number: int) -> Mapping[str, float]:
        targets = draw(number)
        before_us = cpu_us(server.pids())
        if point.size_bytes < LARGE_BYTES and has_wrk():
            load = by_wrk(server.port, targets, connections=point.connections)
        else:
            load = by_python(
                server.port, targets[: point.count], connections=point.connections, size_bytes=point.size_bytes
            )
        time.sleep(SETTLE_S)
        sample = measured(load, before_us, server.pids())
        return {**sample, "memory_mib": memory_bytes(server.pids()) / MIB}

    return turn


def note(outcome: Outcome, point: Point, series: Series, *, has_peers: bool) -> None:
    """Put one point into tables, charts and the list of what must be true."""
    where = f"{point.name}, {point.connections} connection{'s' if point.connections > 1 else ''}"
    outcome.raw[where] = series.samples
    peer = "nginx + Lua + Redis" if has_peers else OURS
    table = Table(
        f"Download of {where}", ("Server", "CPU us", f"{peer} = 1", "a second", "p50 ms", "p99 ms", "MiB after it")
    )
    for name in series.samples:
        cpu, rate, p50, p99, memory = (series.of(name, metric) for metric in METRICS)
        table.add(name, cpu, series.ratio(name, peer, "cpu_us"), rate, p50, p99, memory)
    outcome.tables.append(table)
    if point.is_wide or point.size_bytes >= 64 * MIB:
        bars = tuple((name, series.of(name, "cpu_us")) for name in series.samples)
        name = f"download-{point.key.lower()}-{point.connections}"
        outcome.charts.append(Chart(name, f"Server CPU of one download, {where}", "us", bars))
    if not has_peers:
        return
    static = "nginx, static files"
    if point.connections == 64 and point.name in {"1 KiB", "64 KiB"}:
        outcome.measured[point.name] = series.ratio(OURS, peer, "cpu_us")
    if point.connections == 64 and point.name == "1 KiB":
        outcome.measured["rate"] = series.ratio(OURS, peer, "per_s")
        outcome.measured["p99"] = series.ratio(OURS, peer, "p99_ms")
    if point.connections == 4:
        outcome.measured["64 MiB"] = series.ratio(OURS, static, "cpu_us")
