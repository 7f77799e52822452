"""What a store is: a place that holds objects, looked at before a claim and read after it.

A store knows nothing of links or uses. It answers in values, raises ``StoreFault`` for everything that is not the
viewer's doing, and never lets a path, a URL or a driver's text reach a viewer: those are for the log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from oncegate.unfit import Unfit


class ObjectInfo(NamedTuple):
    """What is known of an object before a byte of it is read.

    Attributes:
        key: object key, decoded text.
        size_bytes: length of the object.
        etag: strong entity tag with its quotes, as it goes into a header.
        modified_s: seconds since 1970 UTC.
        content_type: media type as the store keeps it, or guessed from the name.
    """

    key: str
    size_bytes: int
    etag: str
    modified_s: int
    content_type: str


class StoreFault(Exception):
    """The store did not do what it should; nothing is known of the object. The text is for the log only."""


class StoreBusy(StoreFault):
    """The store is out of reach or overloaded: 503, and worth another try."""


class StoreRefused(StoreFault):
    """The store says no to us (credentials, permissions): 502; the log gets a hint."""


class StoreFull(StoreFault):
    """No room for the upload: 507."""


class NotOnce(StoreFault):
    """The store keeps no condition by which this upload would happen once: 501, since another try ends no better."""


class LengthNeeded(StoreFault):
    """The upload has become so large that this store takes it only where its length is announced: 411."""


class UploadTooLarge(StoreFault):
    """The announced length is more than this store can take once: 413."""


class ObjectChanged(StoreFault):
    """The object is no longer the one that was looked at."""


class KeyRefused(StoreFault):
    """This store cannot hold an object of this name: 404 for a download, 400 for an upload."""


class ObjectStands(Exception):
    """An object stands where the upload should go (or another version than the one to be replaced): 412."""


class StoreUnfit(Unfit):
    """The store cannot be used as configured; the message says why and what to change."""


class OpenObject(Protocol):
    """An object that was looked at and can be read; what is read is exactly what ``info`` describes."""

    @property
    def info(self) -> ObjectInfo:
        """What was seen at the look."""
        ...

    def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:
        """Yield bytes ``start`` (inclusive) to ``end`` (exclusive) in pieces of ``chunk_bytes`` (the last is shorter).

        Raises:
            ObjectChanged: it was replaced or truncated since the look.
            StoreFault: the store failed midway.
        """
        ...

    async def aclose(self) -> None:
        """Let go of it; safe to call twice."""
        ...


class Upload(Protocol):
    """One upload, staged where nobody lists or serves it until ``commit`` puts it in place at once."""

    async def write(self, data: bytes) -> None:
        """Add bytes at the end; returns when the store can take more.

        Raises:
            StoreFull: no room.
            LengthNeeded: it grows beyond what can be taken without an announced length.
            NotOnce: it grows beyond what this store can take once.
            StoreFault: the store failed.
        """
        ...

    async def commit(self) -> ObjectInfo:
        """Make the object durable and put it in place by one atomic, conditional step.

        Raises:
            ObjectStands: the condition of ``start_upload`` does not hold; nothing was changed.
            StoreFault: the store failed; whether the object stands is unknown.
        """
        ...

    async def abort(self) -> None:
        """Forget what was written; safe to call after anything."""
        ...


class Store(Protocol):
    """Where the objects are."""

    async def look(self, key: str) -> OpenObject | None:
        """Open an object without reading it; None where none stands.

        Args:
            key: as ``links.urls`` accepts it: no empty, ``.`` or ``..`` segment, no control character, <= 1,024 bytes.

        Raises:
            StoreFault: see the subclasses.
        """
        ...

    async def start_upload(
        self, key: str, *, content_type: str, size_bytes: int | None, replaces: str | None
    ) -> Upload:
        """Begin an upload.

        Args:
            key: object key.
            content_type: kept where the store can keep it.
            size_bytes: how much will come, None where the viewer did not say.
            replaces: None: only where no object stands. An ETag: only in place of that version.

        Raises:
            KeyRefused: the store cannot hold an object of this name.
            NotOnce, UploadTooLarge: the store can never take this upload.
            StoreFault: see the other subclasses.
        """
        ...

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        """List up to ``limit`` objects whose key begins with ``prefix`` and sorts (as UTF-8 bytes) after ``after``."""
        ...

    async def sweep(self, older_than_s: int) -> int:
        """Remove what killed uploads left, where its last write is before ``older_than_s``; return how many."""
        ...

    async def probe(self) -> None:
        """Check that the store can be read and written as the contract asks.

        Raises:
            StoreUnfit: it cannot; the message is for the operator.
        """
        ...

    async def aclose(self) -> None:
        """Let go of everything."""
        ...
