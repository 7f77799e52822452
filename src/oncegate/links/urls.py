"""URLs and object keys: splitting, escaping once, and the one rule of what can be an object key.

An object key is the path after the first slash, percent-decoded once. A key that has two spellings, or that a file
system or a store would rewrite in silence, is refused here (docs/request.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from oncegate.links.refusal import Reason, Refused

OBJECT_KEY_MAX_BYTES = 1024
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# stores rewrite or refuse these: two spellings could share an object and have one use each (docs/decisions/0003)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute http or https URL, in the parts that a request line has."""

    scheme: str
    host: str
    path: bytes
    query: bytes


def parse_url(url: str) -> Url:
    """Split an absolute URL without decoding anything; scheme and host in lower case, the scheme's own port dropped.

    Raises:
        ValueError: not an absolute http or https URL, or a host that is none.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in DEFAULT_PORTS:
        raise ValueError("the URL must begin with http:// or https://")
    target, _, _fragment = rest.partition("#")
    end = min(i for i in (target.find("/"), target.find("?"), len(target)) if i >= 0)
    host = target[:end].lower().removesuffix(DEFAULT_PORTS[scheme])
    if not _HOST.fullmatch(host):
        raise ValueError(f"the URL has no valid host: {host!r}")
    path, _, query = target[end:].partition("?")
    return Url(scheme, host, (path or "/").encode(), query.encode())


def escape(text: str, *, safe: str = "") -> str:
    """Percent-encode everything but RFC 3986's unreserved characters, as S3 and every browser agree on."""
    return quote(text, safe=safe)


def is_escaped_well(raw: bytes) -> bool:
    """Whether every ``%`` begins an escape of two hex digits."""
    return b"%" not in raw or _BROKEN_ESCAPE.search(raw) is None


def unescape(raw: bytes) -> bytes:
    """Percent-decode once; ``+`` stays a plus."""
    return unquote_to_bytes(raw) if b"%" in raw else raw


def unescape_query(raw: bytes) -> bytes:
    """Percent-decode once, as a form is read and as S3 reads a query: ``+`` is a space."""
    return unescape(raw.replace(b"+", b" "))


def object_key_of(path: bytes) -> str:
    """Read the object key from a raw path.

    Args:
        path: raw, begins with ``/``.

    Raises:
        Refused: OBJECT_KEY: no key that is served here.
    """
    # a broken escape would be kept as it is: %zz and %25zz would be two spellings of one key
    if not is_escaped_well(path):
        raise Refused(Reason.OBJECT_KEY, hint="a % in the path is not followed by two hex digits")
    try:
        key = unescape(path[1:]).decode()
    except UnicodeDecodeError:
        raise Refused(Reason.OBJECT_KEY, hint="the path is not UTF-8") from None
    problem = object_key_problem(key)
    if problem:
        raise Refused(Reason.OBJECT_KEY, hint=problem)
    return key


def object_key_problem(key: str) -> str:
    """Say what is wrong with an object key, or nothing: the same rules for making a link and for serving one."""
    if not key:
        return "the object key is empty"
    # of the decoded key: to a file system %2E%2E and %2F are dots and slashes, and "training/*" matches
    # "training/../secret.pdf"
    fenced = f"/{key}/"
    if "//" in fenced or "/./" in fenced or "/../" in fenced:
        return "the object key has an empty, '.' or '..' segment, or a slash at an end"
    if _FORBIDDEN.search(key):
        return "the object key has a control character or a backslash"
    try:
        if (len(key) if key.isascii() else len(key.encode())) > OBJECT_KEY_MAX_BYTES:
            return f"the object key is longer than {OBJECT_KEY_MAX_BYTES} bytes"
    except UnicodeEncodeError:
        return "the object key is not UTF-8"
    return ""


def path_of(key: str) -> str:
    """Write the path of an object key, as clients will send it on the request line."""
    return "/" + escape(key, safe="/")


def path_in_link(key: str) -> str:
    """Write the path of a link that is made here, so that clients which normalise leave it alone.

    aiohttp's yarl decodes ``%28`` to ``(``; browsers and it keep these characters as they are, and a canned policy covers
    every byte. ``*`` is escaped all the same, because in a policy it is a wildcard.
    """
    return "/" + escape(key, safe="/!$&'(),;=:@")


def text_in_link(text: str) -> str:
    """Write a value of a made link's query; the same, with a space as ``+``.

    Letters, digits, blanks, ``-``, ``_``, ``.`` and what is reserved in a query survive URLSearchParams too.
    """
    return escape(text, safe="/!$(),:@").replace("%20", "+")
