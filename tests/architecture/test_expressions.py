r"""No regular expression over a viewer's text has two neighbouring unbounded runs of the same characters.

``\s*x?\s*`` can divide n blanks in n ways, and tries them all before it fails: n * n steps, or more under ``findall``.
The expressions are read from the modules that read what a viewer sent, and each is walked as Python's own parser
sees it.
"""

from __future__ import annotations

import importlib
import pathlib
import re
from collections.abc import Iterator
from re import _constants as of  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from re import _parser as parser  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from typing import Any

import pytest

SOURCE = pathlib.Path(__file__).parents[2] / "src"
READS_VIEWERS = ("links", "gateway", "server", "edge", "uses", "web", "control")
ALL = frozenset(range(256))
NAMED = {
    of.CATEGORY_DIGIT: frozenset(b"0123456789"),
    of.CATEGORY_SPACE: frozenset(b" \t\n\r\f\v"),
    of.CATEGORY_WORD: frozenset(i for i in range(256) if chr(i).isalnum() or i == ord("_")),
}


def expressions() -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Every compiled expression of the modules that read what a viewer sent, by module and name."""
    for folder in READS_VIEWERS:
        for path in sorted((SOURCE / "oncegate" / folder).rglob("*.py")):
            module = importlib.import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts))
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    yield f"{module.__name__}.{name}", value


def characters(op: Any, argument: Any) -> frozenset[int]:
    """Every byte that a node can take, wherever in it."""
    if op is of.LITERAL:
        return frozenset((argument,)) & ALL
    if op is of.NOT_LITERAL:
        return ALL - {argument}
    if op is of.ANY:
        return ALL
    if op is of.RANGE:
        return frozenset(range(argument[0], min(argument[1], 255) + 1))
    if op is of.CATEGORY:
        return NAMED.get(argument, ALL)
    if op is of.IN:
        is_negated = argument[0][0] is of.NEGATE
        taken = frozenset[int]().union(*(characters(*item) for item in argument[1 if is_negated else 0 :]))
        return ALL - taken if is_negated else taken
    return frozenset[int]().union(*(characters(*node) for nodes in inside(op, argument) for node in nodes))


def inside(op: Any, argument: Any) -> list[Any]:
    """The sequences inside a node."""
    if op in (of.MAX_REPEAT, of.MIN_REPEAT, of.POSSESSIVE_REPEAT):
        return [argument[2]]
    if op is of.SUBPATTERN:
        return [argument[3]]
    if op is of.BRANCH:
        return list(argument[1])
    if op is of.ATOMIC_GROUP:
        return [argument]
    return []  # what looks around or stands for a place takes nothing


class Side(list[frozenset[int]]):
    """The unbounded runs that a sequence can begin or end with."""


def runs(nodes: Any) -> tuple[Side, Side, bool, bool]:
    """What runs a sequence can begin and end with, whether it can be empty, and whether neighbours in it overlap."""
    begins, ends, is_empty, is_bad = Side(), Side(), True, False
    for op, argument in nodes:
        first, last, may_be_empty, bad = runs_of(op, argument)
        is_bad |= bad or any(a & b for a in ends for b in first)
        begins += first if is_empty else []
        ends = Side([*last, *(ends if may_be_empty else [])])
        is_empty &= may_be_empty
    return begins, ends, is_empty, is_bad


def runs_of(op: Any, argument: Any) -> tuple[Side, Side, bool, bool]:
    """The same of one node."""
    if op in (of.MAX_REPEAT, of.MIN_REPEAT):
        least, most, nodes = argument
        begins, ends, is_empty, is_bad = runs(nodes)
        if most is not of.MAXREPEAT:
            return begins, ends, is_empty or least == 0, is_bad
        # a run of runs: its end is followed by its beginning
        is_bad |= any(a & b for a in ends for b in begins)
        taken = Side([characters(op, argument)])
        return taken, taken, is_empty or least == 0, is_bad
    if op is of.BRANCH:
        each = [runs(nodes) for nodes in argument[1]]
        begins, ends = (Side(run for one in each for run in one[side]) for side in (0, 1))
        return begins, ends, any(one[2] for one in each), any(one[3] for one in each)
    if op is of.SUBPATTERN:
        return runs(argument[3])
    if op in (of.AT, of.ASSERT, of.ASSERT_NOT):
        return Side(), Side(), True, op is not of.AT and runs(argument[1])[3]
    return Side(), Side(), False, False


def has_neighbouring_runs(expression: str | bytes, flags: int = 0) -> bool:
    """Whether two unbounded runs that can take the same character have nothing between them that must be there."""
    return runs(parser.parse(expression, flags))[3]


@pytest.mark.parametrize(
    "expression",
    [
        r"\s*\s*", r"\s*x?\s*", r"a+a+", r"\s*(\d{0,19})\s*-", r"(?:a+)*", r"(?:a*b*)*", r"(a|b+)*c", r".*.*", r"[^,]*\s*,",
        r"x(?:\s*(?:y|z)?)\s*$", rb'\s*((?:W/)?"[^"]*"|)\s*', r"(?=a*a*)b",
    ],
)  # fmt: skip
def test_neighbouring_runs_are_found(expression: str | bytes) -> None:
    """A check that sees nothing would pass for ever; these take the square of their input, or more."""
    assert has_neighbouring_runs(expression)


@pytest.mark.parametrize(
    "expression",
    [
        r"\s*x\s*", r"[a-z]*[0-9]*", r"(?:[^%]|%[0-9A-F]{2})*", r'"(?:[^"\\]|\\.)*"', r"a{0,9}a{0,9}", r"[a-z]+/[a-z]+",
        r"(?:[a-z]+;)*", r"a+|a+", r"(?<!a)a*b", r"(?:\s*,)?\s*",
    ],
)  # fmt: skip
def test_runs_apart_are_let_through(expression: str) -> None:
    """Something that must be there, or other characters, divides the text in one way only."""
    assert not has_neighbouring_runs(expression)


def test_no_expression_over_a_viewers_text_has_neighbouring_runs() -> None:
    """Two of them stopped the gateway: a list of ETags for 16 s, a Range for 1 s."""
    found = dict(expressions())
    assert len(found) > 15
    bad = [name for name, pattern in found.items() if has_neighbouring_runs(pattern.pattern, pattern.flags)]
    assert bad == []


def test_every_expression_over_a_viewers_text_has_a_name() -> None:
    """One that is written inside a function would be seen by no check."""
    inline = re.compile(r"\bre\.(?:match|search|fullmatch|findall|finditer|sub|split)\(")
    for folder in READS_VIEWERS:
        for path in sorted((SOURCE / "oncegate" / folder).rglob("*.py")):
            lines = [line for line in path.read_text().splitlines() if inline.search(line)]
            assert not lines, f"{path.name}: compile it beside the other constants: {lines}"
