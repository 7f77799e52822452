"""How long commands take as whole processes: ``oncegate link``, and ``oncegate serve`` until it answers.

python benchmarks/startup.py
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

from oncegate.testing.installation import Installation

ROUNDS = 9


def main() -> None:
    """Print two figures."""
    folder = Path(tempfile.mkdtemp(prefix="oncegate-bench-"))
    try:
        made = Installation(folder)
        made.put("a.txt", b"x")
        made.run("link", "a.txt")
        link_s, serve_s = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            assert made.run("link", "a.txt").returncode == 0
            link_s.append(time.perf_counter() - start)
            start = time.perf_counter()
            with made.serve():
                serve_s.append(time.perf_counter() - start)
        print(f"oncegate link: median {statistics.median(link_s):.2f} s, best {min(link_s):.2f} s (budget 0.3)")
        print(
            f"oncegate serve, both ready: median {statistics.median(serve_s):.2f} s, best {min(serve_s):.2f} s (budget 1.5)"
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
