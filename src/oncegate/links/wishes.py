"""What an S3 signature covers beside the link itself: each is obeyed, or has no meaning here, or is refused by name.

S3 obeys ``x-amz-*`` headers, and under a presigned URL also parameters of the same names: several SDKs move every such
header into the query before they sign. One table has both, so that a wish has one meaning wherever it was written.

Source: S3 API Reference, GetObject, HeadObject, PutObject, "Common Request Headers"; docs/aws-protocol.md 2.3.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from oncegate.links.grant import Header, Signed
from oncegate.links.parameters import Parameters
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.urls import unescape_query

PREFIX = b"x-amz-"
META = b"x-amz-meta-"
"""Of metadata that the issuer or the uploader made up; kept with the object and given back."""

_OF_THE_SIGNATURE = frozenset(
    b"X-Amz-Algorithm X-Amz-Credential X-Amz-Date X-Amz-Expires X-Amz-Security-Token X-Amz-Signature "
    b"X-Amz-SignedHeaders".split()
)
"""Parameters that are the credential; written just so."""
_OBEYED = frozenset(
    b"x-amz-content-sha256 x-amz-checksum-crc32 x-amz-checksum-crc32c x-amz-checksum-crc64nvme x-amz-checksum-sha1 "
    b"x-amz-checksum-sha256".split()
)
WITHOUT_MEANING = frozenset(
    b"x-amz-checksum-algorithm x-amz-checksum-mode x-amz-checksum-type x-amz-date x-amz-expected-bucket-owner "
    b"x-amz-request-payer x-amz-sdk-checksum-algorithm x-amz-security-token x-amz-user-agent".split()
)
"""They say how S3 is to account for a request or to answer it, and nothing of the object."""
_ACLS = frozenset((b"", b"private", b"bucket-owner-full-control"))
"""What an object has here anyway: nobody but a link's holder gets it."""
_OF_AN_EMPTY_BODY = frozenset(
    (
        (b"x-amz-checksum-crc32", b"AAAAAA=="),
        (b"x-amz-checksum-crc32c", b"AAAAAA=="),
        (b"x-amz-checksum-crc64nvme", b"AAAAAAAAAAA="),
    )
)
"""The JavaScript SDK signs the checksum of the body that it has when it presigns a PUT: none."""


def wishes_of(request: ViewerRequest, parameters: Parameters, signed: Signed) -> tuple[Header, ...]:
    """Check every wish that is signed, and return those that stand in the query, as the headers that they were.

    Args:
        request: whose signature holds.
        parameters: of its query.
        signed: what its signature covers, which is S3's: CloudFront's covers no header.

    Raises:
        Refused: NOT_IMPLEMENTED: a wish that S3 would obey and that is not obeyed here; DUPLICATE_PARAMETER: it is
            given twice; MALFORMED_LIMIT: no header can hold it.
    """
    for name in signed.signed_headers:
        _is_obeyed(name.encode("latin-1"), request.header(name.encode("latin-1")) or b"")
    moved: dict[bytes, bytes] = {}
    for name, value in _in_query(parameters.own):
        if name in moved or request.header(name) not in (None, value):
            raise Refused(Reason.DUPLICATE_PARAMETER, hint=f"{name.decode('latin-1')} is given twice")
        if any(byte < 0x20 or byte == 0x7F for byte in value):
            raise Refused(Reason.MALFORMED_LIMIT, hint="a signed parameter holds a control character")
        if _is_obeyed(name, value) and request.header(name) is None:
            moved[name] = value
    return tuple(pair for pair in moved.items() if pair not in _OF_AN_EMPTY_BODY)


def _in_query(own: Iterable[bytes]) -> Iterator[Header]:
    """The parameters that S3 reads as headers: their names in lower case, and their values, decoded."""
    for segment in own:
        raw_name, _, raw_value = segment.partition(b"=")
        name = unescape_query(raw_name)
        if name[: len(PREFIX)].lower() == PREFIX and name not in _OF_THE_SIGNATURE:
            yield name.lower(), unescape_query(raw_value)


def _is_obeyed(name: bytes, value: bytes) -> bool:
    """Whether a wish is obeyed, in contrast to one that has no meaning here.

    Raises:
        Refused: NOT_IMPLEMENTED.
    """
    # what S3 obeys of other headers (conditions, ranges, what it keeps of an object) is obeyed here
    if not name.startswith(PREFIX) or name in WITHOUT_MEANING:
        return False
    if name in _OBEYED or name.startswith(META):
        return True
    if name == b"x-amz-acl" and value in _ACLS:
        return False
    raise not_implemented(name.decode("latin-1"))


def not_implemented(name: str) -> Refused:
    """The refusal of a wish that is not obeyed here, by its name."""
    message = f"A header or parameter you provided implies functionality that is not implemented here: {name}"
    return Refused(Reason.NOT_IMPLEMENTED, message=message, members=(("Header", name),))
