"""What goes back of an object: its headers, built whole and checked before anything is claimed; and how answers are sent."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any

from oncegate.links.disposition import PLAYED_KINDS, disposition_of
from oncegate.links.grant import Limits
from oncegate.stores.protocol import ObjectInfo
from oncegate.web.answers import ALWAYS, Answer, Header

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

_OBJECT: tuple[Header, ...] = (
    *ALWAYS,
    (b"accept-ranges", b"bytes"),
    # otherwise nginx reads up to 1 GiB ahead into a file, and all of it would count as handed over
    (b"x-accel-buffering", b"no"),
    # so that uploaded HTML or SVG runs nothing on the origin of the links
    (b"content-security-policy", b"sandbox; default-src 'none'"),
)


async def send_answer(send: Send, answer: Answer, *, with_body: bool = True) -> None:
    """Send an answer; without its body to HEAD, whose Content-Length stays."""
    headers = answer.headers
    # RFC 9110 8.6: a 204 must not have one, and that of a 304 would be that of the object
    if answer.status not in (204, 304) and not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body if with_body else b""})


def object_headers(info: ObjectInfo, limits: Limits, span: tuple[int, int] | None) -> list[Header]:
    """Write the headers of an object, or of a part of it.

    Args:
        info: what was seen at the look.
        limits: signed ``response-content-*``.
        span: first byte and end (exclusive) of a part.
    """
    content_type = limits.response_type or info.content_type
    length = info.size_bytes if span is None else span[1] - span[0]
    headers = [
        *_OBJECT,
        (b"content-type", content_type.encode()),
        (b"content-length", b"%d" % length),
        (b"etag", info.etag.encode()),
        (b"last-modified", _http_date(info.modified_s)),
        (b"content-disposition", disposition_of(info.key, limits.disposition, content_type).encode()),
    ]
    if span is not None:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (span[0], span[1] - 1, info.size_bytes)))
    return headers


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
