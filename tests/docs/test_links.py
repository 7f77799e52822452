"""The pages hold together: links resolve, files that are named exist, lines are short."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
LINE_MAX = 120
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^ {0,3}```.*?^ {0,3}```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`((?:tests|tools|scripts|benchmarks|deploy|docs|src|\.ci)/[\w./-]+)`")
_ELSEWHERE = re.compile(r"/work/|/root/|/tmp/|\bDESIGN\b|design-review|aws-protocol")
_SOURCE = re.compile(r"`((?:links|ledgers|stores|gateway|control|keys|cli|web|testing)/\w+(?:\.py)?)[`,]")


def anchors_of(page: pathlib.Path) -> set[str]:
    """The anchors of a page's headings, as they are shown on the web."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub(lambda code: code[0].strip("`"), page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_internal_links_resolve(page: pathlib.Path) -> None:
    """A page that was renamed leaves links behind."""
    text = _CODE.sub("", page.read_text())
    for target in _LINK.findall(text) + re.findall(r'<img src="([^"]+)"', text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(ROOT), f"{target} leaves the repository"
        assert there.exists(), f"{page.name}: {target} leads nowhere"
        if anchor:
            assert anchor in anchors_of(there), f"{page.name}: no heading for {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_are_named_exist(page: pathlib.Path) -> None:
    """A test that is named as proof and was renamed proves nothing."""
    text = page.read_text()
    for name in _NAMED.findall(text):
        assert list(ROOT.glob(name.rstrip("/"))), f"{page.name}: no {name}"
    for name in _SOURCE.findall(text):
        path = ROOT / "src" / "oncegate" / name
        assert path.exists() or path.with_suffix(".py").exists() or path.with_suffix("").exists(), (
            f"{page.name}: no {name}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages_name_no_place_that_a_reader_lacks(page: pathlib.Path) -> None:
    """A folder of the machine where it was written, or a paper that is not here, helps nobody."""
    assert not _ELSEWHERE.findall(page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_lines_of_prose_are_short(page: pathlib.Path) -> None:
    """Tables, links and code may be as long as they must; prose is read in a terminal too."""
    for line in _CODE.sub("", page.read_text()).splitlines():
        is_free = line.lstrip().startswith(("|", "<!--", "    ")) or line.startswith("    ") or "](" in line
        assert is_free or len(line) <= LINE_MAX, f"{page.name}: {line}"


def test_every_decision_is_in_the_list() -> None:
    """One that is not listed is found by nobody who does not know it."""
    listed = (ROOT / "docs" / "decisions" / "0001-record-decisions.md").read_text()
    for page in sorted((ROOT / "docs" / "decisions").glob("*.md"))[1:]:
        assert f"]({page.name})" in listed


def test_each_fact_of_aws_that_code_names_is_on_the_page() -> None:
    """A number that leads nowhere is a source that nobody can check."""
    page = (ROOT / "docs" / "aws-protocol.md").read_text()
    known = set(re.findall(r"^\| ([0-9.]+) ", page, re.M))
    for first, last in re.findall(r"^\| ([0-9.]+) - ([0-9.]+) ", page, re.M):
        stem, begin, end = first.rpartition(".")[0], int(first.rpartition(".")[2]), int(last.rpartition(".")[2])
        known |= {stem, *(f"{stem}.{number}" for number in range(begin, end + 1))}
    for source in sorted((ROOT / "src").rglob("*.py")):
        for names in re.findall(r"aws-protocol\.md((?:,? [0-9]+(?:\.[0-9]+)+)+)", source.read_text()):
            named = set(re.findall(r"[0-9]+(?:\.[0-9]+)+", names))
            assert named <= known, f"{source.name}: {sorted(named - known)}"


def test_the_code_map_names_every_module() -> None:
    """A module that the page does not name is found by its name alone; ``testing/`` is described by what it offers."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    code_map = page[page.index("## Code map") : page.index("## Invariants")]
    for folder, text in re.findall(r"^- \*\*`([a-z_]+)/`\*\*:?(.*?)(?=^- \*\*|\Z)", code_map, re.S | re.M):
        named = set(re.findall(r"`([a-z_0-9]+)/?`", text))
        places = (ROOT / "src" / "oncegate" / folder).iterdir()
        found = {place.stem for place in places if not place.name.startswith("__")}
        assert folder == "testing" or found <= named, f"{folder}: {sorted(found - named)}"
