"""What a bucket signs for a proxy: a URL that S3's own rules accept, for one object and a few seconds."""

from __future__ import annotations

import time

import pytest

from oncegate.aws_requests.credentials import GivenCredentials
from oncegate.aws_requests.signature import AwsCredentials
from oncegate.links import sigv4
from oncegate.links.refusal import Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.urls import parse_url
from oncegate.stores.bucket.s3_calls import S3Calls, S3Place

PLACE = S3Place(endpoint="http://127.0.0.1:9000/objects", prefix="team a", bucket="objects", region="us-east-1")


def calls_with(token: str = "", *, is_signed: bool = True) -> S3Calls:
    """Requests to a bucket that is not there: nothing is asked."""
    place = S3Place(
        endpoint=PLACE.endpoint, prefix=PLACE.prefix, bucket=PLACE.bucket, region=PLACE.region, is_signed=is_signed
    )
    return S3Calls(place, GivenCredentials(AwsCredentials("AKTEST", "secret", token)))


def check(url: str, *, now_s: float) -> None:
    """Every check that S3 makes, by this package's reading of it."""
    parts = parse_url(url)
    request = ViewerRequest(method="GET", scheme=parts.scheme, host=parts.host, path=parts.path, query=parts.query)
    trust = sigv4.S3Trust(credentials={"AKTEST": "secret"}, region="us-east-1")
    credential = sigv4.read_credential(request)
    for _, step in sigv4.CHECKS:
        step(credential, request, trust, int(now_s))


@pytest.mark.anyio
@pytest.mark.parametrize("key", ["a.bin", "ü+%41?#&=.bin", "日本/a b;'\".bin"])
@pytest.mark.parametrize("token", ["", "a/b+c=="])
async def test_a_presigned_url_verifies_and_ends_in_seconds(key: str, token: str) -> None:
    """Also for credentials of a role, whose token is part of what is signed."""
    calls, now = calls_with(token), time.time()
    url = await calls.presigned(key, 20)
    await calls.aclose()
    assert url.startswith("http://127.0.0.1:9000/objects/team%20a/")
    assert ("X-Amz-Security-Token=" in url) is bool(token)
    check(url, now_s=now)
    with pytest.raises(Refused):
        check(url, now_s=now + 22)
    with pytest.raises(Refused):
        check(url.replace("/objects/", "/other/"), now_s=now)


@pytest.mark.anyio
async def test_a_bucket_open_to_all_needs_no_signature() -> None:
    """``skip_signature``: the plain URL."""
    calls = calls_with(is_signed=False)
    assert await calls.presigned("a b", 20) == "http://127.0.0.1:9000/objects/team%20a/a%20b"
    await calls.aclose()
