"""Signed URLs and cookies as CloudFront checks them, read anew: nothing here is of ``links/``, whose links it judges.

Source: CloudFront Developer Guide, "Use signed URLs", "Use signed cookies"; docs/aws-protocol.md 1.1 to 1.7; vectors
cf-*.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast
from urllib.parse import unquote

NAMES = ("Expires", "Policy", "Signature", "Key-Pair-Id", "Hash-Algorithm")
EPOCH_MAX_S = 2**63 - 1
_PROTOCOLS = {"http": ("http",), "https": ("https",), "*": ("http", "https"), "http*": ("http", "https")}
_FROM_CLOUDFRONT = str.maketrans("-_~", "+=/")


class VerifiesSignatures(Protocol):
    """A public key."""

    def verify(self, signature: bytes, message: bytes, hash_name: str) -> bool:
        """Say whether this key signed the message."""
        ...


class Forbidden(Exception):
    """CloudFront answers 403.

    Attributes:
        code: of the body.
        message: of the body.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message

    @property
    def body(self) -> bytes:
        """AWS's bytes: one line and no newline (docs/aws-protocol.md 1.7)."""
        error = f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
        return f'<?xml version="1.0" encoding="UTF-8"?>{error}'.encode()


def _missing_key() -> Forbidden:
    return Forbidden("MissingKey", "Missing Key-Pair-Id query parameter or cookie value")


def _denied() -> Forbidden:
    return Forbidden("AccessDenied", "Access denied")


def _malformed() -> Forbidden:
    return Forbidden("MalformedPolicy", "Malformed Policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What of a request the signature is about.

    Attributes:
        scheme: http or https.
        host: in lower case, with a port other than the scheme's.
        path: raw, a character a byte.
        query: raw, without ``?``.
        cookies: name and value, in their order.
        address: of the viewer.
    """

    scheme: str
    host: str
    path: str
    query: str
    cookies: Sequence[tuple[str, str]]
    address: str


def check(asked: Asked, keys: Mapping[str, VerifiesSignatures], *, now_s: int) -> None:
    """Check a request as a behaviour with a trusted key group does.

    Args:
        asked: the request.
        keys: the key group.
        now_s: seconds since 1970 UTC.

    Raises:
        Forbidden: it is not signed as it must be.
    """
    given, own_query = _given(asked)
    key_id = unquote(given.get("Key-Pair-Id", ""))
    if not key_id:
        raise _missing_key()
    signed, statement = _policy_of(asked, given, own_query)
    signature = _signature_of(given)
    hash_name = given.get("Hash-Algorithm", "SHA1")
    if hash_name not in ("SHA1", "SHA256"):
        raise _denied()
    if key_id not in keys:
        raise Forbidden("InvalidKey", "Unknown Key")
    if not keys[key_id].verify(signature, signed, hash_name):
        raise _denied()
    if statement is not None and not (_covers(statement, asked, own_query) and _is_now(statement, asked, now_s)):
        raise _denied()
    if statement is None and now_s >= int(unquote(given["Expires"])):
        raise _denied()


def _given(asked: Asked) -> tuple[Mapping[str, str], str]:
    """CloudFront's parameters, of the URL or else of cookies, and what of the query is the viewer's own."""
    segments = asked.query.split("&") if asked.query else []
    split = [segment.partition("=") for segment in segments]
    found = [(name, value) for name, _, value in split if name in NAMES]
    own = "&".join(segment for segment, parts in zip(segments, split, strict=True) if parts[0] not in NAMES)
    if not found:
        # any one parameter in the URL makes it a signed URL, and cookies are not looked at (1.5.3)
        prefix = "CloudFront-"
        found = [(name.removeprefix(prefix), value) for name, value in asked.cookies if name.startswith(prefix)]
        found = [(name, value) for name, value in found if name in NAMES]
    if len({name for name, _ in found}) != len(found):
        raise _denied()
    return dict(found), own


def _policy_of(asked: Asked, given: Mapping[str, str], own_query: str) -> tuple[bytes, Mapping[str, Any] | None]:
    """The bytes that are signed, and the statement of a custom policy."""
    if "Policy" in given:
        try:
            text = _unbase64(given["Policy"])
            return text, _statement_of(text)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _malformed() from None
    expires = unquote(given.get("Expires", ""))
    if not expires.isascii() or not expires.isdigit() or int(expires) > EPOCH_MAX_S:
        raise _malformed()
    resource = f"{asked.scheme}://{asked.host}{asked.path}{'?' if own_query else ''}{own_query}"
    text = '{"Statement":[{"Resource":"%s","Condition":{"DateLessThan":{"AWS:EpochTime":%s}}}]}'
    return (text % (resource, expires)).encode("latin-1"), None


def _signature_of(given: Mapping[str, str]) -> bytes:
    if not given.get("Signature"):
        raise _denied()
    try:
        return _unbase64(given["Signature"])
    except ValueError:
        raise Forbidden("MalformedSignature", "Could not unencode Signature") from None


def _unbase64(text: str) -> bytes:
    plain = unquote(text)
    if set(plain) & set("+/="):
        raise ValueError("standard base64, not CloudFront's")
    try:
        return base64.b64decode(plain.translate(_FROM_CLOUDFRONT), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _statement_of(text: bytes) -> Mapping[str, Any]:
    """Read the one statement; its conditions are of the documented names, and DateLessThan is among them."""
    document = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    (statement,) = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    condition: Mapping[str, Any] = statement["Condition"]
    if set(document) != {"Statement"} or not {"Resource", "Condition"} >= set(statement):
        raise ValueError("a member that no policy has")
    if not {"DateLessThan", "DateGreaterThan", "IpAddress"} >= set(condition) or "DateLessThan" not in condition:
        raise ValueError("a condition that no policy has, or no end")
    for name in condition.keys() - {"IpAddress"}:
        ((_, epoch_s),) = condition[name].items()
        if set(condition[name]) != {"AWS:EpochTime"} or type(epoch_s) is not int or not 0 <= epoch_s <= EPOCH_MAX_S:
            raise ValueError("no time")
    if "IpAddress" in condition:
        ipaddress.IPv4Network(condition["IpAddress"]["AWS:SourceIp"], strict=False)
    if not isinstance(statement.get("Resource", ""), str):
        raise TypeError("no text")
    return cast("Mapping[str, Any]", statement)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a member stands twice")
    return dict(pairs)


def _is_now(statement: Mapping[str, Any], asked: Asked, now_s: int) -> bool:
    condition = statement["Condition"]
    if now_s >= condition["DateLessThan"]["AWS:EpochTime"]:
        return False
    if "DateGreaterThan" in condition and now_s <= condition["DateGreaterThan"]["AWS:EpochTime"]:
        return False
    if "IpAddress" not in condition:
        return True
    network = ipaddress.IPv4Network(condition["IpAddress"]["AWS:SourceIp"], strict=False)
    address = ipaddress.ip_address(asked.address)
    # a listener of both protocols shows IPv4 within IPv6
    return (getattr(address, "ipv4_mapped", None) or address) in network


def _covers(statement: Mapping[str, Any], asked: Asked, own_query: str) -> bool:
    """Whether the Resource is of this URL: section by section, a wildcard stays in its own (1.2.10 to 1.2.16)."""
    resource: str = statement.get("Resource", "*")
    if resource == "*":
        return True
    protocol, mark, rest = resource.partition("://")
    if not mark:
        protocol, rest = "*", resource
        if not resource.startswith("*"):
            return False
    domain, slash, tail = rest.partition("/")
    if asked.scheme not in _PROTOCOLS.get(protocol, ()) or not _fits(asked.host, domain.lower()):
        return False
    if not slash:
        return domain.endswith("*") or (asked.path, own_query) == ("/", "")
    return any(_fits_tail(asked.path, own_query, *split) for split in _splits(slash + tail))


def _splits(tail: str) -> Sequence[tuple[str, str | None]]:
    """Where path and query of a Resource part: an escaped ``?`` says so; a bare one may also be one character."""
    for separator in ("\\?", "?"):
        path, found, query = tail.partition(separator)
        if found:
            is_query = separator == "\\?" or "=" in query
            return [(path, query)] if is_query else [(path, query), (tail, None)]
    return [(tail, None)]


def _fits_tail(path: str, own_query: str, path_pattern: str, query_pattern: str | None) -> bool:
    if not _fits(path, path_pattern):
        return False
    if query_pattern is None:
        return not own_query or path_pattern.endswith("*")
    return bool(own_query) and _fits(own_query, query_pattern)


def _fits(text: str, pattern: str) -> bool:
    parts = (".*" if each == "*" else "." if each == "?" else re.escape(each) for each in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
