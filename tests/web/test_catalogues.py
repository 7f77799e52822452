"""The catalogues are complete, and each text has the holes of the English one."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import pytest
from babel.messages.pofile import read_po

from oncegate.web.languages import DEFAULT, LANGUAGES, language

ROOT = pathlib.Path(__file__).parents[2]
HOLES = re.compile(r"%\(\w+\)s|\{\w+\}")
TRANSLATED = [code for code in LANGUAGES if code != DEFAULT]


def test_every_text_is_in_every_catalogue_and_no_other() -> None:
    """A text that is missing would be English in the middle of a page."""
    done = subprocess.run(
        [sys.executable, "tools/gen_catalogues.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "complete\n")


@pytest.mark.parametrize("code", TRANSLATED)
def test_every_translation_has_the_holes_of_its_text(code: str) -> None:
    """One hole too many is a page that breaks, one too few a page that does not say when."""
    with (ROOT / "src/oncegate/web/locale" / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    for message in catalogue:
        if not message.id:
            continue
        if isinstance(message.id, str):
            assert sorted(HOLES.findall(message.id)) == sorted(HOLES.findall(str(message.string))), message.id
            assert "<" not in str(message.string)
        else:
            for form in message.string:
                assert set(HOLES.findall(form)) <= {"%(num)s"}, form


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_form_of_a_number_is_there_for_the_script(code: str) -> None:
    """``Intl.PluralRules`` names a form by CLDR's category; ``other`` is asked for where it has another name."""
    forms = language(code).plurals("The file has arrived", "%(num)s files have arrived")
    assert "other" in forms
    assert all("%" not in form for form in forms.values())


@pytest.mark.parametrize("code", TRANSLATED)
def test_signs_are_those_of_the_language(code: str) -> None:
    """Typographic quotes and apostrophes; in French no line begins with a colon or a question mark."""
    text = (ROOT / "src/oncegate/web/locale" / f"{code}.po").read_text()
    strings = re.findall(r'^msgstr(?:\[\d\])? "(.*)"$', text, re.MULTILINE)
    assert not [string for string in strings if "'" in string or '\\"' in string]
    if code == "fr":
        assert not [string for string in strings if re.search("[ \\w][:;?!»]|« |«\\w", string)]


def test_arabic_is_written_from_right_to_left() -> None:
    """And everything else from left to right."""
    assert [code for code in LANGUAGES if language(code).direction == "rtl"] == ["ar"]
