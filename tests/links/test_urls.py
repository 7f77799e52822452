"""Splitting and escaping URLs, and which object keys there are: one spelling, no surprise for a file system or store."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncegate.links.refusal import Reason, Refused
from oncegate.links.urls import (
    OBJECT_KEY_MAX_BYTES,
    Url,
    is_escaped_well,
    object_key_of,
    object_key_problem,
    parse_url,
    path_of,
    unescape,
)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://h/a?b=c", Url("https", "h", b"/a", b"b=c")),
        ("HTTP://Example.COM:80/A%2f?x#frag", Url("http", "example.com", b"/A%2f", b"x")),
        ("https://h:443/", Url("https", "h", b"/", b"")),
        ("http://h:443/", Url("http", "h:443", b"/", b"")),
        ("https://h", Url("https", "h", b"/", b"")),
        ("https://h?q", Url("https", "h", b"/", b"q")),
        ("https://h/?a?b", Url("https", "h", b"/", b"a?b")),
        ("https://[::1]:8080/k", Url("https", "[::1]:8080", b"/k", b"")),
        ("https://h/\u00e9", Url("https", "h", "/\u00e9".encode(), b"")),
    ],
)
def test_a_url_is_split_and_nothing_is_decoded(url: str, parts: Url) -> None:
    """A signature is over these bytes; scheme, host and the scheme's own port are all that may be written otherwise."""
    assert parse_url(url) == parts


@pytest.mark.parametrize(
    "url", ["", "h/a", "//h/a", "ftp://h/a", "https:///a", "https://u:p@h/a", "https://h h/a", "https://-h/", "http:/h"]
)
def test_what_is_no_http_url_is_refused(url: str) -> None:
    """A user name before the host is how one site is made to look like another."""
    with pytest.raises(ValueError, match=r"must begin with|no valid host"):
        parse_url(url)


@given(st.text(min_size=1, max_size=40).filter(lambda key: not object_key_problem(key)))
def test_a_key_comes_back_from_its_path(key: str) -> None:
    """Spaces, plus, percent, question mark, hash and every script are exact."""
    path = path_of(key).encode()
    assert path.isascii()
    assert not set(path) & set(b'?#*\\ "<>')
    assert object_key_of(path) == key


@given(st.binary(max_size=30))
def test_a_path_gives_a_key_that_is_served_or_a_refusal(raw: bytes) -> None:
    """Whatever bytes come, there is no third outcome, and a key that is given back is one that links are made for."""
    try:
        key = object_key_of(b"/" + raw)
    except Refused as refused:
        assert refused.reason is Reason.OBJECT_KEY
    else:
        assert object_key_problem(key) == ""
        assert object_key_of(path_of(key).encode()) == key


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (b"/a", "a"),
        (b"/a%2Fb", "a/b"),
        (b"/a%2fb", "a/b"),
        (b"/a+b", "a+b"),
        (b"/%2525", "%25"),
        (b"/%23%3F", "#?"),
        (b"/...", "..."),
        (b"/..a/.b", "..a/.b"),
        ("/\u00e9".encode(), "\u00e9"),
        (b"/%C3%A9", "\u00e9"),
        (b"/~%7E", "~~"),
    ],
)
def test_a_path_is_decoded_once(path: bytes, key: str) -> None:
    """Twice would make ``%252e`` a dot; not at all would give one object two keys."""
    assert object_key_of(path) == key


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"//a",
        b"/a/",
        b"/a//b",
        b"/.",
        b"/..",
        b"/a/./b",
        b"/a/../b",
        b"/%2e%2e/b",
        b"/a%2F..%2Fb",
        b"/a%2F",
        b"/%2Fa",
        b"/a%00",
        b"/a%0A",
        b"/a%7F",
        b"/a%C2%85",
        b"/a\\b",
        b"/a%5Cb",
        b"/a%",
        b"/a%4",
        b"/a%zz",
        b"/%FF",
        b"/%C0%AF",
        b"/%ED%A0%80",
    ],
)
def test_what_a_store_would_rewrite_or_choke_on_is_no_key(path: bytes) -> None:
    """Stores drop slashes, resolve dots or fail after the claim; two spellings of one object would be two links."""
    with pytest.raises(Refused) as caught:
        object_key_of(path)
    assert caught.value.reason is Reason.OBJECT_KEY


@pytest.mark.parametrize("character", ["a", "\u00e9", "\u20ac", "\U0001f4a9"])
def test_a_key_is_1024_bytes_at_most_whatever_its_script(character: str) -> None:
    """S3's limit counts bytes of UTF-8, not characters; both sides."""
    size = len(character.encode())
    fits = character * (OBJECT_KEY_MAX_BYTES // size) + "x" * (OBJECT_KEY_MAX_BYTES % size)
    assert object_key_problem(fits) == ""
    assert "longer than" in object_key_problem(fits + "x")
    with pytest.raises(Refused):
        object_key_of(quote(f"/{fits}x").encode())


@pytest.mark.parametrize("key", ["\ud800", "a\udcff", "\ud800" * 600])
def test_a_key_that_is_no_unicode_is_a_problem(key: str) -> None:
    """A command line gives such text for bytes that are not UTF-8; signing it would fail without a word about why."""
    assert object_key_problem(key) == "the object key is not UTF-8"


@pytest.mark.parametrize(
    ("raw", "is_well"), [(b"", True), (b"a%41", True), (b"%", False), (b"%4", False), (b"%4g", False), (b"%%41", False)]
)
def test_every_percent_begins_an_escape(raw: bytes, *, is_well: bool) -> None:
    """A decoder that lets ``%zz`` stand gives two readings of one URL."""
    assert is_escaped_well(raw) is is_well


def test_a_plus_stays_a_plus() -> None:
    """Only forms mean a space by it, and signatures are no forms."""
    assert unescape(b"a+b%2B%20") == b"a+b+ "
