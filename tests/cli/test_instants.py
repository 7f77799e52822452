"""Instants as people write them."""

from __future__ import annotations

import pytest

from oncegate.cli.instants import read_instant_s
from oncegate.settings.units import DURATION_MAX_S

NOW_S = 1_767_225_600  # 2026-01-01T00:00:00Z


@pytest.mark.parametrize(
    ("text", "instant_s"),
    [
        ("1h", NOW_S + 3600),
        ("+10m", NOW_S + 600),
        ("-10m", NOW_S - 600),
        ("60", NOW_S + 60),
        ("59s", NOW_S + 59),
        ("90", NOW_S + 90),
        (str(DURATION_MAX_S), NOW_S + DURATION_MAX_S),
        (str(DURATION_MAX_S + 1), DURATION_MAX_S + 1),
        ("1767225601", NOW_S + 1),
        ("2026-01-01T00:00:00Z", NOW_S),
        ("2026-01-01T01:00:00+01:00", NOW_S),
        ("2026-01-01 00:00:01Z", NOW_S + 1),
    ],
)
def test_each_form_is_its_instant(text: str, instant_s: int) -> None:
    """A small number is a duration, a large one seconds since 1970; ten years divide them."""
    assert read_instant_s(text, now_s=NOW_S) == instant_s


@pytest.mark.parametrize("text", ["0", "7", "30", "59", "00059"])
def test_a_small_number_without_a_unit_is_refused_with_the_units(text: str) -> None:
    """A link that was meant for 30 days and lived 30 seconds was over before its reader saw it."""
    with pytest.raises(ValueError, match=f"write {text}s, {text}m, {text}h or {text}d"):
        read_instant_s(text, now_s=NOW_S)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "1.5h",
        "+",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "9" * 30,
        "-90w90",
        "1969-01-01T00:00:00Z",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Guessing an instant would make a link that lives longer than was meant."""
    with pytest.raises(ValueError, match=r"write|zone|before 1970|ten years"):
        read_instant_s(text, now_s=NOW_S)
