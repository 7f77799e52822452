"""CloudFront policies: the bytes of the canned one, reading a custom one, and matching its Resource.

A canned policy is rebuilt from the request, so it covers every byte of the URL. A custom policy is sent along; its
Resource may hold ``*`` (any number of characters) and ``?`` (exactly one), each inside its own section of the URL.

Source: CloudFront Developer Guide, "Create a signed URL using a canned policy", "... a custom policy";
docs/aws-protocol.md 1.1, 1.2; vectors cf-*.
"""

from __future__ import annotations

import ipaddress
import json
from typing import NamedTuple, cast

from oncegate.links.errors import BadRequest
from oncegate.links.refusal import Reason, Refused

EPOCH_MAX_S = 2**63 - 1
# our choice: in base64 it fits into a query of QUERY_MAX_BYTES
POLICY_MAX_BYTES = 8_192
PART_MAX = 1_024
"""Characters between two ``*`` of a Resource: as many as an object key has bytes."""
_FIND_MAX = 32
# http* is in older texts and libraries; the others are documented
_PROTOCOLS = ("http", "https", "*", "http*")


class Policy(NamedTuple):
    """What a policy allows.

    Attributes:
        resource: as signed; None: any URL.
        expires_s: seconds since 1970 UTC; refused at this second and after.
        not_before_s: refused at this second and before; None: no limit.
        source_ip: an IPv4 address or network as text; None: any, as ``0.0.0.0/0`` is.
    """

    resource: str | None
    expires_s: int
    not_before_s: int | None = None
    source_ip: str | None = None


def canned_policy(resource: bytes, expires: bytes) -> bytes:
    """Build the bytes that CloudFront rebuilds from the request and checks the signature against.

    Args:
        resource: URL as it is requested, percent-escapes kept, without CloudFront's own parameters.
        expires: the digits of ``Expires`` as they stand in the URL (a leading zero is another policy).

    Returns:
        UTF-8 JSON without white space, keys in the order Statement, Resource, Condition.

    Source: CloudFront Developer Guide, "Create a signed URL using a canned policy"; vectors cf-plain-*.
    """
    # joined, because CloudFront inserts the request line as it came; a JSON encoder would escape quotation marks
    return (
        b'{"Statement":[{"Resource":"'
        + resource
        + b'","Condition":{"DateLessThan":{"AWS:EpochTime":'
        + expires
        + b"}}}]}"
    )


def custom_policy(policy: Policy) -> bytes:
    """Write a policy as CloudFront reads it: one statement, no white space.

    Raises:
        ValueError: the policy has no Resource.
        BadRequest: the source is no IPv4 address or network, or the policy is too long to be read.
    """
    if policy.resource is None:
        raise ValueError("a policy without a Resource opens every object: name one")
    _check_resource(policy.resource)
    condition: dict[str, object] = {"DateLessThan": {"AWS:EpochTime": policy.expires_s}}
    if policy.not_before_s is not None:
        condition["DateGreaterThan"] = {"AWS:EpochTime": policy.not_before_s}
    if policy.source_ip is not None:
        condition["IpAddress"] = {"AWS:SourceIp": _network(policy.source_ip)}
    statement = {"Resource": policy.resource, "Condition": condition}
    text = json.dumps({"Statement": [statement]}, separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) > POLICY_MAX_BYTES:
        raise BadRequest("key", f"the policy is longer than {POLICY_MAX_BYTES} bytes: shorten the key or the file name")
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.IPv4Network(text, strict=False))
    except ValueError:
        words = (
            _only_ipv4(text) if _is_ipv6(text) else f"{text!r} is no IPv4 address or network, such as 203.0.113.0/24"
        )
        raise BadRequest("source_ip", words) from None


def _only_ipv4(text: str) -> str:
    return f"{text[:60]!r} is no IPv4 address or network: CloudFront's policies name no IPv6"


def _is_ipv6(text: str) -> bool:
    try:
        return bool(ipaddress.IPv6Network(text, strict=False))
    except ValueError:
        return False


def read_policy(text: bytes) -> Policy:
    """Read a custom policy; anything that is not exactly the documented form is refused.

    Args:
        text: the decoded bytes that the signature is over.

    Raises:
        Refused: MALFORMED_POLICY.

    Source: docs/aws-protocol.md 1.2.1-1.2.7; vectors cf-two-statements-b, cf-statement-object-b, cf-ipv6-condition-b.
    """
    try:
        if len(text) > POLICY_MAX_BYTES:
            raise ValueError(f"longer than {POLICY_MAX_BYTES} bytes")
        # decoded here: json would take UTF-16 and UTF-32 too, in which the same policy has other bytes
        document = _members(json.loads(text.decode(), object_pairs_hook=_no_duplicates), {"Statement"})
        statement = _members(_only(document["Statement"]), {"Resource", "Condition"})
        condition = _members(statement["Condition"], {"DateLessThan", "DateGreaterThan", "IpAddress"})
        resource = statement.get("Resource")
        if resource is not None:
            if not isinstance(resource, str):
                raise ValueError("the Resource is no text")
            _check_resource(resource)
        return Policy(
            resource=resource,
            expires_s=_epoch(condition["DateLessThan"]),
            not_before_s=_epoch(condition["DateGreaterThan"]) if "DateGreaterThan" in condition else None,
            source_ip=_source(condition["IpAddress"]) if "IpAddress" in condition else None,
        )
    # RecursionError: 8,192 brackets can be deeper than json goes
    except (ValueError, KeyError, RecursionError) as error:
        raise Refused(Reason.MALFORMED_POLICY, hint=f"the policy cannot be read: {error}") from None


def _check_resource(resource: str) -> None:
    if any("\ud800" <= c <= "\udfff" for c in resource):
        raise ValueError("the Resource has half of a surrogate pair")
    if any(len(part) > PART_MAX for part in resource.split("*")[1:-1]):
        raise ValueError(f"between two * of the Resource are more than {PART_MAX} characters")


def _only(statements: object) -> object:
    """Read an array of one statement, as CloudFront's page of 2026 shows it, or an object, as that of 2023 did."""
    if isinstance(statements, list):
        (statements,) = cast("list[object]", statements)
    return statements


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # of two members with one name some readers take the first, others the last: the issuer may have meant either
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def _members(value: object, allowed: set[str]) -> dict[str, object]:
    """Take a JSON object without further members: a condition that is not understood cannot be enforced."""
    if not isinstance(value, dict) or not allowed.issuperset(value):  # pyright: ignore[reportUnknownArgumentType] - JSON
        raise ValueError(f"expected an object with {', '.join(sorted(allowed))}")
    return value  # pyright: ignore[reportUnknownVariableType] - JSON objects have text keys


def _epoch(value: object) -> int:
    seconds = _members(value, {"AWS:EpochTime"})["AWS:EpochTime"]
    # not isinstance: JSON's true is an int to Python
    if type(seconds) is not int or not 0 <= seconds <= EPOCH_MAX_S:
        raise ValueError("AWS:EpochTime is no whole number of seconds")
    return seconds


def _source(value: object) -> str | None:
    """The network of a condition; None where it is every network, which asks nobody for a proof of their address."""
    source = _members(value, {"AWS:SourceIp"})["AWS:SourceIp"]
    if not isinstance(source, str):
        raise ValueError("AWS:SourceIp is no text")  # noqa: TRY004  one kind of error for one kind of answer
    if _is_ipv6(source):
        raise ValueError(_only_ipv4(source))
    return source if ipaddress.IPv4Network(source, strict=False).prefixlen else None


class Match(NamedTuple):
    """How a Resource covers a URL.

    Attributes:
        query: what the Resource says after the separator, as signed; empty where it names no query.
        is_wildcard: more than one URL fits the Resource.
    """

    query: str
    is_wildcard: bool


def match_resource(resource: str | None, *, scheme: str, host: str, path: str, query: str) -> Match | None:
    """Match a Resource against a request; None where it is for another URL.

    Args:
        resource: of the policy; None: any URL.
        scheme: of the request.
        host: of the request, lower case.
        path: of the request, raw.
        query: of the request without CloudFront's parameters, raw, with its ``?``; empty where there is none.

    Source: docs/aws-protocol.md 1.2.10-1.2.16; vectors cf-wild-*, cf-mid-star-*, cf-query-*, cf-one-char-*.
    """
    if resource is None or resource == "*":
        return Match("", is_wildcard=True)
    protocol, separator, rest = resource.partition("://")
    if not separator:
        if not resource.startswith("*"):
            return None
        protocol, rest = "*", resource
    if protocol not in _PROTOCOLS or not is_like(scheme, protocol):
        return None
    slash = rest.find("/")
    domain, tail = (rest, "") if slash < 0 else (rest[:slash], rest[slash:])
    # the host has no case, path and query have (docs/aws-protocol.md 1.2.16)
    if not is_like(host, domain.lower()):
        return None
    if not tail:
        # "http://example.com*" implies any path and query, "http://example.com" only the root
        return Match("", is_wildcard=True) if domain.endswith("*") or (path == "/" and not query) else None
    return _match_tail(tail, protocol + domain, path, query)


def _match_tail(tail: str, front: str, path: str, query: str) -> Match | None:
    """Match path and query: an escaped ``?`` separates them; else the first bare one does, else all are one character."""
    escaped, bare = tail.find("\\?"), tail.find("?")
    splits: list[tuple[str, str | None]]
    if escaped >= 0:
        splits = [(tail[:escaped], tail[escaped + 2 :])]
    elif bare >= 0:
        splits = [(tail[:bare], tail[bare + 1 :])]
        if "=" not in tail[bare:]:  # else it is a query, and what is signed there must not be read as part of a path
            splits.append((tail, None))
    else:
        splits = [(tail, None)]
    for path_pattern, query_pattern in splits:
        if not is_like(path, path_pattern):
            continue
        if query_pattern is None:
            # "http://example.com/hello*" means "http://example.com/hello*\?*" as well (1.2.12)
            fits = not query or path_pattern.endswith("*")
        else:
            fits = query.startswith("?") and is_like(query[1:], query_pattern)
        if fits:
            signed = front + path_pattern + (query_pattern or "")
            return Match(query_pattern or "", is_wildcard="*" in signed or "?" in signed)
    return None


def is_like(text: str, pattern: str) -> bool:
    """Whether ``*`` (any run) and ``?`` (one character) make the pattern fit the text.

    The text before the first ``*`` and after the last are compared where they must be; each part between two is looked
    for behind the one before, from the left. So the steps grow with the text, whatever the pattern is.
    """
    head, *middle = pattern.split("*")
    if not middle:
        return _fits(text, head)
    tail = middle.pop()
    end = len(text) - len(tail)
    at = len(head)
    if end < at or not _fits(text[:at], head) or not _fits(text[end:], tail):
        return False
    for part in middle:
        found = _find(part, text, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _fits(text: str, part: str) -> bool:
    """Whether a part without ``*`` fits all of a text."""
    if "?" not in part:
        return text == part
    return len(text) == len(part) and all(p in ("?", c) for c, p in zip(text, part, strict=True))


def _find(part: str, text: str, start: int, end: int) -> int:
    """Where a part without ``*`` first fits, from ``start`` on and before ``end``; -1: nowhere."""
    # str.find takes len(part) steps for each character at worst
    if "?" not in part and len(part) <= _FIND_MAX:
        return text.find(part, start, end)
    # Bit i of ``fitting`` says that the first i + 1 characters of the part fit the text that ends here ("shift-and"), so
    # each character of the text costs a few operations on a number of PART_MAX bits.
    wild = sum(1 << i for i, p in enumerate(part) if p == "?")
    masks: dict[str, int] = {}
    for i, p in enumerate(part):
        masks[p] = masks.get(p, wild) | 1 << i
    whole, fitting = 1 << len(part) - 1, 0
    for at in range(start, end):
        fitting = (fitting << 1 | 1) & masks.get(text[at], wild)
        if fitting & whole:
            return at - len(part) + 1
    return -1
