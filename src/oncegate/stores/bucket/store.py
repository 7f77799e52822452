"""The stores ``s3:``, ``gs:`` and ``az:``: objects in a bucket or container, through obstore.

A look is one HEAD. A read names the ETag that was seen and the range that is wanted, and refuses an answer with another
object, length or range. It reads at most one piece ahead of the viewer. Keys are byte-exact. A key with a segment
``.oncegate`` is reserved: neither listed nor served nor written for a viewer. Uploads are in ``upload``, the parts of
them that only S3 needs in ``s3_multipart`` and ``s3_streamed``.

obstore saves us three protocols, their credentials and retries. Its traps, measured: ``min_chunk_size`` must be given
(10 MiB otherwise); its time-out covers a whole transfer; a put must never be cancelled; prefixes are whole segments.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import obstore
from obstore import exceptions

from oncegate.links.urls import object_key_problem
from oncegate.stores.bucket import fitness
from oncegate.stores.bucket.abilities import Abilities, ObjectTarget
from oncegate.stores.bucket.faults import DRIVER_ERRORS, fault_of
from oncegate.stores.bucket.listing import list_bucket
from oncegate.stores.bucket.objects import check_kept, etag_of, info_of, is_reserved, kept_of
from oncegate.stores.bucket.s3_calls import S3Calls
from oncegate.stores.bucket.s3_multipart import sweep_uploads
from oncegate.stores.bucket.upload import ObstoreUpload, way_or_warn
from oncegate.stores.protocol import (
    KeyRefused,
    NotOnce,
    ObjectChanged,
    ObjectInfo,
    ObjectStands,
    OpenObject,
    Presigned,
    StoreBusy,
    StoreFault,
    StoreUnfit,
    Upload,
)

if TYPE_CHECKING:  # the driver has these names for type checkers alone
    from obstore import GetOptions, ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

LOOK_MAX_S = 4.5
RETRIES: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=5)}
SHORT_CALLS: ClientConfig = {"connect_timeout": "2s", "timeout": "30s"}
"""For looks, lists and puts of one chunk; 8 MiB in 30 s need 2.3 Mbit/s."""
TRANSFERS: ClientConfig = {"connect_timeout": "2s", "timeout": "7days", "read_timeout": "30s"}
"""A viewer may take hours for a transfer, but each read from the store must be quick."""

_log = logging.getLogger("oncegate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket or container, opened for each of its uses.

    Attributes:
        short: for calls that end soon.
        long: for reading objects.
        scheme: ``s3``, ``gs``, ``az``, or ``memory`` in tests.
        calls: the S3 requests that obstore lacks; None for other schemes.
    """

    short: ObjectStore
    long: ObjectStore
    scheme: str
    calls: S3Calls | None = None


class ObstoreStore:
    """Objects in a bucket, opened by ``bucket`` for each of its uses."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._abilities: Abilities | None = None
        self._keeps_removals: bool | None = None
        self._finding: asyncio.Lock = asyncio.Lock()

    async def look(self, key: str) -> OpenObject | None:
        """Ask for an object's size, ETag, date and type; see ``Store.look``."""
        if is_reserved(key) or object_key_problem(key):
            return None
        try:
            async with asyncio.timeout(LOOK_MAX_S):
                found = await obstore.get_async(self._bucket.short, key, options={"head": True})
        except FileNotFoundError:
            return None
        except DRIVER_ERRORS as error:
            raise fault_of(error, doing="look") from error
        attributes = cast("Mapping[str, str]", found.attributes)
        info = info_of(key, found.meta, attributes.get("Content-Type"), kept_of(attributes))
        return OpenRemote(self._bucket, found.meta, info)

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Upload:
        """Begin an upload; see ``Store.start_upload``.

        Raises:
            KeyRefused: the key is reserved.
            NotKept: the store takes no metadata of such a name.
            NotOnce, UploadTooLarge: this server keeps no condition that would make the upload happen once.
            StoreRefused: the credentials may not write.
        """
        if is_reserved(key) or object_key_problem(key):
            raise KeyRefused("a key of this form is reserved")
        check_kept(kept, self._bucket.scheme)
        abilities = await self._find_abilities()
        target = ObjectTarget(key=key, content_type=content_type, size_bytes=size_bytes, replaces=replaces, kept=kept)
        way_or_warn(abilities, target, size_bytes or 0)
        return ObstoreUpload(self._bucket.short, self._bucket.scheme, self._bucket.calls, abilities, target)

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        """List objects in the order of their keys as UTF-8 bytes, page by page; see ``Store.list_objects``.

        Raises:
            StoreFault: also if the bucket holds a key that obstore cannot name (``a//b``, ``..``).
        """
        return await list_bucket(self._bucket.short, prefix, after, limit, scheme=self._bucket.scheme)

    async def may_remove(self) -> bool:
        """Return whether the server keeps a condition on removals, as found by trying; see ``Store.may_remove``."""
        async with self._finding:
            if self._keeps_removals is None:
                try:
                    self._keeps_removals = await fitness.keeps_removals(self._bucket.short, self._bucket.calls)
                except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
                    self._keeps_removals = False
                except DRIVER_ERRORS as error:
                    raise fault_of(error, doing="probe of conditional removals") from error
            return self._keeps_removals

    async def remove(self, key: str, etag: str) -> bool:
        """Remove a version of an object by a conditional DELETE; see ``Store.remove``.

        In a bucket that keeps versions the object is hidden by a delete marker, and its versions stay.
        """
        if is_reserved(key) or object_key_problem(key):
            return False
        if self._bucket.calls is None or not await self.may_remove():
            raise NotOnce("the store keeps no condition on removals; see doctor")
        try:
            await self._bucket.calls.delete_version(key, etag)
        except ObjectStands:
            return False
        return True

    async def sweep(self, older_than_s: int) -> int:
        """Remove leftovers of killed uploads, temporary objects and multipart uploads; see ``Store.sweep``."""
        try:
            return await sweep_uploads(self._bucket.short, self._bucket.calls, older_than_s)
        except DRIVER_ERRORS as error:
            raise fault_of(error, doing="sweep") from error

    async def probe(self) -> None:
        """Check that the bucket can be read, and find out which conditions on uploads its server keeps.

        Without conditional writes a bucket can still serve downloads: that is logged, and uploads are refused.

        Raises:
            StoreUnfit: it does not exist, is out of reach, may not be read, or failed while its conditions were tried.
        """
        await fitness.check_reading(self._bucket.short)
        try:
            abilities = await self._find_abilities()
        except StoreFault as fault:
            raise StoreUnfit(
                f"the store can be read, and failed when it was tried whether it keeps conditions: {fault}",
                where="store.url",
            ) from fault
        for warning in abilities.warnings():
            _log.warning("%s", warning)

    async def aclose(self) -> None:
        """Close the connections of our own requests to S3; obstore has nothing to close."""
        if self._bucket.calls is not None:
            await self._bucket.calls.aclose()

    async def _find_abilities(self) -> Abilities:
        async with self._finding:
            if self._abilities is None:
                try:
                    self._abilities = await fitness.find_abilities(
                        self._bucket.short, self._bucket.scheme, self._bucket.calls
                    )
                except DRIVER_ERRORS as error:
                    raise fault_of(error, doing="probe of conditional writes") from error
            return self._abilities


class OpenRemote:
    """An object that was looked at; its reads name the ETag that was seen."""

    __slots__ = ("_bucket", "_info", "_seen")

    def __init__(self, bucket: Bucket, seen: ObjectMeta, info: ObjectInfo) -> None:
        self._bucket = bucket
        self._seen = seen
        self._info = info

    @property
    def info(self) -> ObjectInfo:
        """Return what the look saw."""
        return self._info

    async def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes, None]:
        """Yield a range in pieces; see ``OpenObject.read``."""
        if start >= end:
            return
        options: GetOptions = {"range": (start, end)}
        if raw := self._strong_etag():
            options["if_match"] = raw
        at, held = start, bytearray()
        try:
            answer = await obstore.get_async(self._bucket.long, self._info.key, options=options)
            self._check(answer.meta, tuple(answer.range), (start, end))
            async for piece in answer.stream(min_chunk_size=chunk_bytes):
                held += piece
                while len(held) >= chunk_bytes and at + chunk_bytes < end:
                    at += chunk_bytes
                    yield bytes(held[:chunk_bytes])
                    del held[:chunk_bytes]
                if at + len(held) > end:
                    raise ObjectChanged(f"the store sent more than the {end - start} bytes that were asked for")
        except DRIVER_ERRORS as error:
            raise fault_of(error, doing="read") from error
        # The last piece is held back until the answer has ended well: with it the viewer has a whole object.
        if at + len(held) != end:
            raise StoreBusy(f"the store ended its answer {end - at - len(held)} bytes early")
        yield bytes(held)

    async def presigned(self, lives_s: int) -> Presigned | None:
        """Sign a URL of it; see ``OpenPresigned``."""
        etag, calls = self._strong_etag(), self._bucket.calls
        if not etag or calls is None:
            return None
        return Presigned(await calls.presigned(self._info.key, lives_s), etag)

    def _strong_etag(self) -> str:
        """The ETag as the store has it; empty where there is none, or a weak one, which never matches."""
        raw = self._seen["e_tag"] or ""
        return "" if raw.startswith("W/") else raw

    async def aclose(self) -> None:
        """Do nothing: a look holds nothing open."""

    def _check(self, meta: ObjectMeta, got: tuple[int, ...], asked: tuple[int, int]) -> None:
        if meta["size"] != self._info.size_bytes or etag_of(meta) != self._info.etag:
            raise ObjectChanged("the store answered with another object than was looked at")
        if got != asked:
            raise StoreFault(f"bytes {asked} were asked for, the store answered with {got}")
