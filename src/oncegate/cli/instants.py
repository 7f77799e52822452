"""Instants as people write them on the command line: ``+10m``, ``1h``, ``3600``, ``2026-01-01T00:00:00Z``."""

from __future__ import annotations

import re

import click

from oncegate.links import instants
from oncegate.links.policy import EPOCH_MAX_S
from oncegate.settings.units import DURATION_MAX_S, parse_duration_s

FORMS = "RFC 3339, +10m, or seconds"

BARE_NUMBER_MIN = 60
"""A number without a unit is seconds, from here on."""

_FROM_NOW = re.compile(r"([+-]?)([0-9]+ ?[a-z]{0,3})", re.IGNORECASE)


def read_instant_s(text: str, *, now_s: int) -> int:
    """Read an instant.

    Args:
        text: a duration from now (``+10m``, ``10m``; ``-10m`` is in the past), RFC 3339 with a zone, or seconds: a
            number up to ten years counts from now, a larger one from 1970; no link lives for longer than ten years. A
            number under 60 is refused: whoever writes ``30`` means minutes or days more often than seconds.
        now_s: seconds since 1970 UTC.

    Returns:
        Seconds since 1970 UTC, 0 <= seconds < 2**63.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(EPOCH_MAX_S)) else None
    if number is not None and number < BARE_NUMBER_MIN:
        raise ValueError(f"{text!r} of what? write {text}s, {text}m, {text}h or {text}d")
    if number is not None and number > DURATION_MAX_S:
        instant_s = number
    elif match := _FROM_NOW.fullmatch(text):
        seconds = parse_duration_s(match[2])
        instant_s = now_s - seconds if match[1] == "-" else now_s + seconds
    else:
        instant_s = _read_rfc3339(text)
    if not 0 <= instant_s <= EPOCH_MAX_S:
        raise ValueError(f"{text[:40]!r} is before 1970 or beyond every calendar")
    return instant_s


def _read_rfc3339(text: str) -> int:
    try:
        return instants.read_instant_s(text)
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is no instant: {error}, or +10m, or a number of seconds") from None


def instant_option(text: str | None, *, name: str, now_s: int) -> int | None:
    """Read an option that holds an instant; None where it was not given.

    Raises:
        click.BadParameter: it is no instant.
    """
    if text is None:
        return None
    try:
        return read_instant_s(text, now_s=now_s)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=name) from None
