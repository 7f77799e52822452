"""``scripts/bench [SUITE...] [--quick | --smoke] [--large] [--report FOLDER]``."""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import cast

from benchmarks import report
from benchmarks.musts import table_of
from benchmarks.plan import Effort, Outcome, Plan

SUITES = {
    "download": "one-time downloads beside nginx",
    "accel": "64 MiB behind nginx: sent by it, and through it",
    "upload": "uploads to file: beside nginx's dav",
    "refuse": "links that are not served, and the worst requests of a stranger",
    "ledger": "claims of each ledger, large ledgers, sweeping, events",
    "memory": "large objects, and readers that take nothing",
    "sign": "making links, beside other signers and the bare call",
    "verify": "checking links, beside the bare call",
    "stores": "the store s3: beside obstore and presigned URLs",
    "profile": "where a download of 1 KiB spends its time, by module",
    "time": "whole processes: link, serve until it answers",
}
REPORT = Path(__file__).parent / "report"
"""Of a whole run; that of a quick one goes beside what scripts/bench installs, which is not kept."""
QUICK_REPORT = Path(__file__).parents[1] / ".parts" / "bench" / "report"
OPEN_FILES = 16_384
_BEGUN = time.monotonic()


def say(words: str) -> None:
    """Tell what begins."""
    print(f"-- {time.monotonic() - _BEGUN:4.0f} s  {words}", file=sys.stderr, flush=True)


def main() -> int:
    """Run suites, print their tables, and write the report."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure oncegate beside its peers.",
        epilog="\n".join(f"  {name:10}{words}" for name, words in SUITES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="default: all")
    efforts = parser.add_mutually_exclusive_group()
    efforts.add_argument(
        "--quick", action="store_true", help="every cell of the grid in about five minutes, not fifteen"
    )
    efforts.add_argument("--smoke", action="store_true", help="seconds, to see that everything works; no figure counts")
    parser.add_argument(
        "--large", action="store_true", help="also sweep ten million records, and a million in PostgreSQL and in Redis"
    )
    parser.add_argument(
        "--report",
        type=Path,
        help="folder of the report (default, for all suites: benchmarks/report; of a quick run .parts)",
    )
    arguments = parser.parse_args()
    names = cast("list[str]", arguments.suites)
    if unknown := [name for name in names if name not in SUITES]:
        parser.error(f"no suite {unknown[0]}; there are {', '.join(SUITES)}")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES if hard < 0 else min(OPEN_FILES, hard), hard))
    effort: Effort = "quick" if arguments.quick else "smoke" if arguments.smoke else "whole"
    about = {**report.machine(), "load before": f"{os.getloadavg()[0]:.1f}"}
    begun = time.monotonic()
    outcomes = {name: run_suite(name, effort=effort, is_large=arguments.large) for name in names or SUITES}
    about["took"] = f"{time.monotonic() - begun:.0f} s"
    print(report.text_of(table_of({name: outcome.measured for name, outcome in outcomes.items()})))
    usual = None if names else {"whole": REPORT, "quick": QUICK_REPORT}.get(effort)
    folder = cast("Path | None", arguments.report) or usual
    if folder is not None:
        options = [option for option in ("quick", "smoke", "large") if getattr(arguments, option)]
        command = " ".join(["scripts/bench", *names, *(f"--{option}" for option in options)])
        report.write(folder, outcomes, about, command)
        say(f"written: {folder / report.PAGE}")
    return int(any(outcome.has_failed for outcome in outcomes.values()))


def run_suite(name: str, *, effort: Effort, is_large: bool) -> Outcome:
    """Run one suite in a folder of its own, and print its tables."""
    run = cast("Callable[[Plan], Outcome]", importlib.import_module(f"benchmarks.suites.{name}").run)
    folder = Path(tempfile.mkdtemp(prefix="oncegate-bench-"))
    try:
        outcome = run(Plan(folder=folder, effort=effort, is_large=is_large, say=say))
    except Exception:  # noqa: BLE001  the other suites are of use without it
        say(f"{name} failed: {traceback.format_exc()}")
        outcome = Outcome(has_failed=True, left_out=[f"{name}: all of it, because it failed"])
    finally:
        shutil.rmtree(folder)
    for table in outcome.tables:
        print(report.text_of(table), end="\n\n", flush=True)
    for words in outcome.left_out:
        print(f"Left out: {words}.\n", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
