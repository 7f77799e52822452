"""What people paste in place of a link: named, where it was refused; and never a reason to refuse a link that is good."""

from __future__ import annotations

from typing import Any

import pytest

from oncegate.links.pasted import as_pasted, mistake_in
from oncegate.links.refusal import Reason, Refused
from oncegate.links.verify import verify


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.replace("&", "&amp;"), "HTML-escaped"),
        (lambda url: url.replace("=", "=3D"), "source of a mail"),
        (lambda url: url[:60] + "\n" + url[60:], "broken over lines"),
        (lambda url: url[:60] + "\u2026", "cut off"),
        (lambda url: url.partition("&Signature")[0], "no Signature and no Key-Pair-Id"),
        (lambda url: url.partition("&Key-Pair-Id")[0], "no Key-Pair-Id"),
        (lambda url: url.partition("&Expires")[0], "never signed"),
        (lambda url: url.replace("Expires=", "Expires=1767290400000&x="), "milliseconds"),
        (lambda url: f"https://eur01.safelinks.protection.outlook.com/?url={url}", "Safe Links"),
        (lambda url: f"https://urldefense.com/v3/__{url}__;!!x", "Proofpoint"),
        (lambda _: "https://storage.googleapis.com/b/k?X-Goog-Algorithm=G&X-Goog-Signature=0", "Google"),
        (lambda _: "https://a.blob.core.windows.net/c/k?sv=2026-01-01&se=2026&sig=x%3D", "Azure"),
        (lambda _: "https://b.s3.amazonaws.com/k?AWSAccessKeyId=A&Signature=x&Expires=1767290400", "Version 2"),
        (lambda _: "https://h.example/k?uploadId=x&partNumber=1", "multipart"),
    ],
)
def test_each_kind_of_mistake_is_named(door: Any, change: Any, words: str) -> None:
    """Without the name, an issuer reads of a wrong signature and looks for another key."""
    url = change(door.canned(f"/a?{door.once()}"))
    assert words in mistake_in(url, door.request(url))
    with pytest.raises(Refused):
        verify(door.request(url), door.trust, now_s=door.now_s)


def test_a_presigned_link_that_was_cut_off_is_named(door: Any) -> None:
    """In the middle of its signature, or before it."""
    url = door.presigned("/a")
    for cut in (url[:-10], url.partition("&X-Amz-Signature")[0]):
        assert "cut off" in mistake_in(cut, door.request(cut))


@pytest.mark.parametrize(
    ("method", "headers", "words"),
    [
        ("GET", {"authorization": "AWS4-HMAC-SHA256 Credential=x"}, "presigned links only"),
        ("DELETE", {}, "deletes nothing"),
        ("POST", {}, "generate_presigned_post"),
    ],
)
def test_a_request_that_is_none_of_a_link_is_named(door: Any, method: str, headers: dict[str, str], words: str) -> None:
    """What an SDK sends by itself, and what it presigns beside GET, HEAD and PUT."""
    assert words in mistake_in("https://h/k", door.request("https://h/k", method=method, **headers))


def test_a_good_link_shows_no_mistake(door: Any) -> None:
    """Of each scheme; a changed one is not taken for something that it is not."""
    for url in (door.canned(f"/a?{door.once()}"), door.custom("/a"), door.presigned("/a")):
        assert mistake_in(url, door.request(url)) == ""
        assert mistake_in(url, door.request(url.replace("/a?", "/b?"))) == ""


def test_a_signed_request_without_a_link_is_told_to_presign(door: Any) -> None:
    """Every SDK does so by default, and its user would look for a key pair of CloudFront."""
    request = door.request("https://files.example.com/b/k", authorization="AWS4-HMAC-SHA256 Credential=AKID/...")
    with pytest.raises(Refused, match="presigned-links-only") as caught:
        verify(request, door.trust, now_s=door.now_s)
    assert (caught.value.status, "presigned links only" in caught.value.message) == (403, True)
    signed = door.request(door.canned(f"/a?{door.once()}"), authorization="AWS4-HMAC-SHA256 x")
    assert verify(signed, door.trust, now_s=door.now_s).link_id == door.nonce


@pytest.mark.parametrize("text", ["https://h/k", " https://h/k\n", "<https://h/k>", " < https://h/k > "])
def test_what_stands_around_a_link_is_left_out(text: str) -> None:
    """Mail programs and terminals put it there."""
    assert as_pasted(text) == "https://h/k"


def test_a_header_that_was_signed_and_not_sent_is_named(door: Any) -> None:
    """The words are for who explains the link; a stranger gets S3's message."""
    url = door.presigned("/a").replace("SignedHeaders=host", "SignedHeaders=content-type%3Bhost")
    with pytest.raises(Refused) as caught:
        verify(door.request(url), door.trust, now_s=door.now_s)
    assert caught.value.reason is Reason.S3_BAD_SIGNATURE
    assert "no header content-type" in caught.value.hint
