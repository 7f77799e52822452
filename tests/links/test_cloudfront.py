"""CloudFront signed URLs and cookies, as made here and as tampered with; the vectors have what other signers make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oncegate.links.cloudfront import EXPIRES_DIGITS_MAX, sign_url
from oncegate.links.grant import Scheme
from oncegate.links.refusal import Reason, Refused
from oncegate.links.verify import authenticate, verify


@pytest.mark.parametrize("key_id", ["KEC", "KRSA"])
@pytest.mark.parametrize("hash_name", ["SHA1", "SHA256"])
@pytest.mark.parametrize("custom", [False, True])
def test_a_signed_url_verifies(door: Any, key_id: str, hash_name: str, *, custom: bool) -> None:
    """Each kind of key with each hash and each policy."""
    url = sign_url(
        f"{door.origin}/a%20b?x=1",
        key=door.signing[key_id],
        expires_s=door.now_s + 60,
        custom=custom,
        hash_name=hash_name,
    )
    signed = authenticate(door.request(url), door.trust, now_s=door.now_s)
    assert (signed.scheme, signed.key_id) == (Scheme.CUSTOM if custom else Scheme.CANNED, key_id)
    assert signed.issuer == door.public[key_id].spki_sha256
    assert ("Hash-Algorithm" in url) == (hash_name == "SHA256")


def test_expiry_is_refused_at_its_second_and_not_before_at_its_own(door: Any) -> None:
    """Both sides of both instants: expires_s - 1 and expires_s, not_before_s and one later."""
    start_s, end_s = door.now_s + 10, door.now_s + 60
    url = sign_url(f"{door.origin}/a", key=door.key, expires_s=end_s, not_before_s=start_s)
    assert door.why(url, now_s=start_s) is Reason.NOT_YET_VALID
    assert door.why(url, now_s=start_s + 1) is None
    assert door.why(url, now_s=end_s - 1) is None
    assert door.why(url, now_s=end_s) is Reason.EXPIRED


def test_a_source_network_binds_the_link_to_proven_addresses(door: Any) -> None:
    """An address that a client claims in a header is nobody's."""
    request = door.request(door.custom("/a", source_ip="203.0.113.0/24"))
    for address, proof, reason in (
        ("203.0.113.1", True, None),
        ("203.0.114.1", True, Reason.IP_NOT_ALLOWED),
        ("2001:db8::1", True, Reason.IP_NOT_ALLOWED),
        (None, True, Reason.IP_NOT_ALLOWED),
        ("203.0.113.1", False, Reason.IP_NOT_ALLOWED),
    ):
        changed = replace(request, address=address, address_is_proof=proof)
        try:
            verify(changed, door.trust, now_s=door.now_s)
        except Refused as refused:
            assert refused.reason is reason
        else:
            assert reason is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("/a?", "/b?"), Reason.BAD_SIGNATURE),
        (("/a?", "/%61?"), Reason.BAD_SIGNATURE),
        (("x=1&", "x=2&"), Reason.BAD_SIGNATURE),
        (("x=1&", ""), Reason.BAD_SIGNATURE),
        (("https:", "http:"), Reason.BAD_SIGNATURE),
        (("files.", "other."), Reason.BAD_SIGNATURE),
        (("Expires=1", "Expires=2"), Reason.BAD_SIGNATURE),
        (("Expires=", "Expires=0"), Reason.BAD_SIGNATURE),
        (("Expires=", "Expires=x"), Reason.MALFORMED_EXPIRES),
        (("Expires=", "Expires=-"), Reason.MALFORMED_EXPIRES),
        (("Expires=", "Expires=%2B"), Reason.MALFORMED_EXPIRES),
        (("Expires=", "Expires=" + "0" * EXPIRES_DIGITS_MAX), Reason.MALFORMED_EXPIRES),
        (("Expires=", "Expires=99999999999"), Reason.MALFORMED_EXPIRES),
        (("Expires=", "expires="), Reason.MALFORMED_EXPIRES),
        (("&Hash-Algorithm=SHA256", ""), Reason.BAD_SIGNATURE),
        (("=SHA256", "=SHA512"), Reason.UNSUPPORTED_HASH),
        (("=SHA256", "=sha256"), Reason.UNSUPPORTED_HASH),
        (("Key-Pair-Id=KEC", "Key-Pair-Id=KRSA"), Reason.BAD_SIGNATURE),
        (("Key-Pair-Id=KEC", "Key-Pair-Id=KNEW"), Reason.UNKNOWN_KEY),
        (("Key-Pair-Id=KEC", "Key-Pair-Id="), Reason.MISSING_KEY),
        (("&Key-Pair-Id=KEC", ""), Reason.MISSING_KEY),
        (("Signature=", "Signature=AAAA"), Reason.BAD_SIGNATURE),
        (("Signature=", "Signature=+"), Reason.MALFORMED_SIGNATURE),
        (("Signature=", "Signature=%20"), Reason.MALFORMED_SIGNATURE),
        (("Signature=", "Signature=%FF"), Reason.MALFORMED_SIGNATURE),
        (("Signature=", "Sig="), Reason.MISSING_SIGNATURE),
        (("Signature=", "Signature=&s="), Reason.MISSING_SIGNATURE),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else "->".join(value)[:40],
)
def test_a_signed_url_that_was_changed_is_refused(door: Any, change: tuple[str, str], reason: Reason) -> None:
    """Every part of it is signed, or says which key and hash to check with."""
    url = door.canned("/a?x=1")
    assert door.why(url) is None
    assert change[0] in url
    assert door.why(url.replace(*change, 1)) is reason


def test_only_a_genuine_link_learns_that_it_expired(door: Any) -> None:
    """The signature is checked before the conditions: a forger hears nothing of times."""
    url = door.canned("/a", expires_s=door.now_s)
    assert door.why(url) is Reason.EXPIRED
    assert door.why(url.replace("/a", "/b")) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff\xfe", b"[" * 5_000, b'{"Statement":[]}'])
def test_a_policy_that_cannot_be_read_is_refused_also_when_it_is_signed(door: Any, text: bytes) -> None:
    """Nothing but a refusal may come of it, whoever signed it."""
    assert door.why(f"{door.origin}/a?{door.policy(None, text=text)}") is Reason.MALFORMED_POLICY


def cookies_of(door: Any, resource: str, **conditions: object) -> str:
    """The Cookie header of a policy."""
    pairs = (pair.partition("=") for pair in door.policy(resource, **conditions).split("&"))
    return "; ".join(f"CloudFront-{name}={value}" for name, _, value in pairs)


def test_cookies_open_what_their_policy_covers(door: Any) -> None:
    """The URL is then the object's own."""
    cookie = cookies_of(door, f"{door.origin}/dir/*")
    inside = door.request(f"{door.origin}/dir/a?v=1", cookie=f"theme=dark; {cookie}")
    outside = door.request(f"{door.origin}/other/a", cookie=cookie)
    assert verify(inside, door.trust, now_s=door.now_s).object_key == "dir/a"
    with pytest.raises(Refused) as caught:
        verify(outside, door.trust, now_s=door.now_s)
    assert caught.value.reason is Reason.RESOURCE_MISMATCH


def test_any_parameter_in_the_url_makes_cookies_count_for_nothing(door: Any) -> None:
    """Mixed, half of one credential could complete half of another."""
    cookie = cookies_of(door, f"{door.origin}/a")
    request = door.request(f"{door.origin}/a?Key-Pair-Id=KEC", cookie=cookie)
    with pytest.raises(Refused) as caught:
        verify(request, door.trust, now_s=door.now_s)
    assert caught.value.reason is Reason.MALFORMED_EXPIRES


def test_a_cookie_that_stands_twice_with_two_values_is_refused(door: Any) -> None:
    """A sibling domain may plant one; which of them a parser takes is chance."""
    cookie = cookies_of(door, f"{door.origin}/a")
    for text, reason in ((f"{cookie}; {cookie}", None), (f"{cookie}; CloudFront-Policy=x", Reason.DUPLICATE_PARAMETER)):
        request = door.request(f"{door.origin}/a", cookie=text)
        try:
            verify(request, door.trust, now_s=door.now_s)
        except Refused as refused:
            assert refused.reason is reason
        else:
            assert reason is None
