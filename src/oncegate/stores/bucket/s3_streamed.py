"""A large upload as one conditional PUT that is sent while it comes, for servers that keep conditions on nothing else.

Ceph's radosgw passes over conditions on completions and copies, and keeps those on a PUT of any size (measured: 16.2).
The length must be announced, for S3 takes no body without one; it ends at 5 GiB. What breaks off half way never
appears, and leaves nothing that we should sweep. The body is not hashed for the signature: it would have to be held.

With its last byte such a request is over, whatever is found out afterwards (a wrong checksum, a viewer who has gone). So
the last piece waits here until the object is to be placed: before that the server never holds a whole body, and a
request that is broken off, or whose process is killed, leaves nothing.

Source: S3 API Reference, PutObject; User Guide, "Uploading objects": 5 GiB in one PUT.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from oncegate.stores.bucket.abilities import ObjectTarget
from oncegate.stores.bucket.handover import Handover
from oncegate.stores.bucket.s3_calls import S3Calls
from oncegate.stores.bucket.s3_multipart import condition_of
from oncegate.stores.protocol import StoreFault

PIECE_BYTES = 1 << 20


class S3StreamedPut:
    """One large upload; see ``LargeUpload``.

    Args:
        calls: makes the request.
        target: what it is to become; its size is announced.
        has_bare_etags: whether this server compares ``If-Match`` with the ETag without its quotes.
    """

    def __init__(self, calls: S3Calls, target: ObjectTarget, *, has_bare_etags: bool) -> None:
        self._calls = calls
        self._target = target
        self._condition = condition_of(target.replaces, has_bare_etags=has_bare_etags)
        self._put = Handover(self._request)
        self._handed_bytes = 0
        self._last = b""

    @property
    def chunk_bytes(self) -> int:
        """How long each piece is that is handed to the request."""
        return PIECE_BYTES

    async def append(self, chunk: bytes) -> None:
        """Send the piece before this one, which is held back; waits while the request has enough.

        Raises:
            StoreFault: also where this is more than was announced: what was handed over must never be a whole body.
        """
        size_bytes = self._target.size_bytes or 0
        ready, self._last = self._last, chunk
        if self._handed_bytes + len(ready) + len(chunk) > size_bytes:
            raise StoreFault(f"more came than the {size_bytes} bytes that were announced")
        if ready:
            self._handed_bytes += len(ready)
            await self._put.hand(ready)

    async def place(self) -> str:
        """Send the last piece and end the request: the object stands by its answer, or never."""
        last, self._last = self._last, b""
        await self._put.hand(last)
        etag = await self._put.finish()
        return etag if etag.startswith('"') else f'"{etag}"'

    async def discard(self) -> None:
        """Break the request off, unless it is over; its last piece was never sent."""
        self._last = b""
        await self._put.give_up()

    async def _request(self, body: AsyncGenerator[bytes]) -> str:
        return await self._calls.put(
            self._target.key,
            body,
            size_bytes=self._target.size_bytes or 0,
            content_type=self._target.content_type,
            mark=self._target.upload_id,
            condition=self._condition,
        )
