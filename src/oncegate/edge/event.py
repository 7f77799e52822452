"""CloudFront's events and our values: a viewer's request out of an event, and what is passed on to the bucket.

What is passed on is written anew from what was granted. Of what a viewer sent only the names in the tables below are
kept, because CloudFront signs the request to the bucket: every other header would be sent in the distribution's name.

Source: CloudFront Developer Guide, "Lambda@Edge event structure", "Restrictions on edge functions" (headers that may
not be changed); docs/aws-protocol.md 3.2, 3.5.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from oncegate.links.address import canonical_address
from oncegate.links.disposition import PLAYED_KINDS, disposition_of
from oncegate.links.grant import Grant
from oncegate.links.link_id import id_of_text, text_of_id
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.upload_head import UploadHead
from oncegate.links.urls import escape, path_of
from oncegate.web.answers import Answer, Header

Event = dict[str, Any]
"""JSON of CloudFront's: ``Records[0].cf``, or its ``request`` or ``response``."""

CLAIM_HEADER = "x-oncegate-claim"
"""Tells origin response what viewer request claimed. Never passed on from a viewer, and shown to none."""

READ_ONLY = frozenset(("content-length", "host", "transfer-encoding", "via"))
"""CloudFront answers 502 where a function changes one of these at viewer request."""
KEPT = READ_ONLY | {"user-agent", "origin", "access-control-request-method", "access-control-request-headers"}
"""CloudFront's own answers to other origins go by the last three."""
KEPT_OF_UPLOADS = KEPT | {
    "content-md5",
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
}
_HSTS: Header = (b"strict-transport-security", b"max-age=31536000")


def request_of(sent: Event) -> ViewerRequest:
    """Read the request of an event of viewer request.

    Raises:
        Refused: MALFORMED_REQUEST: it has not exactly one Host, or is not of the form that CloudFront documents.
    """
    try:
        headers = tuple(
            (name.lower().encode("latin-1"), line["value"].encode("utf-8", "surrogateescape"))
            for name, lines in sent["headers"].items()
            for line in lines
        )
        (host,) = (line["value"] for line in sent["headers"]["host"])
        if not sent["uri"].startswith("/"):
            raise ValueError("the path begins without a slash")
        return ViewerRequest(
            method=sent["method"],
            scheme="https",  # its behaviours take no other
            host=host.lower().removesuffix(":443"),
            path=sent["uri"].encode("utf-8", "surrogateescape"),
            query=sent["querystring"].encode("utf-8", "surrogateescape"),
            headers=headers,
            address=canonical_address(sent["clientIp"]),
            address_is_proof=True,  # of the connection that CloudFront has with the viewer
        )
    except (KeyError, ValueError, TypeError, AttributeError):
        raise Refused(Reason.MALFORMED_REQUEST) from None


class Claimed(NamedTuple):
    """What viewer request tells origin response, in ``CLAIM_HEADER``.

    Attributes:
        is_leased: an upload's lease, to be spent or let go; False: a use that is taken, to be given back or left.
        link_id: 16 bytes.
        claim_id: of the run that wins it.
        forget_after_s: of the record.
        home: whose table counts it.
        reads: what a refusal is to be for the viewer: ``html``, ``json`` or empty for XML.
    """

    is_leased: bool
    link_id: bytes
    claim_id: str
    forget_after_s: int
    home: str
    reads: str

    def __str__(self) -> str:
        """The header's value."""
        kind = "lease" if self.is_leased else "use"
        parts = (kind, text_of_id(self.link_id), self.claim_id, str(self.forget_after_s), self.home, self.reads)
        return ".".join(parts)


def claimed_of(sent: Event) -> Claimed | None:
    """Read the claim from the request of an event of origin response; None where it carries none."""
    lines = sent.get("headers", {}).get(CLAIM_HEADER, ())
    try:
        ((kind, link, claim_id, forget_after_s, home, reads),) = (line["value"].split(".") for line in lines)
        return Claimed(kind == "lease", id_of_text(link), claim_id, int(forget_after_s), home, reads)
    except (ValueError, KeyError, TypeError):
        return None


def download_passed_on(sent: Event, grant: Grant, claimed: Claimed | None) -> Event:
    """The request for a whole object: without Range, conditions, cookies, and with what was signed in its query."""
    limits = grant.limits
    # a browser asks twice for a film that it is to play, and the second request would find the use taken: it is saved
    shown_as = "" if (limits.response_type or "").lower().startswith(PLAYED_KINDS) else limits.response_type or ""
    given = {
        "response-content-disposition": disposition_of(grant.object_key, limits.disposition, shown_as),
        "response-content-type": limits.response_type,
        "response-content-language": limits.response_language,
        "response-content-encoding": limits.response_encoding,
    }
    query = "&".join(f"{name}={escape(value)}" for name, value in given.items() if value is not None)
    return _passed_on(sent, grant, KEPT, query, {CLAIM_HEADER: str(claimed)} if claimed else {})


def upload_passed_on(sent: Event, grant: Grant, head: UploadHead, claimed: Claimed) -> Event:
    """The request that stores an object, on the condition that none stands there."""
    own = {"content-type": head.media_type, "if-none-match": "*", CLAIM_HEADER: str(claimed)}
    return _passed_on(sent, grant, KEPT_OF_UPLOADS, "", own)


def _passed_on(sent: Event, grant: Grant, kept: frozenset[str], query: str, own: Mapping[str, str]) -> Event:
    headers = {name: lines for name, lines in sent["headers"].items() if name.lower() in kept}
    headers.update({name: [{"key": name, "value": value}] for name, value in own.items()})
    return {**sent, "uri": path_of(grant.object_key), "querystring": query, "headers": headers}


def answer_event(answer: Answer) -> Event:
    """An answer that CloudFront gives to the viewer in the bucket's place."""
    headers: dict[str, list[dict[str, str]]] = {}
    for name, value in (*answer.headers, _HSTS):
        if name != b"server":  # CloudFront names itself
            key = name.decode("latin-1")
            headers.setdefault(key, []).append({"key": key, "value": value.decode("latin-1")})
    given: Event = {"status": str(answer.status), "headers": headers}
    if answer.body:
        given |= {"body": answer.body.decode("utf-8", "replace"), "bodyEncoding": "text"}
    return given
