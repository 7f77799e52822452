"""Events and answers of Lambda@Edge, and what CloudFront does not take from a function.

Source: CloudFront Developer Guide, "Lambda@Edge event structure", "Restrictions on edge functions"; docs/aws-protocol.md
3.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Headers = Sequence[tuple[str, str]]
"""Name and value, in their order; a name may stand twice."""

GENERATED_MAX_BYTES = 40 * 1024
READ_ONLY: Mapping[str, tuple[str, ...]] = {
    "viewer-request": ("content-length", "host", "transfer-encoding", "via"),
    "origin-response": ("transfer-encoding", "via"),
}
_DISALLOWED = re.compile(
    r"connection|expect|keep-alive|proxy-.*|trailer|upgrade|x-accel-.*|x-amz-cf-.*|x-amzn-.*|x-cache|x-edge-.*"
    r"|x-forwarded-proto|x-real-ip"
)


class WrongAnswer(Exception):
    """CloudFront does not take what a function answered, and answers 502."""


def headers_of(headers: Headers) -> dict[str, list[dict[str, str]]]:
    """Headers as an event has them; those that functions are not shown are left out."""
    found: dict[str, list[dict[str, str]]] = {}
    for name, value in headers:
        if not _DISALLOWED.fullmatch(name.lower()):
            found.setdefault(name.lower(), []).append({"key": name, "value": value})
    return found


def read_headers(headers: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Headers that a function answered."""
    return [(str(each.get("key", name)), str(each["value"])) for name, all_ in headers.items() for each in all_]


def event_of(kind: str, *, domain: str, distribution_id: str, request_id: str, record: Mapping[str, Any]) -> Any:
    """A whole event."""
    config = {
        "distributionDomainName": domain,
        "distributionId": distribution_id,
        "eventType": kind,
        "requestId": request_id,
    }
    return {"Records": [{"cf": {"config": config, **record}}]}


def check_headers(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Check what a function did to headers.

    Raises:
        WrongAnswer: one that is read-only was changed, or one was added that functions must not add.
    """
    for name in READ_ONLY[kind]:
        if before.get(name) != after.get(name):
            raise WrongAnswer(f"the read-only header {name} was changed")
    for name in after:
        if _DISALLOWED.fullmatch(name):
            raise WrongAnswer(f"the header {name} must not be added")
        if name != name.lower():
            raise WrongAnswer(f"the header {name} is not in lower case")


def check_generated(answer: Mapping[str, Any]) -> None:
    """Check an answer that a function made by itself.

    Raises:
        WrongAnswer: CloudFront would not send it.
    """
    status = answer.get("status")
    if not isinstance(status, str | int) or not 200 <= int(status) <= 599:
        raise WrongAnswer(f"the status {status!r} is none")
    if int(status) in (204, 304) and answer.get("body"):
        raise WrongAnswer(f"a body with status {status}")
    if len(json.dumps(answer).encode()) > GENERATED_MAX_BYTES:
        raise WrongAnswer(f"an answer of more than {GENERATED_MAX_BYTES} bytes")
    for name in answer.get("headers", {}):
        if _DISALLOWED.fullmatch(name.lower()):
            raise WrongAnswer(f"the header {name} must not be added")
