"""Durations and sizes as people write them."""

import pytest

from oncegate.settings.units import DURATION_MAX_S, SIZE_MAX_BYTES, parse_duration_s, parse_size_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("30s", 30), ("15m", 900), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600), ("5 m", 300)],
)
def test_a_duration_is_its_number_of_seconds(text: str, seconds: int) -> None:
    """Every unit of the documentation, and a number alone."""
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "-1s", "1.5h", "15M", "1h30m", "15 min", "1e3", " 15m", "15m\n", "\u0661s", "9" * 50]
)
def test_what_is_no_duration_is_refused_with_the_spelling_that_is_meant(text: str) -> None:
    """Guessing would make 15M a quarter of an hour or 15 months."""
    with pytest.raises(ValueError, match="is no duration: write a whole number and s, m, h, d or w"):
        parse_duration_s(text)


def test_ten_years_are_the_longest_duration() -> None:
    """A larger number is milliseconds or an instant, and sums with it could leave 63 bits."""
    assert parse_duration_s(str(DURATION_MAX_S)) == DURATION_MAX_S
    with pytest.raises(ValueError, match="longer than ten years"):
        parse_duration_s(str(DURATION_MAX_S + 1))


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1024", 1024),
        ("7B", 7),
        ("10kB", 10_000),
        ("10KB", 10_000),
        ("10MB", 10_000_000),
        ("10M", 10_000_000),
        ("3k", 3_000),
        ("2G", 2 * 10**9),
        ("1T", 10**12),
        ("10MiB", 10_485_760),
        ("10 mib", 10_485_760),
        ("1GB", 10**9),
        ("1GiB", 2**30),
        ("1TB", 10**12),
        ("5TiB", 5 * 2**40),
    ],
)
def test_a_size_is_its_number_of_bytes(text: str, size_bytes: int) -> None:
    """Powers of 1000 and of 1024 differ by ten percent at TB, so both have their own names."""
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "MB", "-1", "1.5GB", "10Mi", "10X", "10Mbit", "0x10", "10MB ", "1_000"])
def test_what_is_no_size_is_refused_with_the_spelling_that_is_meant(text: str) -> None:
    """A unit that is none, a sign, a fraction."""
    with pytest.raises(ValueError, match="is no size: write a whole number and B, kB"):
        parse_size_bytes(text)


def test_the_largest_size_is_a_signed_64_bit_number() -> None:
    """Both sides of the limit."""
    assert parse_size_bytes(str(SIZE_MAX_BYTES)) == SIZE_MAX_BYTES
    with pytest.raises(ValueError, match="more than 2"):
        parse_size_bytes(str(SIZE_MAX_BYTES + 1))
