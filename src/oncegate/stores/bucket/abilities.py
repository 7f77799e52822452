"""Values that the parts of an upload to a bucket share: its target, and the conditions that the server keeps."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from oncegate.stores.protocol import LengthNeeded, NotOnce, StoreRefused, UploadTooLarge

Way = Literal["held", "completion", "copy", "put"]
"""How an object is put in place, always on a condition: by one PUT of what was held in memory; by completing its
multipart upload; by a copy of a temporary object; or by one PUT that is sent while the bytes arrive."""

PUT_BYTES_MAX = 5 << 30
"""The limit of S3 for one PUT, whose length must be known at its beginning."""

CHUNK_BYTES = 8 << 20
"""An upload up to this length is held in memory and sent as one PUT. A longer one is sent in parts of this size (10,000
are 80 GiB)."""

MARK = "oncegateupload"
"""Name of the metadata by which an upload recognises its own object after a lost answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectTarget:
    """The object that an upload is to become.

    Attributes:
        key: object key.
        content_type: media type.
        size_bytes: announced length; None if none was announced.
        replaces: None: only if there is no object; an ETag, quoted: only if the object has it.
        kept: headers to store with it; see ``Store.start_upload``.
        upload_id: drawn at random for this upload.
    """

    key: str
    content_type: str
    size_bytes: int | None
    replaces: str | None
    kept: tuple[tuple[str, str], ...] = ()
    upload_id: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """Which conditions this server keeps, as the probe found by trying them.

    Attributes:
        creates: keeps the condition on a PUT that there is no object.
        replaces: keeps the condition on a PUT that a certain version is there.
        large_creates: ways of placing a large object only if there is none; empty: there is no way.
        large_replaces: ways of placing a large object only if a certain version is there.
        has_bare_etags: ``If-Match`` must have the ETag without its quotes, as Ceph 16 compares it.
        may_write: whether the credentials may write; if not, nothing is known of the server.
        why: what the probe saw, if something is missing.
    """

    creates: bool = False
    replaces: bool = False
    large_creates: Sequence[Way] = ()
    large_replaces: Sequence[Way] = ()
    has_bare_etags: bool = False
    may_write: bool = True
    why: str = ""

    def way(self, target: ObjectTarget, size_bytes: int) -> Way:
        """Return the way of placing an upload that makes it happen once.

        Args:
            target: what the upload is to become.
            size_bytes: its length, as far as it is known.

        Raises:
            StoreRefused: the credentials may not write.
            LengthNeeded: the upload can be made once only if its length was announced.
            UploadTooLarge: it is too long for one PUT, which is the only way on this server.
            NotOnce: the server keeps no condition that would make it once.
        """
        if not self.may_write:
            raise StoreRefused(self.why)
        is_kept, large_ways = (
            (self.creates, self.large_creates) if target.replaces is None else (self.replaces, self.large_replaces)
        )
        if size_bytes <= CHUNK_BYTES and is_kept:
            return "held"
        if size_bytes <= CHUNK_BYTES or not large_ways:
            kind = "an upload" if target.replaces is None else "an upload that replaces"
            size = f" over {CHUNK_BYTES >> 20} MiB" if is_kept else ""
            raise NotOnce(f"the store keeps no condition that would make {kind}{size} once; see doctor")
        fits_put = target.size_bytes is not None and target.size_bytes <= PUT_BYTES_MAX
        for way in large_ways:
            if way != "put" or fits_put:
                return way
        if target.size_bytes is None:
            raise LengthNeeded(f"an upload over {CHUNK_BYTES >> 20} MiB must announce its length on this store")
        raise UploadTooLarge(f"{target.size_bytes} bytes are more than the {PUT_BYTES_MAX} that one PUT takes")

    def warnings(self) -> Sequence[str]:
        """Return what an operator should know, one sentence each."""
        because = f" ({self.why})" if self.why else ""
        if not self.creates:
            return [f"this store keeps no condition on a PUT{because}: downloads work, uploads are refused"]
        size = f"over {CHUNK_BYTES >> 20} MiB"
        missing = [
            ("put" not in self.large_creates, f"uploads {size} need an announced length, and end at 5 GiB"),
            (self.replaces, "links that may replace an object are refused"),
            (self.large_creates, f"uploads {size} are refused"),
            (self.large_replaces or not self.replaces, f"uploads {size} that replace an object are refused"),
        ]
        return [f"this store keeps not every condition{because}: {words}" for kept, words in missing if not kept]


class LargeUpload(Protocol):
    """A large object that is sent in parts while it arrives.

    Before ``place`` there must be no object, even after the last ``append``: the checksum is compared only then, and
    the process may be killed there.
    """

    @property
    def chunk_bytes(self) -> int:
        """Return the length of each part but the last."""
        ...

    async def append(self, chunk: bytes) -> None:
        """Send a part; returns when the next can be taken. Raises ``StoreFault``."""
        ...

    async def place(self) -> str:
        """Put the object in place on its condition, and return its ETag. Raises ``ObjectStands``, ``StoreFault``."""
        ...

    async def discard(self) -> None:
        """Remove what was sent. Raises nothing for an expected fault: leftovers are swept."""
        ...
