"""The languages of the pages: texts from the catalogues, sizes and times as each language writes them.

A catalogue is ``locale/<code>.po``; tests/web/test_catalogues.py holds that each is complete. Babel reads it, and brings
the Unicode CLDR's forms of numbers and dates. Digits are 0 to 9 and the calendar is Gregorian throughout, so that what
the gateway writes and what a browser's ``Intl`` writes agree.
"""

from __future__ import annotations

import functools
import gettext
import io
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files

from babel import Locale
from babel.dates import format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.units import format_unit

LANGUAGES: Mapping[str, str] = {
    "en": "English",
    "de": "Deutsch",
    "fr": "Français",
    "es": "Español",
    "ja": "日本語",
    "ar": "العربية",
}
"""Codes of the languages, each with its own name."""
DEFAULT = "en"

COOKIE = b"oncegate-language"
COOKIE_MAX_AGE_S = 365 * 86_400
ACCEPTED_MAX = 16
"""Languages that are looked at of one Accept-Language."""
_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]*)?\s*(?:;\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*)?")
_UNITS = ("byte", "kilobyte", "megabyte", "gigabyte", "terabyte")


def accepted_language(header: str) -> str | None:
    """The language of ours that an Accept-Language (RFC 9110 12.5.4) prefers; None: it names none."""
    best, best_weight = None, 0.0
    for part in header.split(",", ACCEPTED_MAX)[:ACCEPTED_MAX]:
        found = _RANGE.fullmatch(part)
        weight = float(found[2] or 1) if found else 0.0
        if found and found[1].lower() in LANGUAGES and weight > best_weight:
            best, best_weight = found[1].lower(), weight
    return best


class Language:
    """One language.

    Attributes:
        code: as in ``lang``.
        direction: ``ltr`` or ``rtl``.
        texts: its catalogue.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self._locale = Locale.parse(code)
        self.direction: str = "rtl" if self._locale.character_order == "right-to-left" else "ltr"
        self.texts: gettext.NullTranslations = _catalogue(code)

    def say(self, text: str) -> str:
        """Translate a marked text."""
        return self.texts.gettext(text) if text else ""

    def count(self, one: str, many: str, number: int) -> str:
        """Translate a text that depends on a number, and put the number in."""
        return self.texts.ngettext(one, many, number) % {"num": number}

    def size(self, size_bytes: int) -> str:
        """Write a size: 2.4 MB."""
        size, unit = float(size_bytes), 0
        while size >= (999.95 if unit else 1000) and unit < len(_UNITS) - 1:
            size, unit = size / 1000, unit + 1
        return format_unit(
            round(size, 1), f"digital-{_UNITS[unit]}", length="short" if unit else "long", locale=self._locale
        )

    def minutes(self, seconds: int) -> str:
        """Write how long something lasts: 15 minutes."""
        return format_unit(max(1, seconds // 60), "duration-minute", length="long", locale=self._locale)

    def instant(self, at_s: int) -> str:
        """Write a time in UTC; a page's script writes it again in the reader's zone."""
        form = "d MMM y, HH:mm" if self.code == "en" else "medium"
        return f"{format_datetime(datetime.fromtimestamp(at_s, UTC), form, locale=self._locale)} UTC"

    def plurals(self, one: str, many: str) -> dict[str, str]:
        """Every form of a text that depends on a number, by CLDR's name of the form, for ``Intl.PluralRules``."""
        forms: dict[str, str] = {}
        for number in range(201):
            forms.setdefault(self._locale.plural_form(number), self.texts.ngettext(one, many, number))
        return {name: text.replace("%(num)s", "{n}") for name, text in forms.items()}


@functools.cache
def language(code: str) -> Language:
    """A language, read when it is first asked for."""
    return Language(code)


def _catalogue(code: str) -> gettext.NullTranslations:
    source = files("oncegate.web") / "locale" / f"{code}.po"
    if code == DEFAULT:
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with source.open("rb") as file:
        write_mo(compiled, read_po(file, locale=code))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
