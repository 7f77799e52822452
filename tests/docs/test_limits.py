"""docs/reference/limits.md says what the code has: each number, and the test that holds it."""

from __future__ import annotations

import importlib
import pathlib
import re
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parents[2]


class Row(NamedTuple):
    """A row of the page."""

    what: str
    limit: str
    answer: str
    name: str
    test: str


def rows() -> list[Row]:
    """Every row of its tables, without headings."""
    lines = (ROOT / "docs" / "reference" / "limits.md").read_text().splitlines()
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [Row(*row) for row in cells if row[0] != "What" and not row[0].startswith("---")]


ROWS = rows()


def test_the_page_has_rows() -> None:
    """A page that is read wrongly would hold nothing."""
    assert len(ROWS) > 30
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_limit_is_as_the_code_has_it(row: Row) -> None:
    """An operator sizes a proxy's own limits by these."""
    module, _, name = row.name.rpartition(".")
    value = getattr(importlib.import_module(f"oncegate.{module}"), name)
    found = re.match(r"[\d,]+(?:\.\d+)?", row.limit)
    assert found is not None
    assert float(found[0].replace(",", "")) == value


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_limit_has_its_test(row: Row) -> None:
    """What nobody tries is not kept."""
    wanted = re.compile(rf"def {row.test}\(")
    assert any(wanted.search(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")), row.test
