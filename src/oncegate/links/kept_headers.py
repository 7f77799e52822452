"""What of an upload's headers is kept with its object and given back: its type, metadata, and how it is to be read.

Source: S3 API Reference, PutObject; "Working with object metadata".
"""

from __future__ import annotations

import re

from oncegate.links.disposition import plain_disposition
from oncegate.links.media_types import DEFAULT_MEDIA_TYPE, media_type_of
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.upload_head import UploadHead
from oncegate.links.wishes import META

KEPT_MAX_BYTES = 2_048
"""Of all ``x-amz-meta-*`` together, names and values, as at S3; and of all other headers that are kept."""
KEPT_HEADERS = (b"cache-control", b"content-disposition", b"content-encoding", b"content-language", b"expires")

Kept = tuple[tuple[str, str], ...]
"""Headers that are kept with an object: names in lower case, values of printable ASCII."""

_META_NAME = re.compile(rb"x-amz-meta-[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
_NOBODYS_CHOICE = frozenset((DEFAULT_MEDIA_TYPE, "application/x-www-form-urlencoded"))
"""What programs send that know no type; the other is curl's for ``--data-binary``."""


def type_to_keep(request: ViewerRequest, head: UploadHead, *, key: str, is_signed: bool) -> str:
    """The Content-Type that an object is stored with: as it was sent, with its parameters.

    Args:
        request: the upload.
        head: what it says, checked.
        key: of the object; its suffix tells the type where the uploader knew none.
        is_signed: Content-Type is signed, so that it is kept whatever it is.
    """
    if head.media_type in _NOBODYS_CHOICE and not is_signed:
        return media_type_of(key)
    given = (request.header(b"content-type") or b"").decode("latin-1")
    media_type, _, parameters = (part.strip() for part in given.partition(";"))
    if media_type.lower() != head.media_type or not parameters or not _VALUE.fullmatch(parameters):
        return head.media_type
    return f"{head.media_type}; {parameters}"


def kept_headers(request: ViewerRequest) -> Kept:
    """Read the headers that are kept with an object, beside its type.

    Raises:
        Refused: METADATA_TOO_LARGE; MALFORMED_UPLOAD: one is given twice, or is not printable ASCII.
    """
    kept, size_bytes, meta_bytes = list[tuple[str, str]](), 0, 0
    for name, value in request.headers:
        if name in KEPT_HEADERS:
            size_bytes += len(name) + len(value)
        elif name.startswith(META):
            if not _META_NAME.fullmatch(name):
                raise Refused(Reason.MALFORMED_UPLOAD, message="The name of a metadata header is malformed.")
            meta_bytes += len(name) - len(META) + len(value)
        else:
            continue
        if max(size_bytes, meta_bytes) > KEPT_MAX_BYTES:  # before it is read: a stranger may have sent it
            raise Refused(Reason.METADATA_TOO_LARGE)
        kept.append((name.decode(), _text_to_keep(name.decode(), value)))
    if len(dict(kept)) != len(kept):
        raise Refused(Reason.MALFORMED_UPLOAD, message="A header that is kept with the object is given twice.")
    return tuple(kept)


def _text_to_keep(name: str, value: bytes) -> str:
    """A header's value; only the names in a disposition have a form in ASCII for everything."""
    try:
        text = value.decode().strip()
    except UnicodeDecodeError:
        text = "\0"
    if name == "content-disposition" and "\0" not in text:
        text = plain_disposition(text) or ""
    if not _VALUE.fullmatch(text):
        raise Refused(Reason.MALFORMED_UPLOAD, message=f"The header {name} is not printable ASCII.")
    return text
