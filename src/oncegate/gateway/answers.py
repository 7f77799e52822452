"""What goes back: headers of an object, error bodies, pages. Built whole and checked before anything is claimed."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from email.utils import formatdate
from functools import lru_cache
from typing import Any, NamedTuple

from oncegate.links.disposition import PLAYED_KINDS, disposition_of
from oncegate.links.grant import Grant, Limits
from oncegate.links.people import is_navigation
from oncegate.links.refusal import Reason, Refused, Style, xml_body
from oncegate.links.request import ViewerRequest
from oncegate.stores.protocol import ObjectInfo
from oncegate.web.plain import Page, message_page

Header = tuple[bytes, bytes]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

# no-store: a cache that answered from its copy would deliver the object without a use. nosniff: a file without a type
# must not be read as HTML. no-referrer: the URL of the page is the secret.
_ALWAYS: tuple[Header, ...] = (
    (b"cache-control", b"private, no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"server", b"oncegate"),
)
_OBJECT: tuple[Header, ...] = (
    *_ALWAYS,
    (b"accept-ranges", b"bytes"),
    # otherwise nginx reads up to 1 GiB ahead into a file, and all of it would count as handed over
    (b"x-accel-buffering", b"no"),
    # so that uploaded HTML or SVG runs nothing on the origin of the links
    (b"content-security-policy", b"sandbox; default-src 'none'"),
)
_RETRY_AFTER_S = {
    Reason.BUSY: 2,
    Reason.UPLOAD_RUNNING: 5,
    Reason.LEDGER_UNKNOWN: 2,
    Reason.STORE_BUSY: 5,
    Reason.OVERLOADED: 5,
}
# Refusals that only the holder of a genuine signature can get: they may read what is the matter.
_GENUINE = frozenset(
    (Reason.EXPIRED, Reason.NOT_YET_VALID, Reason.IP_NOT_ALLOWED, Reason.METHOD_NOT_GRANTED, Reason.CROSS_SITE)
)
_TITLES = {
    Reason.USED: "Used",
    Reason.REVOKED: "Revoked",
    Reason.EXPIRED: "Expired",
    Reason.S3_EXPIRED: "Expired",
    Reason.FORGOTTEN: "Expired",
    Reason.NO_OBJECT: "Not found",
}


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    headers: list[Header]
    body: bytes = b""


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
    return Answer(304, [*_ALWAYS, (b"etag", info.etag.encode())])


def stored(info: ObjectInfo) -> Answer:
    """200 for an upload, as S3 answers it."""
    return Answer(200, [*_ALWAYS, (b"etag", info.etag.encode())])


def page_answer(page: Page, *, status: int = 200) -> Answer:
    """A page for people."""
    headers = [
        *_ALWAYS,
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", page.policy.encode()),
        (b"vary", b"accept, sec-fetch-mode, cookie"),
    ]
    return Answer(status, headers, page.body)


def see_other(request: ViewerRequest, cookie: Header) -> Answer:
    """303 to the same URL, relative: nothing of Host goes into it."""
    target = request.path + (b"?" + request.query if request.query else b"")
    # two slashes in front would name another host
    location = b"/" + target.lstrip(b"/")
    return Answer(303, [*_ALWAYS, (b"location", location), cookie])


def refusal_answer(refused: Refused, request: ViewerRequest | None, *, style: Style, request_id: str) -> Answer:
    """Write a refusal: AWS's body for programs, a page for browsers, problem+json where Accept asks for JSON.

    Args:
        refused: why.
        request: None where it could not be read.
        style: of the link.
        request_id: for the log and the error body.
    """
    status = refused.row.status
    extra = [(b"x-request-id", request_id.encode())]
    if refused.reason in _RETRY_AFTER_S:
        extra.append((b"retry-after", b"%d" % _RETRY_AFTER_S[refused.reason]))
    if refused.reason is Reason.RANGE and refused.members:
        extra.append((b"content-range", b"bytes */" + refused.members[0][1].encode()))
    words = refused.words if refused.reason in _GENUINE else refused.message
    accept = (request.header(b"accept") or b"").lower() if request is not None else b""
    if b"json" in accept:
        return _problem(refused, words, [*_ALWAYS, *extra])
    if request is not None and is_navigation(request):
        page = page_answer(
            message_page(title=_TITLES.get(refused.reason, refused.row.code), words=words), status=status
        )
        return Answer(status, [*page.headers, *extra], page.body)
    content_type, body = xml_body(refused, style=style, request_id=request_id)
    return Answer(status, [*_ALWAYS, *extra, (b"content-type", content_type.encode())], body)


def _problem(refused: Refused, words: str, headers: list[Header]) -> Answer:
    body = {"type": "about:blank", "title": refused.row.code, "status": refused.row.status, "detail": words}
    return Answer(
        refused.row.status, [*headers, (b"content-type", b"application/problem+json")], json.dumps(body).encode()
    )


def preflight(request: ViewerRequest, cors_origins: tuple[str, ...]) -> Answer:
    """OPTIONS: answered from the configuration alone, without looking at the signature."""
    headers = [*_ALWAYS, (b"allow", b"GET, HEAD, PUT, OPTIONS")]
    # ``Exchange.send`` adds the CORS headers themselves to every answer; browsers refuse them twice
    if cors_headers(request, cors_origins) and request.header(b"access-control-request-method") is not None:
        # any header: those with a meaning are checked in the request that carries them
        wanted = request.header(b"access-control-request-headers") or b""
        headers += [
            (b"access-control-allow-methods", b"GET, HEAD, PUT"),
            (b"access-control-allow-headers", wanted),
            (b"access-control-max-age", b"600"),
        ]
    return Answer(204, headers)


def cors_headers(request: ViewerRequest | None, cors_origins: tuple[str, ...]) -> list[Header]:
    """Let the configured origins read the answer, without credentials: no cookie of a link is sent across sites."""
    if not cors_origins or request is None:
        return []
    origin = request.header(b"origin")
    if origin is None or not ("*" in cors_origins or origin.decode("latin-1") in cors_origins):
        return []
    return [
        (b"access-control-allow-origin", b"*" if "*" in cors_origins else origin),
        (b"access-control-expose-headers", b"etag, content-range, content-length, content-disposition, retry-after"),
        (b"vary", b"origin"),
    ]


def style_of(grant: Grant | None, request: ViewerRequest | None) -> Style:
    """Whose error body fits the link."""
    if grant is not None:
        return Style.S3 if grant.scheme.value == "s3" else Style.CLOUDFRONT
    return Style.S3 if request is not None and b"X-Amz-" in request.query else Style.CLOUDFRONT
