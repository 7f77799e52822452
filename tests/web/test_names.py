"""Names as pages show them."""

from __future__ import annotations

import pytest

from oncegate.web.names import plain_text, readable_name, shown_file, signed_name


def test_a_name_that_turns_its_direction_shows_how() -> None:
    """``evil<U+202E>gpj.exe`` reads "evilexe.jpg" on a page that writes it as it is."""
    name = readable_name("evil\u202egpj.exe")
    assert name.text == "evil[U+202E]gpj.exe"
    assert (name.is_disguised, name.is_program, name.ending) == (True, True, "exe")
    assert ("U+202E", "sign") in name.pieces
    assert name.pieces[-1] == (".exe", "end")


def test_a_long_name_loses_its_middle_and_keeps_its_ending() -> None:
    """The ending says what a file is: it is the last thing to be cut. The whole name is one press away."""
    name = readable_name("a" * 300 + ".tar.gz")
    assert name.text.startswith("aaaa")
    assert name.text.endswith(".tar.gz")
    assert len(name.text) <= 56
    assert "".join(piece.text for piece in name.whole) == "a" * 300 + ".tar.gz"


def test_wide_letters_count_twice_and_accents_nothing() -> None:
    """Forty ideographs are as wide as eighty letters; an accent of its own stands above its letter."""
    assert readable_name("報" * 30 + ".pdf").whole
    assert not readable_name("報" * 20 + ".pdf").whole
    assert not readable_name("e\u0301" * 50 + ".pdf").whole


@pytest.mark.parametrize("name", ["\u2067x\u2069.pdf", "a\u200bb.txt", "tab\there.txt", "\ufeffx.txt", "x\u061c.txt"])
def test_every_hidden_sign_is_shown(name: str) -> None:
    """Whatever a reader cannot see is written as its code point."""
    readable = readable_name(name)
    assert readable.is_disguised
    assert readable.text.isprintable()


def test_texts_of_senders_lose_hidden_signs() -> None:
    """A note that turns its direction could write what its sender did not sign."""
    assert plain_text("Example\u202e moc.evil\x07") == "Example moc.evil"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (None, "key.bin"),
        ("attachment", "key.bin"),
        ('attachment; filename="Report 2026.pdf"', "Report 2026.pdf"),
        ("attachment; filename=\"_.pdf\"; filename*=UTF-8''%E2%82%AC.pdf", "€.pdf"),
        ('inline; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename=""', "key.bin"),
    ],
)
def test_the_signed_name_is_the_one_that_is_saved(disposition: str | None, name: str) -> None:
    """A page that says another name than the browser saves makes people doubt both."""
    assert signed_name("a/b/key.bin", disposition) == name


def test_a_type_is_said_in_words() -> None:
    """By its ending; without one that is known, by the media type."""
    assert shown_file("a.pdf").kind == "PDF document"
    assert shown_file("a", media_type="video/mp4").kind == "Video"
    assert shown_file("a").kind == "File"
    assert shown_file("a.jpeg").tag == "JPEG"
