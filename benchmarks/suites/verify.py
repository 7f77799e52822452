"""Checking a link, beside the bare ``cryptography`` call on the same bytes. Each link is new, as a gateway meets it."""

from __future__ import annotations

from benchmarks.figures import in_turns
from benchmarks.plan import Chart, Outcome, Plan, Table
from benchmarks.signing import KINDS, Key


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    table = Table("Verifying a link", ("By", "us", "bare call = 1"))
    for kind in KINDS:
        plan.say(f"verify {kind}")
        key = Key(kind, plan.count(400, 40))
        ways = {"oncegate": key.verify, "oncegate, any link": key.verify_any, "bare call": key.verify_bare}
        series = in_turns(ways, plan.count(15, 2))
        outcome.raw[kind] = series.samples
        outcome.measured[kind] = series.ratio("oncegate", "bare call", "us")
        for name in series.samples:
            table.add(f"{name}, {kind}", series.of(name, "us"), series.ratio(name, "bare call", "us"))
        bars = tuple((name, series.of(name, "us")) for name in series.samples)
        outcome.charts.append(Chart(f"verify-{kind}", f"Verifying a link, {kind}", "us", bars))
    outcome.tables.append(table)
    return outcome
