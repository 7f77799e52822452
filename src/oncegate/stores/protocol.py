"""What a store is: a place that holds objects, looked at before a claim and read after it.

A store knows nothing of links or uses. It returns values and raises ``StoreFault`` for each fault that is not the
viewer's. Its texts may name paths, URLs and a driver's words: the gateway writes them to the log and shows viewers
none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from oncegate.unfit import Unfit


class ObjectInfo(NamedTuple):
    """What is known of an object before a byte of it is read.

    Attributes:
        key: object key, decoded text.
        size_bytes: length of the object.
        etag: strong entity tag with its quotes, as it goes into a header.
        modified_s: seconds since 1970 UTC.
        content_type: media type as the store keeps it, or guessed from the name.
        kept: further headers that were stored with the object, or that others gave it: names in lower case.
    """

    key: str
    size_bytes: int
    etag: str
    modified_s: int
    content_type: str
    kept: tuple[tuple[str, str], ...] = ()


class StoreFault(Exception):
    """The store did not do what it should; nothing is known of the object. The text is for the log only."""


class StoreBusy(StoreFault):
    """The store is out of reach or overloaded: 503, and worth another try."""


class StoreRefused(StoreFault):
    """The store refuses our requests (credentials, permissions): 502; the log names what to check."""


class StoreFull(StoreFault):
    """The store has no room for the upload: 507."""


class NotOnce(StoreFault):
    """The store keeps no condition that would make this upload happen once: 501, since no further try can succeed.

    Of a removal: none that would spare another version of the object.
    """


class NotKept(StoreFault):
    """The store has no place for a header that was to be kept with the object: 501, by its name.

    Args:
        header: its name.
        why: for the log.
    """

    def __init__(self, header: str, why: str) -> None:
        self.header = header
        super().__init__(f"{header} cannot be kept: {why}")


class LengthNeeded(StoreFault):
    """The upload has become longer than this store takes without an announced length: 411."""


class UploadTooLarge(StoreFault):
    """The announced length is above what this store can make happen once: 413."""


class ObjectChanged(StoreFault):
    """The object is no longer the one that was looked at."""


class KeyRefused(StoreFault):
    """This store cannot hold an object with this key: 404 for a download, 400 for an upload."""


class ObjectStands(Exception):
    """There is an object at the key already, or not the version that was to be replaced: 412."""


class StoreUnfit(Unfit):
    """The store cannot be used as configured; the message says why and what to change."""


class OpenObject(Protocol):
    """An object that was looked at and can be read; what is read is exactly what ``info`` describes."""

    @property
    def info(self) -> ObjectInfo:
        """Return what the look saw."""
        ...

    def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:
        """Yield bytes ``start`` (inclusive) to ``end`` (exclusive) in pieces of ``chunk_bytes`` (the last is shorter).

        Raises:
            ObjectChanged: the object was replaced or truncated since the look.
            StoreFault: the store failed midway.
        """
        ...

    async def aclose(self) -> None:
        """Close the object; a second call does nothing."""
        ...


class ReadsNow:
    """Base of open objects whose bytes may be at hand. No Protocol: asking for one costs as much as a small read."""

    __slots__ = ()

    def read_now(self, start: int, end: int) -> bytes | None:
        """Return bytes ``start`` (inclusive) to ``end`` (exclusive), to the object's end at most, without waiting.

        Returns:
            None where they are to be read by ``read``.

        Raises:
            ObjectChanged: the object was replaced or truncated since the look.
            StoreFault: the store failed.
        """
        raise NotImplementedError


@runtime_checkable
class OpenDescriptor(Protocol):
    """An open object that is a file of this machine."""

    async def descriptor(self, start: int, end: int) -> int | None:
        """Return a descriptor from which bytes ``start`` (inclusive) to ``end`` (exclusive) can be sent at once.

        It stays the object's own. Unlike ``read`` it does not say whether the file was written to since the look: the
        last bytes are to be read, so that nobody gets all of a mixture.

        Returns:
            None where the bytes are to be read.

        Raises:
            StoreFault: the store failed.
        """
        ...


class Presigned(NamedTuple):
    """How another program can fetch an object.

    Attributes:
        url: of a GET; whoever has it can read the object while it lives.
        etag: as the store has it, with quotes: what ``If-Match`` is to name.
    """

    url: str
    etag: str


@runtime_checkable
class OpenPresigned(Protocol):
    """An open object that another program can fetch from its store."""

    async def presigned(self, lives_s: int) -> Presigned | None:
        """Sign a URL that lives for so many seconds; None where the store has none, or no ETag to pin the object by.

        Raises:
            StoreFault: there are no credentials.
        """
        ...


class Upload(Protocol):
    """One upload: staged where it is neither listed nor served, until ``commit`` puts it in place in one step."""

    async def write(self, data: bytes) -> None:
        """Append bytes; returns when the store can take more.

        Raises:
            StoreFull: the store has no room.
            LengthNeeded: the upload grows beyond what this store takes without an announced length.
            NotOnce: the upload grows beyond the length up to which this store can make it happen once.
            StoreFault: the store failed.
        """
        ...

    async def commit(self) -> ObjectInfo:
        """Make the object durable and put it in place in one atomic, conditional step.

        Raises:
            ObjectStands: the condition of ``start_upload`` does not hold; nothing was changed.
            StoreFault: the store failed; whether the object was stored is unknown.
        """
        ...

    async def abort(self) -> None:
        """Discard what was written, unless it was committed; may be called at any time, also twice."""
        ...


class Store(Protocol):
    """Where the objects are."""

    async def look(self, key: str) -> OpenObject | None:
        """Open an object without reading it; None if there is no object at this key.

        Args:
            key: a key that ``links.urls`` refuses has no object (an empty, ``.`` or ``..`` segment, a control
                character, over 1,024 bytes).

        Raises:
            StoreFault: or one of its subclasses.
        """
        ...

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Upload:
        """Begin an upload.

        Args:
            key: object key.
            content_type: stored with the object where the store can.
            size_bytes: announced length; None if the viewer announced none.
            replaces: None: the upload succeeds only if there is no object at the key. An ETag: only if the object
                there has it.
            kept: headers to store with the object and to show in ``ObjectInfo.kept``: names in lower case, values of
                printable ASCII. ``content-type`` among them: that type must be kept, not only where the store can.

        Raises:
            NotKept: the store has no place for one of them.
            KeyRefused: the store cannot hold an object with this key.
            NotOnce, UploadTooLarge: the store can never take this upload.
            StoreFault: or another of its subclasses.
        """
        ...

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        """List up to ``limit`` objects whose key begins with ``prefix`` and sorts (as UTF-8 bytes) after ``after``."""
        ...

    async def may_remove(self) -> bool:
        """Return whether ``remove`` can be used here: the store may be written to, and keeps the condition.

        Raises:
            StoreFault: the store failed, so it is not known.
        """
        ...

    async def remove(self, key: str, etag: str) -> bool:
        """Remove an object in one step, if it is the version with this ETag. No other version is ever removed.

        Args:
            key: object key.
            etag: as ``ObjectInfo.etag`` said it.

        Returns:
            Whether this call removed it; False: there is no object, or another version of it.

        Raises:
            NotOnce: the store keeps no such condition; nothing was removed.
            StoreFault: or another of its subclasses: whether it was removed is unknown. Twice is as good as once.
        """
        ...

    async def sweep(self, older_than_s: int) -> int:
        """Remove leftovers of killed uploads that were last written before ``older_than_s``; return how many."""
        ...

    async def probe(self) -> None:
        """Check that the store can be read and written as this contract says.

        Raises:
            StoreUnfit: it cannot be; the message is for the operator.
        """
        ...

    async def aclose(self) -> None:
        """Close the store; uploads are to be ended before. A second call does nothing."""
        ...
