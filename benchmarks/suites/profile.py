"""Where a gateway spends its time in downloads of 1 KiB, by module: a sample every millisecond of its CPU.

A sample counts for the module whose function the loop's thread runs, with what it calls outside Python: RSA for
``keys/pem.py``, writing for ``server/``. Under uvloop's own name are the system calls of the loop, and the samples for which
another thread (the ledger, the events, the log) used the CPU while the loop waited.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import oncegate
from benchmarks.load import by_python
from benchmarks.plan import Outcome, Plan, Table
from benchmarks.servers import Links
from oncegate.testing.installation import Installation

KEY, CONNECTIONS, SHOWN_PERCENT = "a.bin", 64, 1.0
SAMPLER = """
import atexit, collections, json, signal, sys
counts, path = collections.Counter(), sys.argv[1]

def sample(number, frame):
    counts[frame.f_code.co_filename if frame else ""] += 1

signal.signal(signal.SIGPROF, sample)
signal.signal(signal.SIGUSR1, lambda *_: counts.clear())
signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)

def finish():
    signal.setitimer(signal.ITIMER_PROF, 0)
    open(path, "w").write(json.dumps(counts))

atexit.register(finish)
sys.argv = ["oncegate", *sys.argv[2:]]
from oncegate.cli.main import main
main()
"""
"""Runs a command of oncegate, and writes at its end how often each file was met."""


class Sampled(Installation):
    """An installation whose gateway is sampled."""

    def _command(self, config: Path, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", SAMPLER, str(self.folder / "counts"), "--config", str(config), *arguments]


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    plan.say("profile: downloads of 1 KiB")
    made = Sampled(plan.folder, key="rsa", tables={"viewer": {"connections_per_address": 0}})
    made.put(KEY, os.urandom(1_024))
    with made.serve() as gateway:
        by_python(made.port, Links(made).targets(KEY, 200), connections=CONNECTIONS)
        gateway.process.send_signal(signal.SIGUSR1)  # the start, and what is loaded by the first ones, does not count
        by_python(made.port, Links(made).targets(KEY, plan.pick(20_000, 8_000, 1_000)), connections=CONNECTIONS)
        assert gateway.terminate() == 0
    counts: dict[str, int] = json.loads((plan.folder / "counts").read_text())
    shares: dict[str, float] = {}
    for path, count in counts.items():
        shares[_shown(path)] = shares.get(_shown(path), 0) + count * 100 / sum(counts.values())
    outcome.raw["shares"] = shares
    table = Table("A gateway in downloads of 1 KiB", ("Module", "% of the samples"))
    for name, share in sorted(shares.items(), key=lambda pair: -pair[1]):
        if share >= SHOWN_PERCENT:
            table.add(name, f"{share:.1f}")
    outcome.tables.append(table)
    return outcome


def _shown(path: str) -> str:
    """Name a module of oncegate by its path in the package, any other by its own."""
    home = f"{Path(oncegate.__file__).parent}/"
    if path.startswith(home):
        return path.removeprefix(home)
    return f"other: {Path(path).stem}" if path else "outside Python"
