"""Clients that load a server: wrk for small answers, and one of our own where bodies are large or requests differ."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.figures import WrongAnswers
from benchmarks.processes import cpu_us

ANSWERS_WITHIN_S = 120
_SCRIPT = Path(__file__).parent / "load.lua"
_READ_BYTES = _WRITE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Load:
    """What a client saw.

    Attributes:
        answers: that came.
        took_s: from the first request until the last answer.
    """

    answers: int
    took_s: float
    p50_ms: float
    p99_ms: float


def load_of(waits_s: Sequence[float], took_s: float) -> Load:
    """Return what a client saw whose answers took so long, each and all."""
    waits = sorted(waits_s)
    return Load(len(waits), took_s, waits[len(waits) // 2] * 1e3, waits[int(len(waits) * 0.99)] * 1e3)


def measured(load: Load, before_us: float, roots: Iterable[int]) -> dict[str, float]:
    """Return a sample: CPU of an answer, answers a second, and how long they took.

    Args:
        load: what the client saw.
        before_us: CPU of the server's processes before the load.
        roots: those processes.
    """
    return {
        "cpu_us": (cpu_us(roots) - before_us) / load.answers,
        "per_s": load.answers / load.took_s,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
    }


def by_wrk(port: int, targets: Sequence[str], *, connections: int) -> Load:
    """GET every target once by wrk with one thread; a few of the last stay unanswered, one for each connection.

    Raises:
        WrongAnswers: an answer was no 200.
    """
    wanted = len(targets) - connections
    with tempfile.NamedTemporaryFile("w", suffix=".targets") as file:
        file.write("\n".join(targets))
        file.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{ANSWERS_WITHIN_S}s", f"--timeout={ANSWERS_WITHIN_S}s"]
        command += ["-s", str(_SCRIPT), f"http://127.0.0.1:{port}", "--", file.name, str(wanted)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
            assert wrk.stdout is not None
            lines: list[str] = []
            for line in wrk.stdout:
                lines.append(line)
                if line.startswith("took "):
                    wrk.send_signal(signal.SIGINT)  # it would wait for the end of the time it was given
    words = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("took ", "done "))}
    if "took" not in words or int(words["done"][2]):
        raise WrongAnswers(f"wrk at port {port}: {''.join(lines)}")
    p50_us, p99_us = (int(word) for word in words["done"][3:])
    return Load(wanted, float(words["took"][0]), p50_us / 1e3, p99_us / 1e3)


def by_python(
    port: int,
    targets: Sequence[str],
    *,
    connections: int,
    size_bytes: int | None = None,
    status: int = 200,
    body: bytes | None = None,
) -> Load:
    """Ask for every target once, over connections that are kept alive where the server keeps them.

    Args:
        port: of 127.0.0.1.
        targets: of the requests.
        connections: at once.
        size_bytes: of each answer's body; None: any.
        status: of each answer.
        body: what is PUT to each target; None: it is a GET.

    Raises:
        WrongAnswers: another status or size.
    """
    return uvloop.run(_ask_all(_Asking(port, [*reversed(targets)], size_bytes, status, body), connections))


@dataclass(slots=True)
class _Asking:
    """Requests that wait for a connection, and how long those took that were answered."""

    port: int
    waiting: list[str]
    size_bytes: int | None
    status: int
    body: bytes | None
    waits_s: list[float] = field(default_factory=list[float])

    def head(self) -> bytes:
        """Return the head of the next request."""
        method = "GET" if self.body is None else "PUT"
        length = "" if self.body is None else f"Content-Length: {len(self.body)}\r\n"
        return f"{method} {self.waiting.pop()} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n".encode()


async def _ask_all(asking: _Asking, connections: int) -> Load:
    begun = time.perf_counter()
    await asyncio.gather(*(_one_connection(asking) for _ in range(connections)))
    return load_of(asking.waits_s, time.perf_counter() - begun)


async def _one_connection(asking: _Asking) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", asking.port, limit=1 << 20)
    while asking.waiting:
        begun = time.perf_counter()
        writer.write(asking.head())
        for start in range(0, len(asking.body or b""), _WRITE_BYTES):
            writer.write(memoryview(asking.body or b"")[start : start + _WRITE_BYTES])
            await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        left = length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        while left and (piece := await reader.read(min(left, _READ_BYTES))):
            left -= len(piece)
        if left or int(head.split()[1]) != asking.status or asking.size_bytes not in (None, length):
            raise WrongAnswers(f"port {asking.port}: {head.decode('latin-1')}")
        asking.waits_s.append(time.perf_counter() - begun)
        if b"connection: close" in head:
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", asking.port, limit=1 << 20)
    writer.close()


def has_wrk() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None
