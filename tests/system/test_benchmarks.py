"""``scripts/bench`` works: each suite, quickly, without a threshold; and what it makes of figures is right."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.append(str(ROOT))

from benchmarks.__main__ import SUITES  # noqa: E402
from benchmarks.charts import BEYOND, OURS, svg  # noqa: E402
from benchmarks.figures import Spread, WrongAnswers, in_turns, shown  # noqa: E402
from benchmarks.musts import MUSTS, chart_of, table_of  # noqa: E402
from benchmarks.plan import Chart, Curves, Outcome, Table  # noqa: E402
from benchmarks.report import PAGE, machine, write  # noqa: E402

WITH_NGINX = {"download", "upload"}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("benchmarks")
@pytest.mark.parametrize("suite", list(SUITES))
def test_a_suite_runs(suite: str, require_tool: Callable[[str], str], pytestconfig: pytest.Config) -> None:
    """It starts what it measures, gets the right answers from it, and finds each figure that must be something."""
    if suite == "stores" and not (pytestconfig.getoption("--emulators") or os.environ.get("REQUIRE_ALL_TOOLS")):
        pytest.skip("needs an emulator of S3: pytest --emulators, or .ci/run")
    if suite in WITH_NGINX:
        require_tool("nginx")
        require_tool("wrk")
    done = subprocess.run(
        [ROOT / "scripts" / "bench", suite, "--smoke"],
        env={**os.environ, "ALREADY_PREPARED": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    wanted = [row.work for row in MUSTS if row.suite == suite]
    assert [work for work in wanted if f"| {work} " not in done.stdout] == []
    if os.environ.get("REQUIRE_ALL_TOOLS"):
        assert "the peers, because" not in done.stdout


def test_each_row_of_what_must_be_true_belongs_to_a_suite() -> None:
    """One that nobody measures would be missing from the report without a word."""
    assert {row.suite for row in MUSTS} <= {*SUITES}


def test_ratios_are_made_within_a_round() -> None:
    """A machine that is slow for one round is slow for both: that must not show."""
    series = in_turns({"a": lambda n: {"us": 2.0 * n}, "b": lambda n: {"us": 1.0 * n}}, 3)
    assert series.of("a", "us") == Spread(4, 2, 6)
    assert series.ratio("a", "b", "us") == Spread(2, 2, 2)


def test_all_take_turns_and_the_first_round_is_not_kept() -> None:
    """In another order each time, so that none always follows the same one."""
    order: list[str] = []

    def turn(name: str) -> Callable[[int], dict[str, float]]:
        return lambda number: {"us": float(number)} if order.append(name) is None else {}

    series = in_turns({name: turn(name) for name in "abcd"}, 8)
    rounds = ["".join(order[start : start + 4]) for start in range(0, 36, 4)]
    assert len(rounds) == 9
    assert all(sorted(taken) == [*"abcd"] for taken in rounds)
    assert len(set(rounds)) > 3
    assert [sample["us"] for sample in series.samples["a"]] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_turn_with_wrong_answers_is_tried_again_with_another_number() -> None:
    """A disk that stood still ends no run of a quarter of an hour; links of the first try are spent."""
    numbers: list[int] = []

    def turn(number: int) -> dict[str, float]:
        numbers.append(number)
        if len(numbers) in {2, 3}:
            raise WrongAnswers("503")
        return {"us": 1.0}

    assert in_turns({"a": turn}, 1).of("a", "us") == Spread(1, 1, 1)
    assert len(numbers) == len({*numbers}) == 4


def test_a_turn_with_wrong_answers_again_and_again_ends_the_suite() -> None:
    """Figures of a server that does not work mean nothing."""

    def turn(_: int) -> dict[str, float]:
        raise WrongAnswers("503")

    with pytest.raises(WrongAnswers):
        in_turns({"a": turn}, 1)


@pytest.mark.parametrize(
    ("value", "text"), [(12_345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.0123, "0.012")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """More would say that more is known."""
    assert shown(value) == text


def test_what_is_missed_is_said() -> None:
    """A figure at its limit holds; one beyond it does not, whichever side is the better."""
    measured = {
        "verify": {"rsa": Spread(1.5, 1, 2), "ecdsa": Spread(1.21, 1, 2)},
        "ledger": {"batched": Spread(9, 9, 9)},
    }
    rows = {row[0]: row[-1] for row in table_of(measured).rows}
    assert rows == {
        "verifying RSA": "holds",
        "verifying ECDSA": "**missed**",
        "claims of sqlite: at 64 waiters": "holds",
    }


def test_a_picture_shows_what_is_missed() -> None:
    """Shorter is better in all of it: what must be at least something is turned round."""
    measured = {
        "download": {"rate": Spread(1.3, 1.3, 1.3), "p99": Spread(3, 1.5, 6)},
        "refuse": {"spent elsewhere": Spread(1, 1, 1)},
    }
    chart = chart_of(measured)
    assert chart.bars == (
        ("requests a second, one process", Spread(0.5, 0.5, 0.5)),
        ("p99 at 64 connections", Spread(2, 1, 4)),
    )
    fills = [rect.attrib["fill"] for rect in ET.fromstring(svg(chart)).iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert fills == [OURS, BEYOND]


def test_a_chart_is_svg() -> None:
    """Labels are text, whatever they hold, and bars lie within the picture."""
    chart = Chart("a", "CPU & memory", "us", (("oncegate <1>", Spread(5, 4, 10)), ("nginx", Spread(1, 1, 1))))
    root = ET.fromstring(svg(chart))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["CPU & memory", "oncegate <1>", "5.00 us", "nginx", "1.00 us"]


def test_curves_are_svg() -> None:
    """Each point lies within the picture, also of a line that is not measured everywhere, and of a figure of nothing."""
    lines = {
        "oncegate, sqlite": {"1": Spread(5, 4, 10), "64": Spread(200, 100, 2_000)},
        "nginx": {"64": Spread(0, 0, 0)},
    }
    root = ET.fromstring(svg(Curves("a", "CPU & memory", "us", ("1", "64"), lines)))
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    circles = [
        (float(circle.attrib["cx"]), float(circle.attrib["cy"]))
        for circle in root.iter("{http://www.w3.org/2000/svg}circle")
    ]
    assert len(circles) == 3
    assert all(0 < x < width and 0 < y < height for x, y in circles)


def test_a_report_names_neither_machine_nor_folder(tmp_path: pathlib.Path) -> None:
    """It is published."""
    outcome = Outcome(tables=[Table("A table", ("a", "b"), [("1", "2")])], left_out=["x: y, because of z"])
    outcome.measured["rsa"] = Spread(1.4, 1.3, 1.6)
    write(tmp_path / "report", {"verify": outcome}, machine(), "scripts/bench verify")
    said = "".join(path.read_text() for path in (tmp_path / "report").iterdir())
    assert "| 1 | 2 |" in said
    page = (tmp_path / "report" / PAGE).read_text()
    assert max(len(line) for line in page.splitlines() if not line.startswith("|")) <= 120
    assert "because of z" in said
    assert os.uname().nodename not in said
    assert str(ROOT) not in said
    assert str(pathlib.Path.home()) not in said
