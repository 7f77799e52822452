"""Signs requests to AWS services with Signature Version 4 in the ``Authorization`` header: DynamoDB, and S3's control calls.

The other half of ``sigv4.py``, which reads and makes presigned URLs for viewers. Pure: the caller brings credentials
and the time, and sends the request. Nothing is logged and no secret has a repr.

Source: docs/aws-protocol.md 2.2; AWS General Reference, "Signature Version 4 signing process".
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oncegate.links.urls import escape

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """With what a request is signed. ``token`` is empty for credentials that last."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningScope:
    """For whom a signature is good: a region, and a service as AWS names it in credential scopes."""

    region: str
    service: str


def canonical_query(pairs: Sequence[tuple[str, str]]) -> str:
    """Write a query as it is signed and as it is to be sent: encoded, then sorted."""
    return "&".join(f"{name}={value}" for name, value in sorted((escape(name), escape(value)) for name, value in pairs))


def signed_headers(
    method: str,
    *,
    path: str,
    query: str,
    headers: Mapping[str, str],
    payload_sha256: str,
    credentials: AwsCredentials,
    scope: SigningScope,
    now_s: int,
) -> dict[str, str]:
    """Return the headers of a request with those that sign it.

    Args:
        method: in upper case.
        path: as it will be sent, percent-encoded once.
        query: as ``canonical_query`` writes it; empty for none.
        headers: names in lower case, ``host`` among them; all of them are signed.
        payload_sha256: hex digest of the body, or ``UNSIGNED_PAYLOAD`` (S3 only).
        credentials: whose request it is.
        scope: region and service.
        now_s: seconds since 1970 UTC; AWS takes 15 minutes of difference.
    """
    date = dt.datetime.fromtimestamp(now_s, dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    signed = {**headers, "x-amz-date": date}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    # S3 wants the header; for others the hash is in the canonical request alone
    if scope.service == "s3":
        signed["x-amz-content-sha256"] = payload_sha256
    names = sorted(signed)
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in names)
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{payload_sha256}"
    place = f"{date[:8]}/{scope.region}/{scope.service}/aws4_request"
    text = f"{ALGORITHM}\n{date}\n{place}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = _signing_key(credentials.secret, date[:8], scope)
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    signed["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{place}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return signed


@functools.lru_cache(maxsize=8)
def _signing_key(secret: str, day: str, scope: SigningScope) -> bytes:
    """Derive a day's key once: four of the six hashes of every request."""
    key = b"AWS4" + secret.encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
