"""Requests to S3 that obstore cannot make: complete a multipart upload, copy or stream an object, each on a condition.

We sign them ourselves and send them over one client with kept-alive connections. A call is sent once, since only its
caller knows whether it may be repeated. A status of 200 alone is not believed: S3 may send it with an error in the
body.

httpx saves us an HTTP client; ElementTree reads answers of the server that the operator configured.

Source: S3 API Reference, CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload, CopyObject,
PutObject; docs/aws-protocol.md 2.5.2.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape as escape_xml

import httpx

from oncegate.aws_requests.credentials import GivesCredentials, NoCredentials
from oncegate.aws_requests.signature import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    AwsCredentials,
    SigningScope,
    canonical_query,
    signed_headers,
)
from oncegate.links.sigv4 import presign_url
from oncegate.links.urls import escape
from oncegate.stores.bucket.faults import fault_of_status
from oncegate.stores.protocol import ObjectStands, StoreBusy, StoreFault, StoreRefused

ATTEMPTS_MAX = 3
PAUSE_S = 0.2
PIECE_BYTES = 1 << 18
TIMEOUT = httpx.Timeout(60.0, connect=2.0)
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""No limit here: the gateway limits uploads, and each that is sent while it arrives keeps a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """The place of a bucket.

    Attributes:
        endpoint: URL before the keys: with the bucket in its host or as its path, no slash at the end.
        prefix: stands before every key, no slash at either end; may be empty.
        bucket: its name, for the source of a copy.
        region: in signatures.
        is_signed: False for buckets open to all.
        is_payload_signed: False saves hashing the body; for endpoints with TLS.
    """

    endpoint: str
    prefix: str
    bucket: str
    region: str
    is_signed: bool = True
    is_payload_signed: bool = True


class S3Calls:
    """Makes the requests of this module.

    Args:
        place: where the bucket is.
        credentials: signs the requests.
        transport: the client's, for tests.
    """

    def __init__(
        self, place: S3Place, credentials: GivesCredentials, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._place = place
        self._credentials = credentials
        self._client = httpx.AsyncClient(timeout=TIMEOUT, limits=LIMITS, transport=transport)
        self._scope = SigningScope(region=place.region, service="s3")

    async def create(self, key: str, headers: Mapping[str, str]) -> str:
        """Begin a multipart upload and return its id; it is no object before it is completed.

        Args:
            key: of the object.
            headers: stored with it.
        """
        answer = await self._repeated("POST", key, query=[("uploads", "")], headers=headers)
        return _element(answer, "UploadId")

    async def upload_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """Send a part (numbers from 1) and return its ETag."""
        query = [("partNumber", str(number)), ("uploadId", upload_id)]
        answer = await self._repeated("PUT", key, query=query, data=data)
        etag = answer.headers.get("etag", "")
        if not etag:
            raise StoreFault("the store took a part and gave no ETag")
        return etag

    async def complete(self, key: str, upload_id: str, etags: Sequence[str], condition: Mapping[str, str]) -> str:
        """Make an object of the parts, on a condition; returns the object's ETag.

        Raises:
            ObjectStands: the condition does not hold.
            StoreFault: or it is unknown whether the object was stored.
        """
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape_xml(etag)}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{parts}</CompleteMultipartUpload>'
        query = [("uploadId", upload_id)]
        answer = await self._once("POST", key, query=query, headers=condition, data=body.encode())
        if answer.status_code == 404 and _code(answer) == "NoSuchUpload":
            raise StoreFault("the multipart upload is gone: aborted by a lifecycle rule, or completed already")
        return _element(_on_condition(answer, condition), "ETag")

    async def abort(self, key: str, upload_id: str) -> None:
        """Discard a multipart upload; one that does not exist is no fault."""
        answer = await self._once("DELETE", key, query=[("uploadId", upload_id)])
        if answer.status_code != 404:
            _good(answer)

    async def copy(self, source: str, key: str, condition: Mapping[str, str]) -> None:
        """Copy an object with its type and metadata to ``key``, on a condition about the object there.

        Raises:
            ObjectStands: the condition does not hold.
        """
        path = escape(f"{self._place.bucket}/{self._full(source)}", safe="/")
        answer = await self._once("PUT", key, headers={"x-amz-copy-source": f"/{path}", **condition})
        _element(_on_condition(answer, condition), "ETag")

    async def put(
        self,
        key: str,
        body: AsyncGenerator[bytes],
        *,
        size_bytes: int,
        headers: Mapping[str, str],
        condition: Mapping[str, str],
    ) -> str:
        """Store an object whose body arrives piece by piece, on a condition; returns its ETag.

        Raises:
            ObjectStands: the condition does not hold.
            StoreFault: or it is unknown whether the object was stored.
        """
        answer = await self._once("PUT", key, headers={**headers, **condition}, body=body, size_bytes=size_bytes)
        etag = _on_condition(answer, condition).headers.get("etag", "")
        if not etag:
            raise StoreFault("the store took an object and gave no ETag")
        return etag

    async def delete(self, key: str) -> None:
        """Remove an object; one that does not exist is no fault."""
        _good(await self._once("DELETE", key))

    async def delete_version(self, key: str, etag: str) -> None:
        """Remove an object, if it has this ETag.

        Raises:
            ObjectStands: it has another, or there is none.
            StoreFault: or it is unknown whether the object was removed.

        Source: S3 API Reference, DeleteObject, If-Match.
        """
        condition = {"if-match": etag}
        _on_condition(await self._once("DELETE", key, headers=condition), condition)

    async def presigned(self, key: str, lives_s: int) -> str:
        """Sign the URL of a GET, good for so many seconds; nothing is asked.

        Raises:
            StoreRefused: there are no credentials.
        """
        url = f"{self._place.endpoint}/{escape(self._full(key), safe='/')}"
        if not self._place.is_signed:
            return url
        credentials = await self._current()
        if credentials.token:
            url = f"{url}?X-Amz-Security-Token={escape(credentials.token)}"
        return presign_url(
            url,
            method="GET",
            access_key_id=credentials.access_key_id,
            secret=credentials.secret,
            region=self._place.region,
            now_s=int(time.time()),
            expires_in_s=lives_s,
        )

    async def keeps_versions(self) -> bool:
        """Tell whether the bucket keeps versions now; False if the server does not say.

        Source: S3 API Reference, GetBucketVersioning: a bucket that never kept any has no Status.
        """
        try:
            answer = await self._once("GET", None, query=[("versioning", "")])
            return answer.is_success and _element(answer, "Status") == "Enabled"
        except StoreFault:
            return False

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._credentials.aclose()

    def _full(self, key: str) -> str:
        return f"{self._place.prefix}/{key}" if self._place.prefix else key

    async def _repeated(
        self,
        method: str,
        key: str,
        *,
        query: Sequence[tuple[str, str]],
        headers: Mapping[str, str] | None = None,
        data: bytes = b"",
    ) -> httpx.Response:
        """Make a call, again if need be; twice does the same as once."""
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return _good(await self._once(method, key, query=query, headers=headers, data=data))
            except StoreBusy:
                if attempt == ATTEMPTS_MAX:
                    raise
            await asyncio.sleep(PAUSE_S * attempt)
        raise AssertionError("unreachable")

    async def _once(
        self,
        method: str,
        key: str | None,
        *,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        data: bytes = b"",
        body: AsyncGenerator[bytes] | None = None,
        size_bytes: int = 0,
    ) -> httpx.Response:
        """Make a call; ``key`` is None for one of the bucket itself."""
        encoded = canonical_query(query)
        place = "" if key is None else escape(self._full(key), safe="/")
        url = httpx.URL(f"{self._place.endpoint}/{place}{'?' if encoded else ''}{encoded}")
        path = url.raw_path.partition(b"?")[0].decode("ascii")
        sent = {**(headers or {}), "host": url.netloc.decode("ascii")}
        if self._place.is_signed:
            credentials = await self._current()
            digest = UNSIGNED_PAYLOAD if body is not None else await self._digest(data)
            sent = signed_headers(
                method,
                path=path,
                query=encoded,
                headers=sent,
                payload_sha256=digest,
                credentials=credentials,
                scope=self._scope,
                now_s=int(time.time()),
            )
        try:
            length = {"content-length": str(len(data) if body is None else size_bytes)}
            return await self._client.request(
                method, url, headers={**sent, **length}, content=_in_pieces(data) if body is None else body
            )
        except httpx.HTTPError as error:
            raise StoreBusy(f"{method} for an upload: {type(error).__name__}: {error}") from error

    async def _current(self) -> AwsCredentials:
        try:
            return await self._credentials.current()
        except NoCredentials as error:
            raise StoreRefused(str(error)) from error

    async def _digest(self, data: bytes) -> str:
        if not data:
            return EMPTY_SHA256
        if not self._place.is_payload_signed:
            return UNSIGNED_PAYLOAD
        # In a thread: hashing 8 MiB would block the loop for 5 to 40 ms, and hashing releases the interpreter's lock.
        return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())


async def _in_pieces(data: bytes) -> AsyncGenerator[bytes]:
    """Yield a body piece by piece.

    httpx holds a body that it gets whole until Python collects cycles (measured: 110 MiB at 8 MiB parts), and its
    socket copies all that it cannot send at once.
    """
    view = memoryview(data)
    for start in range(0, len(data), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])


def _good(answer: httpx.Response) -> httpx.Response:
    if answer.is_success and not _code(answer):
        return answer
    text = f"{answer.request.method} answered {answer.status_code} {_code(answer)}"
    raise StoreBusy(text) if answer.is_success else fault_of_status(answer.status_code, text)


def _on_condition(answer: httpx.Response, condition: Mapping[str, str]) -> httpx.Response:
    is_missing = answer.status_code == 404 and "if-match" in condition
    if answer.status_code == 412 or is_missing or _code(answer) == "PreconditionFailed":
        raise ObjectStands(f"the condition of the upload does not hold: {answer.status_code} {_code(answer)}")
    return _good(answer)


def _code(answer: httpx.Response) -> str:
    """Return the code of an error, also of one with status 200; empty if there is none."""
    body = answer.content.lstrip()
    if not body.startswith(b"<") or b"<Error" not in body[:200]:
        return ""
    try:
        return _element(answer, "Code")
    except StoreFault:
        return "unreadable"


def _element(answer: httpx.Response, name: str) -> str:
    try:
        root = ET.fromstring(answer.content)  # noqa: S314  from the server that the operator chose
    except ET.ParseError as error:
        raise StoreFault("the store's answer is no XML") from error
    for element in root.iter():
        if element.tag.rpartition("}")[2] == name and element.text:
            return element.text
    raise StoreFault(f"the store's answer has no {name}")
