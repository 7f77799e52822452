"""What a suite is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from benchmarks.figures import Spread

Effort = Literal["whole", "quick", "smoke"]
"""How long all suites may take together: a quarter of an hour; five minutes; and a minute, to see that everything works."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a suite is to be run.

    Attributes:
        folder: empty; on the disk that is measured.
        effort: how long it may take; the figures of ``smoke`` mean nothing.
        is_large: also what takes longer still: large ledgers on servers.
        say: is told what begins.
    """

    folder: Path
    effort: Effort
    is_large: bool
    say: Callable[[str], None]

    def pick(self, whole: _T, quick: _T, smoke: _T) -> _T:
        """Return what belongs to the effort."""
        return {"whole": whole, "quick": quick, "smoke": smoke}[self.effort]


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
        limit: what no bar should be longer than; None: there is none.
    """

    name: str
    title: str
    unit: str
    bars: tuple[tuple[str, Spread], ...]
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines over a few places, such as numbers of connections.

    Attributes:
        name: of the file, without its ending.
        unit: of all figures.
        places: what stands along the lower edge.
        lines: figures by label and place; a line need not have one at each place.
    """

    name: str
    title: str
    unit: str
    places: Sequence[str]
    lines: Mapping[str, Mapping[str, Spread]]


@dataclass(slots=True)
class Outcome:
    """What a suite found.

    Attributes:
        measured: by the name of a row of ``musts.py``.
        left_out: what could not be measured here, and why.
        raw: everything that was measured, for the JSON file.
        has_failed: whether it came to no end.
    """

    tables: list[Table] = field(default_factory=list[Table])
    charts: list[Chart | Curves] = field(default_factory=list[Chart | Curves])
    measured: dict[str, Spread] = field(default_factory=dict[str, Spread])
    left_out: list[str] = field(default_factory=list[str])
    raw: dict[str, object] = field(default_factory=dict[str, object])
    has_failed: bool = False
