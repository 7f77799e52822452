"""What a door answers by itself: refusals, pages, preflights. Status, headers and body; whole, and of no object.

Gateway and edge say the same to a viewer: each only carries an ``Answer`` in its own way. Shipped to the edge.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from oncegate.links.cookies import GO_MAX_AGE_S, cookies_of
from oncegate.links.grant import Grant
from oncegate.links.people import is_navigation
from oncegate.links.refusal import Reason, Refused, Style, xml_body
from oncegate.links.request import ViewerRequest
from oncegate.web.plain import Page, message_page

Header = tuple[bytes, bytes]

# no-store: a cache that answered from its copy would deliver the object without a use. nosniff: a file without a type
# must not be read as HTML. no-referrer: the URL of the page is the secret.
ALWAYS: tuple[Header, ...] = (
    (b"cache-control", b"private, no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"server", b"oncegate"),
)
RETRY_AFTER_S = {
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


def page_answer(page: Page, *, status: int = 200) -> Answer:
    """A page for people."""
    headers = [
        *ALWAYS,
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", page.policy.encode()),
        (b"vary", b"accept, sec-fetch-mode, cookie"),
    ]
    return Answer(status, headers, page.body)


def button_answer(request: ViewerRequest, link_id: bytes) -> Answer:
    """The answer to the button's POST: a cookie that says for a minute that a person pressed it, and 303 to the link.

    The location is relative: nothing of Host goes into it.
    """
    cookies = cookies_of(request)
    cookie = cookies.header(cookies.go(link_id), "1", GO_MAX_AGE_S)
    return Answer(303, [*ALWAYS, (b"location", location_of(request)), cookie])


def location_of(request: ViewerRequest) -> bytes:
    """The very URL of a request, relative."""
    target = request.path + (b"?" + request.query if request.query else b"")
    # two slashes in front would name another host
    return b"/" + target.lstrip(b"/")


def refusal_answer(
    refused: Refused, request: ViewerRequest | None, *, style: Style, request_id: str, page: Answer | None = None
) -> Answer:
    """Write a refusal: AWS's body for programs, a page for browsers, problem+json where Accept asks for JSON.

    Args:
        refused: why.
        request: None where it could not be read.
        style: of the link.
        request_id: for the log and the error body.
        page: what a browser is shown; None: a plain page.
    """
    status = refused.row.status
    extra = [(b"x-request-id", request_id.encode())]
    if refused.reason in RETRY_AFTER_S:
        extra.append((b"retry-after", b"%d" % RETRY_AFTER_S[refused.reason]))
    if refused.reason is Reason.RANGE and refused.members:
        extra.append((b"content-range", b"bytes */" + refused.members[0][1].encode()))
    words = refused.words if refused.reason in _GENUINE else refused.message
    if request is not None and asks_for_json(request):
        return _problem(refused, words, [*ALWAYS, *extra])
    if request is not None and is_navigation(request):
        page = page or page_answer(message_page(title=_TITLES.get(refused.reason, refused.row.code), words=words))
        return Answer(status, [*page.headers, *extra], page.body)
    content_type, body = xml_body(refused, style=style, request_id=request_id)
    return Answer(status, [*ALWAYS, *extra, (b"content-type", content_type.encode())], body)


def asks_for_json(request: ViewerRequest) -> bool:
    """Whether ``Accept`` names JSON of any kind."""
    return b"json" in (request.header(b"accept") or b"").lower()


def _problem(refused: Refused, words: str, headers: list[Header]) -> Answer:
    body = {"type": "about:blank", "title": refused.row.code, "status": refused.row.status, "detail": words}
    return Answer(
        refused.row.status, [*headers, (b"content-type", b"application/problem+json")], json.dumps(body).encode()
    )


def preflight(request: ViewerRequest, cors_origins: tuple[str, ...]) -> Answer:
    """OPTIONS: answered from the configuration alone, without looking at the signature."""
    headers = [*ALWAYS, (b"allow", b"GET, HEAD, PUT, OPTIONS")]
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
