"""Viewer request: parse, verify, claim, and pass on or refuse (docs/promises.md, "At the edge").

CloudFront has checked the signature. There is no look: what the object is, and whether it is there, the bucket alone
knows, so a use is claimed first and given back at origin response where the bucket had no object.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from oncegate.edge.configuration import Configuration
from oncegate.edge.event import Event, answer_event, download_passed_on, request_of, upload_passed_on
from oncegate.edge.home import Home
from oncegate.edge.log import log
from oncegate.edge.visit import Visit, ask_of, claim_id_of
from oncegate.ledgers.protocol import forget_after
from oncegate.links.asking import check_button, has_body, page_first, verify_as_opened
from oncegate.links.behind_cloudfront import NothingShown, verify_behind_cloudfront
from oncegate.links.grant import Operation
from oncegate.links.link_id import text_of_id
from oncegate.links.people import page_status
from oncegate.links.refusal import Reason, Refused, Style
from oncegate.links.request import ViewerRequest
from oncegate.links.upload_head import read_upload_head
from oncegate.uses.edge_use import admit_leased, admit_whole
from oncegate.uses.record import RecordUnreadable
from oncegate.uses.use import Kind, Rules, is_too_old
from oncegate.web.answers import Answer, button_answer, cors_headers, page_answer, preflight, refusal_answer
from oncegate.web.plain import confirm_page, said_by, upload_page

METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "OPTIONS"))
ANSWER_MAX_S = 3.5
"""From the event to the answer; Lambda@Edge ends a function after 5 s, and CloudFront would answer 502 or 503."""
UPLOAD_MAX_BYTES = 5 * 1024**3
"""S3 takes no larger object by one PUT."""
RULES = Rules()


class ViewerRequests:
    """Answers events of viewer request.

    Args:
        configuration: of the deployment.
        homes: by their names.
    """

    def __init__(self, configuration: Configuration, homes: Mapping[str, Home]) -> None:
        self._configuration = configuration
        self._homes = homes

    def answer(self, cf: Event) -> Event:
        """One event: the request that goes to the bucket, or an answer in its place."""
        until = time.monotonic() + ANSWER_MAX_S
        request: ViewerRequest | None = None
        request_id = str(cf["config"]["requestId"])
        try:
            request = request_of(cf["request"])
            found = self._serve(cf["request"], request, request_id, until)
            if not isinstance(found, Answer):
                return found
        except Refused as refused:
            found = self._refusal(refused, request, request_id)
        except RecordUnreadable as error:
            log("fault", where="ledger", what=type(error).__name__, request_id=request_id)
            found = self._refusal(Refused(Reason.LEDGER_UNKNOWN), request, request_id)
        except Exception as error:  # noqa: BLE001 - the one place: whatever it is, nothing is passed on
            log("fault", where="edge", what=type(error).__name__, request_id=request_id)
            found = self._refusal(Refused(Reason.INTERNAL), request, request_id)
        cors = cors_headers(request, self._configuration.cors_origins)
        is_head = request is not None and request.method == "HEAD"
        return answer_event(Answer(found.status, [*found.headers, *cors], b"" if is_head else found.body))

    def _serve(self, sent: Event, request: ViewerRequest, request_id: str, until: float) -> Event | Answer:
        """One request from its first check to its last."""
        if request.method not in METHODS:
            raise Refused(Reason.NOT_A_LINK)
        if request.method == "OPTIONS":
            return preflight(request, self._configuration.cors_origins)
        if request.method == "POST" and has_body(request):
            raise Refused(Reason.NOT_AT_THE_EDGE, message="Forms are not taken here: send the file by PUT.")
        now_s = int(time.time())
        verify = partial(verify_behind_cloudfront, trust=self._configuration.trust, now_s=now_s)
        try:
            grant = verify_as_opened(request, verify)
        except NothingShown:
            log(
                "fault",
                where="cloudfront",
                what="the event shows no signature: the behaviour needs a trusted key group",
            )
            raise Refused(Reason.LEDGER_UNKNOWN) from None
        if grant.limits.delete_after:
            # nobody here knows what was delivered
            raise Refused(Reason.NOT_AT_THE_EDGE, message="once-delete is not taken here: no object is removed.")
        if request.method == "POST":
            check_button(request)
            return button_answer(request, grant.link_id)
        if not grant.is_counted:
            return download_passed_on(sent, grant, None)
        home = self._homes[grant.home]
        born = home.born(until=until)
        if is_too_old(grant.made_ms, born_ms=born.ms, accept_from_ms=None):
            raise Refused(Reason.BEFORE_BIRTH)
        if born.repair.refuses(grant.link_id, forget_after(grant.expires_s)):
            raise Refused(Reason.FORGOTTEN)
        claim_id = claim_id_of(self._configuration.claim_key, request_id)
        ask = ask_of(request, grant, home, claim_id=claim_id)
        visit = Visit(sent, request, grant, home, ask, now_s, until)
        if request.method == "PUT":
            return _upload(visit)
        if grant.operation is Operation.PUT:
            return _upload_page(visit)
        return self._page(visit) or _download(visit)

    def _page(self, visit: Visit) -> Answer | Event | None:
        """HEAD, and the page with the button: nothing is written, but who has a spent link is told so."""
        request, grant = visit.request, visit.grant
        page = page_first(request, grant, self._configuration.confirm)
        if request.method != "HEAD" and page is None:
            return None
        record = visit.home.record(grant.link_id, until=visit.until)
        found = admit_whole(record, visit.ask, visit.now_s)
        if found.kind is not Kind.ADMIT:
            raise Refused(found.reason or Reason.BUSY)
        if request.method == "HEAD" or page is None:
            return download_passed_on(visit.sent, grant, None)
        if page.is_for_nobody:
            raise Refused(Reason.CONFIRM_NEEDED)
        shown = confirm_page(
            name=grant.object_key.rpartition("/")[2],
            size_bytes=None,
            uses_left=grant.uses - (record.uses if record else 0),
            needs_cookies=page.needs_cookies,
            said=said_by(grant.limits.sender, grant.limits.note),
        )
        log("page", link_id=text_of_id(grant.link_id), why=page.ahead)
        return page_answer(shown, status=page_status(request))

    def _refusal(self, refused: Refused, request: ViewerRequest | None, request_id: str) -> Answer:
        log("refused", reason=refused.reason.value, request_id=request_id)
        return refusal_answer(refused, request, style=Style.CLOUDFRONT, request_id=request_id)


def _download(visit: Visit) -> Event:
    """Take a use and ask the bucket for the whole."""
    grant, ask = visit.grant, visit.ask
    visit.home.claim(
        grant.link_id,
        forget_after(grant.expires_s),
        ask,
        lambda record: admit_whole(record, ask, visit.now_s),
        until=visit.until,
    )
    log("claimed", link_id=text_of_id(grant.link_id), key=grant.object_key)
    return download_passed_on(visit.sent, grant, visit.claimed(is_leased=False))


def _upload(visit: Visit) -> Event:
    """Take a lease, or under a wildcard the use itself, and let the bucket store what comes if nothing stands there."""
    request, grant, ask = visit.request, visit.grant, visit.ask
    head = read_upload_head(request, grant.limits, key=grant.object_key, max_bytes=UPLOAD_MAX_BYTES)
    if head.size_bytes is None:
        raise Refused(Reason.LENGTH_NEEDED)
    if grant.limits.may_replace:
        raise Refused(Reason.NOT_AT_THE_EDGE, message="A link that may replace an object is not taken here.")
    if request.header(b"upload-complete") is not None or request.header(b"upload-offset") is not None:
        raise Refused(Reason.NOT_AT_THE_EDGE, message="Uploads in parts are not taken here.")
    if request.header(b"if-match") is not None:  # nothing stands there that it could name
        raise Refused(Reason.PRECONDITION)
    is_leased = not grant.is_any_key
    visit.home.claim(
        grant.link_id,
        forget_after(grant.expires_s),
        ask,
        lambda record: (
            admit_leased(record, ask, visit.now_s, RULES) if is_leased else admit_whole(record, ask, visit.now_s)
        ),
        until=visit.until,
    )
    log("claimed", link_id=text_of_id(grant.link_id), key=grant.object_key)
    return upload_passed_on(visit.sent, grant, head, visit.claimed(is_leased=is_leased))


def _upload_page(visit: Visit) -> Answer:
    limits = visit.grant.limits
    name = visit.grant.object_key.rpartition("/")[2]
    said = said_by(limits.sender, limits.note)
    return page_answer(upload_page(name=name, max_bytes=limits.max_bytes, media_type=limits.media_type, said=said))
