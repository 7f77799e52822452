"""What pages say of a file."""

from __future__ import annotations

import pytest

from oncegate.web.plain import readable_size


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1 kB"),
        (1_449, "1.4 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1 MB"),
        (5_000_000, "5 MB"),
        (10**12, "1 TB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_a_size_is_written_as_people_write_it(size_bytes: int, words: str) -> None:
    """No "1 bytes", no "1.0 MB", and no "1000.0 kB" where the next unit is meant."""
    assert readable_size(size_bytes) == words
