"""What people paste in place of a link that works here: another service's, one that mail changed, half of one.

For the issuer's eyes (``explain``) and only of a link that was refused: nothing is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from oncegate.links.request import ViewerRequest
from oncegate.links.urls import unescape

_ALGORITHM_OF_AWS = b"AWS4-HMAC-SHA256"
_MILLISECONDS = re.compile(rb"[0-9]{13}")
_WRAPPED = {
    "safelinks.protection.outlook.com": "Safe Links of Microsoft wrapped the link: the link is in its parameter url",
    "urldefense.com": "Proofpoint wrapped the link: the link is between the pairs of underscores",
    "urldefense.proofpoint.com": "Proofpoint wrapped the link: the link is in its parameter u",
    "mimecastprotect.com": "Mimecast wrapped the link: ask its sender for the link itself",
    "linkprotect.cudasvc.com": "Barracuda wrapped the link: the link is in its parameter a",
}
_FOREIGN: Sequence[tuple[bytes, str]] = (
    (
        b"X-Goog-Signature",
        "this is a signed URL of Google Cloud Storage: presign for S3, with an endpoint of this server",
    ),
    (
        b"GoogleAccessId",
        "this is a signed URL of Google Cloud Storage: presign for S3, with an endpoint of this server",
    ),
    (b"sig", "this is a shared access signature of Azure: presign for S3, with an endpoint of this server"),
    (
        b"AWSAccessKeyId",
        "this is Signature Version 2: sign with version 4 (aws cli 1: aws configure set default.s3.signature_version "
        "s3v4; boto3: Config(signature_version='s3v4'))",
    ),
    (b"uploadId", "this is one call of a multipart upload: presign a single PUT of the whole object (put_object)"),
    (b"uploads", "this is one call of a multipart upload: presign a single PUT of the whole object (put_object)"),
)
_BESIDE = {b"sig": b"sv"}
"""Names that mean something only beside another."""


def as_pasted(text: str) -> str:
    """A link without the white space, and the ``<`` and ``>``, that mail and terminals put around it."""
    return text.strip().removeprefix("<").removesuffix(">").strip()


def mistake_in(url: str, request: ViewerRequest) -> str:
    """Say what a refused link is in truth; empty where it only looks like a link that does not verify.

    Args:
        url: as it was pasted.
        request: made of it, with the method and headers that are asked about.
    """
    return _of_request(request) or _of_text(url) or _of_query(_names(request.query))


def _of_request(request: ViewerRequest) -> str:
    if (request.header(b"authorization") or b"").startswith(_ALGORITHM_OF_AWS):
        return (
            "the request is signed in its Authorization header: this server serves presigned links only "
            "(boto3: generate_presigned_url)"
        )
    if request.method == "DELETE":
        return "a link deletes nothing: it downloads or uploads one object"
    if request.method == "POST":
        return "forms with a policy (generate_presigned_post) are not taken: presign a PUT, with once-max for its size"
    return ""


def _of_text(url: str) -> str:
    host = url.partition("://")[2].partition("/")[0].lower()
    for wrapper, words in _WRAPPED.items():
        if host == wrapper or host.endswith(f".{wrapper}"):
            return words
    if "&amp;" in url:
        return "the link was HTML-escaped: write & in place of each &amp;"
    if "=3D" in url:
        return "the link is from the source of a mail: write = in place of each =3D, and join its lines"
    if any(c.isspace() for c in url):
        return "the link was broken over lines: join them, without the blanks"
    if url.endswith(("...", "\u2026")):
        return "the link was cut off: copy all of it"
    return ""


def _of_query(values: Mapping[bytes, bytes]) -> str:
    for name, words in _FOREIGN:
        if name in values and _BESIDE.get(name, name) in values:
            return words
    if _MILLISECONDS.fullmatch(values.get(b"Expires", b"")):
        return "Expires is in milliseconds: CloudFront reads seconds since 1970"
    wanted: tuple[bytes, ...] = ()
    if b"X-Amz-Algorithm" in values:
        wanted = (b"X-Amz-Credential", b"X-Amz-Date", b"X-Amz-Expires", b"X-Amz-SignedHeaders", b"X-Amz-Signature")
    elif values.keys() & {b"Expires", b"Policy", b"Signature", b"once"}:
        wanted = (b"Signature", b"Key-Pair-Id")
    absent = [name.decode() for name in wanted if not values.get(name)]
    if absent:
        return f"the link was cut off, or never signed: it has no {' and no '.join(absent)}"
    is_short = 0 < len(values.get(b"X-Amz-Signature", b"")) < 64
    return "the link was cut off: its X-Amz-Signature has fewer than 64 digits" if is_short else ""


def _names(query: bytes) -> dict[bytes, bytes]:
    pairs = (segment.partition(b"=") for segment in query.split(b"&"))
    return {unescape(name): value for name, _, value in pairs}
