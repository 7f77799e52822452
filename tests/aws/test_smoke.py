"""The checks of a deployment: against the referee in memory, well and with each thing broken that they are to find."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from oncegate.aws.reply import Reply
from oncegate.aws.smoke import CHECKS, Trial, run

PAGE = Path(__file__).parents[2] / "docs" / "aws" / "SMOKE.md"


def test_the_page_has_the_numbers_of_the_command() -> None:
    """Whoever reads WRONG 7 looks it up there."""
    listed = re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE.read_text(), re.M)
    assert [(int(number), claim.strip()) for number, claim in listed] == [
        (number, claim) for number, (claim, _) in enumerate(CHECKS, start=1)
    ]


class Links:
    """Links that hold nothing but their key."""

    def __init__(self) -> None:
        self.made = 0

    def download(self, key: str, *, asks: bool = False) -> str:
        """A URL that no other link has."""
        self.made += 1
        return f"https://d/{key}?once=g{self.made}&Expires=100&Key-Pair-Id=K&asks={int(asks)}"

    def upload(self, key: str) -> str:
        """The same."""
        self.made += 1
        return f"https://d/{key}?once=p{self.made}&Expires=100&Key-Pair-Id=K"


class OpensAlways:
    """A distribution that serves every link as often as it is asked: what the published designs did in a race."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """Serve."""
        key = url.partition("://d/")[2].partition("?")[0]
        if method == "PUT":
            self.objects[key] = body or b""
        found = self.objects.get(key)
        if found is None:
            return Reply(404, {}, b"")
        return Reply(206, {}, found[:2]) if "Range" in headers else Reply(200, {}, found)


@pytest.fixture
def trial() -> Trial:
    """Checks of that distribution."""
    visit = OpensAlways()
    return Trial(visit=visit, links=Links(), lay=visit.objects.__setitem__, uploads="inbox/")


def test_every_check_fails_where_nothing_is_kept_to(trial: Trial) -> None:
    """A check that passes there looks at nothing."""
    outcomes = {outcome.number: outcome for outcome in run(trial)}
    assert {number for number, each in outcomes.items() if each.is_well is False} == set(range(1, 11))
    assert outcomes[11].is_well is outcomes[12].is_well is None
    assert all("once=" not in each.words and "Expires" not in each.words for each in outcomes.values())


def test_a_server_that_is_away_is_said_for_each(trial: Trial) -> None:
    """The others are still looked at, and none is called well."""

    def away(method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        raise ConnectionRefusedError

    outcomes = list(run(Trial(visit=away, links=trial.links, lay=trial.lay, uploads="inbox/")))
    assert [each.words for each in outcomes[:10]] == ["no answer: ConnectionRefusedError"] * 10


def test_what_was_laid_is_known_for_removal(trial: Trial) -> None:
    """Also where a check failed halfway."""
    with contextlib.closing(run(trial)) as outcomes:
        next(outcomes)
    assert trial.keys
    assert all(key.startswith("inbox/oncegate-smoke-") for key in trial.keys)
