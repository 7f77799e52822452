"""The way in at a gateway: from a viewer's request to a Grant, or a refusal. Pure: what is refused here was not looked up.

``authenticate`` says what AWS would say: the signature, the key, the resource, the time, the address. ``verify``
adds what oncegate asks beyond AWS: limits must be signed, a ticket must be one, method and object key must be served
here. Everything that a caller serves comes from ``verify``.

Source: docs/request.md; vectors/ for ``authenticate``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from oncegate.links import cloudfront, sigv4
from oncegate.links.disposition import plain_disposition
from oncegate.links.grant import NO_LIMITS, Confirm, Grant, Limits, Operation, Scheme, Signed
from oncegate.links.key_group import KeyGroup
from oncegate.links.link_id import plain_link_id
from oncegate.links.parameters import LIMIT_NAMES, Parameters, read_parameters
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import Ticket, read_ticket
from oncegate.links.urls import object_key_of, unescape, unescape_query
from oncegate.links.wishes import wishes_of

PLAIN_LINKS = ("once", "allow", "refuse")
_METHODS = {"GET": Operation.GET, "PUT": Operation.PUT, "HEAD": Operation.GET}
# 18 digits fit into a signed 64-bit number, which other programs keep a size in
_SIZE = re.compile(rb"0|[1-9][0-9]{0,17}")
SIZE_MAX_BYTES = 10**18 - 1
SENDER_MAX = 100
NOTE_MAX = 200
"""Characters of the texts for people; a note of 200 letters that are escaped is a URL of 2,400 characters."""
_CONFIRM: Mapping[bytes, Confirm] = {b"always": "always", b"never": "never"}
MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/(?:\*|[a-z0-9!#$&^_.+-]+)")
# RFC 9110 5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous". The issuer chooses these
# texts, and they become headers of our answer.
_HEADER_TEXT = re.compile(r"[^\x00-\x1f\x7f]*")
_PEOPLE_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_LESS_THAN_NO_STORE = frozenset(("", "private", "no-store", "no-cache", "must-revalidate", "max-age=0"))
# S3 serves parts, versions and lists by presigned URL too; only whole objects can be counted (docs/decisions/0003)
_S3_SUBRESOURCES = frozenset(
    b"acl attributes append cors delete encryption inventory legal-hold lifecycle list-type location logging metrics "
    b"notification object-lock ownershipControls partNumber policy policyStatus publicAccessBlock renameObject "
    b"replication requestPayment restore retention select select-type tagging torrent uploadId uploads versionId "
    b"versioning versions website".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom the viewer believes, and what it does with links that carry no ticket.

    Attributes:
        keys: the key group.
        s3: whose presigned URLs are accepted.
        s3_bucket: requests for this bucket drop its name: the object key is the rest. Empty: bucket and key.
        plain_links: ``once``, ``allow`` or ``refuse``.
        plain_put: key prefixes where a plain CloudFront link may PUT.
        homes: names of this installation's ledgers, as tickets name them. A ticket without a home is for its own.
    """

    keys: KeyGroup
    s3: sigv4.S3Trust = field(default_factory=lambda: sigv4.S3Trust(credentials={}))
    s3_bucket: str = ""
    plain_links: str = "once"
    plain_put: tuple[str, ...] = ()
    homes: frozenset[str] = frozenset()


ANY_NAME = b"_"
"""A link to many keys is handed out with a path that ends in a slash; this name beneath it stands for any of them."""
ANY_MOMENT = frozenset(("not before", "expiry", "address"))
"""The checks that depend on the moment and on who asks. An issuer may ask about a link that has expired, or that is
for another network; no viewer is ever served without them."""


def verify(request: ViewerRequest, trust: Trust, *, now_s: int, without: frozenset[str] = frozenset()) -> Grant:
    """Verify a request.

    Args:
        request: GET, HEAD or PUT; a page's POST comes as GET.
        trust: whom to believe.
        now_s: seconds since 1970 UTC.
        without: names of checks that are left out, for an issuer who asks about a link: ``ANY_MOMENT``.

    Raises:
        Refused: it is not to be served.
    """
    parameters = read_parameters(request.query)
    signed = _authenticate(request, parameters, trust, now_s, without)
    grant = grant_of(request, parameters, signed, trust, now_s=now_s)
    if signed.scheme is not Scheme.S3:
        return grant
    moved = wishes_of(request, parameters, signed)
    return grant._replace(moved=moved, is_type_signed="content-type" in signed.signed_headers)


def verify_by_any_method(request: ViewerRequest, trust: Trust, *, now_s: int) -> tuple[str, Grant]:
    """Verify a link of which nobody said when, from where and by which method it is opened; for its issuer.

    Returns:
        The method that the link is for, and what it allows.

    Raises:
        Refused: it is genuine under no method.
    """
    if request.path.endswith(b"/") and request.path != b"/":
        request = replace(request, path=request.path + ANY_NAME)
    refusals: list[Refused] = []
    # CloudFront signs no method, so the ticket decides; S3 signs it and names it nowhere: the one that verifies is it
    for method in _METHODS:
        try:
            return method, verify(request.as_method(method), trust, now_s=now_s, without=ANY_MOMENT)
        except Refused as refused:
            refusals.append(refused)
            if refused.reason not in (Reason.METHOD_NOT_GRANTED, Reason.S3_BAD_SIGNATURE):
                break
    raise refusals[-1]


def authenticate(request: ViewerRequest, trust: Trust, *, now_s: int, without: frozenset[str] = frozenset()) -> Signed:
    """Check what AWS checks, in AWS's order: the verdict that the vectors hold.

    Args:
        request: as ``verify`` takes it.
        trust: whom to believe.
        now_s: seconds since 1970 UTC.
        without: names of checks that are left out; see ``verify``.

    Raises:
        Refused: AWS would refuse it.
    """
    return _authenticate(request, read_parameters(request.query), trust, now_s, without)


def _authenticate(
    request: ViewerRequest, parameters: Parameters, trust: Trust, now_s: int, without: frozenset[str]
) -> Signed:
    """The one dispatch between the schemes; ``explain`` walks the same tables of checks to their end."""
    # First, because V2 shares names with CloudFront (Signature, Expires): otherwise the message would be that
    # Key-Pair-Id is missing.
    refuse_other_signatures(request, parameters)
    if parameters.is_s3:
        s3_credential = sigv4.read_credential(request)
        for name, s3_check in sigv4.CHECKS:
            if name not in without:
                s3_check(s3_credential, request, trust.s3, now_s)
        return sigv4.signed_by(s3_credential, request)
    credential = cloudfront.read_credential(request, parameters)
    for name, check in cloudfront.CHECKS:
        if name not in without:
            check(credential, request, trust.keys, now_s)
    return cloudfront.signed_by(credential, request, trust.keys)


def refuse_other_signatures(request: ViewerRequest, parameters: Parameters) -> None:
    """Refuse what an SDK signs in another way, and say what to change.

    Raises:
        Refused: S3_SIGNATURE_V2; PRESIGNED_ONLY: the request is signed, and the URL is not.
    """
    authorization = request.header(b"authorization") or b""
    if not parameters.cloudfront and not parameters.is_s3 and authorization.startswith(sigv4.ALGORITHM.encode()):
        raise Refused(Reason.PRESIGNED_ONLY)
    if parameters.is_s3_v2:
        raise Refused(Reason.S3_SIGNATURE_V2, hint="sign with Signature Version 4 (boto3: signature_version='s3v4')")


def grant_of(request: ViewerRequest, parameters: Parameters, signed: Signed, trust: Trust, *, now_s: int) -> Grant:
    """Narrow what AWS would let pass to what is served here.

    Raises:
        Refused: a limit or a wish that is not signed or not kept here, no ticket where one is called for, another method, no object key.
    """
    # Before any of their values is read: under a wildcard a holder could otherwise add a ticket of their own, with a new
    # nonce each time.
    limits = signed_limits(parameters, signed)
    ticket = read_ticket(limits[b"once"], now_s=now_s, homes=trust.homes) if b"once" in limits else None
    object_key = served_key(request, parameters, signed, trust)
    operation = granted_operation(request.method, signed, ticket, object_key, trust)
    # refused and never ignored: its issuer believes that somebody is asked
    if operation is Operation.PUT and b"once-confirm" in limits:
        raise Refused(Reason.MALFORMED_LIMIT, hint="once-confirm is for download links")
    if b"once-delete" in limits and (ticket is None or operation is Operation.PUT or signed.is_wildcard):
        raise Refused(Reason.MALFORMED_LIMIT, hint="once-delete is for download links to one key, with a ticket")
    return Grant(
        link_id=ticket.nonce if ticket else plain_link_id(signed, object_key),
        object_key=object_key,
        operation=operation,
        uses=ticket.uses if ticket else 1,
        is_counted=ticket is not None or trust.plain_links != "allow",
        made_ms=ticket.made_ms if ticket else None,
        scheme=signed.scheme,
        key_id=signed.key_id,
        expires_s=signed.expires_s,
        home=ticket.home if ticket else "",
        is_wildcard=signed.is_wildcard,
        # nearly every link has a ticket and nothing more to read
        limits=read_limits(limits) if len(limits) > (ticket is not None) else NO_LIMITS,
    )


def signed_limits(parameters: Parameters, signed: Signed) -> dict[bytes, bytes]:
    """The parameters with a meaning, raw, once it is certain that the signature covers each of them.

    A canned policy and SigV4 cover the whole query. A custom policy covers what its Resource says literally: a
    ``*`` there lets a holder add anything.

    Raises:
        Refused: UNSIGNED_PARAMETER: one is in the URL and not signed, or signed and not in the URL.
    """
    if signed.signed_query is None:
        return parameters.limits
    literal: dict[bytes, bytes] = {}
    # latin-1, as in matching; any other character becomes ?, which no limit may hold
    for segment in signed.signed_query.encode("latin-1", "replace").split(b"&"):
        name, _, value = segment.partition(b"=")
        if name in LIMIT_NAMES:
            if name in literal or b"*" in value or b"?" in value:
                raise Refused(Reason.UNSIGNED_PARAMETER, hint="* and ? are wildcards in a policy: write %2A and %3F")
            literal[name] = value
    # Refused and never ignored: without a ticket that its holder spoilt, a single-use link would be a plain one.
    if literal != parameters.limits:
        hint = "once, once-* and response-* must stand literally in the policy's Resource, and in the URL"
        raise Refused(Reason.UNSIGNED_PARAMETER, hint=hint)
    return literal


def served_key(request: ViewerRequest, parameters: Parameters, signed: Signed, trust: Trust) -> str:
    """The object key that a request names; under S3 it begins with the bucket, unless that is the one configured.

    Raises:
        Refused: OBJECT_KEY, S3_UNSUPPORTED.
    """
    object_key = object_key_of(request.path)
    if signed.scheme is not Scheme.S3:
        return object_key
    # decoded, as S3 reads and signs names: uploadI%64 is uploadId
    for segment in parameters.own:
        name = unescape_query(segment.partition(b"=")[0])
        if name in _S3_SUBRESOURCES:
            raise Refused(Reason.S3_UNSUPPORTED, hint=f"the parameter {name.decode()}")
    if request.bucket:
        # the bucket is part of Host, which S3 signs: with another one the signature check has failed already
        return object_key if request.bucket == trust.s3_bucket else f"{request.bucket}/{object_key}"
    return object_key.removeprefix(f"{trust.s3_bucket}/") if trust.s3_bucket else object_key


def granted_operation(method: str, signed: Signed, ticket: Ticket | None, object_key: str, trust: Trust) -> Operation:
    """What this request may do. Operation and method must agree before ledger or store are asked.

    Raises:
        Refused: METHOD_NOT_GRANTED, PLAIN_REFUSED.
    """
    operation = _METHODS.get(method)
    if operation is None:
        raise Refused(Reason.METHOD_NOT_GRANTED)
    if ticket is not None:
        if ticket.operation is not operation:
            raise Refused(Reason.METHOD_NOT_GRANTED, hint=f"the ticket is for {ticket.operation.name}")
        return operation
    if trust.plain_links == "refuse":
        raise Refused(Reason.PLAIN_REFUSED, hint="put a ticket into the URL before signing: oncegate ticket")
    if operation is Operation.PUT and signed.method is None and not object_key.startswith(trust.plain_put):
        # CloudFront signs no method: without this, a download link of any signer could replace the object
        raise Refused(Reason.METHOD_NOT_GRANTED, hint="sign a p ticket, or name the prefix in [links] plain_put")
    return operation


def read_limits(limits: Mapping[bytes, bytes]) -> Limits:
    """Read the signed limits. A value that cannot be read cannot be enforced, so it is refused.

    Raises:
        Refused: MALFORMED_LIMIT; NOT_OBEYED: a signed parameter asks for what no answer has here.
    """
    _refuse_not_obeyed(limits)
    size, media_type = limits.get(b"once-max"), limits.get(b"once-type")
    if size is not None and not _SIZE.fullmatch(size):
        raise Refused(Reason.MALFORMED_LIMIT, hint="once-max is a number of bytes")
    accepted = _text(media_type).lower() if media_type is not None else None
    if accepted is not None and not MEDIA_TYPE.fullmatch(accepted):
        raise Refused(Reason.MALFORMED_LIMIT, hint="once-type is a media type, or type/*")
    if limits.get(b"once-replace", b"1") != b"1":
        raise Refused(Reason.MALFORMED_LIMIT, hint="once-replace is 1 or absent")
    if limits.get(b"once-delete", b"1") != b"1":
        raise Refused(Reason.MALFORMED_LIMIT, hint="once-delete is 1 or absent")
    confirm = limits.get(b"once-confirm")
    if confirm is not None and confirm not in _CONFIRM:
        raise Refused(Reason.MALFORMED_LIMIT, hint="once-confirm is always or never")
    return Limits(
        max_bytes=int(size) if size is not None else None,
        media_type=accepted,
        may_replace=b"once-replace" in limits,
        disposition=plain_disposition(_response_text("disposition", limits)),
        response_type=_response_text("type", limits),
        response_language=_response_text("language", limits),
        response_encoding=_response_text("encoding", limits),
        confirm=None if confirm is None else _CONFIRM[confirm],
        sender=_text_for_people("once-from", limits, SENDER_MAX),
        note=_text_for_people("once-note", limits, NOTE_MAX),
        delete_after=b"once-delete" in limits,
    )


def _response_text(name: str, limits: Mapping[bytes, bytes]) -> str | None:
    """A ``response-content-*``: S3 reads ``+`` as a space, whatever the link is signed with."""
    raw = limits.get(b"response-content-" + name.encode())
    return _text(raw.replace(b"+", b"%20")) or None if raw else None


def _refuse_not_obeyed(limits: Mapping[bytes, bytes]) -> None:
    """Refuse a signed Cache-Control or Expires, unless what every answer says here (private, no-store) obeys it."""
    wanted = _text(limits.get(b"response-cache-control", b"").replace(b"+", b"%20")).lower()
    names = ["response-cache-control"] if {part.strip() for part in wanted.split(",")} - _LESS_THAN_NO_STORE else []
    if b"response-expires" in limits:
        names.append("response-expires")
    for name in names:
        message = f"{name} is signed and cannot be obeyed: every answer here is private, no-store"
        raise Refused(Reason.NOT_OBEYED, message=message, members=(("ArgumentName", name),))


def _text_for_people(name: str, limits: Mapping[bytes, bytes], longest: int) -> str | None:
    raw = limits.get(name.encode())
    text = None if raw is None else _text(raw.replace(b"+", b"%20"))
    if text is not None and not is_text_for_people(text, longest):
        raise Refused(Reason.MALFORMED_LIMIT, hint=f"{name} is one line of 1 to {longest} characters")
    return text


def is_text_for_people(text: str, longest: int) -> bool:
    """Whether a text may be shown on a link's page: one line without control characters, not empty, not too long."""
    return len(text) <= longest and _PEOPLE_TEXT.fullmatch(text) is not None


def _text(raw: bytes) -> str:
    """Decode once. A text that no header can hold is refused here, before a use is claimed."""
    try:
        text = unescape(raw).decode()
    except UnicodeDecodeError:
        raise Refused(Reason.MALFORMED_LIMIT, hint="a signed parameter is not UTF-8") from None
    if not _HEADER_TEXT.fullmatch(text):
        raise Refused(Reason.MALFORMED_LIMIT, hint="a signed parameter holds a control character")
    return text
