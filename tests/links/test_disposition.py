"""What an object is served with: a browser shows only what can run nothing on the origin of the links."""

from __future__ import annotations

import time

import pytest

from oncegate.links.disposition import content_disposition, disposition_of, plain_disposition


@pytest.mark.parametrize(
    "kind",
    ["inline", "INLINE", " inline ", '"inline"', "in line", "inline\t", "in=line", "", "x-show", "inline/", "\u00e9"],
)
@pytest.mark.parametrize("rest", ["", ';filename="a.html"'])
def test_what_is_not_attachment_counts_as_inline(kind: str, rest: str) -> None:
    """A type that is no token passed for attachment here, and a browser may show such an object."""
    assert disposition_of("a.html", kind + rest, "text/html; charset=utf-8") == "attachment" + rest
    assert disposition_of("a.png", kind + rest, "image/png") == kind + rest


@pytest.mark.parametrize("kind", ["attachment", "Attachment", " attachment "])
def test_an_attachment_stays_as_it_was_signed(kind: str) -> None:
    """Nothing is shown, so there is nothing to change."""
    assert disposition_of("a.html", f"{kind}; filename=b", "text/html") == f"{kind}; filename=b"


def test_without_one_the_object_is_saved_under_its_name() -> None:
    """The name is what follows the last slash of its key."""
    assert disposition_of("x/\u00e9.html", None, "text/html").startswith(
        'attachment; filename="_.html"; filename*=UTF-8'
    )


@pytest.mark.parametrize(
    ("signed", "served"),
    [
        ("inline; filename=Müller.pdf", "inline; filename=\"M_ller.pdf\"; filename*=UTF-8''M%C3%BCller.pdf"),
        (
            'attachment; filename="a \\"b\\" ü"; size=3',
            "attachment; filename=\"a _b_ _\"; filename*=UTF-8''a%20%22b%22%20%C3%BC; size=3",
        ),
        (
            'attachment; filename="=?UTF-8?B?TcO8bGxlcg==?= =?utf-8?q?.pdf?="',
            "attachment; filename=\"M_ller.pdf\"; filename*=UTF-8''M%C3%BCller.pdf",
        ),
        ('attachment; filename="=?no-charset?B?TcO8?="', 'attachment; filename="=?no-charset?B?TcO8?="'),
        ('attachment; filename="=?utf-8?B?!?="', 'attachment; filename="=?utf-8?B?!?="'),
        ('attachment; filename="=?utf-8?q?=0D=0Ax?="', 'attachment; filename="=?utf-8?q?=0D=0Ax?="'),
        ("attachment; filename=\"é\"; filename*=UTF-8''%C3%A9", "attachment; filename=\"?\"; filename*=UTF-8''%C3%A9"),
        ('attachment;  filename = "plain.pdf" ; x=1', 'attachment;  filename = "plain.pdf" ; x=1'),
        ("inline", "inline"),
    ],
)
def test_a_disposition_that_others_signed_is_written_in_ascii(signed: str, served: str) -> None:
    """Raw UTF-8 reaches programs as mojibake, and words of mail as they are; what is plain stays byte for byte."""
    assert plain_disposition(signed) == served


def test_a_name_that_looks_like_a_word_of_mail_is_not_decoded_by_browsers() -> None:
    """They decode it in the quoted form; filename* goes before that."""
    name = "=?UTF-8?Q?a?=.pdf"
    assert content_disposition("attachment", name).endswith("; filename*=UTF-8''%3D%3FUTF-8%3FQ%3Fa%3F%3D.pdf")


def test_a_long_hostile_disposition_costs_little() -> None:
    """A link of 16 KiB is anybody's who may sign, and every request of it is rewritten."""
    for part in ('; filename="', '; filename="\\', "=?a?q?", ";filename*", "; filename=\t"):
        begun = time.process_time()
        plain_disposition("é" + part * (16_384 // len(part)))
        assert time.process_time() - begun < 0.5
