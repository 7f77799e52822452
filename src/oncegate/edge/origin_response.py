"""Origin response: what the bucket answered, and what becomes of the use.

A download that the bucket delivers was claimed before, and nothing is written. Whatever else it answers gives the use
back: no byte of the object was in it. No error body of the bucket reaches a viewer: it may name the bucket.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from oncegate.edge.event import Claimed, Event, answer_event, claimed_of
from oncegate.edge.home import Home
from oncegate.edge.log import log
from oncegate.edge.viewer_request import ANSWER_MAX_S
from oncegate.ledgers.claiming import rewrite
from oncegate.links.link_id import text_of_id
from oncegate.links.refusal import Reason, Refused, Style
from oncegate.links.request import ViewerRequest
from oncegate.uses.edge_use import give_back_whole
from oncegate.uses.record import Record, RecordUnreadable
from oncegate.uses.upload import upload_failed, upload_stored
from oncegate.web.answers import refusal_answer

READ_ONLY = frozenset(("transfer-encoding", "via"))
"""CloudFront answers 502 where a function changes one of these at origin response."""

_OF_UPLOADS = {
    400: Reason.MALFORMED_UPLOAD,
    403: Reason.OBJECT_KEY,
    409: Reason.UPLOAD_RUNNING,
    411: Reason.LENGTH_NEEDED,
    412: Reason.OBJECT_STANDS,
    413: Reason.TOO_LARGE,
}
_READS = {"html": b"text/html", "json": b"application/json"}


class OriginResponses:
    """Answers events of origin response.

    Args:
        homes: by their names.
    """

    def __init__(self, homes: Mapping[str, Home]) -> None:
        self._homes = homes

    def answer(self, cf: Event) -> Event:
        """One event: the bucket's answer as it is, or ours in its place."""
        sent, response, request_id = cf["request"], cf["response"], str(cf["config"]["requestId"])
        status, method = int(response["status"]), str(sent["method"])
        is_done = 200 <= status < 300
        claimed = claimed_of(sent)
        if claimed is not None and (claimed.is_leased or not is_done):
            self._settle(claimed, is_done=is_done)
        if is_done:
            return response
        reason = reason_of(method, status)
        log("bucket", status=status, reason=reason.value, request_id=request_id)
        answer = refusal_answer(
            Refused(reason), _as_read_by(claimed, method), style=Style.CLOUDFRONT, request_id=request_id
        )
        if method == "HEAD":
            answer = answer._replace(body=b"")
        ours = answer_event(answer)
        ours["headers"] |= {name: lines for name, lines in response["headers"].items() if name in READ_ONLY}
        return ours

    def _settle(self, claimed: Claimed, *, is_done: bool) -> None:
        """Give back, spend or free; where the table does not answer, the use stays spent and the lease runs out."""

        def change(record: Record) -> Record | None:
            if not claimed.is_leased:
                return give_back_whole(record, claimed.claim_id)
            if is_done:
                return upload_stored(record, claimed.claim_id, "")
            return upload_failed(record, claimed.claim_id)

        home = self._homes.get(claimed.home)
        if home is None:
            return
        talk = rewrite(claimed.link_id, claimed.forget_after_s, change)
        try:
            is_changed = home.known(talk, until=time.monotonic() + ANSWER_MAX_S)
        except RecordUnreadable:
            is_changed = None
        log("settled", link_id=text_of_id(claimed.link_id), outcome=_OUTCOMES[is_changed])


_OUTCOMES = {True: "written", False: "nothing to write", None: "unknown"}


def reason_of(method: str, status: int) -> Reason:
    """What a viewer is told of an answer of the bucket that brought no object and stored none."""
    if status >= 500:
        return Reason.STORE_BUSY
    if method == "PUT":
        return _OF_UPLOADS.get(status, Reason.STORE_FAILED)
    # S3 answers 403 for what is not there to whoever may not list
    return Reason.NO_OBJECT if status in (403, 404) else Reason.STORE_FAILED


def _as_read_by(claimed: Claimed | None, method: str) -> ViewerRequest:
    """The viewer's request, of which the bucket was sent nothing but its method: what they read is in the claim."""
    accept = _READS.get(claimed.reads if claimed else "", b"*/*")
    return ViewerRequest(method=method, scheme="https", host="", path=b"/", headers=((b"accept", accept),))
