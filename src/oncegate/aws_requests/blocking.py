"""One signed, blocking call to an AWS service that speaks JSON; for commands, and for signing keys that AWS keeps.

Uses ``http.client`` and a new connection for each try, because such calls are rare. Of an answer only the service's
error message leaves this file, at most 200 characters of it.

Source: AWS JSON 1.1 protocol; AWS General Reference, "Signing AWS API requests".
"""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from oncegate.aws_requests.endpoint import endpoint_of
from oncegate.aws_requests.signature import AwsCredentials, SigningScope, signed_headers

ATTEMPTS_MAX = 3
ATTEMPT_MAX_S = 5.0
PAUSE_S = 0.2
_BUSY = frozenset(("ThrottlingException", "RequestLimitExceeded"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How a service is asked.

    Attributes:
        name: in its domain and in signatures: ``kms``.
        variable: in ``AWS_ENDPOINT_URL_<variable>``.
        target: in front of the operation in ``X-Amz-Target``.
    """

    name: str
    variable: str
    target: str


class CallFailed(Exception):
    """A service said no, or did not answer.

    Attributes:
        code: the service's name for the error, else its status; empty if the call may be repeated: there was no answer,
            one that is not JSON, or a 5xx.
    """

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code}: {words}" if code else words)
        self.code = code


def call(
    service: Service,
    operation: str,
    document: Mapping[str, object],
    *,
    region: str,
    credentials: AwsCredentials,
    environ: Mapping[str, str],
) -> Mapping[str, Any]:
    """Make a call, up to three times if it was throttled, got a 5xx, an answer that is not JSON, or none.

    So it must be safe to repeat.

    Args:
        service: which.
        operation: such as ``Sign``.
        document: its arguments.
        region: where.
        credentials: with what to sign.
        environ: may name an endpoint in place of AWS's, as ``endpoint_of`` reads it.

    Raises:
        CallFailed: it said no, or did not answer.
    """
    usual = f"https://{service.name}.{region}.amazonaws.com"
    endpoint = endpoint_of(service.variable, given="", environ=environ) or usual
    last = CallFailed("", f"{service.name} in {region} did not answer")
    for attempt in range(ATTEMPTS_MAX):
        if attempt:
            time.sleep(PAUSE_S * attempt)
        try:
            return _exchange(endpoint, service, operation, json.dumps(document).encode(), region, credentials)
        except CallFailed as failed:
            last = failed
            if failed.code and failed.code not in _BUSY:
                raise
    raise last


def _exchange(
    endpoint: str, service: Service, operation: str, body: bytes, region: str, credentials: AwsCredentials
) -> Mapping[str, Any]:
    place = urlsplit(endpoint)
    headers = signed_headers(
        "POST",
        path="/",
        query="",
        headers={
            "host": place.netloc,
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"{service.target}.{operation}",
        },
        payload_sha256=hashlib.sha256(body).hexdigest(),
        credentials=credentials,
        scope=SigningScope(region=region, service=service.name),
        now_s=int(time.time()),
    )
    kind = http.client.HTTPConnection if place.scheme == "http" else http.client.HTTPSConnection
    connection = kind(place.netloc, timeout=ATTEMPT_MAX_S)
    try:
        connection.request("POST", "/", body=body, headers=headers)
        answer = connection.getresponse()
        status, text = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise CallFailed("", f"{service.name} in {region} did not answer: {error}") from None
    finally:
        connection.close()
    return _document(status, text)


def _document(status: int, text: bytes) -> Mapping[str, Any]:
    try:
        document: Any = json.loads(text or b"{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CallFailed("", f"an answer that is no JSON, with status {status}")
    known = cast("Mapping[str, Any]", document)
    if status == 200:
        return known
    code = str(known.get("__type", status)).rpartition("#")[2]
    raise CallFailed("" if status >= 500 else code, str(known.get("message", known.get("Message", "")))[:200])
