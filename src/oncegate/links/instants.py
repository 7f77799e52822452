"""RFC 3339 in both directions: the one reader and the one writer of instants."""

from __future__ import annotations

import datetime as dt
import re

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_FORM = "write an instant with its zone, as in 2026-01-01T00:00:00Z"


def read_instant_s(text: str) -> int:
    """Read an instant as RFC 3339 has it.

    Returns:
        Seconds since 1970 UTC; a fraction of a second is cut off.

    Raises:
        ValueError: it is no instant, names no zone, or is before 1970. The message does not quote the text.
    """
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise ValueError(_FORM)
    if found[2] is None:
        raise ValueError(f"it has no zone: {_FORM}")
    try:
        # RFC 3339 5.6 allows "t" and "z" as well; Python does not read "z"
        instant = dt.datetime.fromisoformat(text.upper())
        at_s = int((instant - dt.datetime.fromtimestamp(0, dt.UTC)).total_seconds())
    except (ValueError, OverflowError):
        raise ValueError(_FORM) from None
    if instant.timestamp() < 0:
        raise ValueError("the instant is before 1970")
    return at_s


def instant_text(at_s: int) -> str:
    """Write an instant as ``2026-01-01T00:00:00Z``; one that no calendar reaches as a number of seconds."""
    try:
        return dt.datetime.fromtimestamp(at_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):  # years beyond 9999, or beyond the platform's time_t
        return f"{at_s} seconds after 1970"
