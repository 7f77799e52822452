"""Memory of ``oncegate serve``: a large object down and up, and many readers that take nothing.

python benchmarks/memory.py                    4 GiB, 1,000 stalled readers
python benchmarks/memory.py --gib 1 --readers 200
"""

from __future__ import annotations

import argparse
import resource
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from oncegate.links.grant import Operation
from oncegate.testing.installation import Installation, Serving

MIB = 1 << 20


class Watch:
    """The most memory that a process held while this ran."""

    def __init__(self, gateway: Serving) -> None:
        self._gateway, self.idle = gateway, gateway.rss_bytes()
        self.most, self._over = self.idle, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, self._gateway.rss_bytes())

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def more_mib(self) -> float:
        """Above idle."""
        return (self.most - self.idle) / MIB


def zeros(size: int) -> Iterator[bytes]:
    """A body."""
    for _ in range(size // MIB):
        yield bytes(MIB)


def stall(made: Installation, readers: int) -> list[socket.socket]:
    """Ask for an object and read nothing."""
    sockets = []
    for _ in range(readers):
        url = urlsplit(made.link("big.bin"))
        connection = socket.create_connection((url.hostname or "", url.port or 80))
        connection.sendall(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        sockets.append(connection)
    return sockets


def main() -> None:
    """Print three figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=int, default=4)
    parser.add_argument("--readers", type=int, default=1000)
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    folder = Path(tempfile.mkdtemp(prefix="oncegate-bench-"))
    made = Installation(folder, tables={"viewer": {"connections_per_address": 0}})
    size = arguments.gib << 30
    with made.put("big.bin", b"").open("wb") as file:
        file.truncate(size)
    made.put("small.bin", b"x" * 1000)
    try:
        with made.serve() as gateway, httpx.Client(timeout=300) as client:
            time.sleep(1)
            with Watch(gateway) as watch, client.stream("GET", made.link("big.bin")) as answer:
                assert sum(len(piece) for piece in answer.iter_raw(MIB)) == size
            print(f"{arguments.gib} GiB down: {watch.more_mib:.0f} MiB more than idle (budget 64)")
            with Watch(gateway) as watch:
                answer = client.put(made.link("up.bin", operation=Operation.PUT), content=zeros(size))
                assert answer.status_code == 200, answer.text
            print(f"{arguments.gib} GiB up: {watch.more_mib:.0f} MiB more than idle (budget 64)")
            with Watch(gateway) as watch:
                sockets = stall(made, arguments.readers)
                time.sleep(3)
                start = time.perf_counter()
                assert client.get(made.link("small.bin")).status_code == 200
                answered_s = time.perf_counter() - start
            print(
                f"{arguments.readers} stalled readers: {watch.more_mib:.0f} MiB more than idle (budget 256), ", end=""
            )
            print(f"a good viewer was answered in {answered_s * 1000:.0f} ms")
            for connection in sockets:
                connection.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
