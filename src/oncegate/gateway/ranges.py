"""Preconditions and ranges of RFC 9110, decided before anything is claimed.

One range is answered in part; several at once, or one that makes no sense, whole: a budget of bytes has no use for
multipart answers.

Source: RFC 9110 13.1 (conditions), 13.2.2 (their order), 14.1-14.2 (ranges).
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest

_ETAG = re.compile(rb'((?:W/)?"[^"]*")[ \t]*(?:,[ \t,]*|\Z)')
ETAGS_MAX_BYTES = 1_024
"""Of If-Match and If-None-Match: clients send one or two tags; a cache may send a few more."""
_DATE_MAX_BYTES = 64
_NUMBER = re.compile(rb"[0-9]{0,19}")
_CONDITIONS = frozenset(
    (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range")
)
_STRONG_CONDITIONS = frozenset((b"if-match", b"if-unmodified-since", b"if-range"))


class Plan(NamedTuple):
    """What is to be answered.

    Attributes:
        status: 200, 206 or 304.
        span: first byte and end (exclusive) of a range; None: the whole.
    """

    status: int
    span: tuple[int, int] | None = None


_WHOLE = Plan(200)


def plan_answer(request: ViewerRequest, *, size_bytes: int, etag: str, modified_s: int) -> Plan:
    """Decide status and range of a GET or HEAD from its conditions.

    Args:
        request: with its headers.
        size_bytes: of the object.
        etag: strong, with quotes.
        modified_s: seconds since 1970 UTC.

    Raises:
        Refused: PRECONDITION (412), RANGE (416), MALFORMED_REQUEST (400).
    """
    if not has_condition(request):
        return _WHOLE
    # the order of RFC 9110 13.2.2: a 412 before a 304, and If-Range when all others hold
    if not _holds(request, etag, modified_s):
        raise Refused(Reason.PRECONDITION)
    if _is_unchanged(request, etag, modified_s):
        return Plan(304)
    wanted = request.header(b"range")
    # RFC 9110 14.2: "GET is the only method for which range handling is defined". So HEAD is whole.
    if wanted is None or request.method != "GET" or not _if_range_holds(request, etag, modified_s):
        return Plan(200)
    span = _span_of(wanted, size_bytes)
    return Plan(200) if span is None else Plan(206, span)


def has_condition(request: ViewerRequest) -> bool:
    """Whether the viewer asked for a part, or set a condition."""
    return request.has_any(_CONDITIONS)


def has_strong_condition(request: ViewerRequest) -> bool:
    """Whether the viewer said which version he wants: then a replaced object is 412 to him."""
    return request.has_any(_STRONG_CONDITIONS)


def names_version(wanted: bytes, etag: str, *, is_weak: bool = False) -> bool:
    """Whether If-Match or If-None-Match (weak comparison) names the version with this ETag: ``*``, or the ETag in a list.

    Raises:
        Refused: MALFORMED_REQUEST: the list is longer than ``ETAGS_MAX_BYTES``.
    """
    if len(wanted) > ETAGS_MAX_BYTES:
        raise Refused(Reason.MALFORMED_REQUEST)
    # If-Match compares strongly (13.1.1): W/"x" names no bytes. If-None-Match weakly (13.1.2).
    tags = _tags_of(wanted)
    return wanted.strip() == b"*" or etag.encode() in ([tag.removeprefix(b"W/") for tag in tags] if is_weak else tags)


def _tags_of(wanted: bytes) -> list[bytes]:
    """The ETags of a list, up to what is none."""
    tags: list[bytes] = []
    at = len(wanted) - len(wanted.lstrip(b" \t,"))
    while at < len(wanted) and (found := _ETAG.match(wanted, at)):
        tags.append(found[1])
        at = found.end()
    return tags


def _holds(request: ViewerRequest, etag: str, modified_s: int) -> bool:
    """If-Match, else If-Unmodified-Since (RFC 9110 13.2.2, steps 1 and 2)."""
    match = request.header(b"if-match")
    if match is not None:
        return names_version(match, etag)
    since = _date(request.header(b"if-unmodified-since"))
    return since is None or modified_s <= since


def _is_unchanged(request: ViewerRequest, etag: str, modified_s: int) -> bool:
    """If-None-Match, else If-Modified-Since (steps 3 and 4); weak comparison."""
    none_match = request.header(b"if-none-match")
    if none_match is not None:
        return names_version(none_match, etag, is_weak=True)
    since = _date(request.header(b"if-modified-since"))
    return since is not None and modified_s <= since


def _if_range_holds(request: ViewerRequest, etag: str, modified_s: int) -> bool:
    """If-Range: the very ETag or the very date, else the whole (13.1.5)."""
    value = request.header(b"if-range")
    if value is None:
        return True
    if value.lstrip().startswith((b'"', b"W/")):
        return value.strip() == etag.encode()
    # one second may have had two versions; the claim knows the ETag of the one that it began with
    return _date(value) == modified_s


def _span_of(wanted: bytes, size_bytes: int) -> tuple[int, int] | None:
    """Read ``bytes=a-b``, ``bytes=a-`` or ``bytes=-n``; None: answer whole.

    Raises:
        Refused: RANGE: it begins at or behind the end.
    """
    # RFC 9110 14.2: "A server MAY ignore the Range header field." Another unit it must; several ranges it may, and the
    # boundaries between parts would be bytes that no budget counts.
    unit, _, asked = wanted.partition(b"=")
    first, dash, last = (part.strip() for part in asked.partition(b"-"))
    if unit.strip().lower() != b"bytes" or not dash or first == last == b"":
        return None
    if not (_NUMBER.fullmatch(first) and _NUMBER.fullmatch(last)):
        return None
    if not first:
        # RFC 9110 14.1.2: of an object that is shorter "the entire representation is used"
        suffix = int(last)
        start, end = max(0, size_bytes - suffix), size_bytes
        satisfiable = suffix > 0 and size_bytes > 0
    else:
        start = int(first)
        end = min(size_bytes, int(last) + 1) if last else size_bytes
        if last and int(last) < start:
            return None  # invalid, so there is no range (14.1.1)
        satisfiable = start < size_bytes
    # the size goes into Content-Range: bytes */N, from which a viewer who has all of it knows that he has
    if not satisfiable:
        raise Refused(Reason.RANGE, members=(("ActualObjectSize", str(size_bytes)),))
    return start, end


def _date(value: bytes | None) -> int | None:
    """Seconds since 1970 of an HTTP date; None where it is none, which counts as absent."""
    if value is None or len(value) > _DATE_MAX_BYTES:
        return None
    try:
        read = parsedate_to_datetime(value.decode("latin-1"))
        # "recipients MUST accept all three" forms (RFC 9110 5.6.7); asctime's names no zone, and Python would take ours
        return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
