"""One event of viewer request and what is known at its beginning; and the ids of the claims that it may take."""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from typing import NamedTuple

from oncegate.edge.event import Claimed, Event
from oncegate.edge.home import Home
from oncegate.ledgers.protocol import forget_after
from oncegate.links.address import holder_address
from oncegate.links.grant import Grant
from oncegate.links.people import is_navigation
from oncegate.links.request import ViewerRequest
from oncegate.uses.edge_use import EVENT_CHARACTERS, EdgeAsk


class Visit(NamedTuple):
    """A verified request of an event.

    Attributes:
        sent: the event's own request.
        request: the same, as the rules see it.
        grant: what it allows.
        home: whose table counts its uses.
        ask: what is asked of the table.
        now_s: seconds since 1970 UTC.
        until: by ``time.monotonic``, when an answer is due.
    """

    sent: Event
    request: ViewerRequest
    grant: Grant
    home: Home
    ask: EdgeAsk
    now_s: int
    until: float

    def claimed(self, *, is_leased: bool) -> Claimed:
        """What origin response is to be told."""
        grant = self.grant
        forget_after_s = forget_after(grant.expires_s)
        return Claimed(is_leased, grant.link_id, self.ask.claim_id, forget_after_s, grant.home, reads_of(self.request))


def reads_of(request: ViewerRequest) -> str:
    """What a viewer reads: ``json``, ``html`` (a browser), or empty: XML."""
    if b"json" in (request.header(b"accept") or b"").lower():
        return "json"
    return "html" if is_navigation(request) else ""


def ask_of(request: ViewerRequest, grant: Grant, home: Home, *, claim_id: str) -> EdgeAsk:
    """Put a request into the words of the rules."""
    return EdgeAsk(
        uses=grant.uses,
        address=None if request.address is None else holder_address(request.address),
        claim_id=claim_id,
        unanswered=home.unanswered(grant.link_id),
    )


def claim_id_of(claim_key: bytes, request_id: str) -> str:
    """A fresh claim id of an event: CloudFront shows its request id to the viewer, who must not be able to make one.

    Args:
        claim_key: drawn at deploy.
        request_id: of the event; the same where CloudFront runs the function again for it.
    """
    event = b64encode(hmac.digest(claim_key, request_id.encode(), "sha256")[:9], b"-_").decode()
    return event[:EVENT_CHARACTERS] + b64encode(os.urandom(3), b"-_").decode()
