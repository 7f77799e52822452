"""CPU and memory of processes and of what they started, from /proc."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

PAGE_BYTES = 4_096


def with_children(roots: Iterable[int]) -> set[int]:
    """Return the ids of processes and of all that descend from them."""
    found: set[int] = set()
    waiting = [*roots]
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found.add(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting += map(int, task.read_text().split())
    return found


def cpu_us(roots: Iterable[int]) -> float:
    """Return the microseconds of CPU, user and system, of all threads of processes and their descendants."""
    total_ns = 0
    for pid in with_children(roots):
        for schedule in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total_ns += int(schedule.read_text().split()[0])
    return total_ns / 1e3


def memory_bytes(roots: Iterable[int]) -> int:
    """Return the resident memory of processes and their descendants; what they share counts in each."""
    pages = 0
    for pid in with_children(roots):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * PAGE_BYTES


def kernel_tcp_bytes() -> int:
    """Return the memory that the kernel holds for TCP on this machine (``mem`` of /proc/net/sockstat, in pages)."""
    line = next(line for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return int(line.split()[line.split().index("mem") + 1]) * PAGE_BYTES
