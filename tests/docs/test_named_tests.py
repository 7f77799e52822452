"""Tests and functions that pages name exist: a promise whose test was renamed is held by nobody's eyes."""

from __future__ import annotations

import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@functools.cache
def known() -> frozenset[str]:
    """The names of all test functions, of the suites that ship too, and the paths of all test files."""
    found: set[str] = set()
    for path in (*(ROOT / "tests").rglob("*.py"), *(ROOT / "src" / "oncegate" / "testing").rglob("*.py")):
        found.add(str(path.relative_to(ROOT)))
        found |= set(re.findall(r"^\s*(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
        found.add(path.stem)
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_test_that_a_page_names_exists(page: pathlib.Path) -> None:
    """By the name of its function, or the path of its file."""
    named = set(re.findall(r"`(?:tests/[\w/]+\.py`?: `)?(test_\w+)`", page.read_text()))
    named |= set(re.findall(r"(tests/[\w/]+\.py)", page.read_text()))
    assert named <= known(), named - known()


def test_every_function_that_the_edges_architecture_names_exists() -> None:
    """``module``: ``name``, as the table of failures says where each is decided."""
    page = (ROOT / "docs" / "aws" / "architecture.md").read_text()
    named = re.findall(r"`([\w/]+\.py)`: `(\w+)`", page)
    assert len(named) > 10
    for module, name in named:
        text = (ROOT / "src" / "oncegate" / module).read_text()
        assert re.search(rf"^\s*(def {name}\(|{name} = )", text, re.MULTILINE), f"{module}: {name}"
