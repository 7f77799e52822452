"""Every pair of colours can be read, also with an issuer's colour."""

from __future__ import annotations

import itertools
import re

from oncegate.web.colours import contrast, issuer_style, schemes_of
from oncegate.web.pages import asset

TEXT = [
    ("ink", "card"), ("ink", "bg"), ("ink", "tint"), ("soft", "card"), ("soft", "bg"), ("soft", "tint"), ("on", "a"),
    ("a", "card"), ("a", "tint"), ("good", "goodt"), ("good", "card"), ("wait", "waitt"), ("wait", "card"), ("bad", "badt"),
    ("bad", "card"),
]  # fmt: skip
SIGNS = [("a", "bg"), ("edge", "card"), ("edge", "bg"), ("a", "line")]


def test_contrast_is_what_wcag_says() -> None:
    """Black on white is 21, a colour on itself 1, and #767676 is the lightest grey that is text on white."""
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert contrast("#123456", "#123456") == 1
    assert contrast("#767676", "#ffffff") >= 4.5 > contrast("#777777", "#ffffff")


def test_text_and_signs_can_be_read_in_light_and_dark() -> None:
    """4.5:1 for text, 3:1 for controls, rings and bars (WCAG 2.2, 1.4.3 and 1.4.11)."""
    for scheme in schemes_of(asset("page.css")):
        for front, ground in TEXT:
            assert contrast(scheme[front], scheme[ground]) >= 4.5, (front, ground)
        for front, ground in SIGNS:
            assert contrast(scheme[front], scheme[ground]) >= 3, (front, ground)


def test_any_colour_of_an_issuer_can_be_read() -> None:
    """Yellow on white is no text; so their colour is moved until it is, and the button's words are black or white."""
    sheet = asset("page.css")
    for red, green, blue in itertools.product(range(0, 256, 51), repeat=3):
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        rules = issuer_style(colour, sheet).split("@media")
        for scheme, rule in zip(schemes_of(sheet), rules, strict=True):
            own = {**scheme, **dict(re.findall(r"--(\w+):(#\w{6})", rule))}
            assert contrast(own["on"], own["b"]) >= 4.5, colour
            assert min(contrast(own["a"], own[ground]) for ground in ("card", "bg", "tint")) >= 4.5, colour
