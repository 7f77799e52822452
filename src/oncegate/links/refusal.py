"""Every way a request can be refused: code, status, message, whose fault it is, and whether the use is burned.

One tree: ``Refused`` carries a ``Reason``; everything else is in ``TABLE``. No other module of the viewer chooses a
status or writes an error body.

    reasons                       status      whose fault            the use
    ----------------------------  ----------  ---------------------  --------------------------------------------
    not signed, forged, expired   400, 403    the viewer's           untouched: nothing was read or written
    what the signature lacks      403         the issuer's           untouched
    what it asks in vain          400, 501    the issuer's           untouched
    used, revoked, no bytes left  403         the viewer's           untouched (it was spent before)
    no object, preconditions      404 - 416   either                 untouched
    uploads                       400 - 415   the viewer's           given back
    ledger, store, ourselves      500 - 507   ours                   given back, or never taken

Bodies are AWS's byte for byte where AWS has one. CloudFront: one line, ``text/xml``; S3: two lines,
``application/xml``. Whatever would help a guesser has the one body ``Access denied``; ``words`` are shown only to
the holder of a genuine signature and to the issuer (``explain``).

Source: docs/aws-protocol.md 1.7, 2.4; CloudFront Developer Guide; S3 API Reference, "Error responses".
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from oncegate.links.errors import OncegateError


class Reason(enum.StrEnum):
    """Why a request was refused; the value is the stable name in logs, events and ``explain``."""

    # CloudFront: the credential
    MISSING_KEY = "missing-key-pair-id"
    UNKNOWN_KEY = "unknown-key"
    MALFORMED_POLICY = "malformed-policy"
    MALFORMED_EXPIRES = "malformed-expires"
    MISSING_SIGNATURE = "missing-signature"
    MALFORMED_SIGNATURE = "malformed-signature"
    UNSUPPORTED_HASH = "unsupported-hash"
    DUPLICATE_PARAMETER = "duplicate-parameter"
    TWO_SCHEMES = "two-schemes"
    BAD_SIGNATURE = "bad-signature"
    RESOURCE_MISMATCH = "resource-mismatch"
    # both schemes: the conditions
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    IP_NOT_ALLOWED = "ip-not-allowed"
    # S3
    S3_SIGNATURE_V2 = "signature-v2"
    S3_TWO_AUTH = "two-auth-mechanisms"
    PRESIGNED_ONLY = "presigned-links-only"
    S3_QUERY_PARAMETERS = "malformed-query-auth"
    S3_WRONG_REGION = "wrong-region"
    S3_ALGORITHM = "bad-algorithm"
    S3_UNKNOWN_KEY = "unknown-access-key"
    S3_BAD_SIGNATURE = "s3-bad-signature"
    S3_EXPIRED = "s3-expired"
    S3_NOT_YET_VALID = "s3-not-yet-valid"
    S3_UNSIGNED_HEADER = "unsigned-header"
    S3_UNSUPPORTED = "unsupported-s3-request"
    # what oncegate asks beyond AWS
    UNSIGNED_PARAMETER = "unsigned-parameter"
    MALFORMED_LIMIT = "malformed-limit"
    NOT_OBEYED = "response-not-obeyed"
    NOT_IMPLEMENTED = "not-implemented"
    MALFORMED_TICKET = "malformed-ticket"
    TICKET_AHEAD = "ticket-from-the-future"
    WRONG_HOME = "wrong-home"
    PLAIN_REFUSED = "plain-links-refused"
    METHOD_NOT_GRANTED = "method-not-granted"
    OBJECT_KEY = "object-key"
    # the use
    USED = "used"
    REVOKED = "revoked"
    CONFIRM_NEEDED = "confirmation-needed"
    BEFORE_BIRTH = "older-than-the-ledger"
    FORGOTTEN = "forgotten"
    OBJECT_REPLACED = "object-replaced"
    BUSY = "busy"
    LEDGER_UNKNOWN = "ledger-unknown"
    # the object
    NO_OBJECT = "no-such-key"
    PRECONDITION = "precondition-failed"
    RANGE = "range-not-satisfiable"
    OBJECT_STANDS = "object-stands"
    STORE_FAILED = "store-failed"
    STORE_BUSY = "store-busy"
    STORE_FULL = "store-full"
    NOT_ONCE = "store-cannot-once"
    # uploads
    UPLOAD_RUNNING = "upload-running"
    TOO_LARGE = "too-large"
    LENGTH_NEEDED = "length-needed"
    WRONG_TYPE = "wrong-type"
    BAD_DIGEST = "bad-digest"
    INCOMPLETE = "incomplete-body"
    MALFORMED_UPLOAD = "malformed-upload"
    METADATA_TOO_LARGE = "metadata-too-large"
    NOT_AT_THE_EDGE = "not-at-the-edge"
    # the listener
    NOT_A_LINK = "not-a-link"
    CROSS_SITE = "cross-site"
    MALFORMED_REQUEST = "malformed-request"
    TARGET_TOO_LONG = "target-too-long"
    HEAD_TOO_LARGE = "head-too-large"
    OVERLOADED = "overloaded"
    INTERNAL = "internal-error"


class Style(enum.Enum):
    """Whose error body it is."""

    CLOUDFRONT = "cloudfront"
    S3 = "s3"
    OF_THE_LINK = "of the link"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. ``words`` may be shown to the holder of a genuine link; None: ``message`` is shown."""

    status: int
    style: Style
    code: str
    message: str
    words: str | None = None


def _denied(words: str) -> Row:
    return Row(403, Style.CLOUDFRONT, "AccessDenied", "Access denied", words)


def _spent(words: str) -> Row:
    return Row(403, Style.OF_THE_LINK, "AccessDenied", words)


_V4_PARAMETERS = (
    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
    "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
)

TABLE: dict[Reason, Row] = {
    Reason.MISSING_KEY: Row(403, Style.CLOUDFRONT, "MissingKey", "Missing Key-Pair-Id query parameter or cookie value"),
    Reason.UNKNOWN_KEY: Row(403, Style.CLOUDFRONT, "InvalidKey", "Unknown Key"),
    Reason.MALFORMED_POLICY: Row(403, Style.CLOUDFRONT, "MalformedPolicy", "Malformed Policy"),
    Reason.MALFORMED_EXPIRES: Row(403, Style.CLOUDFRONT, "MalformedPolicy", "Malformed Policy"),
    Reason.MISSING_SIGNATURE: _denied("the Signature is missing"),
    Reason.MALFORMED_SIGNATURE: Row(403, Style.CLOUDFRONT, "MalformedSignature", "Could not unencode Signature"),
    Reason.UNSUPPORTED_HASH: _denied("Hash-Algorithm is neither SHA1 nor SHA256"),
    Reason.DUPLICATE_PARAMETER: _denied("a parameter that may be given once is given twice, or in another spelling"),
    Reason.TWO_SCHEMES: _denied("the URL carries both CloudFront and S3 parameters"),
    Reason.BAD_SIGNATURE: _denied("the signature is not of this URL by this key"),
    Reason.RESOURCE_MISMATCH: _denied("the policy is for another URL"),
    Reason.EXPIRED: _denied("This link has expired."),
    Reason.NOT_YET_VALID: _denied("This link is not valid yet."),
    Reason.IP_NOT_ALLOWED: _denied("This link is for another network address."),
    Reason.S3_SIGNATURE_V2: Row(
        400,
        Style.S3,
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    ),
    Reason.S3_TWO_AUTH: Row(
        400,
        Style.S3,
        "InvalidArgument",
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
        "Signature query string parameter or the Authorization header should be specified",
    ),
    Reason.PRESIGNED_ONLY: Row(
        403,
        Style.S3,
        "AccessDenied",
        "This server serves presigned links only: sign the URL (generate_presigned_url), not the request.",
    ),
    Reason.S3_QUERY_PARAMETERS: Row(400, Style.S3, "AuthorizationQueryParametersError", _V4_PARAMETERS),
    Reason.S3_WRONG_REGION: Row(400, Style.S3, "AuthorizationQueryParametersError", "the region is wrong"),
    Reason.S3_ALGORITHM: Row(
        400,
        Style.S3,
        "AuthorizationQueryParametersError",
        'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"',
    ),
    Reason.S3_UNKNOWN_KEY: Row(
        403,
        Style.S3,
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    Reason.S3_BAD_SIGNATURE: Row(
        403,
        Style.S3,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method.",
    ),
    Reason.S3_EXPIRED: Row(403, Style.S3, "AccessDenied", "Request has expired", "This link has expired."),
    Reason.S3_NOT_YET_VALID: Row(
        403, Style.S3, "AccessDenied", "Request is not yet valid", "This link is not valid yet."
    ),
    Reason.S3_UNSIGNED_HEADER: Row(
        403, Style.S3, "AccessDenied", "There were headers present in the request which were not signed"
    ),
    Reason.S3_UNSUPPORTED: Row(
        403, Style.S3, "AccessDenied", "Access Denied", "Only whole objects are served: no parts, versions or lists."
    ),
    Reason.UNSIGNED_PARAMETER: _denied("a parameter that must be signed is not covered by the signature"),
    Reason.MALFORMED_LIMIT: _denied("a limit in the signed URL cannot be read"),
    Reason.NOT_OBEYED: Row(400, Style.S3, "InvalidArgument", "A signed parameter cannot be obeyed here."),
    # 501, because clients repeat after 502 and 503, and a second try would end the same way
    Reason.NOT_IMPLEMENTED: Row(
        501,
        Style.S3,
        "NotImplemented",
        "A header or parameter you provided implies functionality that is not implemented here.",
    ),
    Reason.MALFORMED_TICKET: _denied("the once parameter is no ticket"),
    Reason.TICKET_AHEAD: _denied("the ticket was made more than a day ahead of this clock"),
    Reason.WRONG_HOME: _denied("the ticket belongs to another ledger"),
    Reason.PLAIN_REFUSED: _denied("links without a ticket are refused here"),
    Reason.METHOD_NOT_GRANTED: _denied("This link does not allow this method."),
    Reason.OBJECT_KEY: _denied("the path is no object key that is served here"),
    Reason.USED: _spent("This link has been used."),
    Reason.REVOKED: _spent("This link has been revoked."),
    Reason.CONFIRM_NEEDED: _spent("Open this link in a browser: a person is asked before it is used."),
    Reason.BEFORE_BIRTH: _spent("This link is older than the ledger that counts its uses."),
    Reason.FORGOTTEN: _spent("This link has expired."),
    Reason.OBJECT_REPLACED: _spent("The object was replaced while it was being downloaded."),
    Reason.BUSY: Row(503, Style.S3, "SlowDown", "An earlier transfer of this link may still be running. Please retry."),
    Reason.LEDGER_UNKNOWN: Row(
        503, Style.S3, "ServiceUnavailable", "Please retry. The link has not been used up by this."
    ),
    Reason.NO_OBJECT: Row(404, Style.S3, "NoSuchKey", "The specified key does not exist."),
    Reason.PRECONDITION: Row(
        412, Style.S3, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
    ),
    Reason.RANGE: Row(416, Style.S3, "InvalidRange", "The requested range is not satisfiable"),
    Reason.OBJECT_STANDS: Row(
        412, Style.S3, "PreconditionFailed", "An object stands there already, and this link may not replace it."
    ),
    Reason.STORE_FAILED: Row(502, Style.S3, "BadGateway", "The store did not answer as it should. Please retry."),
    Reason.STORE_BUSY: Row(503, Style.S3, "ServiceUnavailable", "The store is out of reach. Please retry."),
    Reason.STORE_FULL: Row(507, Style.S3, "InsufficientStorage", "There is no room for this object."),
    # 501, as above
    Reason.NOT_ONCE: Row(
        501, Style.S3, "NotImplemented", "The store does not keep what would make this upload happen only once."
    ),
    Reason.UPLOAD_RUNNING: Row(
        409, Style.S3, "OperationAborted", "Another upload through this link is running. Please retry."
    ),
    Reason.TOO_LARGE: Row(413, Style.S3, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size"),
    Reason.LENGTH_NEEDED: Row(
        411, Style.S3, "MissingContentLength", "You must provide the Content-Length HTTP header."
    ),
    Reason.WRONG_TYPE: Row(415, Style.S3, "UnsupportedMediaType", "This link does not take this Content-Type."),
    Reason.BAD_DIGEST: Row(400, Style.S3, "BadDigest", "The checksum you specified did not match what we received."),
    Reason.INCOMPLETE: Row(
        400, Style.S3, "IncompleteBody", "You did not provide the number of bytes specified by Content-Length"
    ),
    Reason.MALFORMED_UPLOAD: Row(400, Style.S3, "InvalidRequest", "This upload is not of a form that is taken here."),
    Reason.METADATA_TOO_LARGE: Row(
        400, Style.S3, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size"
    ),
    # 501, as above: a gateway would take it, the edge never does
    Reason.NOT_AT_THE_EDGE: Row(501, Style.S3, "NotImplemented", "This is not taken here."),
    Reason.NOT_A_LINK: _denied("this listener serves links only"),
    Reason.CROSS_SITE: _denied("The button was pressed from another site."),
    Reason.MALFORMED_REQUEST: Row(400, Style.S3, "InvalidRequest", "The request is ambiguous or malformed."),
    Reason.TARGET_TOO_LONG: Row(414, Style.S3, "URITooLong", "The request's URL is longer than 16,384 bytes."),
    Reason.HEAD_TOO_LARGE: Row(
        431, Style.S3, "RequestHeaderSectionTooLarge", "The request's header is larger than is taken here."
    ),
    Reason.OVERLOADED: Row(503, Style.S3, "SlowDown", "Please reduce your request rate."),
    Reason.INTERNAL: Row(500, Style.S3, "InternalError", "We encountered an internal error. Please try again."),
}


class Refused(OncegateError):
    """A request that is refused, and nothing more happens.

    Args:
        reason: the row of ``TABLE``.
        message: in place of the row's, where AWS's own message names a value of the request.
        members: further elements of S3's error body, as (name, text).
        hint: for the issuer only (``explain``, logs): what to do about it. Never holds a signature or a policy.
    """

    def __init__(
        self, reason: Reason, *, message: str = "", members: tuple[tuple[str, str], ...] = (), hint: str = ""
    ) -> None:
        self.reason = reason
        self.message: str = message or TABLE[reason].message
        self.members = members
        self.hint = hint
        super().__init__(reason.value)

    @property
    def row(self) -> Row:
        """The row of the table."""
        return TABLE[self.reason]

    @property
    def code(self) -> str:
        """The error code in the answer's body: ``AccessDenied``."""
        return self.row.code

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return self.row.status

    @property
    def words(self) -> str:
        """What is the matter, for the holder of a genuine signature and for the issuer."""
        return self.row.words or self.message


def xml_body(refused: Refused, *, style: Style, request_id: str) -> tuple[str, bytes]:
    """Write the error body as AWS does.

    Args:
        refused: what is answered.
        style: of the link, for reasons that have no style of their own.
        request_id: named in S3's form.

    Returns:
        Content-Type and body.

    Source: docs/aws-protocol.md 1.7 (one line, no newline at the end), 2.4.1.
    """
    own = refused.row.style
    code, message = refused.row.code, _escape(refused.message)
    if (style if own is Style.OF_THE_LINK else own) is Style.CLOUDFRONT:
        text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
        return "text/xml", text.encode()
    members = "".join(f"<{name}>{_escape(value)}</{name}>" for name, value in refused.members)
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message>{members}"
        f"<RequestId>{request_id}</RequestId><HostId>oncegate</HostId></Error>"
    )
    return "application/xml", text.encode()


_NOT_XML = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")


def _escape(text: str) -> str:
    """Escape what XML reserves, and drop what XML 1.0 cannot hold (a holder chooses some of these texts)."""
    return _NOT_XML.sub("", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
