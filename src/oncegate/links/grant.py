"""What a verified link allows. Values only: a ``Grant`` exists only for a link that is genuine and valid now."""

from __future__ import annotations

import enum
from typing import Literal, NamedTuple

Confirm = Literal["always", "never"]
"""``always``: no download without the button of the page. ``never``: no page for people."""


Header = tuple[bytes, bytes]
"""A header: its name in lower case, and its value."""


class Scheme(enum.Enum):
    """How a link is signed."""

    CANNED = "cloudfront"
    CUSTOM = "cloudfront-custom"
    S3 = "s3"


class Operation(enum.Enum):
    """What a link lets its holder do; the value is the letter that tickets and records have."""

    GET = "g"
    PUT = "p"

    @property
    def word(self) -> Literal["get", "put"]:
        """As the control API, the events and ``--json`` say it; ``Operation[word.upper()]`` reads it."""
        return "get" if self is Operation.GET else "put"


class Signed(NamedTuple):
    """A credential whose signature, resource, time window and source address hold: what AWS would let pass.

    Attributes:
        scheme: how it is signed.
        key_id: the name of the key, as sent; not signed under CloudFront.
        issuer: who signed, as the signature proves it: the public key's SPKI SHA-256, or the access key id.
        signed_bytes: the policy, or SigV4's string to sign.
        expires_s: refused at this second and after.
        not_before_s: refused at this second and before; None: no limit.
        is_wildcard: the signature covers more URLs than this one.
        signed_query: the Resource's own query (custom policy); None: the signature covers the whole query.
        method: the one that is signed; None under CloudFront, which signs none.
        signed_headers: names of the headers that are signed, lower case; only under S3.
    """

    scheme: Scheme
    key_id: str
    issuer: bytes
    signed_bytes: bytes
    expires_s: int
    not_before_s: int | None = None
    is_wildcard: bool = False
    signed_query: str | None = None
    method: str | None = None
    signed_headers: frozenset[str] = frozenset()


class Limits(NamedTuple):
    """The signed parameters beside the ticket.

    Attributes:
        max_bytes: of an upload.
        media_type: of an upload: ``type/subtype`` or ``type/*``, lower case.
        may_replace: an upload may take the place of an object.
        disposition: ``response-content-disposition``, decoded.
        response_type: ``response-content-type``, decoded.
        response_language: ``response-content-language``, decoded.
        response_encoding: ``response-content-encoding``, decoded.
        confirm: whether a person is asked before a download; None: as the gateway is set.
        sender: who sends the link, for its reader; plain text of one line.
        note: what its sender says to its reader; plain text of one line.
        delete_after: the object is removed once the link gives nothing any more.
    """

    max_bytes: int | None = None
    media_type: str | None = None
    may_replace: bool = False
    disposition: str | None = None
    response_type: str | None = None
    response_language: str | None = None
    response_encoding: str | None = None
    confirm: Confirm | None = None
    sender: str | None = None
    note: str | None = None
    delete_after: bool = False


NO_LIMITS = Limits()


class Grant(NamedTuple):
    """What a link allows, once it verified.

    Attributes:
        link_id: the ledger's key, 16 bytes.
        object_key: decoded text.
        operation: ``GET`` admits GET and HEAD, ``PUT`` admits PUT.
        uses: how often it may be used.
        is_counted: whether uses are recorded; False only for plain links under ``plain_links = "allow"``.
        made_ms: when the ticket was made, milliseconds since 1970 UTC; None for a plain link, which does not say.
        scheme: how it is signed.
        key_id: the name of the key.
        expires_s: refused at this second and after.
        limits: what else is signed.
        home: the ledger that counts its uses, as the ticket names it; empty: the installation's own.
        is_wildcard: the signature covers more URLs than this one.
        moved: headers that were signed as parameters of the query; only under S3.
        is_type_signed: the signature covers Content-Type; only under S3.
    """

    link_id: bytes
    object_key: str
    operation: Operation
    uses: int
    is_counted: bool
    made_ms: int | None
    scheme: Scheme
    key_id: str
    expires_s: int
    limits: Limits = NO_LIMITS
    home: str = ""
    is_wildcard: bool = False
    moved: tuple[Header, ...] = ()
    is_type_signed: bool = False

    @property
    def is_any_key(self) -> bool:
        """Whether the holder chose the key: one ticket for many. A plain link's id has its key in it, so it is for one."""
        return self.is_wildcard and self.made_ms is not None
