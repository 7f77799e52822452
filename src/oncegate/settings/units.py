"""Durations and sizes as people write them: ``15m``, ``7d``, ``10MB``, ``5TiB``.

Shared by the configuration and the command line. Whole numbers only, one unit each; what could be read in two ways
(``15M``, ``1.5h``) is refused with the spelling that is meant. Of sizes ``10M`` is 10 MB, the smaller of what it could be.
"""

from __future__ import annotations

import re

DURATION_MAX_S = 3650 * 86_400
"""Ten years: beyond it a number is a mistake (milliseconds, or an instant), not a duration."""

SIZE_MAX_BYTES = 2**63 - 1
"""What databases, file systems and JSON readers hold as a signed 64-bit number."""

_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DECIMAL_BYTES = {"": 1, "b": 1} | {
    letter + b: 10**power for letter, power in (("k", 3), ("m", 6), ("g", 9), ("t", 12)) for b in ("", "b")
}
_BYTES = _DECIMAL_BYTES | {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_QUANTITY = re.compile(r"([0-9]{1,19}) ?([A-Za-z]{0,3})")


def parse_duration_s(text: str) -> int:
    """Read a duration.

    Args:
        text: a whole number and ``s``, ``m``, ``h``, ``d`` or ``w``; a number alone is seconds.

    Returns:
        Seconds, 0 <= seconds <= ``DURATION_MAX_S``.

    Raises:
        ValueError: it is no duration, or too long; the message says what to write.

    Source: our choice.
    """
    match = _QUANTITY.fullmatch(text)
    unit_s = _SECONDS.get(match[2]) if match else None
    if match is None or unit_s is None:
        raise ValueError(f"{text[:40]!r} is no duration: write a whole number and s, m, h, d or w, as in 30s, 15m, 7d")
    seconds = int(match[1]) * unit_s
    if seconds > DURATION_MAX_S:
        raise ValueError(f"{text!r} is longer than ten years")
    return seconds


def parse_size_bytes(text: str) -> int:
    """Read a size.

    Args:
        text: a whole number and ``B``, ``kB``, ``MB``, ``GB``, ``TB`` (powers of 1000; ``10M`` is ``10MB``) or ``KiB``, ``MiB``, ``GiB``,
            ``TiB`` (powers of 1024), in capitals or not; a number alone is bytes.

    Returns:
        Bytes, 0 <= bytes <= ``SIZE_MAX_BYTES``.

    Raises:
        ValueError: it is no size, or too large; the message says what to write.

    Source: our choice; the names are those of IEC 80000-13.
    """
    match = _QUANTITY.fullmatch(text)
    unit_bytes = _BYTES.get(match[2].lower()) if match else None
    if match is None or unit_bytes is None:
        raise ValueError(f"{text[:40]!r} is no size: write a whole number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")
    size_bytes = int(match[1]) * unit_bytes
    if size_bytes > SIZE_MAX_BYTES:
        raise ValueError(f"{text!r} is more than 2**63 - 1 bytes")
    return size_bytes
