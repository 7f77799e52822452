"""What a suite is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a suite is to be run.

    Attributes:
        folder: empty; on the disk that is measured.
        is_quick: seconds, to see that everything works; its figures mean little.
        is_large: also what takes long: a ledger of ten million records.
        say: is told what begins.
    """

    folder: Path
    is_quick: bool
    is_large: bool
    say: Callable[[str], None]

    def count(self, usual: int, quick: int) -> int:
        """Return a number that is smaller in a quick run."""
        return quick if self.is_quick else usual


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])

    def add(self, *cells: object) -> None:
        """Append a row."""
        self.rows.append(tuple(str(cell) for cell in cells))


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars, one under the other.

    Attributes:
        name: of the file, without its ending.
        unit: of all bars.
        bars: label and figure.
    """

    name: str
    title: str
    unit: str
    bars: tuple[tuple[str, Spread], ...]


@dataclass(slots=True)
class Outcome:
    """What a suite found.

    Attributes:
        measured: by the name of a row of ``musts.py``.
        left_out: what could not be measured here, and why.
        raw: everything that was measured, for the JSON file.
    """

    tables: list[Table] = field(default_factory=list[Table])
    charts: list[Chart] = field(default_factory=list[Chart])
    measured: dict[str, Spread] = field(default_factory=dict[str, Spread])
    left_out: list[str] = field(default_factory=list[str])
    raw: dict[str, object] = field(default_factory=dict[str, object])
