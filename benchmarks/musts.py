"""What must be true, as one table: the work, the peer beside which it is measured, and the figure that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.figures import Spread
from benchmarks.plan import Chart, Table


class Must(NamedTuple):
    """One row.

    Attributes:
        must: the worst figure that is accepted; None: the figure is reported.
        is_floor: whether the figure must be at least that, and not at most.
    """

    suite: str
    name: str
    work: str
    peer: str
    must: float | None
    goal: str
    is_floor: bool = False

    def holds(self, measured: Spread) -> bool:
        """Whether the median is good enough."""
        if self.must is None:
            return True
        return measured.median >= self.must if self.is_floor else measured.median <= self.must

    @property
    def words(self) -> str:
        """Return what is asked for."""
        if self.must is None:
            return "reported"
        return f"{'>=' if self.is_floor else '<='} {self.must:g}"


LUA = "nginx + Lua + Redis = 1"
MUSTS = (
    Must("download", "1 KiB", "one-time download of 1 KiB, CPU", LUA, 1.5, "1.0"),
    Must("download", "64 KiB", "64 KiB, CPU", LUA, 1.5, "1.0"),
    Must("download", "64 MiB", "64 MiB, CPU per byte", "nginx's sendfile = 1", 1.4, "1.05"),
    Must("download", "rate", "requests a second, one process", "nginx with 1 worker + Redis = 1", 0.65, "1", is_floor=True),
    Must("download", "p99", "p99 at 64 connections", "the same", 1.5, "1"),
    Must("accel", "folder", "64 MiB sent by nginx from a folder, CPU of both", "nginx's sendfile = 1", 1.2, "1.0"),
    Must("accel", "bucket", "64 MiB sent by nginx from a bucket, CPU of both", "nginx's sendfile = 1", 2.2, "2.0"),
    Must("accel", "bare", "64 MiB from a bucket by nginx alone, CPU", "nginx's sendfile = 1", None, "-"),
    Must("accel", "stream", "64 MiB through nginx, CPU of both", "nginx's sendfile = 1", None, "-"),
    Must("upload", "64 MiB", "upload of 64 MiB to file:, CPU per byte", "nginx's dav = 1", 1.3, "1.3"),
    Must("refuse", "spent here", "spent link refused, known here, CPU", "served = 1", 0.6, "0.4"),
    Must("refuse", "spent elsewhere", "spent link refused, known elsewhere, CPU", "served = 1", None, "-"),
    Must("refuse", "forged", "forged link refused, CPU", "served = 1", 0.9, "0.6"),
    Must("refuse", "worst", "the worst request of a stranger, CPU ms", "-", 5, "1"),
    Must("verify", "rsa", "verifying RSA", "the bare call = 1", 1.5, "-"),
    Must("verify", "ecdsa", "verifying ECDSA", "the bare call = 1", 1.2, "-"),
    Must("sign", "rsa", "signing RSA", "the bare call = 1", 1.1, "-"),
    Must("sign", "ecdsa", "signing ECDSA", "the bare call = 1", 1.1, "-"),
    Must("memory", "4 GiB", "4 GiB down and up, MiB above idle", "-", 64, "-"),
    Must("memory", "process", "1,000 stalled readers, MiB of the process above idle", "-", 32, "-"),
    Must("memory", "kernel", "1,000 stalled readers, MiB of the kernel", "-", 300, "-"),
    Must("memory", "good viewer", "1,000 stalled readers, ms until a good viewer is answered", "-", 20, "-"),
    Must("ledger", "batched", "claims of sqlite: at 64 waiters", "one transaction per claim = 1", 9, "-", is_floor=True),
    Must("ledger", "large", "claims of the largest ledger", "an empty ledger = 1", 0.7, "-", is_floor=True),
    Must("ledger", "sweep", "claims beside a sweep", "alone = 1", 0.8, "-", is_floor=True),
    Must("ledger", "disk", "disk of a record, bytes", "-", 120, "-"),
    Must("ledger", "event", "an event kept, us of CPU", "-", 1.5, "-"),
    Must("time", "link", "oncegate link, s", "-", 0.3, "-"),
    Must("time", "serve", "oncegate serve until both listeners answer, s", "-", 1.5, "-"),
)  # fmt: skip


def chart_of(measured: Mapping[str, Mapping[str, Spread]]) -> Chart:
    """Draw of each figure what part of the limit it takes; a floor is turned round, so that shorter is better throughout."""
    bars: list[tuple[str, Spread]] = []
    for row in MUSTS:
        figure = measured.get(row.suite, {}).get(row.name)
        if figure is not None and row.must is not None:
            parts = [row.must / value if row.is_floor else value / row.must for value in figure]
            bars.append((row.work, Spread(parts[0], min(parts), max(parts))))
    return Chart("must", "What must be true: figure to limit, shorter is better", "", tuple(bars), limit=1)


def table_of(measured: Mapping[str, Mapping[str, Spread]]) -> Table:
    """Put what was measured beside what must be.

    Args:
        measured: by suite, then by the row's name; rows without a figure are left out.
    """
    table = Table("What must be true", ("Work", "Peer", "Measured", "Must", "Goal", ""))
    for row in MUSTS:
        figure = measured.get(row.suite, {}).get(row.name)
        if figure is not None:
            verdict = "" if row.must is None else "holds" if row.holds(figure) else "**missed**"
            table.add(row.work, row.peer, figure, row.words, row.goal, verdict)
    return table
