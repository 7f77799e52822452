"""The names under which files of people are stored."""

from __future__ import annotations

import pytest

from oncegate.gateway.forms import NAME_MAX_BYTES, safe_name


@pytest.mark.parametrize(
    ("name", "number", "safe"),
    [
        ("scan.png", 1, "scan.png"), ("scan.png", 2, "scan (2).png"), ("scan", 3, "scan (3)"), (".png", 2, "png (2)"),
        ("../../etc/passwd", 1, "_.._etc_passwd"), ("a\\b.txt", 1, "a_b.txt"), ("evil\u202egpj.exe", 1, "evil_gpj.exe"),
        ("", 1, "file"), ("...", 1, "file"), ("a*b?.txt", 1, "a_b_.txt"), ("Ünïcode 報.pdf", 1, "Ünïcode 報.pdf"),
    ],
)  # fmt: skip
def test_a_name_becomes_one_that_every_store_keeps(name: str, number: int, safe: str) -> None:
    """No folder, no hidden sign, no wildcard; what people can read stays."""
    assert safe_name(name, number) == safe


def test_a_long_name_keeps_its_end() -> None:
    """File systems take 255 bytes, and the ending says what it is."""
    name = safe_name("報" * 300 + ".pdf")
    assert len(name.encode()) <= NAME_MAX_BYTES
    assert name.endswith("報.pdf")
