"""Checking a link, beside the bare ``cryptography`` call on the same bytes. Each link is new, as a gateway meets it."""

from __future__ import annotations

from benchmarks.plan import Outcome, Plan, Table
from benchmarks.signing import KINDS, Key, compare


def run(plan: Plan) -> Outcome:
    """Measure."""
    outcome = Outcome()
    table = Table("Verifying a link", ("By", "us", "bare call = 1"))
    for kind in KINDS:
        plan.say(f"verify {kind}")
        key = Key(kind, plan.pick(400, 200, 40))
        ways = {"oncegate": key.verify, "oncegate, any link": key.verify_any, "bare call": key.verify_bare}
        compare(kind, ways, outcome, table, rounds=plan.pick(15, 9, 1), chart="verify")
    outcome.tables.append(table)
    return outcome
