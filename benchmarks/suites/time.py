"""How long commands take as whole processes: ``oncegate link``, ``oncegate serve`` until it answers, and an import."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.figures import Sample, in_turns
from benchmarks.plan import Outcome, Plan, Table
from oncegate.testing.installation import Installation

WORDS = {
    "python": "python, nothing imported",
    "import": "import oncegate",
    "link": "oncegate link",
    "serve": "oncegate serve, until both listeners answer",
}


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    plan.say("time")
    made = Installation(plan.folder)
    made.put("a.txt", b"x")
    series = in_turns(
        {
            "python": lambda _: _command_s("pass"),
            "import": lambda _: _command_s("import oncegate; oncegate.Signer"),
            "link": lambda _: _link_s(made),
            "serve": lambda _: _serve_s(made),
        },
        plan.pick(9, 5, 1),
    )
    outcome.raw["time"] = series.samples
    table = Table("Whole processes", ("Command", "seconds"))
    for name in series.samples:
        table.add(WORDS[name], series.of(name, "s"))
        outcome.measured[name] = series.of(name, "s")
    outcome.tables.append(table)
    return outcome


def _command_s(code: str) -> Sample:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return {"s": time.perf_counter() - begun}


def _link_s(made: Installation) -> Sample:
    begun = time.perf_counter()
    assert made.run("link", "a.txt").returncode == 0
    return {"s": time.perf_counter() - begun}


def _serve_s(made: Installation) -> Sample:
    """Time the start alone; it is stopped within its turn."""
    begun = time.perf_counter()
    with made.serve():
        return {"s": time.perf_counter() - begun}
