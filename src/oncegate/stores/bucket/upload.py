"""One upload to a bucket: a small one is held and is one conditional PUT, a large one is sent in parts.

There is no object before ``commit``. The server itself keeps the condition (``If-None-Match: *``, ``If-Match``, a
generation), so of many uploads to one key exactly one is stored, whatever the ledger says. If the answer to the last
step is lost, we look at the object there: ours has a mark. A put of obstore is never cancelled, since that would leave
its parts for ever: it runs to its end, or its own iterator makes it raise.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import obstore
from obstore import exceptions

from oncegate.stores.bucket.abilities import CHUNK_BYTES, MARK, Abilities, LargeUpload, ObjectTarget, Way
from oncegate.stores.bucket.faults import DRIVER_ERRORS, fault_of
from oncegate.stores.bucket.handover import Handover
from oncegate.stores.bucket.objects import UPLOADS_FOLDER, attributes_of, etag_of
from oncegate.stores.bucket.s3_calls import S3Calls
from oncegate.stores.bucket.s3_multipart import S3Multipart
from oncegate.stores.bucket.s3_streamed import S3StreamedPut
from oncegate.stores.protocol import ObjectInfo, ObjectStands, StoreFault
from oncegate.stores.unattended import result_of

if TYPE_CHECKING:  # the driver has these names for type checkers alone
    from obstore import PutMode, UpdateVersion
    from obstore.store import ObjectStore

_CONDITION_FAILED = (exceptions.AlreadyExistsError, exceptions.PreconditionError, FileNotFoundError)
_log = logging.getLogger("oncegate")


def way_or_warn(abilities: Abilities, target: ObjectTarget, size_bytes: int) -> Way:
    """Return ``Abilities.way``; where there is none, also tell the operator, who alone can change that."""
    try:
        return abilities.way(target, size_bytes)
    except StoreFault as fault:
        _log.warning("upload refused: %s", fault)
        raise


class ObstoreUpload:
    """One upload; see ``Upload``. After a write that failed or was cancelled it can only be aborted."""

    def __init__(
        self, store: ObjectStore, scheme: str, calls: S3Calls | None, abilities: Abilities, target: ObjectTarget
    ) -> None:
        self._store = store
        self._scheme = scheme
        self._calls = calls
        self._abilities = abilities
        self._target = target
        self._held = bytearray()
        self._sent_bytes = 0
        self._large: LargeUpload | None = None
        self._placing: asyncio.Task[str] | None = None
        self._is_broken = False

    async def write(self, data: bytes) -> None:
        """Add bytes at the end; see ``Upload.write``.

        Raises:
            LengthNeeded, NotOnce: it grows beyond what this server can make happen once.
        """
        self._must_be_whole()
        self._held += data
        if len(self._held) <= CHUNK_BYTES and self._large is None:
            return
        self._is_broken = True
        large = self._large = self._large or self._begin_large()
        while len(self._held) >= large.chunk_bytes:
            chunk = bytes(memoryview(self._held)[: large.chunk_bytes])
            del self._held[: large.chunk_bytes]
            self._sent_bytes += len(chunk)
            await large.append(chunk)
        self._is_broken = False

    async def commit(self) -> ObjectInfo:
        """Put the object in place; see ``Upload.commit``. Cancelling the caller does not stop it."""
        self._must_be_whole()
        size_bytes = self._sent_bytes + len(self._held)
        if self._target.size_bytes not in {None, size_bytes}:
            raise StoreFault(f"{self._target.size_bytes} bytes were announced, {size_bytes} came")
        self._placing = asyncio.ensure_future(self._place())
        etag = await result_of(self._placing)
        return ObjectInfo(
            key=self._target.key,
            size_bytes=size_bytes,
            etag=etag,
            modified_s=int(time.time()),
            content_type=self._target.content_type,
            kept=tuple(pair for pair in self._target.kept if pair[0] != "content-type"),
        )

    async def abort(self) -> None:
        """Discard what was written; see ``Upload.abort``. Waits for a commit that is under way."""
        self._is_broken = True
        self._held = bytearray()
        if self._placing is not None:
            await asyncio.wait({self._placing})
        large, self._large = self._large, None
        if large is not None:
            await large.discard()

    def _must_be_whole(self) -> None:
        if self._is_broken or self._placing is not None:
            raise StoreFault("a write of this upload failed or was cancelled, or it was ended before")

    def _begin_large(self) -> LargeUpload:
        way = way_or_warn(self._abilities, self._target, CHUNK_BYTES + 1)
        if self._calls is None:
            return StagedCopy(self._store, self._target)
        if way == "put":
            return S3StreamedPut(self._calls, self._target, has_bare_etags=self._abilities.has_bare_etags)
        return S3Multipart(self._store, self._calls, self._target, way)

    async def _place(self) -> str:
        held, self._held = bytes(self._held), bytearray()
        try:
            if self._large is None:
                return await self._put(held)
            if held:
                await self._large.append(held)
            return await self._large.place()
        except (ObjectStands, StoreFault):
            if etag := await self._own_etag():
                return etag
            raise

    async def _put(self, data: bytes) -> str:
        try:
            put = await obstore.put_async(
                self._store,
                self._target.key,
                data,
                mode=await self._mode(),
                attributes=attributes_of(self._target),
                use_multipart=False,
            )
        except _CONDITION_FAILED as error:
            raise ObjectStands(str(type(error).__name__)) from error
        except DRIVER_ERRORS as error:
            raise fault_of(error, doing="upload") from error
        raw = put["e_tag"] or ""
        return raw if raw.startswith('"') else f'"{raw}"'

    async def _mode(self) -> PutMode:
        """Return the condition: for Google the generation that has the ETag, elsewhere the ETag itself."""
        if self._target.replaces is None:
            return "create"
        meta = await obstore.head_async(self._store, self._target.key)
        if etag_of(meta) != self._target.replaces:
            raise ObjectStands("another version stands there")
        version: UpdateVersion = {}
        if self._scheme == "gs":
            version["version"] = meta["version"]
        else:
            raw = meta["e_tag"] or ""
            version["e_tag"] = raw.strip('"') if self._abilities.has_bare_etags else raw
        return version

    async def _own_etag(self) -> str:
        """Return the ETag of the object there if it is this upload's; empty otherwise."""
        try:
            found = await obstore.get_async(self._store, self._target.key, options={"head": True})
        except DRIVER_ERRORS:
            return ""
        return etag_of(found.meta) if found.attributes.get(MARK) == self._target.upload_id else ""


class StagedCopy:
    """A large upload without requests of our own: put under a temporary key, then copied if there is no object.

    It can only create: obstore's copies cannot name the version that they replace.
    """

    def __init__(self, store: ObjectStore, target: ObjectTarget) -> None:
        self._store = store
        self._target = target
        self._key = f"{UPLOADS_FOLDER}/{target.upload_id}"
        self._put = Handover(self._request)

    @property
    def chunk_bytes(self) -> int:
        """Return the length of a piece that is passed to the driver."""
        return CHUNK_BYTES

    async def append(self, chunk: bytes) -> None:
        """Pass a piece to the driver; waits while it takes none."""
        await self._put.hand(chunk)

    async def place(self) -> str:
        """Finish the temporary object, and copy it if there is no object at the key."""
        await self._put.finish()
        try:
            await obstore.copy_async(self._store, self._key, self._target.key, overwrite=False)
            meta = await obstore.head_async(self._store, self._target.key)
        except exceptions.AlreadyExistsError as error:
            raise ObjectStands("something stands there") from error
        except DRIVER_ERRORS as error:
            raise fault_of(error, doing="upload") from error
        return etag_of(meta)

    async def discard(self) -> None:
        """Make the put raise, wait until the driver has removed its parts, and remove the temporary object."""
        await self._put.give_up()
        with contextlib.suppress(*DRIVER_ERRORS):
            await obstore.delete_async(self._store, self._key)

    async def _request(self, body: AsyncGenerator[bytes]) -> None:
        try:
            await obstore.put_async(
                self._store,
                self._key,
                body,
                attributes=attributes_of(self._target),
                chunk_size=CHUNK_BYTES,
                max_concurrency=2,
            )
        except DRIVER_ERRORS as error:
            raise fault_of(error, doing="upload") from error
