"""docs/record.md: its examples are records, of the sizes that it says."""

from __future__ import annotations

import pathlib
import re

from oncegate.uses.record import from_json, to_json

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "record.md"
_EXAMPLE = re.compile(r"```json\n(.+)\n```\n\n([0-9]+) bytes\.")


def test_every_example_is_a_record_of_that_size() -> None:
    """Whoever reads a ledger by hand reads it by this page."""
    examples = _EXAMPLE.findall(PAGE.read_text())
    assert len(examples) == PAGE.read_text().count("```json")
    for text, size in examples:
        assert to_json(from_json(text.encode())) == text.encode()
        assert len(text.encode()) == int(size)
