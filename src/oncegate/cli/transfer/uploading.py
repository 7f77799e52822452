"""One upload to its end: the file, its length, its type and its checksum; again where the connection broke.

A broken upload leaves nothing behind and gives the use back, so it is sent anew from its first byte. Where an answer
was lost, a later refusal may mean that the first try went through; that is said.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from oncegate.cli.main import Refusal
from oncegate.cli.transfer.answers import BODY_MAX_BYTES, RETRIED, Patience, refusal_of
from oncegate.cli.transfer.client import read_body, request_of, words_of
from oncegate.cli.transfer.progress import Progress
from oncegate.links.urls import Url

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 262_144
_CHANGED = "the file changed while it was being sent: nothing was stored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is uploaded.

    Attributes:
        file: open for reading, seekable.
        size_bytes: of all of it.
        sha256: of all of it.
        media_type: for Content-Type.
    """

    file: BinaryIO
    size_bytes: int
    sha256: bytes
    media_type: str


def read_content(file: BinaryIO, media_type: str, *, progress: Progress) -> Content:
    """Read the size and checksum of a file, both of which are sent before its first byte; for a large one it takes a while."""
    digest, size_bytes = hashlib.sha256(), 0
    total_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    while data := file.read(CHUNK_BYTES):
        digest.update(data)
        size_bytes += len(data)
        progress.show(size_bytes, total_bytes)
    return Content(file=file, size_bytes=size_bytes, sha256=digest.digest(), media_type=media_type)


def upload(client: httpx.Client, link: Url, content: Content, *, patience: Patience, progress: Progress) -> str:
    """Upload a file, whatever breaks in between.

    Returns:
        The ETag of the object, with its quotes; empty where the server names none.

    Raises:
        Refusal: the server refuses, the file changed meanwhile, or patience ended.
    """
    import httpx

    is_answer_lost = False
    while True:
        retry_after = None
        try:
            status, headers, body = _send(client, link, content, progress)
        except httpx.TransportError as error:
            is_answer_lost = is_answer_lost or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            why = Refusal(words_of(error, link))
        else:
            patience.note_answer()
            if status in (200, 201, 204):
                return headers.get("etag", "")
            why = refusal_of(status, body)
            if is_answer_lost and status in (403, 412):
                lost = "an earlier try broke off before its answer came: it may have gone through"
                raise Refusal(f"{why.message}; {lost}")
            if status not in RETRIED:
                raise why
            retry_after = headers.get("retry-after")
        patience.wait(why, retry_after=retry_after)


def _send(client: httpx.Client, link: Url, content: Content, progress: Progress) -> tuple[int, httpx.Headers, bytes]:
    headers = {
        "content-length": str(content.size_bytes),
        "content-type": content.media_type,
        # Neither Content-MD5 nor x-amz-checksum-*: an S3 link that did not sign them refuses them.
        "repr-digest": f"sha-256=:{base64.b64encode(content.sha256).decode()}:",
    }
    body = _pieces(content, progress)
    response = client.send(request_of(client, "PUT", link, headers=headers, content=body), stream=True)
    try:
        return response.status_code, response.headers, read_body(response, BODY_MAX_BYTES)
    finally:
        response.close()


def _pieces(content: Content, progress: Progress) -> Generator[bytes]:
    """Yield the body; raise where its length is not the announced one, so that nothing is stored."""
    content.file.seek(0)
    sent_bytes = 0
    while data := content.file.read(CHUNK_BYTES):
        sent_bytes += len(data)
        if sent_bytes > content.size_bytes:
            raise Refusal(_CHANGED)
        yield data
        progress.show(sent_bytes, content.size_bytes)
    if sent_bytes < content.size_bytes:
        raise Refusal(_CHANGED)
