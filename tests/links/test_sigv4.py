"""S3 presigned URLs: ours equal botocore's, botocore's are taken, and changed ones are refused in S3's order."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from oncegate.links.grant import Scheme
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.sigv4 import EXPIRES_MAX_S, SKEW_MAX_S, S3Trust, presign_url
from oncegate.links.urls import escape, object_key_problem, parse_url, path_of
from oncegate.links.verify import Trust, verify

SECRET = "a/secret+with=signs"
TRUST_REGION = "eu-central-1"


def by_botocore(url: str, *, method: str, expires_in_s: int) -> tuple[str, int]:
    """What botocore makes of a URL now, and when that was by its own date."""
    request = AWSRequest(method=method, url=url)
    S3SigV4QueryAuth(Credentials("AKID", SECRET), "s3", TRUST_REGION, expires=expires_in_s).add_auth(request)
    found = re.search(r"X-Amz-Date=(\d{8}T\d{6}Z)", request.url)
    assert found is not None
    made = dt.datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    return request.url, int(made.timestamp())


@settings(max_examples=150, deadline=None)
@given(
    key=st.text(min_size=1, max_size=20).filter(lambda key: not object_key_problem(key)),
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20),
    method=st.sampled_from(["GET", "HEAD", "PUT"]),
    expires_in_s=st.integers(1, EXPIRES_MAX_S),
    port=st.sampled_from(["", ":8080"]),
)
def test_a_presigned_url_equals_botocores_and_both_verify(
    door: Any, key: str, name: str, method: str, expires_in_s: int, port: str
) -> None:
    """Byte for byte, whatever the key and the file name hold: the canonical form is where implementations differ."""
    once = f"once=g.{'A' * 22}&response-content-disposition={escape(name)}"
    url = f"https://files.example.com{port}{path_of(key)}?{once}"
    theirs, now_s = by_botocore(url, method=method, expires_in_s=expires_in_s)
    ours = presign_url(
        url,
        method=method,
        access_key_id="AKID",
        secret=SECRET,
        region=TRUST_REGION,
        now_s=now_s,
        expires_in_s=expires_in_s,
    )
    assert ours == theirs
    trust = S3Trust(credentials={"AKID": SECRET}, region=TRUST_REGION)
    plain = presign_url(
        f"https://files.example.com{port}{path_of(key)}?response-content-disposition={escape(name)}",
        method=method,
        access_key_id="AKID",
        secret=SECRET,
        region=TRUST_REGION,
        now_s=now_s,
        expires_in_s=expires_in_s,
    )
    parts = parse_url(plain)
    request = ViewerRequest(
        method=method, scheme="https", host=parts.host, path=parts.path, query=parts.query, address_is_proof=True
    )
    grant = verify(request, Trust(keys=door.trust.keys, s3=trust), now_s=now_s + expires_in_s)
    assert (grant.scheme, grant.object_key, grant.limits.disposition) == (Scheme.S3, key, name)
    assert grant.expires_s == now_s + expires_in_s + 1


def test_the_order_and_spelling_of_parameters_do_not_make_another_link(door: Any) -> None:
    """SigV4 signs them decoded and sorted, so anyone may rewrite them; the id must stay."""
    url = door.presigned("/k?a=1&b=~x")
    front, _, query = url.partition("?")
    respelled = "&".join(reversed(query.split("&"))).replace("~x", "%7Ex").replace("X-Amz-Date", "X%2DAmz-Date")
    assert door.open(f"{front}?{respelled}").link_id == door.open(url).link_id


def test_every_spelling_of_path_and_query_is_one_link_to_one_key(door: Any) -> None:
    """S3 decodes both once and encodes them again: whoever respells a link must get neither another key nor a second use."""
    key = "a=b@c:d'(e) +\u00e9/\u65e5.txt"
    url = door.presigned(f"{path_of(key)}?response-content-disposition=inline%3B%20filename%3Da%20b%2Bc")
    raw = url.replace("%3Db%40c%3Ad%27%28e%29", "=b@c:d'(e)").replace("%2B%C3%A9", "+%c3%a9").replace("%3B%20", "%3b+")
    escaped = url.replace("/a%3D", "/%61%3D").replace("X-Amz-", "X%2dAmz%2D").replace("a%20b", "%61+%62")
    assert len({url, raw, escaped, url.replace("/%E6", "%2F%E6")}) == 4
    grants = [door.open(spelling) for spelling in (url, raw, escaped, url.replace("/%E6", "%2F%E6"))]
    assert {grant.link_id for grant in grants} == {grants[0].link_id}
    assert {(grant.object_key, grant.limits.disposition) for grant in grants} == {(key, "inline; filename=a b+c")}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("/k?", "/l?"), Reason.S3_BAD_SIGNATURE),
        (("/k?", "//k?"), Reason.S3_BAD_SIGNATURE),
        (("/k?", "/./k?"), Reason.S3_BAD_SIGNATURE),
        (("/k?", "/%256B?"), Reason.S3_BAD_SIGNATURE),
        (("files.", "other."), Reason.S3_BAD_SIGNATURE),
        (("a=1", "a=2"), Reason.S3_BAD_SIGNATURE),
        (("a=1&", ""), Reason.S3_BAD_SIGNATURE),
        (("a=1&", "a=1&a=1&"), Reason.S3_BAD_SIGNATURE),
        (("X-Amz-Expires=60", "X-Amz-Expires=61"), Reason.S3_BAD_SIGNATURE),
        (("X-Amz-Expires=60", "X-Amz-Expires=604801"), Reason.S3_QUERY_PARAMETERS),
        (("X-Amz-Expires=60", "X-Amz-Expires=0"), Reason.S3_QUERY_PARAMETERS),
        (("X-Amz-Expires=60", "X-Amz-Expires=-1"), Reason.S3_QUERY_PARAMETERS),
        (("X-Amz-Expires=60", "X-Amz-Expires=1e1"), Reason.S3_QUERY_PARAMETERS),
        (("X-Amz-Expires=60", "X-Amz-Expires=%B2"), Reason.S3_QUERY_PARAMETERS),
        (("X-Amz-Expires=60&", ""), Reason.S3_QUERY_PARAMETERS),
        (("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=60"), Reason.DUPLICATE_PARAMETER),
        (("X-Amz-Date=2", "X-Amz-Date=3"), Reason.S3_NOT_YET_VALID),
        (("X-Amz-Date=2026", "X-Amz-Date=2026-"), Reason.S3_QUERY_PARAMETERS),
        (("X-Amz-Date=202", "X-Amz-Date=%B2%B2%B2"), Reason.S3_QUERY_PARAMETERS),
        (("SHA256&", "SHA512&"), Reason.S3_ALGORITHM),
        (("AKID%2F", "OTHER%2F"), Reason.S3_UNKNOWN_KEY),
        (("%2Fs3%2F", "%2Fec2%2F"), Reason.S3_QUERY_PARAMETERS),
        (("eu-central-1", "us-east-1"), Reason.S3_WRONG_REGION),
        (("SignedHeaders=host", "SignedHeaders=range"), Reason.S3_UNSIGNED_HEADER),
        (("SignedHeaders=host", "SignedHeaders=host%3Bhost"), Reason.S3_BAD_SIGNATURE),
        (("X-Amz-Signature=", "X-Amz-Signature=0"), Reason.S3_BAD_SIGNATURE),
        (("X-Amz-Signature=", "X-Amz-Signature=%FF"), Reason.S3_BAD_SIGNATURE),
        (("X-Amz-Signature=", "X-Amz-Signature=&s="), Reason.S3_QUERY_PARAMETERS),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else "->".join(value)[:48],
)
def test_a_presigned_url_that_was_changed_is_refused(door: Any, change: tuple[str, str], reason: Reason) -> None:
    """With S3's reasons in S3's order: what cannot be read, then the time, the scope, the headers, the key."""
    url = door.presigned("/k?a=1")
    assert door.why(url) is None
    assert change[0] in url
    assert door.why(url.replace(*change, 1)) is reason


@pytest.mark.parametrize("date", ["99991231T235959Z", "00010101T000000Z", "20260229T000000Z", "20260101T250000Z"])
@pytest.mark.parametrize("expires_in_s", [0, EXPIRES_MAX_S])
def test_a_date_at_the_end_of_the_calendar_is_refused_and_nothing_breaks(
    door: Any, date: str, expires_in_s: int
) -> None:
    """Anyone may send it: the end of the last day and a week is a year that Python has not."""
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A/{date[:8]}/r/s3/aws4_request&X-Amz-Date={date}"
        f"&X-Amz-Expires={expires_in_s}&X-Amz-SignedHeaders=host&X-Amz-Signature=0"
    )
    assert door.why(f"{door.origin}/k?{query}") in {
        Reason.S3_NOT_YET_VALID,
        Reason.S3_EXPIRED,
        Reason.S3_QUERY_PARAMETERS,
    }


def test_the_last_second_is_served_and_the_skew_is_a_quarter_of_an_hour(door: Any) -> None:
    """S3 serves at date + expires, CloudFront does not at its own; both sides of both ends."""
    url = door.presigned("/k", expires_in_s=60)
    assert door.why(url, now_s=door.now_s + 60) is None
    assert door.why(url, now_s=door.now_s + 61) is Reason.S3_EXPIRED
    assert door.why(url, now_s=door.now_s - SKEW_MAX_S) is None
    assert door.why(url, now_s=door.now_s - SKEW_MAX_S - 1) is Reason.S3_NOT_YET_VALID
    grant = door.open(url)
    assert grant.expires_s == door.now_s + 61


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"authorization": "Bearer x"}, Reason.S3_TWO_AUTH),
        ({"x_amz_acl": "public-read"}, Reason.S3_UNSIGNED_HEADER),
        ({"content_md5": "x"}, Reason.S3_UNSIGNED_HEADER),
        ({"x_amz_content_sha256": "UNSIGNED-PAYLOAD"}, None),
        ({"x_amz_content_sha256": "0" * 64}, Reason.S3_BAD_SIGNATURE),
        ({"content_type": "text/plain", "range": "bytes=0-1"}, None),
    ],
)
def test_headers_that_mean_something_to_s3_must_be_signed(
    door: Any, headers: dict[str, str], reason: Reason | None
) -> None:
    """Else a holder adds an ACL or a copy source to a link that was made for one object."""
    request = door.request(door.presigned("/k", method="PUT"), method="PUT", **headers)
    try:
        verify(request, door.trust, now_s=door.now_s)
    except Refused as refused:
        assert refused.reason is reason
    else:
        assert reason is None


@pytest.mark.parametrize(("made_for", "used_for"), [("GET", "PUT"), ("GET", "HEAD"), ("PUT", "GET"), ("HEAD", "GET")])
def test_a_presigned_url_admits_its_signed_method(door: Any, made_for: str, used_for: str) -> None:
    """As S3 does: the method is the first line of what is signed."""
    url = door.presigned("/k", method=made_for)
    assert door.why(url, method=made_for) is None
    assert door.why(url, method=used_for) is Reason.S3_BAD_SIGNATURE


@pytest.mark.parametrize("expires_in_s", [0, -1, EXPIRES_MAX_S + 1])
def test_a_link_that_s3_would_not_take_is_not_made(door: Any, expires_in_s: int) -> None:
    """Seven days is S3's limit; the issuer should hear it and not the viewer."""
    with pytest.raises(ValueError, match="7 days"):
        door.presigned("/k", expires_in_s=expires_in_s)


def test_no_secret_shows_in_a_representation(door: Any) -> None:
    """It would stand in the first traceback."""
    assert "a secret" not in repr(door.trust)
    assert "a secret" not in repr(door.s3)
    assert "AKID" in repr(door.s3)
