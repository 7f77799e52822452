"""The steps of a rotation: which may come when, and what is trusted meanwhile."""

from __future__ import annotations

import dataclasses

import pytest
from tests.aws.conftest import CODE, deployment_of

from oncegate.aws.stacks.edge import edge_template
from oncegate.aws.stacks.home import home_template
from oncegate.aws.stacks.options_text import options_of
from oncegate.aws.stacks.rotation import Rotation, RotationUnfit
from oncegate.aws.stacks.template import text_of

WEEK_S = 604_800


def test_three_steps_exchange_the_key() -> None:
    """Both are trusted from the start to the end, and a number never returns."""
    started = Rotation().started()
    assert (started.generations, started.signing) == ((1, 2), 1)
    switched = started.switched(now_s=1_000)
    assert (switched.generations, switched.signing, switched.switched_s) == ((1, 2), 2, 1_000)
    finished = switched.finished(now_s=1_000 + WEEK_S, max_lifetime_s=WEEK_S)
    assert (finished.generations, finished.signing) == ((2,), 2)
    assert finished.started().generations == (2, 3)


def test_finishing_a_second_early_is_refused() -> None:
    """The last link that the old key signed may be alive until that very second."""
    switched = Rotation().started().switched(now_s=1_000)
    with pytest.raises(RotationUnfit, match="may be alive until"):
        switched.finished(now_s=1_000 + WEEK_S - 1, max_lifetime_s=WEEK_S)
    switched.finished(now_s=1_000 + WEEK_S, max_lifetime_s=WEEK_S)


def test_a_step_at_the_wrong_time_is_refused() -> None:
    """A key that is trusted no more, or signs untrusted, ends links that people hold."""
    started = Rotation().started()
    with pytest.raises(RotationUnfit):
        started.started()
    with pytest.raises(RotationUnfit):
        Rotation().switched(now_s=1)
    with pytest.raises(RotationUnfit):
        started.finished(now_s=10**10, max_lifetime_s=0)
    with pytest.raises(RotationUnfit):
        started.switched(now_s=1).switched(now_s=2)


def test_the_state_stands_in_the_stack() -> None:
    """Another machine goes on from it; and a switch alone is a change that CloudFormation sees."""
    options = deployment_of(cors_origins=("https://a.example",)).options
    switched = dataclasses.replace(options, rotation=Rotation().started().switched(now_s=1_000))
    template = edge_template(switched, CODE)
    assert options_of(template) == switched
    started = edge_template(dataclasses.replace(options, rotation=Rotation().started()), CODE)
    assert text_of(template["Resources"]) != text_of(started["Resources"])  # type: ignore[arg-type]
    assert options_of({}) is None


def test_each_generation_is_a_key_of_its_own() -> None:
    """The first keeps its name: a stack of before must not make it anew."""
    options = deployment_of().options
    rotating = dataclasses.replace(options, rotation=Rotation().started())
    home = home_template(rotating, rotating.first)
    assert {name for name in home["Resources"] if name.startswith("SigningKey")} == {"SigningKey", "SigningKey2"}
    assert home["Outputs"].keys() >= {"SigningKeyArn", "SigningKeyArn2"}
