"""One-time downloads: oncegate over its ledgers beside nginx, by size and number of connections.

All verify the same RSA signature and write one durable record for each download (SQLite with synchronous FULL, PostgreSQL
with fsync, Redis with appendfsync always), but for two that are named: nginx's secure_link checks an MD5 over a shared
secret, and static files check nothing. Links are drawn once a round and used at every server, each of which counts for itself.
Load comes from wrk up to 64 KiB, above that from a client that lets the kernel drop the bodies.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.draining import by_draining
from benchmarks.figures import Sample, Series, Spread, in_turns
from benchmarks.load import by_python, by_wrk, has_wrk, measured
from benchmarks.plan import Curves, Outcome, Plan, Table
from benchmarks.processes import cpu_us, memory_bytes
from benchmarks.servers import Links, Peers, Server, missing_peers, oncegate, peers
from oncegate.keys.pem import KeyKind
from oncegate.testing.installation import Installation

SETTLE_S = 0.15
"""After the last answer, so that what a server writes behind it counts."""
LARGE_BYTES = 1 << 20
KINDS = ("sqlite", "postgresql", "redis")
KEY_KINDS: Mapping[KeyKind, str] = {"rsa": "", "ecdsa": ", P-256"}
"""What follows a server's name, by the kind of its key."""
OURS = "oncegate, sqlite"
NO_LIMIT = {"viewer": {"connections_per_address": 0}}
METRICS = ("cpu_us", "per_s", "p50_ms", "p99_ms", "memory_mib")
WARMING = 300
"""Downloads of each server before anything is measured."""


@dataclass(frozen=True, slots=True)
class Point:
    """A size and a number of connections.

    Attributes:
        counts: of downloads in one turn: of a whole, a quick and a smoke run; 0: not measured there.
        is_wide: whether the other ledgers and keys are measured here too.
        must_be: whether a figure of it must be something; it has more rounds.
    """

    name: str
    size_bytes: int
    connections: int
    counts: tuple[int, int, int]
    is_wide: bool = False
    must_be: bool = False

    @property
    def key(self) -> str:
        """Return the key of the object."""
        return self.name.replace(" ", "")

    @property
    def is_vast(self) -> bool:
        """Whether one turn moves gigabytes: it has one round, and one server of those that send alike."""
        return self.size_bytes * self.connections >= 4 << 30

    def static_targets(self, count: int) -> list[str]:
        """Return the target of a server that checks nothing."""
        return [f"/{self.key}"] * count


KIB, MIB = 1 << 10, 1 << 20
POINTS = (
    Point("1 KiB", KIB, 1, (300, 150, 0)),
    Point("1 KiB", KIB, 64, (3_000, 2_000, 300), is_wide=True, must_be=True),
    Point("1 KiB", KIB, 256, (3_000, 1_500, 0)),
    Point("1 KiB", KIB, 1_024, (4_000, 2_000, 0)),
    Point("64 KiB", 64 * KIB, 1, (300, 150, 0)),
    Point("64 KiB", 64 * KIB, 64, (2_000, 1_500, 200), is_wide=True, must_be=True),
    Point("64 KiB", 64 * KIB, 256, (2_000, 1_000, 0)),
    Point("64 KiB", 64 * KIB, 1_024, (2_500, 2_000, 0)),
    Point("1 MiB", MIB, 1, (100, 40, 0)),
    Point("1 MiB", MIB, 64, (256, 128, 0)),
    Point("1 MiB", MIB, 256, (512, 256, 0)),
    Point("1 MiB", MIB, 1_024, (1_024, 1_024, 0)),
    Point("64 MiB", 64 * MIB, 1, (8, 4, 0)),
    Point("64 MiB", 64 * MIB, 4, (16, 12, 4), must_be=True),
    Point("64 MiB", 64 * MIB, 64, (64, 64, 0)),
    Point("64 MiB", 64 * MIB, 256, (256, 0, 0)),
    Point("64 MiB", 64 * MIB, 1_024, (1_024, 0, 0)),
)
SIZES = {point.name: point.size_bytes for point in POINTS}
LEFT_OUT = (
    "download: PostgreSQL, Redis and P-256 elsewhere than at 64 connections of 1 KiB and 64 KiB",
    "download: secure_link at 64 MiB over 64 connections and more, where it sends as Lua does",
)


@dataclass(frozen=True, slots=True)
class Site:
    """All servers, with links for each kind of key."""

    links: Mapping[KeyKind, Links]
    ours: Mapping[KeyKind, Sequence[Server]]
    nginx: Peers | None

    @property
    def peer(self) -> str:
        """Return the name of the server whose figures are 1."""
        return self.nginx.lua.name if self.nginx else OURS


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome(left_out=[*LEFT_OUT])
    made = {kind: installation(plan.folder / kind, kind) for kind in KEY_KINDS}
    found: dict[str, dict[int, Series]] = {name: {} for name in SIZES}
    with contextlib.ExitStack() as stack:
        nginx = None
        if missing := missing_peers():
            outcome.left_out.append(f"download: the peers, because {missing}")
        else:
            (plan.folder / "nginx").mkdir()
            nginx = stack.enter_context(peers(made["rsa"], plan.folder / "nginx"))
        ours: dict[KeyKind, list[Server]] = {
            kind: [
                stack.enter_context(oncegate(made[kind], ledger, plan.folder, name=f"oncegate, {ledger}{named}"))
                for ledger in KINDS
            ]
            for kind, named in KEY_KINDS.items()
        }
        site = Site({kind: Links(made[kind]) for kind in KEY_KINDS}, ours, nginx)
        warm(plan, site)
        for point in POINTS:
            count = plan.pick(*point.counts)
            if count:
                plan.say(f"download {point.name} over {point.connections} connections")
                rounds = 1 if point.is_vast else plan.pick(5, 3, 1) if point.must_be else plan.pick(3, 1, 1)
                series = in_turns(ways(site, point, count), rounds, is_warm=True)
                found[point.name][point.connections] = series
            elif plan.effort == "quick":
                outcome.left_out.append(f"download: {point.name} over {point.connections} connections, in a quick run")
    for name, by_connections in found.items():
        if by_connections:
            note(outcome, name, by_connections, site.peer)
    if nginx is not None:
        judge(outcome, found, site.peer)
    return outcome


def installation(folder: Path, kind: KeyKind) -> Installation:
    """Make an installation with an object of each size."""
    folder.mkdir()
    made = Installation(folder, key=kind, tables=NO_LIMIT)
    for name, size_bytes in SIZES.items():
        made.put(name.replace(" ", ""), os.urandom(size_bytes))
    return made


def warm(plan: Plan, site: Site) -> None:
    """Let each server work before it is measured."""
    plan.say("download: all servers start")
    count = plan.pick(WARMING, WARMING, 30)
    for kind, servers in site.ours.items():
        for server in servers:
            by_python(server.port, site.links[kind].targets("64KiB", count), connections=16)
    if site.nginx is not None:
        by_python(site.nginx.lua.port, site.links["rsa"].targets("64KiB", count), connections=16)
        by_python(site.nginx.weak.port, site.links["rsa"].weak_targets("64KiB", count), connections=16)
        by_python(site.nginx.static.port, ["/64KiB"] * count, connections=16)


def ways(site: Site, point: Point, count: int) -> dict[str, Callable[[int], Sample]]:
    """Return how a turn of each server is measured at a point."""
    wanted = count + point.connections
    draw = once_a_round(partial(site.links["rsa"].targets, point.key, wanted))
    found = {OURS: way(site.ours["rsa"][0], point, count, draw)}
    if (nginx := site.nginx) is not None:
        found[nginx.lua.name] = way(nginx.lua, point, count, draw)
        found[nginx.static.name] = way(nginx.static, point, count, lambda _: point.static_targets(wanted))
    if nginx is not None and not point.is_vast:
        weak = once_a_round(partial(site.links["rsa"].weak_targets, point.key, wanted))
        found[nginx.weak.name] = way(nginx.weak, point, count, weak)
    if point.is_wide:
        found |= {server.name: way(server, point, count, draw) for server in site.ours["rsa"][1:]}
        other = once_a_round(partial(site.links["ecdsa"].targets, point.key, wanted))
        found |= {server.name: way(server, point, count, other) for server in site.ours["ecdsa"]}
    return found


def once_a_round(draw: Callable[[], list[str]]) -> Callable[[int], list[str]]:
    """Return a function that draws when it is asked for another round than before, so that all get the same."""
    drawn: dict[int, list[str]] = {}

    def of_round(number: int) -> list[str]:
        if number not in drawn:
            drawn.clear()
            drawn[number] = draw()
        return drawn[number]

    return of_round


def way(server: Server, point: Point, count: int, draw: Callable[[int], Sequence[str]]) -> Callable[[int], Sample]:
    """Return a function that measures one turn."""

    def turn(number: int) -> Mapping[str, float]:
        targets = draw(number)
        before_us = cpu_us(server.pids())
        if point.size_bytes < LARGE_BYTES and has_wrk():
            load = by_wrk(server.port, targets, connections=point.connections)
        else:
            load = by_draining(server.port, targets[:count], connections=point.connections, size_bytes=point.size_bytes)
        time.sleep(SETTLE_S)
        sample = measured(load, before_us, server.pids())
        return {**sample, "memory_mib": memory_bytes(server.pids()) / MIB}

    return turn


def note(outcome: Outcome, name: str, found: Mapping[int, Series], peer: str) -> None:
    """Put one size into a table and pictures.

    Args:
        outcome: takes them.
        name: of the size.
        found: by the number of connections.
        peer: whose figures are 1.
    """
    table = Table(
        f"Download of {name}",
        ("Connections", "Server", "CPU us", f"{peer} = 1", "a second", "p50 ms", "p99 ms", "MiB after it"),
    )
    lines: dict[str, dict[str, dict[str, Spread]]] = {metric: {} for metric in METRICS}
    for connections, series in found.items():
        outcome.raw[f"{name}, {connections} connections"] = series.samples
        for server in series.samples:
            figures = {metric: series.of(server, metric) for metric in METRICS}
            cpu, *rest = figures.values()
            table.add(connections, server, cpu, series.ratio(server, peer, "cpu_us"), *rest)
            for metric, figure in figures.items():
                lines[metric].setdefault(server, {})[str(connections)] = figure
    outcome.tables.append(table)
    places = [str(connections) for connections in found]
    for metric, words, unit in (
        ("cpu_us", "Server CPU of one download", "us"),
        ("per_s", "Downloads a second", "a second"),
        ("p99_ms", "The slowest in a hundred", "ms"),
    ):
        drawn = {server: line for server, line in lines[metric].items() if len(line) > 1}
        chart = f"download-{name.replace(' ', '').lower()}-{metric.partition('_')[0]}"
        title = f"{words}, {name}, by connections"
        outcome.charts.append(Curves(chart, title, unit, places, drawn))


def judge(outcome: Outcome, found: Mapping[str, Mapping[int, Series]], peer: str) -> None:
    """Take the ratios that must be something."""
    for name in ("1 KiB", "64 KiB"):
        outcome.measured[name] = found[name][64].ratio(OURS, peer, "cpu_us")
    outcome.measured["64 MiB"] = found["64 MiB"][4].ratio(OURS, "nginx, static files", "cpu_us")
    outcome.measured["rate"] = found["1 KiB"][64].ratio(OURS, peer, "per_s")
    outcome.measured["p99"] = found["1 KiB"][64].ratio(OURS, peer, "p99_ms")
