"""A large upload to S3: parts are sent while they arrive, and one conditional request puts the object in place.

The multipart upload is begun under the final key, and is no object before it is completed. If the server keeps no
condition on a completion but one on a copy, it is begun under a temporary key, whose object is copied. Before the first
part, and every hour after it, a note is written under ``.oncegate/uploads/``: by old notes ``sweep`` finds what a
killed gateway left, and touches nothing of other programs. (A kill between the beginning and the note leaves an upload
without any part.)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import obstore

from oncegate.stores.bucket.abilities import CHUNK_BYTES, ObjectTarget, Way
from oncegate.stores.bucket.faults import DRIVER_ERRORS, fault_of
from oncegate.stores.bucket.objects import UPLOADS_FOLDER, headers_of, pages_of
from oncegate.stores.bucket.s3_calls import S3Calls
from oncegate.stores.protocol import LengthNeeded, StoreFault, UploadTooLarge

if TYPE_CHECKING:  # the driver has these names for type checkers alone
    from obstore.store import ObjectStore

PARTS_MAX = 10_000
CHUNK_BYTES_MAX = 64 << 20
"""Objects of announced length may have 625 GiB, others 78 GiB: three parts are held in memory at once."""
AT_ONCE = 2
NOTE_EVERY_S = 3600.0
NOTE_SUFFIX = ".json"

COPY_HEADERS = {
    "if-none-match": "cf-copy-destination-if-none-match",
    "if-match": "cf-copy-destination-if-match",
}
"""Cloudflare R2 has its own names for conditions on what a copy replaces; other servers ignore them."""

_log = logging.getLogger("oncegate")


def condition_of(replaces: str | None, *, has_bare_etags: bool = False) -> Mapping[str, str]:
    """Return the condition of an upload as a header."""
    if replaces is None:
        return {"if-none-match": "*"}
    return {"if-match": replaces.strip('"') if has_bare_etags else replaces}


def copy_condition_of(replaces: str | None) -> Mapping[str, str]:
    """Return the condition of an upload as headers of a copy."""
    condition = condition_of(replaces)
    return {**condition, **{COPY_HEADERS[name]: value for name, value in condition.items()}}


class S3Multipart:
    """One large upload; see ``LargeUpload``.

    Args:
        store: for notes and temporary objects.
        calls: the requests that obstore lacks.
        target: what the upload is to become.
        way: how the object is put in place.
    """

    def __init__(self, store: ObjectStore, calls: S3Calls, target: ObjectTarget, way: Way) -> None:
        self._store = store
        self._calls = calls
        self._target = target
        self._way: Way = way
        self._key = target.key if way == "completion" else f"{UPLOADS_FOLDER}/{target.upload_id}"
        self._note_key = f"{UPLOADS_FOLDER}/{target.upload_id}{NOTE_SUFFIX}"
        self._chunk_bytes = _chunk_bytes(target.size_bytes)
        self._upload_id = ""
        self._noted_at = 0.0
        self._sending: list[asyncio.Task[str]] = []
        self._is_placed = False

    @property
    def chunk_bytes(self) -> int:
        """How long each part must be, but the last."""
        return self._chunk_bytes

    async def append(self, chunk: bytes) -> None:
        """Send a part as soon as fewer than two are under way."""
        if len(self._sending) == PARTS_MAX:
            raise LengthNeeded(f"an upload without an announced length ends at {PARTS_MAX} parts; announce it")
        if not self._upload_id:
            self._upload_id = await self._calls.create(self._key, headers_of(self._target))
        if not self._noted_at or time.monotonic() - self._noted_at > NOTE_EVERY_S:
            await self._note()
        while len(under_way := [part for part in self._sending if not part.done()]) >= AT_ONCE:
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        for part in self._sending[-AT_ONCE - 1 :]:
            if part.done():
                part.result()  # raises its fault
        number = len(self._sending) + 1
        self._sending.append(asyncio.ensure_future(self._calls.upload_part(self._key, self._upload_id, number, chunk)))

    async def place(self) -> str:
        """Complete the upload on its condition, or complete it under its temporary key and copy it on the condition."""
        etags = [await part for part in self._sending]
        replaces = self._target.replaces
        if self._way == "completion":
            etag = await self._calls.complete(self._key, self._upload_id, etags, condition_of(replaces))
        else:
            await self._calls.complete(self._key, self._upload_id, etags, {})
            await self._calls.copy(self._key, self._target.key, copy_condition_of(replaces))
            etag = await self._etag_of_copy()
        self._is_placed = True
        return etag if etag.startswith('"') else f'"{etag}"'

    async def discard(self) -> None:
        """Remove parts, temporary object and note."""
        for part in self._sending:
            part.cancel()
        if self._sending:
            await asyncio.gather(*self._sending, return_exceptions=True)
        try:
            if self._upload_id and not self._is_placed:
                await self._calls.abort(self._key, self._upload_id)
            if self._way == "copy" and self._upload_id:
                with contextlib.suppress(FileNotFoundError):
                    await obstore.delete_async(self._store, self._key)
            if self._noted_at:
                await obstore.delete_async(self._store, self._note_key)
        except (StoreFault, *DRIVER_ERRORS) as error:
            _log.warning("what an upload left in the store could not be removed and is left to be swept: %s", error)

    async def _note(self) -> None:
        note = json.dumps({"key": self._key, "upload_id": self._upload_id}).encode()
        try:
            await obstore.put_async(self._store, self._note_key, note, use_multipart=False)
        except DRIVER_ERRORS as error:
            raise fault_of(error, doing="upload") from error
        self._noted_at = time.monotonic()

    async def _etag_of_copy(self) -> str:
        try:
            return (await obstore.head_async(self._store, self._target.key))["e_tag"] or ""
        except DRIVER_ERRORS as error:
            raise fault_of(error, doing="upload") from error


def _chunk_bytes(size_bytes: int | None) -> int:
    """Return the length of a part: 8 MiB, or as many whole MiB as an announced length needs."""
    needed = -(-(size_bytes or 0) // PARTS_MAX)
    chunk_bytes = max(CHUNK_BYTES, -(-needed // (1 << 20)) << 20)
    if chunk_bytes > CHUNK_BYTES_MAX:
        raise UploadTooLarge(f"an upload of {size_bytes} bytes is over {PARTS_MAX} parts of {CHUNK_BYTES_MAX} bytes")
    return chunk_bytes


async def sweep_uploads(store: ObjectStore, calls: S3Calls | None, older_than_s: int) -> int:
    """Remove leftovers of killed uploads that were last written before ``older_than_s``; return how many.

    Raises:
        StoreFault: or an error of the driver. The next sweep continues.
    """
    removed = 0
    async for page in pages_of(store, UPLOADS_FOLDER):
        for meta in page:
            if meta["last_modified"].timestamp() >= older_than_s:
                continue
            if calls is not None and meta["path"].endswith(NOTE_SUFFIX):
                await _abort_noted(store, calls, meta["path"])
            with contextlib.suppress(FileNotFoundError):  # another gateway sweeps too
                await obstore.delete_async(store, meta["path"])
                removed += 1
    return removed


async def _abort_noted(store: ObjectStore, calls: S3Calls, note_key: str) -> None:
    try:
        text = await (await obstore.get_async(store, note_key)).bytes_async()
    except FileNotFoundError:
        return
    try:
        note = cast("object", json.loads(bytes(text)))
    except ValueError:
        return
    if not isinstance(note, dict):
        return
    known = cast("dict[str, object]", note)
    await calls.abort(str(known["key"]), str(known["upload_id"]))
