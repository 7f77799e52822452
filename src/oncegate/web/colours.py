"""Contrast as WCAG 2 measures it, and an issuer's one colour made fit for light and dark."""

from __future__ import annotations

import re
from collections.abc import Mapping

READABLE = 4.5
"""WCAG 2.2, 1.4.3: the least contrast of text."""
_DARK_SCHEME = "@media(prefers-color-scheme:dark)"
_RULE = re.compile(r":root\{([^}]*)\}")
_NAMED = re.compile(r"--(\w+):(#\w{6})")
_NEARLY_BLACK = "#101114"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (``#rrggbb``), 1 to 21. Source: WCAG 2.2, "contrast ratio"."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def schemes_of(sheet: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The colours of light and of dark, by the names that the style sheet's first two ``:root`` rules give them."""
    light, dark = (dict(_NAMED.findall(rule)) for rule in _RULE.findall(sheet)[:2])
    return light, light | dark


def issuer_style(colour: str, sheet: str) -> str:
    """Write the rules that put an issuer's colour into the pages.

    Args:
        colour: ``#rrggbb``.
        sheet: the style sheet of the pages.

    Returns:
        For light and dark each: ``--b``, the button, in the very colour where it bears words; ``--on``, the words on it;
        ``--a``, for rings, signs and edges, moved towards the colour of text until it can be seen; ``--tint``.
    """
    light, dark = (_rule(colour, scheme) for scheme in schemes_of(sheet))
    return f"{light}{_DARK_SCHEME}{{{dark}}}"


def _rule(colour: str, scheme: Mapping[str, str]) -> str:
    seen, share = colour, 0.0
    tint = _mixed(scheme["card"], seen, 0.08)
    while min(contrast(seen, ground) for ground in (scheme["card"], scheme["bg"], tint)) < READABLE:
        share = min(1.0, share + 0.04)
        seen = _mixed(colour, scheme["ink"], share)
        tint = _mixed(scheme["card"], seen, 0.08)
    # neither black nor white can be read on a middle grey
    button = colour if contrast(_words_on(colour), colour) >= READABLE else seen
    return f":root{{--a:{seen};--b:{button};--on:{_words_on(button)};--tint:{tint}}}"


def _words_on(ground: str) -> str:
    return max(("#ffffff", _NEARLY_BLACK), key=lambda words: contrast(words, ground))


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _luminance(colour: str) -> float:
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour))
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _mixed(colour: str, into: str, share: float) -> str:
    pairs = zip(_channels(colour), _channels(into), strict=True)
    return "#" + "".join(f"{round(255 * (one + (other - one) * share)):02x}" for one, other in pairs)
