"""What goes back of an object: its headers, built whole and checked before anything is claimed."""

from __future__ import annotations

import codecs
import re
from base64 import b64encode
from email.utils import formatdate
from functools import lru_cache

from oncegate.links.disposition import PLAYED_KINDS, disposition_of, plain_disposition
from oncegate.links.grant import NO_LIMITS, Limits
from oncegate.stores.protocol import ObjectInfo, OpenObject
from oncegate.web.answers import ALWAYS, Answer, Header

_OBJECT: tuple[Header, ...] = (
    *ALWAYS,
    (b"accept-ranges", b"bytes"),
    # otherwise nginx reads up to 1 GiB ahead into a file, and all of it would count as handed over
    (b"x-accel-buffering", b"no"),
    # so that uploaded HTML or SVG runs nothing on the origin of the links
    (b"content-security-policy", b"sandbox; default-src 'none'"),
)


SNIFFED_BYTES = 65_536
"""Of a text that is shown inline: what is read to tell its charset."""
_SENT_BACK = re.compile(r"[\x20-\x7e]*")
_META_NAME = re.compile(r"x-amz-meta-[a-z0-9!#$%&'*+.^_`|~-]+")


def object_headers(info: ObjectInfo, limits: Limits, span: tuple[int, int] | None) -> list[Header]:
    """Write the headers of an object, or of a part of it: its own, unless the link signs others.

    Args:
        info: what was seen at the look.
        limits: signed ``response-content-*``.
        span: first byte and end (exclusive) of a part.
    """
    # nearly every object is sent as it is: nothing was kept with it, and the link signs no other headers
    is_plain = not info.kept and limits is NO_LIMITS
    kept = dict(info.kept)
    content_type = limits.response_type or info.content_type
    wanted = None if is_plain else limits.disposition or plain_disposition(kept.get("content-disposition"))
    disposition = disposition_of(info.key, wanted, content_type)
    length = info.size_bytes if span is None else span[1] - span[0]
    headers = [
        *_OBJECT,
        (b"content-type", content_type.encode("latin-1", "replace")),
        (b"content-length", b"%d" % length),
        (b"etag", info.etag.encode()),
        (b"last-modified", _http_date(info.modified_s)),
        (b"content-disposition", disposition.encode()),
    ]
    if not is_plain:
        headers += _given_back(kept, limits)
    if span is not None:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (span[0], span[1] - 1, info.size_bytes)))
    return headers


def _given_back(kept: dict[str, str], limits: Limits) -> list[Header]:
    """What was stored with the object; Cache-Control never: every answer is private, no-store.

    Others may have written what no header can hold: that is left out.
    """
    wanted = {
        "content-encoding": limits.response_encoding or kept.get("content-encoding"),
        "content-language": limits.response_language or kept.get("content-language"),
        "expires": kept.get("expires"),
        **{name: value for name, value in kept.items() if _META_NAME.fullmatch(name)},
    }
    return [(name.encode(), value.encode()) for name, value in wanted.items() if value and _SENT_BACK.fullmatch(value)]


async def with_charset(headers: list[Header], opened: OpenObject) -> list[Header]:
    """Name the charset of a text that a browser shows, where nobody has named one and its first 64 KiB are UTF-8.

    Without it, browsers take the charset of the reader's own language. No byte of what is read here is sent.

    Raises:
        StoreFault: the store failed.
    """
    given = dict(headers)
    content_type = given[b"content-type"]
    is_shown = given[b"content-disposition"].lower().startswith(b"inline") and content_type.startswith(b"text/")
    if not is_shown or b"charset" in content_type.lower() or b"content-encoding" in given:
        return headers
    size_bytes = opened.info.size_bytes
    begin = b"".join([piece async for piece in opened.read(0, min(size_bytes, SNIFFED_BYTES), SNIFFED_BYTES)])
    try:
        # the last character may be cut, if more follows
        codecs.getincrementaldecoder("utf-8")().decode(begin, final=size_bytes <= SNIFFED_BYTES)
    except UnicodeDecodeError:
        return headers
    if b"\0" in begin:  # UTF-16 of English is valid UTF-8
        return headers
    named = (b"content-type", content_type + b"; charset=utf-8")
    return [named if name == b"content-type" else (name, value) for name, value in headers]


@lru_cache(maxsize=1024)
def _http_date(instant_s: int) -> bytes:
    return formatdate(instant_s, usegmt=True).encode()


def is_played(headers: list[Header]) -> bool:
    """Whether a browser is to play the object in place of saving it."""
    given = dict(headers)
    shown = given[b"content-disposition"].lower().startswith(b"inline")
    return shown and given[b"content-type"].startswith(tuple(kind.encode() for kind in PLAYED_KINDS))


def not_modified(info: ObjectInfo) -> Answer:
    """304, with what identifies the version (RFC 9110 15.4.5)."""
    return Answer(304, [*ALWAYS, (b"etag", info.etag.encode())])


def stored(info: ObjectInfo, *, digest: bytes = b"") -> Answer:
    """200 for an upload, as S3 answers it; with its SHA-256 where that was asked for (RFC 9530)."""
    answer = Answer(200, [*ALWAYS, (b"etag", info.etag.encode())])
    if digest:
        answer.headers.append((b"repr-digest", b"sha-256=:%s:" % b64encode(digest)))
    return answer
