"""Every reason has a sentence for people, and every sentence keeps to the rules of the pages."""

from __future__ import annotations

import pathlib
import re

from oncegate.links.refusal import TABLE, Reason
from oncegate.web.words import STATE_OF, STATES

ERRORS = pathlib.Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
OF_MACHINES = re.compile(r"\b(claim|object|key|token|signature|status|denied|forbidden|invalid|error)\b", re.IGNORECASE)


def test_every_row_of_the_errors_has_a_sentence_for_people() -> None:
    """A new reason without words would show its reader a page that breaks."""
    documented = set(re.findall(r"^\| `([a-z0-9-]+)` \| \d", ERRORS.read_text(), re.MULTILINE))
    assert documented == {reason.value for reason in TABLE}
    assert set(STATE_OF) == set(Reason)
    assert set(STATE_OF.values()) <= set(STATES)


def test_no_sentence_speaks_of_the_machine() -> None:
    """A reader who opened a link knows of no keys and claims, and is not to blame."""
    for state in STATES.values():
        for text in (state.headline, state.text, state.timeless, state.todo):
            assert OF_MACHINES.search(text) is None, text
            assert "!" not in text
        assert not state.headline.endswith(".")
        assert len(state.headline) <= 45


def test_a_sentence_with_a_time_has_another_without() -> None:
    """The time is not always known, and a page must not say "on None"."""
    for state in STATES.values():
        assert "%" not in state.headline + state.todo + state.timeless
        assert ("%(when)s" in state.text) == bool("%(when)s" in state.text and state.timeless)
