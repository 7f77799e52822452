"""What the head of an upload says, checked before a byte of its body is read."""

from __future__ import annotations

import re
from typing import NamedTuple

from oncegate.links.grant import Limits
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest

DEFAULT_TYPE = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class UploadHead(NamedTuple):
    """An upload that may begin.

    Attributes:
        size_bytes: Content-Length; None where it is not known beforehand.
        media_type: for the object: lower case, without parameters.
        max_bytes: the most that may come, whatever Content-Length says.
    """

    size_bytes: int | None
    media_type: str
    max_bytes: int


def read_upload_head(request: ViewerRequest, limits: Limits, *, max_bytes: int) -> UploadHead:
    """Refuse everything that can be refused from the headers alone, before anything is read or written.

    Args:
        request: a verified PUT.
        limits: signed in its link.
        max_bytes: the most that any link may upload here.

    Raises:
        Refused: MALFORMED_REQUEST, MALFORMED_UPLOAD, TOO_LARGE, WRONG_TYPE.
    """
    length = request.header(b"content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        raise Refused(Reason.MALFORMED_REQUEST)
    _refuse_what_is_no_plain_body(request)
    if limits.max_bytes is not None:
        max_bytes = min(max_bytes, limits.max_bytes)
    size_bytes = None if length is None else int(length)
    if size_bytes is not None and size_bytes > max_bytes:
        raise Refused(Reason.TOO_LARGE)
    given = (request.header(b"content-type") or b"").decode("latin-1")
    media_type = given.partition(";")[0].strip().lower()
    if not _is_accepted(media_type, limits.media_type):
        raise Refused(Reason.WRONG_TYPE)
    return UploadHead(size_bytes, media_type if _MEDIA_TYPE.fullmatch(media_type) else DEFAULT_TYPE, max_bytes)


def _refuse_what_is_no_plain_body(request: ViewerRequest) -> None:
    if request.header(b"content-range") is not None:
        raise Refused(Reason.MALFORMED_UPLOAD, message="A PUT stores a whole object (RFC 9110 14.5).")
    # the chunk sizes and signatures of aws-chunked would be stored as part of the object
    is_framed = (request.header(b"x-amz-content-sha256") or b"").startswith(b"STREAMING-")
    if is_framed or b"aws-chunked" in (request.header(b"content-encoding") or b""):
        raise Refused(Reason.MALFORMED_UPLOAD, message="aws-chunked bodies are not taken: send the object itself.")
    # under CloudFront no header is signed: the holder would choose what is copied
    if request.header(b"x-amz-copy-source") is not None:
        raise Refused(Reason.MALFORMED_UPLOAD, message="A link uploads a body; it copies nothing.")


def _is_accepted(media_type: str, pattern: str | None) -> bool:
    if pattern is None:
        return True
    kind, _, subtype = pattern.partition("/")
    return media_type.startswith(f"{kind}/") if subtype == "*" else media_type == pattern
