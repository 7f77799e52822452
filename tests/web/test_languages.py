"""Sizes, times and the choice of a language."""

from __future__ import annotations

import typing

import pytest

from oncegate.settings.tables import PagesSettings
from oncegate.web.languages import LANGUAGES, language


def test_settings_and_pages_know_the_same_languages() -> None:
    """The settings lie below the pages, and cannot read the list from them."""
    assert typing.get_args(typing.get_type_hints(PagesSettings)["language"]) == tuple(LANGUAGES)


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1_000, "1 kB"), (1_449, "1.4 kB"), (999_949, "999.9 kB"),
        (999_950, "1 MB"), (5_000_000, "5 MB"), (10**12, "1 TB"), (5 * 10**15, "5,000 TB"),
    ],
)  # fmt: skip
def test_a_size_is_written_as_people_write_it(size_bytes: int, words: str) -> None:
    """As the edge's pages say it (tests/web/test_plain.py), but for the comma in thousands."""
    assert language("en").size(size_bytes) == words


def test_a_time_is_written_in_utc() -> None:
    """Without a script nobody knows the reader's zone, so the zone is named."""
    assert language("en").instant(1_795_824_180) == "28 Nov 2026, 00:03 UTC"
