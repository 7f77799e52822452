"""A large upload as one conditional PUT, sent while it arrives: for servers that keep conditions on PUTs alone.

Ceph's radosgw ignores conditions on completions and copies, but keeps those on a PUT of any size (measured: 16.2). The
length must be announced, since S3 takes no body without one, and is at most 5 GiB. A request that breaks off stores
nothing and leaves nothing to sweep. The body is not hashed for the signature, since it would have to be held for that.

S3 stores the object as soon as it has the last byte, even if we then find a wrong checksum or a lost client. So the
last piece is held back until ``place``: before that the server never has a whole body, and a request that breaks off,
or whose process is killed, leaves nothing.

Source: S3 API Reference, PutObject; User Guide, "Uploading objects": 5 GiB in one PUT.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from oncegate.stores.bucket.abilities import ObjectTarget
from oncegate.stores.bucket.handover import Handover
from oncegate.stores.bucket.objects import headers_of
from oncegate.stores.bucket.s3_calls import S3Calls
from oncegate.stores.bucket.s3_multipart import condition_of
from oncegate.stores.protocol import StoreFault

PIECE_BYTES = 1 << 20


class S3StreamedPut:
    """One large upload; see ``LargeUpload``.

    Args:
        calls: makes the request.
        target: what the upload is to become; its size is announced.
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
        """Return the length of a piece that is passed to the request."""
        return PIECE_BYTES

    async def append(self, chunk: bytes) -> None:
        """Hold this piece back, and send the one before it; waits while the request takes none.

        Raises:
            StoreFault: also if this is more than was announced, since the request must not get a whole body here.
        """
        size_bytes = self._target.size_bytes or 0
        ready, self._last = self._last, chunk
        if self._handed_bytes + len(ready) + len(chunk) > size_bytes:
            raise StoreFault(f"more came than the {size_bytes} bytes that were announced")
        if ready:
            self._handed_bytes += len(ready)
            await self._put.hand(ready)

    async def place(self) -> str:
        """Send the last piece and end the request: its answer says whether the object is stored."""
        last, self._last = self._last, b""
        await self._put.hand(last)
        etag = await self._put.finish()
        return etag if etag.startswith('"') else f'"{etag}"'

    async def discard(self) -> None:
        """Break off the request, unless it has ended; without its last piece it stores nothing."""
        self._last = b""
        await self._put.give_up()

    async def _request(self, body: AsyncGenerator[bytes]) -> str:
        return await self._calls.put(
            self._target.key,
            body,
            size_bytes=self._target.size_bytes or 0,
            headers=headers_of(self._target),
            condition=self._condition,
        )
