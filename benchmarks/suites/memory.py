"""Memory: a large object down and up, and many readers that take nothing, with a good viewer beside them."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator

import httpx

from benchmarks.figures import Spread, spread
from benchmarks.plan import Outcome, Plan, Table
from benchmarks.processes import kernel_tcp_bytes
from oncegate.links.grant import Operation
from oncegate.testing.installation import Installation, Serving
from oncegate.testing.raw_http import ask, request_bytes, target_of

MIB = 1 << 20
LOOK_EVERY_S = 0.02
STILL_S, STILL_WITHIN_S = 1.0, 30.0
GOOD = 30
WITHIN_S = 300


class Highest:
    """The most that something was while the block ran, above what it was before."""

    def __init__(self, look: Callable[[], int]) -> None:
        self._look = look
        self._before = self._most = look()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self._most = max(self._most, self._look())

    def __enter__(self) -> Highest:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def more_mib(self) -> float:
        """Return it in MiB."""
        return (self._most - self._before) / MIB


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    made = Installation(plan.folder, tables={"viewer": {"connections_per_address": 0}})
    table = Table("Memory", ("Work", "Figure"))
    with made.serve() as gateway:
        warm(made)
        large(plan, made, gateway, outcome, table)
    # a process of its own: what the large object left must not count
    with made.serve() as gateway:
        warm(made)
        stalled(plan, made, gateway, outcome, table)
    outcome.tables.append(table)
    return outcome


def warm(made: Installation) -> None:
    """Download and upload once, so that what is loaded once does not count."""
    made.put("warm.bin", bytes(2 * MIB))
    assert ask("GET", made.link("warm.bin"), keep=False).is_whole
    assert ask("PUT", made.link("up.bin", operation=Operation.PUT), body=bytes(2 * MIB)).status == 200
    (made.objects / "up.bin").unlink()


def zeros(size_bytes: int) -> Iterator[bytes]:
    """Yield a body."""
    for _ in range(size_bytes // MIB):
        yield bytes(MIB)


def large(plan: Plan, made: Installation, gateway: Serving, outcome: Outcome, table: Table) -> None:
    """Measure the memory of the process while a large object goes down and then up."""
    size_bytes = plan.pick(4 << 30, 4 << 30, 256 * MIB)
    plan.say(f"memory: {size_bytes >> 20} MiB down and up")
    with made.put("big.bin", b"").open("wb") as file:
        file.truncate(size_bytes)
    found: list[float] = []
    with httpx.Client(timeout=WITHIN_S) as client:
        with Highest(gateway.rss_bytes) as highest, client.stream("GET", made.link("big.bin")) as answer:
            assert sum(len(piece) for piece in answer.iter_raw(MIB)) == size_bytes
        found.append(highest.more_mib)
        with Highest(gateway.rss_bytes) as highest:
            answer = client.put(made.link("put.bin", operation=Operation.PUT), content=zeros(size_bytes))
            assert answer.status_code == 200, answer.text
        found.append(highest.more_mib)
    (made.objects / "put.bin").unlink()
    for words, figure in zip(("down", "up"), found, strict=True):
        table.add(f"{size_bytes >> 20} MiB {words}, MiB above idle", spread([figure]))
    outcome.raw["large"] = found
    outcome.measured["4 GiB"] = spread([max(found)])


@contextlib.contextmanager
def readers(made: Installation, count: int) -> Generator[None]:
    """Let so many ask for a large object and read nothing, each with the smallest buffer that there is."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            reader.connect(("127.0.0.1", made.port))
            link = made.link("big.bin")
            reader.sendall(request_bytes("GET", target_of(link), host=f"127.0.0.1:{made.port}"))
        yield


def until_still(look: Callable[[], int]) -> None:
    """Wait until a figure no longer grows."""
    end_s = time.monotonic() + STILL_WITHIN_S
    before = -1
    while time.monotonic() < end_s and (now := look()) > before:
        before = now
        time.sleep(STILL_S)


def stalled(plan: Plan, made: Installation, gateway: Serving, outcome: Outcome, table: Table) -> None:
    """Measure the memory of process and kernel with readers that take nothing, and how long a good viewer waits."""
    count = plan.pick(1_000, 1_000, 100)
    plan.say(f"memory: {count} stalled readers")
    with made.put("big.bin", b"").open("wb") as file:
        file.truncate(64 * MIB)
    made.put("small.bin", os.urandom(1_024))
    waits_ms: list[float] = []
    with Highest(gateway.rss_bytes) as process, Highest(kernel_tcp_bytes) as kernel, readers(made, count):
        until_still(kernel_tcp_bytes)
        for _ in range(GOOD):
            link = made.link("small.bin")
            begun = time.perf_counter()
            assert ask("GET", link).body_bytes == 1_024
            waits_ms.append((time.perf_counter() - begun) * 1e3)
    waits = Spread(sorted(waits_ms)[GOOD // 2], min(waits_ms), max(waits_ms))
    table.add(f"{count} stalled readers: MiB of the process above idle", spread([process.more_mib]))
    table.add(f"{count} stalled readers: MiB of the kernel", spread([kernel.more_mib]))
    table.add(f"{count} stalled readers: ms until a good viewer is answered", waits)
    outcome.raw["stalled"] = {"process_mib": process.more_mib, "kernel_mib": kernel.more_mib, "waits_ms": waits_ms}
    outcome.measured |= {
        "process": spread([process.more_mib]),
        "kernel": spread([kernel.more_mib]),
        "good viewer": waits,
    }
