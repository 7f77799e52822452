"""Whose is which parameter of a query, and that no second spelling or second copy of one with a meaning comes in."""

from __future__ import annotations

import pytest

from oncegate.links.parameters import PARAMETERS_MAX, QUERY_MAX_BYTES, read_parameters
from oncegate.links.refusal import Reason, Refused


def why(query: bytes) -> Reason | None:
    """Why a query is refused; None where it is read."""
    try:
        read_parameters(query)
    except Refused as refused:
        return refused.reason
    return None


def test_a_query_is_sorted_by_owner_and_keeps_the_issuers_order() -> None:
    """A canned policy covers the rest as it stands: order, empty segments and all."""
    found = read_parameters(b"b=2&Expires=1&a&&once=g.x&Signature=s&Key-Pair-Id=K&c=%zz&once-max=5")
    assert found.cloudfront == {b"Expires": b"1", b"Signature": b"s", b"Key-Pair-Id": b"K"}
    assert found.limits == {b"once": b"g.x", b"once-max": b"5"}
    assert found.own_query == b"?b=2&a&&once=g.x&c=%zz&once-max=5"
    assert not found.is_s3


@pytest.mark.parametrize(("query", "own"), [(b"", b""), (b"Expires=1", b""), (b"&Expires=1", b"?"), (b"a", b"?a")])
def test_without_parameters_of_its_own_a_url_has_no_question_mark(query: bytes, own: bytes) -> None:
    """One byte more in the rebuilt policy is another signature."""
    assert read_parameters(query).own_query == own


@pytest.mark.parametrize(
    "query",
    [
        b"once=a&once=a",
        b"once=a&x=1&once=b",
        b"once-max=1&once-max=1",
        b"Expires=1&Expires=2",
        b"Signature=a&Signature=a",
        b"response-content-type=a&response-content-type=a",
        b"%6Fnce=a",
        b"once=a&%6fnce=b",
        b"onc%65=a",
        b"once%2Dmax=1",
        b"%6Fnce%2Dnew=1",
        b"%45xpires=1",
        b"Key%2DPair-Id=K",
        b"response%2Dcontent-type=a",
    ],
)
def test_a_parameter_with_a_meaning_stands_once_and_literally(query: bytes) -> None:
    """SigV4 signs decoded names, so ``%6Fnce`` verifies like ``once``: a parser of raw names would find no ticket."""
    assert why(query) is Reason.DUPLICATE_PARAMETER


@pytest.mark.parametrize(
    "query", [b"onceX=1", b"Once=1", b"x=once", b"ONCE=1", b"expires=1&expires=2", b"a%41=1", b"%=1"]
)
def test_what_only_looks_like_one_is_the_issuers(query: bytes) -> None:
    """Names are case-sensitive; strange ones belong to whoever signed them."""
    assert read_parameters(query).limits == {}
    assert read_parameters(query).cloudfront == {}


def test_an_unknown_limit_is_refused() -> None:
    """A limit that this version cannot keep, from an issuer with a newer one, must not be dropped in silence."""
    assert why(b"once=a&once-later=1") is Reason.UNSIGNED_PARAMETER


@pytest.mark.parametrize("query", [b"once=%", b"once-type=a%2", b"response-content-type=%zz"])
def test_a_broken_escape_in_a_limit_is_refused(query: bytes) -> None:
    """Two decoders would read it in two ways."""
    assert why(query) is Reason.MALFORMED_LIMIT


@pytest.mark.parametrize(
    "query", [b"X-Amz-Date=1&Expires=1", b"Policy=p&X%2DAmz-Date=1", b"Signature=s&X-Amz-Signature=t"]
)
def test_two_schemes_at_once_are_refused(query: bytes) -> None:
    """Whichever were checked, the other's parameters would be read by something behind it."""
    assert why(query) is Reason.TWO_SCHEMES


def test_s3_parameters_are_known_in_any_spelling() -> None:
    """They are signed decoded."""
    assert read_parameters(b"X-Amz-Date=1").is_s3
    assert read_parameters(b"X%2DAmz-Date=1").is_s3
    assert not read_parameters(b"x-amz-date=1").is_s3


@pytest.mark.parametrize(
    ("query", "is_v2"),
    [
        (b"AWSAccessKeyId=A&Signature=s&Expires=1", True),
        (b"AWSAccessKeyId=A&Signature=s&Expires=1&Key-Pair-Id=K", False),
        (b"AWSAccessKeyId=A", False),
    ],
)
def test_signature_v2_is_told_from_cloudfront(query: bytes, *, is_v2: bool) -> None:
    """Its Signature and Expires have CloudFront's names; the issuer must be told what to change."""
    assert read_parameters(query).is_s3_v2 is is_v2


def test_a_query_has_limits() -> None:
    """Both sides of its bytes and of its parameters; what is longer costs no signature check."""
    assert why(b"a" * QUERY_MAX_BYTES) is None
    assert why(b"a" * (QUERY_MAX_BYTES + 1)) is Reason.TARGET_TOO_LONG
    assert why(b"&".join([b"a"] * PARAMETERS_MAX)) is None
    assert why(b"&".join([b"a"] * (PARAMETERS_MAX + 1))) is Reason.MALFORMED_REQUEST
