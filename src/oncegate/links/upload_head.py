"""What the head of an upload says, checked before a byte of its body is read."""

from __future__ import annotations

import re
from typing import NamedTuple

from oncegate.links.grant import Limits
from oncegate.links.media_types import DEFAULT_MEDIA_TYPE, common_name_of, media_type_of
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest

FORM = "multipart/form-data"

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


def read_upload_head(request: ViewerRequest, limits: Limits, *, key: str, max_bytes: int) -> UploadHead:
    """Refuse everything that can be refused from the headers alone, before anything is read or written.

    Args:
        request: a verified PUT.
        limits: signed in its link.
        key: of the object.
        max_bytes: the most that any link may upload here.

    Raises:
        Refused: MALFORMED_REQUEST, MALFORMED_UPLOAD, LENGTH_NEEDED, TOO_LARGE, WRONG_TYPE.
    """
    length = request.header(b"content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        raise Refused(Reason.MALFORMED_REQUEST)
    _refuse_what_is_no_plain_body(request)
    # RFC 9112 6.3: such a request has no body, and its sender believes that they sent one
    if length is None and request.header(b"transfer-encoding") is None:
        raise Refused(Reason.LENGTH_NEEDED)
    if limits.max_bytes is not None:
        max_bytes = min(max_bytes, limits.max_bytes)
    size_bytes = None if length is None else int(length)
    if size_bytes is not None and size_bytes > max_bytes:
        raise Refused(Reason.TOO_LARGE)
    given = (request.header(b"content-type") or b"").decode("latin-1")
    media_type = accepted_type(given, limits.media_type, key)
    if media_type is None:
        is_form = given.lower().startswith(FORM)
        words = "This is a form: send the file itself, as the body (curl -T FILE)." if is_form else ""
        raise Refused(Reason.WRONG_TYPE, message=words)
    return UploadHead(size_bytes, media_type if _MEDIA_TYPE.fullmatch(media_type) else DEFAULT_MEDIA_TYPE, max_bytes)


def accepted_type(given: str, wanted: str | None, name: str) -> str | None:
    """The media type of an upload, if its link takes it.

    Args:
        given: Content-Type, with its parameters; empty where none was sent.
        wanted: ``type/subtype`` or ``type/*`` of the link; None: any but a form.
        name: of the object, or of the file; its suffix tells the type where its sender knows none.

    Returns:
        Lower case, without parameters; empty where it is not known. None where the link does not take it.
    """
    media_type = given.partition(";")[0].strip().lower()
    if wanted is None:
        return None if media_type == FORM else media_type
    if media_type in ("", DEFAULT_MEDIA_TYPE) and media_type != wanted:
        media_type = media_type_of(name)
    kind, _, subtype = wanted.partition("/")
    is_taken = (
        media_type.startswith(f"{kind}/") if subtype == "*" else common_name_of(media_type) == common_name_of(wanted)
    )
    return media_type if is_taken else None


def _refuse_what_is_no_plain_body(request: ViewerRequest) -> None:
    if request.header(b"content-range") is not None:
        raise Refused(Reason.MALFORMED_UPLOAD, message="A PUT stores a whole object (RFC 9110 14.5).")
    # the chunk sizes and signatures of aws-chunked would be stored as part of the object
    is_framed = (request.header(b"x-amz-content-sha256") or b"").startswith(b"STREAMING-")
    if is_framed or b"aws-chunked" in (request.header(b"content-encoding") or b"").lower():
        raise Refused(Reason.MALFORMED_UPLOAD, message="aws-chunked bodies are not taken: send the object itself.")
    # under CloudFront no header is signed: the holder would choose what is copied
    if request.header(b"x-amz-copy-source") is not None:
        raise Refused(Reason.MALFORMED_UPLOAD, message="A link uploads a body; it copies nothing.")
