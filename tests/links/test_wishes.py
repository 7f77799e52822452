"""What an S3 signature covers beside the link: obeyed, without meaning, or refused by name; never ignored."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from oncegate.links.refusal import Reason, Refused
from oncegate.links.urls import escape
from oncegate.links.verify import verify

REFUSED_BY_NAME = {
    "x-amz-server-side-encryption": "aws:kms",
    "x-amz-server-side-encryption-aws-kms-key-id": "key",
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-tagging": "a=b",
    "x-amz-storage-class": "GLACIER",
    "x-amz-object-lock-mode": "COMPLIANCE",
    "x-amz-object-lock-legal-hold": "ON",
    "x-amz-website-redirect-location": "/elsewhere",
    "x-amz-copy-source": "/other/object",
    "x-amz-grant-read": 'uri="http://acs.amazonaws.com/groups/global/AllUsers"',
    "x-amz-acl": "public-read",
    "x-amz-write-offset-bytes": "10",
    "x-amz-of-next-year": "1",
}
LET_THROUGH = {
    "x-amz-acl": "private",
    "x-amz-sdk-checksum-algorithm": "CRC32",
    "x-amz-checksum-mode": "ENABLED",
    "x-amz-user-agent": "aws-sdk-js/3",
    "x-amz-request-payer": "requester",
    "x-amz-expected-bucket-owner": "111122223333",
}


def signed_as_headers(method: str, headers: dict[str, str]) -> Any:
    """A presigned URL of botocore, which signs headers as headers, and when it was made."""
    request = AWSRequest(method=method, url="https://files.example.com/k", headers=headers)
    S3SigV4QueryAuth(Credentials("AKID", "a secret"), "s3", "eu-central-1", expires=600).add_auth(request)
    return request.url


def refusal_of(door: Any, url: str, method: str, headers: dict[str, str], now_s: int) -> Refused | None:
    """Why a request is refused; None where it is not."""
    sent = {name.lower().replace("-", "_"): value for name, value in headers.items()}
    try:
        verify(door.request(url, method=method, **sent), door.trust, now_s=now_s)
    except Refused as refused:
        return refused
    return None


def moved_url(door: Any, wishes: dict[str, str], method: str = "PUT") -> str:
    """A URL as the SDKs of Go and JavaScript presign it: with such headers in the query."""
    query = "&".join(f"{name}={escape(value)}" for name, value in wishes.items())
    return str(door.presigned(f"/k?{query}", method=method))


@pytest.mark.parametrize("name", REFUSED_BY_NAME)
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_signed_wish_that_is_not_obeyed_is_501_with_its_name(door: Any, name: str, method: str) -> None:
    """Stored without encryption, lock or redirect, the object would be another than its issuer signed for."""
    wish = {name: REFUSED_BY_NAME[name]}
    for found in (
        refusal_of(door, signed_as_headers(method, wish), method, wish, int(time.time())),
        refusal_of(door, moved_url(door, wish, method), method, {}, door.now_s),
        refusal_of(door, moved_url(door, {name.title(): wish[name]}, method), method, {}, door.now_s),
    ):
        assert found is not None
        assert (found.status, found.code, found.members) == (501, "NotImplemented", (("Header", name),))
        assert name in found.message


@pytest.mark.parametrize("name", LET_THROUGH)
def test_a_signed_wish_without_meaning_here_is_let_through(door: Any, name: str) -> None:
    """SDKs sign these of their own accord; none says anything of the object."""
    wish = {name: LET_THROUGH[name]}
    assert refusal_of(door, signed_as_headers("PUT", wish), "PUT", wish, int(time.time())) is None
    assert door.open(moved_url(door, {**wish, "x-id": "PutObject"}), method="PUT").moved == ()


def test_wishes_in_the_query_are_the_headers_that_they_were(door: Any) -> None:
    """Names in lower case, values decoded as S3 decodes a query."""
    url = moved_url(door, {"X-Amz-Meta-Title": "a b+c", "x-amz-checksum-sha256": "x/y=", "other": "1"})
    assert "a%20b%2Bc" in url
    wanted = ((b"x-amz-meta-title", b"a b+c"), (b"x-amz-checksum-sha256", b"x/y="))
    for spelled in (url, url.replace("a%20b", "a+b")):
        assert door.open(spelled, method="PUT").moved == wanted


def test_the_checksum_of_an_empty_body_in_the_query_is_no_wish(door: Any) -> None:
    """The JavaScript SDK signs it into every presigned PUT, before there is a body."""
    js = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "CRC32", "x-id": "PutObject"}
    assert door.open(moved_url(door, js), method="PUT").moved == ()
    assert door.open(moved_url(door, {"x-amz-checksum-crc32": "AAAAAQ=="}), method="PUT").moved != ()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("x-amz-meta-a=1&X-Amz-Meta-A=2", Reason.DUPLICATE_PARAMETER),
        ("x-amz-meta-a=1%0D%0Ab", Reason.MALFORMED_LIMIT),
        ("%78-amz-tagging=a", Reason.NOT_IMPLEMENTED),
        ("x-amz-date=20260101T000000Z", None),
    ],
)
def test_a_wish_in_the_query_is_one_and_fits_a_header(door: Any, query: str, reason: Reason | None) -> None:
    """Whatever its spelling: given twice, one of them would be passed over."""
    assert door.why(door.presigned(f"/k?{query}", method="PUT"), method="PUT") is reason


def test_a_wish_is_read_of_genuine_links_alone(door: Any) -> None:
    """Who guesses learns nothing of what is done here."""
    assert door.why(door.presigned("/k") + "&x-amz-tagging=a") is Reason.S3_BAD_SIGNATURE


@pytest.mark.parametrize("name", ["response-cache-control", "response-expires"])
def test_a_signed_response_header_that_is_not_obeyed_is_400_with_its_name(door: Any, name: str) -> None:
    """Every answer is private, no-store: a link that asks for a cache would promise what nobody keeps."""
    for url in (door.presigned(f"/k?{name}=max-age%3D60"), door.canned(f"/k?{name}=max-age%3D60")):
        with pytest.raises(Refused) as caught:
            door.open(url)
        found = caught.value
        assert (found.status, found.code, found.reason) == (400, "InvalidArgument", Reason.NOT_OBEYED)
        assert (found.members, name in found.message) == ((("ArgumentName", name),), True)


@pytest.mark.parametrize("value", ["no-store", "private,+no-cache", "No-Store%2C%20max-age%3D0"])
def test_a_signed_cache_control_that_every_answer_obeys_is_let_through(door: Any, value: str) -> None:
    """No-store is more than each of them asks for."""
    assert door.why(door.presigned(f"/k?response-cache-control={value}")) is None


def test_response_headers_are_read_with_plus_as_a_space_in_every_scheme(door: Any) -> None:
    """S3 reads them so, also behind CloudFront, whose signature covers them literally."""
    query = "response-content-language=de&response-content-encoding=gzip&response-content-type=text/plain;+charset%3Dx"
    for url in (door.presigned(f"/k?{query}"), door.canned(f"/k?{query}"), door.custom(f"/k?{query}")):
        limits = door.open(url).limits
        assert (limits.response_language, limits.response_encoding) == ("de", "gzip")
        assert limits.response_type == "text/plain; charset=x"


def test_a_response_header_that_is_not_signed_is_refused(door: Any) -> None:
    """Under a wildcard a holder could otherwise choose the language or the encoding that readers are told."""
    url = door.custom("/a/k", resource=f"{door.origin}/a/*")
    for name in ("response-content-language", "response-content-encoding", "response-expires"):
        assert door.why(url.replace("?", f"?{name}=x&")) is Reason.UNSIGNED_PARAMETER
