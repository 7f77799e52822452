"""A large upload as one conditional PUT that is sent while it comes, for servers that keep conditions on nothing else.

Ceph's radosgw passes over conditions on completions and copies, and keeps those on a PUT of any size (measured: 16.2).
The length must be announced, for S3 takes no body without one; it ends at 5 GiB. What breaks off half way never
appears, and leaves nothing that we should sweep. The body is not hashed for the signature: it would have to be held.

Source: S3 API Reference, PutObject; User Guide, "Uploading objects": 5 GiB in one PUT.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from oncegate.stores.handover import Handover
from oncegate.stores.s3_calls import S3Calls
from oncegate.stores.s3_multipart import condition_of
from oncegate.stores.uploading import Target

PIECE_BYTES = 1 << 20


class S3StreamedPut:
    """One large upload; see ``LargeUpload``.

    Args:
        calls: makes the request.
        target: what it is to become; its size is announced.
        has_bare_etags: whether this server compares ``If-Match`` with the ETag without its quotes.
    """

    def __init__(self, calls: S3Calls, target: Target, *, has_bare_etags: bool) -> None:
        self._calls = calls
        self._target = target
        self._condition = condition_of(target.replaces, has_bare_etags=has_bare_etags)
        self._put = Handover(self._request)

    @property
    def chunk_bytes(self) -> int:
        """How long each piece is that is handed to the request."""
        return PIECE_BYTES

    async def append(self, chunk: bytes) -> None:
        """Send a piece; waits while the request has enough."""
        await self._put.hand(chunk)

    async def place(self) -> str:
        """End the request: the object stands by its answer, or never."""
        etag = await self._put.finish()
        return etag if etag.startswith('"') else f'"{etag}"'

    async def discard(self) -> None:
        """Break the request off, unless it is over."""
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
