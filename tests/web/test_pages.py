"""Pages as they are sent: their size, their policy, and what must not be in them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from pathlib import Path

import pytest

from oncegate.links.refusal import Reason
from oncegate.settings import Settings
from oncegate.settings.tables import PagesSettings
from oncegate.unfit import Unfit
from oncegate.web.answers import Answer
from oncegate.web.languages import LANGUAGES, accepted_language
from oncegate.web.names import shown_file
from oncegate.web.pages import LOGO_MAX_BYTES, Pages, Refusal
from page_samples import EVIL, NOW_S, pages_of, ready_of, request_of, states

WIRE_MAX_BYTES = 12_000


def header(answer: Answer, name: bytes) -> str:
    """One header of an answer."""
    return dict(answer.headers)[name].decode()


def text_of(answer: Answer) -> str:
    """A page as it is written."""
    packed = dict(answer.headers).get(b"content-encoding") == b"gzip"
    return (gzip.decompress(answer.body) if packed else answer.body).decode()


def bare(page: str) -> str:
    """A page without its styles and scripts."""
    return re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_keeps_to_its_size(language: str) -> None:
    """Under 12 kB on the wire each; the page with the button also uncompressed, where somebody waits for it."""
    for name, answer in states(pages_of(), request_of(language=language, gzip=True)):
        assert len(answer.body) < WIRE_MAX_BYTES, name
        assert header(answer, b"content-language") == language
    ready = pages_of().ready(request_of(language=language), ready_of(), status=200)
    assert len(ready.body) < WIRE_MAX_BYTES


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_loads_or_runs_anything_else(language: str) -> None:
    """Each style and script has its hash in the policy; no attribute is code, and no address leads elsewhere."""
    for name, answer in states(pages_of(colour="#ffd400"), request_of(language=language)):
        policy, page = header(answer, b"content-security-policy"), text_of(answer)
        assert "unsafe" not in policy
        for kind in ("style", "script"):
            hashes = re.findall(rf"{kind}-src ([^;]*)", policy)[0]
            for text in re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL):
                assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in hashes, (name, kind)
        assert not re.search(r"<[^>]*\s(?:on\w+|style)=", bare(page)), name
        assert not re.search(r'(?:src|href|action)="(?!data:|"|\?once=)', bare(page)), name
        for directive in ("default-src 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"):
            assert directive in policy


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_but_the_players_holds_a_part_of_the_link(language: str) -> None:
    """A page is compressed, saved and photographed: whoever has it must not have the link."""
    for name, answer in states(pages_of(), request_of(language=language)):
        if not name.startswith("player"):
            assert "secret" not in text_of(answer), name


def test_the_players_page_is_not_compressed() -> None:
    """Beside a name that somebody else chose, its length would tell of the link that it holds."""
    for name, answer in states(pages_of(), request_of(gzip=True)):
        assert (b"content-encoding" in dict(answer.headers)) != name.startswith("player"), name


@pytest.mark.parametrize("accepted", [b"gzip;q=0", b"br, gzip; q=0.0", b"deflate", b""])
def test_who_takes_no_gzip_gets_none(accepted: bytes) -> None:
    """RFC 9110 12.5.3: a weight of 0 refuses a coding."""
    request = request_of()
    asked = type(request)(**{
        name: getattr(request, name) for name in ("method", "scheme", "host", "path", "query")
    }, headers=((b"accept-encoding", accepted),))  # fmt: skip
    answer = pages_of().ready(asked, ready_of(), status=200)
    assert b"content-encoding" not in dict(answer.headers)


def test_texts_of_others_stay_text() -> None:
    """Names, senders and notes with markup, quotes, and signs that turn directions."""
    for name in (EVIL, "<b>.txt", "\"'&.txt", "a" * 10_000):
        page = bare(text_of(pages_of().ready(request_of(), ready_of(name, sender=EVIL, note=EVIL), status=200)))
        assert "<script>alert" not in page
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
        assert page.count("<a ") == 0, "an address in a note is no link"


def test_titles_name_no_file_unless_configured() -> None:
    """Chats and histories keep titles: they say that a file was shared, and the name only where the issuer wants it."""
    for previews, is_named in (("neutral", False), ("name", True)):
        page = text_of(pages_of(previews=previews).ready(request_of(), ready_of(), status=200))
        head = page.partition("</head>")[0]
        assert ("Annual report 2026.pdf" in head) is is_named
        assert ("A file was shared with you" in head) is not is_named


def test_an_issuer_has_a_name_a_logo_a_colour_and_a_contact(tmp_path: Path) -> None:
    """What is set is on the page; a logo goes with it, so that nothing is loaded."""
    (tmp_path / "logo.svg").write_text("<svg/>")
    settings = PagesSettings(name="Example & Co", logo="logo.svg", colour="#0f766e", contact="help@example.com")
    page = text_of(Pages(Settings(pages=settings, folder=tmp_path)).ready(request_of(), ready_of(), status=200))
    assert 'alt="Example &amp; Co"' in page
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in page
    assert "help@example.com" in page
    assert "--b:#0f766e" in page


def test_a_logo_that_cannot_be_sent_ends_the_start(tmp_path: Path) -> None:
    """Missing or too large: the operator is told which setting, and no page goes out without it."""
    settings = Settings(pages=PagesSettings(logo="logo.png"), folder=tmp_path)
    with pytest.raises(Unfit, match=r"\[pages\] logo: cannot be read"):
        Pages(settings)
    (tmp_path / "logo.png").write_bytes(bytes(LOGO_MAX_BYTES + 1))
    with pytest.raises(Unfit, match=f"larger than {LOGO_MAX_BYTES} bytes"):
        Pages(settings)
    (tmp_path / "logo.png").write_bytes(bytes(LOGO_MAX_BYTES))
    assert Pages(settings)


def test_a_busy_page_asks_again_with_and_without_a_script() -> None:
    """After what Retry-After says: a person who reads it does not know that header."""
    said = Refusal(Reason.LEDGER_UNKNOWN, "x-1", retry_after_s=7)
    page = text_of(pages_of().refusal(request_of(), said, status=503))
    assert '<noscript><meta http-equiv="refresh" content="7"></noscript>' in page
    assert 'data-after="7"' in page


def test_the_code_for_support_is_on_every_refusal() -> None:
    """Whoever reads it out can be found in the log."""
    page = text_of(pages_of().refusal(request_of(), Refusal(Reason.USED, "kKZc-2"), status=403))
    assert "used · kKZc-2" in page


def test_a_spent_page_says_when_and_offers_to_ask_for_a_new_link() -> None:
    """In UTC, until the script writes it in the reader's zone."""
    said = Refusal(Reason.USED, "x-1", at_s=NOW_S, file=shown_file("a.pdf"))
    page = text_of(pages_of().refusal(request_of(), said, status=403))
    assert '<time datetime="2026-11-28T00:03:00+00:00">28 Nov 2026, 00:03 UTC</time>' in page
    assert "Could you send me a new one?" in page


@pytest.mark.parametrize(
    ("header", "chosen"),
    [
        ("", None), ("xx", None), ("en-GB,en;q=0.8", "en"), ("xx;q=1, en;q=0.1", "en"), ("en;q=0", None),
        ("en;q=2", None), ("EN", "en"), (",".join(["xx"] * 16 + ["en"]), None), ("*", None),
    ],
)  # fmt: skip
def test_the_reader_chooses_among_our_languages(header: str, chosen: str | None) -> None:
    """RFC 9110 12.5.4: by weight; a 0 refuses. What cannot be read is passed over, and so is what is far too much."""
    assert accepted_language(header) == chosen
