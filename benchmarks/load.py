"""Clients that load a server: wrk for small answers, and one of our own where bodies are large or requests differ."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.processes import cpu_us

ANSWERS_WITHIN_S = 120
_SCRIPT = Path(__file__).parent / "load.lua"
_READ_BYTES = 256 * 1024


class WrongAnswers(RuntimeError):
    """A server did not answer as it must; its figures would mean nothing."""


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
        command = ["wrk", "-t1", f"-c{connections}", f"-d{ANSWERS_WITHIN_S}s", "-s", str(_SCRIPT)]
        command += [f"http://127.0.0.1:{port}", "--", file.name, str(wanted)]
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
    headers: str = "",
) -> Load:
    """GET every target once, over connections that are kept alive where the server keeps them.

    Args:
        port: of 127.0.0.1.
        targets: of the requests.
        connections: at once.
        size_bytes: of each body; None: any.
        status: of each answer.
        headers: further ones, each ended by CR LF.

    Raises:
        WrongAnswers: another status or size.
    """
    return uvloop.run(_get_all(port, targets, connections, size_bytes, status, headers))


async def _get_all(
    port: int, targets: Sequence[str], connections: int, size_bytes: int | None, status: int, headers: str
) -> Load:
    waiting = [*reversed(targets)]
    waits: list[float] = []
    host = "" if headers.startswith("Host:") else "Host: 127.0.0.1\r\n"

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        while waiting:
            begun = time.perf_counter()
            writer.write(f"GET {waiting.pop()} HTTP/1.1\r\n{host}{headers}\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            left = length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while left and (piece := await reader.read(min(left, _READ_BYTES))):
                left -= len(piece)
            if left or int(head.split()[1]) != status or size_bytes not in (None, length):
                raise WrongAnswers(f"port {port}: {head.decode('latin-1')}")
            waits.append(time.perf_counter() - begun)
            if b"connection: close" in head:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(one_connection() for _ in range(connections)))
    took_s = time.perf_counter() - begun
    waits.sort()
    return Load(len(waits), took_s, waits[len(waits) // 2] * 1e3, waits[int(len(waits) * 0.99)] * 1e3)


def has_wrk() -> bool:
    """Whether wrk is installed."""
    return shutil.which("wrk") is not None
