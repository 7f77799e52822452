"""Which page a reader is shown, and what is known for it: read from the ledger, never written, and no use is spent.

``web/pages.py`` says how a page looks. Whether a page is due in place of the object is for ``links/asking.py``.
"""

from __future__ import annotations

import asyncio
import re

from oncegate.gateway.delivery import END_KNOWN_S
from oncegate.gateway.exchange import DRAIN_MAX_S, Exchange
from oncegate.gateway.parts import Parts
from oncegate.gateway.records import record_of
from oncegate.ledgers.claiming import Decide
from oncegate.links.cookies import cookies_of
from oncegate.links.disposition import disposition_of
from oncegate.links.grant import Grant, Operation
from oncegate.links.people import is_navigation, is_of_another_site, page_status
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.verify import ANY_MOMENT, authenticate, verify_by_any_method
from oncegate.stores.protocol import ObjectInfo
from oncegate.uses.record import Claim, Record, RecordUnreadable
from oncegate.uses.use import Admission, DownloadAsk, Kind, refusal_of_use
from oncegate.web.answers import RETRY_AFTER_S, Answer, asks_for_json
from oncegate.web.languages import LANGUAGES
from oncegate.web.names import Shown, shown_file, signed_name
from oncegate.web.pages import Broken, Ready, Refusal, language_answer

LANGUAGE_BODY_MAX_BYTES = 32
_LANGUAGE = re.compile(rb"language=([a-z]{2})")
_MOMENTS = frozenset((Reason.EXPIRED, Reason.S3_EXPIRED, Reason.NOT_YET_VALID, Reason.S3_NOT_YET_VALID))
_SPENT = frozenset((Reason.USED, Reason.REVOKED))


def file_of(grant: Grant, info: ObjectInfo) -> Shown:
    """What a page says of an object: its signed name, its type, its size."""
    media_type = grant.limits.response_type or info.content_type
    name = signed_name(info.key, grant.limits.disposition)
    return shown_file(name, media_type=media_type, size_bytes=info.size_bytes)


def ready_page(
    parts: Parts, request: ViewerRequest, grant: Grant, info: ObjectInfo, record: Record | None, *, needs_cookies: bool
) -> Answer:
    """The page with the button."""
    links, limits = parts.settings.links, grant.limits
    media_type = limits.response_type or info.content_type
    is_shown = disposition_of(info.key, limits.disposition, media_type).lower().startswith("inline")
    is_played = media_type.startswith(("audio/", "video/"))
    ready = Ready(
        file=file_of(grant, info),
        action="download" if not is_shown else "play" if is_played else "view",
        uses_left=grant.uses - (record.uses if record else 0),
        expires_s=grant.expires_s,
        resume_window_s=0 if links.resume_by == "never" else links.resume_window_s,
        sender=limits.sender,
        note=limits.note,
        needs_cookies=needs_cookies,
    )
    return parts.pages.ready(request, ready, status=page_status(request))


def player_page(parts: Parts, request: ViewerRequest, grant: Grant, info: ObjectInfo) -> Answer:
    """The page that plays a sound or a film."""
    media_type = grant.limits.response_type or info.content_type
    element = "video" if media_type.startswith("video/") else "audio"
    return parts.pages.player(request, file_of(grant, info), element=element, status=page_status(request))


def is_back_again(request: ViewerRequest, grant: Grant) -> bool:
    """Whether a navigation comes from who has opened the link before.

    A browser that resumes a download asks for a Range, and gets it.
    """
    cookies = cookies_of(request)
    return request.header(b"range") is None and cookies.claim(grant.link_id) in cookies.shown(request)


def has_pressed(request: ViewerRequest, grant: Grant) -> bool:
    """Whether the button was pressed within the last minute."""
    cookies = cookies_of(request)
    return cookies.go(grant.link_id) in cookies.shown(request)


async def page_for_holder(
    parts: Parts,
    exchange: Exchange,
    request: ViewerRequest,
    grant: Grant,
    info: ObjectInfo,
    ask: DownloadAsk,
    decide: Decide,
) -> Answer | None:
    """The page for who is back again: what of their download is left, else what the link still gives.

    Args:
        parts: of the gateway.
        exchange: of this request.
        request: the navigation.
        grant: what the link allows.
        info: the object.
        ask: the request for the whole object.
        decide: what answers it, so that a page never says otherwise than a press of its button would show.

    Returns:
        The page; None: for a minute after a press a navigation is that press, and the holder can have the whole by it.

    Raises:
        Refused: USED, REVOKED: there is nothing left.
    """
    record, admission = await _decided(parts, grant, decide)
    if has_pressed(request, grant) and admission.kind is Kind.ADMIT:
        return None
    claim = next((claim for claim in (record.claims if record else ()) if claim.claim_id == ask.cookie), None)
    now_s, rules, file = parts.now_s(), parts.rules, file_of(grant, info)
    if record is not None and claim is not None and not record.is_revoked:
        is_running = parts.transfers.takeable_bytes(claim.claim_id, info.etag, (0, info.size_bytes))
        if is_running or admission.kind is Kind.BUSY:
            return parts.pages.started(request, file, rules.resume_window_s)
        has_rest = _has_more(claim, info) and now_s - claim.at_s <= rules.resume_window_s
        may_start_again = admission.kind is Kind.ADMIT and admission.claim_id == claim.claim_id
        if has_rest or may_start_again:
            until_s = claim.at_s + rules.resume_window_s
            broken = Broken(file, claim.paid, until_s, has_rest=has_rest, may_start_again=may_start_again)
            return parts.pages.broken(request, broken, request_id=exchange.request_id)
    reason = refusal_of_use(record, ask._replace(cookie=None), now_s, rules)
    if reason is not None:
        raise Refused(reason)
    return ready_page(parts, request, grant, info, record, needs_cookies=False)


async def _decided(parts: Parts, grant: Grant, decide: Decide) -> tuple[Record | None, Admission]:
    """The link's record, and what would be answered beside it; once more where an end becomes known in a moment."""
    record = await record_of(parts, grant)
    admission = decide(record)
    if admission.kind is Kind.BUSY and await parts.transfers.until_one_settles(admission.claim_id, END_KNOWN_S):
        record = await record_of(parts, grant)
        admission = decide(record)
    return record, admission


def _has_more(claim: Claim, info: ObjectInfo) -> bool:
    return claim.size_bytes == info.size_bytes and claim.paid < info.size_bytes


async def refusal_page(parts: Parts, exchange: Exchange, refused: Refused) -> Answer | None:
    """The page of a refusal for who reads pages; None for everybody else."""
    request, grant = exchange.request, exchange.grant
    if request is None or asks_for_json(request) or not is_navigation(request):
        return None
    reason, at_s = refused.reason, None
    if grant is None and reason in _MOMENTS:
        grant, at_s = _but_for_the_moment(parts, request, reason)
    # the ledger of another home is not asked a second time for a date
    elif grant is not None and reason in _SPENT and grant.is_counted and grant.home not in parts.homes.names:
        at_s = await _last_used_s(parts, grant)
    said = Refusal(
        reason,
        exchange.request_id,
        at_s=at_s,
        file=_named(grant),
        is_upload=grant is not None and grant.operation is Operation.PUT,
        uses=1 if grant is None else grant.uses,
        retry_after_s=RETRY_AFTER_S.get(reason),
    )
    return parts.pages.refusal(request, said, status=refused.row.status)


def _named(grant: Grant | None) -> Shown | None:
    # who sends a file knows it by its own name; the key that it gets here is its receiver's
    if grant is None or grant.operation is Operation.PUT:
        return None
    return shown_file(signed_name(grant.object_key, grant.limits.disposition))


def _but_for_the_moment(parts: Parts, request: ViewerRequest, reason: Reason) -> tuple[Grant | None, int | None]:
    """What a link would allow at another time, and when it ended or begins; nothing where it is not genuine."""
    now_s, trust = parts.now_s(), parts.trust()
    try:
        method, grant = verify_by_any_method(request, trust, now_s=now_s)
        if reason in (Reason.EXPIRED, Reason.S3_EXPIRED):
            return grant, grant.expires_s
        return grant, authenticate(request.as_method(method), trust, now_s=now_s, without=ANY_MOMENT).not_before_s
    except Refused:
        return None, None


async def _last_used_s(parts: Parts, grant: Grant) -> int | None:
    try:
        record = await record_of(parts, grant)
    except (Refused, RecordUnreadable):
        return None
    return max((claim.at_s for claim in record.claims), default=None) if record is not None else None


async def asked_language(exchange: Exchange, request: ViewerRequest) -> Answer | None:
    """The answer to a POST that chooses a language; None for every other.

    Nothing is verified for it: it says nothing of a link, and a link that is used up has a page as well.

    Raises:
        Refused: CROSS_SITE; MALFORMED_REQUEST: it has some other body.
    """
    kind = (request.header(b"content-type") or b"").partition(b";")[0].strip().lower()
    length = request.header(b"content-length") or b""
    if kind != b"application/x-www-form-urlencoded" or length in (b"", b"0"):
        return None
    if is_of_another_site(request):
        raise Refused(Reason.CROSS_SITE)
    if not length.isdigit() or len(length) > 3 or int(length) > LANGUAGE_BODY_MAX_BYTES:
        raise Refused(Reason.MALFORMED_REQUEST)
    body = b""
    try:
        async with asyncio.timeout(DRAIN_MAX_S):
            while len(body) < int(length) and (data := await exchange.read()):
                body += data
    except TimeoutError:
        pass
    exchange.unread_body = len(body) < int(length)
    chosen = _LANGUAGE.fullmatch(body)
    code = chosen[1].decode() if chosen else ""
    if code not in LANGUAGES:
        raise Refused(Reason.MALFORMED_REQUEST)
    exchange.outcome = "page"
    return language_answer(request, code)
