"""The query of a link, read once: which parameters belong to a signature scheme, and which must be signed.

Parameters that have a meaning here (``once`` and its limits, and ``response-*``) count only where the
signature covers them; otherwise a holder could add their own. Such a name is recognised in
every percent-encoding, and accepted only if it is written literally and is given a single time (docs/request.md).
"""

from __future__ import annotations

from typing import NamedTuple

from oncegate.links.refusal import Reason, Refused
from oncegate.links.urls import is_escaped_well, unescape

QUERY_MAX_BYTES = 16_384
PARAMETERS_MAX = 200

CLOUDFRONT_NAMES = frozenset((b"Expires", b"Policy", b"Signature", b"Key-Pair-Id", b"Hash-Algorithm"))
LIMIT_NAMES = frozenset(
    (
        b"once",
        b"once-max",
        b"once-type",
        b"once-replace",
        b"once-confirm",
        b"once-delete",
        b"once-from",
        b"once-note",
        b"response-cache-control",
        b"response-content-disposition",
        b"response-content-encoding",
        b"response-content-language",
        b"response-content-type",
        b"response-expires",
    )
)


class Parameters(NamedTuple):
    """The parameters of a query, by scheme. Names and values are as they came, still percent-encoded.

    Attributes:
        cloudfront: CloudFront's own, by name.
        limits: ``once``, ``once-*`` and ``response-*`` as they stand in the URL, by name; whether they are signed is
            for ``links/verify.py`` to say. Of an S3 link ``+`` is written ``%20``, as S3 reads it.
        own: every ``name=value`` that is not CloudFront's, in the order of the URL: the query of a canned policy's
            Resource.
        is_s3: some parameter is SigV4's.
        is_s3_v2: it looks like S3's old query authentication.
    """

    cloudfront: dict[bytes, bytes]
    limits: dict[bytes, bytes]
    own: list[bytes]
    is_s3: bool
    is_s3_v2: bool

    @property
    def own_query(self) -> bytes:
        """The query without CloudFront's parameters, with its ``?``; empty where there is none."""
        return b"?" + b"&".join(self.own) if self.own else b""


def read_parameters(query: bytes) -> Parameters:
    """Sort a raw query.

    Raises:
        Refused: a parameter that has a meaning is given twice or in another spelling, both schemes are there, or the
            query is larger than its limits.
    """
    cloudfront: dict[bytes, bytes] = {}
    limits: dict[bytes, bytes] = {}
    own: list[bytes] = []
    is_s3 = is_s3_v2 = False
    if not query:
        return Parameters(cloudfront, limits, own, is_s3, is_s3_v2)
    _refuse_too_much(query)
    for segment in query.split(b"&"):
        name, _, value = segment.partition(b"=")
        if name in CLOUDFRONT_NAMES:
            if name in cloudfront:
                raise Refused(Reason.DUPLICATE_PARAMETER)
            cloudfront[name] = value
            continue
        # a canned policy's Resource has every parameter but CloudFront's, so oncegate's too (docs/aws-protocol.md 1.1)
        own.append(segment)
        if name in LIMIT_NAMES:
            _add_limit(limits, name, value)
        # a limit of a later version: served without it, the link would allow more than its issuer signed
        elif name.startswith(b"once-"):
            raise Refused(
                Reason.UNSIGNED_PARAMETER, hint="an unknown once- parameter: a limit that cannot be kept here"
            )
        elif name.startswith(b"X-Amz-"):
            is_s3 = True
        elif name == b"AWSAccessKeyId":
            is_s3_v2 = True
        elif b"%" in name:
            is_s3 = _read_escaped(name).startswith(b"X-Amz-") or is_s3
    # otherwise the holder could choose by which of the two the link is judged
    if cloudfront and is_s3:
        raise Refused(Reason.TWO_SCHEMES)
    if is_s3:
        limits = {name: value.replace(b"+", b"%20") for name, value in limits.items()}
    # a CloudFront link may carry a parameter AWSAccessKeyId that means nothing to oncegate
    is_s3_v2 = is_s3_v2 and b"Signature" in cloudfront and b"Key-Pair-Id" not in cloudfront
    return Parameters(cloudfront, limits, own, is_s3, is_s3_v2)


def _refuse_too_much(query: bytes) -> None:
    """Keep the work small: nothing is verified yet, and anyone may have sent this."""
    if len(query) > QUERY_MAX_BYTES:
        raise Refused(Reason.TARGET_TOO_LONG)
    if query.count(b"&") >= PARAMETERS_MAX:
        raise Refused(Reason.MALFORMED_REQUEST, hint=f"the query has more than {PARAMETERS_MAX} parameters")


def _add_limit(limits: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    if name in limits:
        raise Refused(Reason.DUPLICATE_PARAMETER)
    if not is_escaped_well(value):
        raise Refused(Reason.MALFORMED_LIMIT, hint="a % is not followed by two hex digits")
    limits[name] = value


def _read_escaped(name: bytes) -> bytes:
    """Decode a name; only SigV4's own names, and those that mean nothing here, may be spelled with escapes.

    SigV4 signs names decoded, so ``%6Fnce=g...`` verifies: a reader of literal names would not find the ticket, and the
    link would be a plain one.

    Raises:
        Refused: DUPLICATE_PARAMETER: it is another spelling of a name that has a meaning.
    """
    decoded = unescape(name)
    if decoded in CLOUDFRONT_NAMES or decoded in LIMIT_NAMES or decoded.startswith(b"once-"):
        raise Refused(Reason.DUPLICATE_PARAMETER, hint="a parameter's name is percent-encoded")
    return decoded
