"""Signed requests: the same headers as botocore's own signer, for every kind of request that we make."""

import datetime as dt
import hashlib

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from oncegate.aws_requests.signature import (
    UNSIGNED_PAYLOAD,
    AwsCredentials,
    SigningScope,
    canonical_query,
    signed_headers,
)

NOW_S = 1_767_290_400


class Frozen(dt.datetime):
    """A clock that stands."""

    @classmethod
    def now(cls, tz=None):
        """Say the one time."""
        return dt.datetime.fromtimestamp(NOW_S, tz)

    @classmethod
    def utcnow(cls):
        """Say it without a zone."""
        return dt.datetime.fromtimestamp(NOW_S, dt.UTC).replace(tzinfo=None)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Let botocore sign at that time."""
    monkeypatch.setattr(auth, "get_current_datetime", lambda *_, **__: Frozen.utcnow(), raising=False)
    monkeypatch.setattr(auth.datetime, "datetime", Frozen, raising=False)


@pytest.mark.parametrize("token", ["", "a/session+token=="])
@pytest.mark.parametrize(
    ("service", "method", "path", "pairs", "headers", "body"),
    [
        ("dynamodb", "POST", "/", [], {"x-amz-target": "DynamoDB_20120810.PutItem"}, b"{}"),
        ("s3", "POST", "/b/a%20b%2B%25/%C3%A9", [("uploads", "")], {"content-type": "text/x"}, b""),
        ("s3", "PUT", "/b/k", [("uploadId", "a+b/c="), ("partNumber", "10")], {}, b"data"),
        ("s3", "PUT", "/b/k", [], {"x-amz-copy-source": "/b/%C3%A9", "if-none-match": "*"}, b""),
    ],
)
def test_it_is_the_signature_of_botocore(service, method, path, pairs, headers, body, token):
    """A difference in one byte is a 403 from AWS, which no emulator would notice: they check no signatures."""
    signer = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
    query = canonical_query(pairs)
    request = AWSRequest(method=method, url=f"https://example.com{path}{'?' + query if query else ''}", data=body)
    for name, value in headers.items():
        request.headers[name] = value
    request.context.update(payload_signing_enabled=True)
    signer(Credentials("AKID", "secret", token or None), service, "eu-central-1").add_auth(request)
    ours = signed_headers(
        method,
        path=path,
        query=query,
        headers={**headers, "host": "example.com"},
        payload_sha256=hashlib.sha256(body).hexdigest(),
        credentials=AwsCredentials("AKID", "secret", token),
        scope=SigningScope(region="eu-central-1", service=service),
        now_s=NOW_S,
    )
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
    assert ours["authorization"] == request.headers["Authorization"]


def test_an_unsigned_payload_says_so():
    """The header and the canonical request must hold the same word."""
    ours = signed_headers(
        "PUT",
        path="/k",
        query="",
        headers={"host": "example.com"},
        payload_sha256=UNSIGNED_PAYLOAD,
        credentials=AwsCredentials("AKID", "secret"),
        scope=SigningScope(region="eu-central-1", service="s3"),
        now_s=NOW_S,
    )
    assert ours["x-amz-content-sha256"] == UNSIGNED_PAYLOAD


def test_secrets_have_no_repr():
    """Credentials stand in tracebacks and logs sooner or later."""
    shown = repr(AwsCredentials("AKID", "the-secret", "the-token"))
    assert "AKID" in shown
    assert "the-" not in shown
