"""What the parts of an upload to a bucket tell each other: the target, and by which conditions a server can be trusted."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from oncegate.stores.protocol import LengthNeeded, NotOnce, StoreFault, StoreRefused, UploadTooLarge

Way = Literal["completion", "copy", "put"]
"""How a large object is put in place: its multipart upload is completed on a condition, or it is copied on one; or it is
one PUT on a condition, sent while it comes."""

PUT_BYTES_MAX = 5 << 30
"""What S3 takes in one PUT; its length must be known at the beginning."""

CHUNK_BYTES = 8 << 20
"""Up to here an upload is held in memory and is one PUT; beyond, this is the size of a part (10,000 are 80 GiB)."""

MARK = "oncegateupload"
"""Name of the metadata by which an upload knows its own object again when an answer was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What an upload is to become.

    Attributes:
        key: object key.
        content_type: media type.
        size_bytes: what was announced; None for nothing.
        replaces: None: only where nothing stands; an ETag, quoted: only in place of that.
        upload_id: drawn for this upload.
    """

    key: str
    content_type: str
    size_bytes: int | None
    replaces: str | None
    upload_id: str = field(default_factory=lambda: secrets.token_hex(16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """Which conditions this server really keeps, as the probe found.

    Attributes:
        creates: a PUT only where nothing stands.
        replaces: a PUT only in place of one version.
        large_creates: how a large object is put only where nothing stands; empty: it cannot be.
        large_replaces: how a large object is put only in place of one version.
        has_bare_etags: ``If-Match`` must have the ETag without its quotes, as Ceph 16 compares it.
        may_write: whether the credentials may; else nothing was found out of the server.
        why: what was seen, where something is missing.
    """

    creates: bool = False
    replaces: bool = False
    large_creates: Sequence[Way] = ()
    large_replaces: Sequence[Way] = ()
    has_bare_etags: bool = False
    may_write: bool = True
    why: str = ""

    def problem(self, target: Target, size_bytes: int) -> StoreFault | None:
        """Say why an upload cannot be made once.

        Args:
            target: what it is to become.
            size_bytes: how large it is at least.

        Returns:
            What to raise; None where it can be made.
        """
        if not self.may_write:
            return StoreRefused(self.why)
        ways = self._large_ways(target)
        if size_bytes > CHUNK_BYTES and ways:
            if self.way(target) is not None:
                return None
            if target.size_bytes is None:
                return LengthNeeded(f"an upload over {CHUNK_BYTES >> 20} MiB must announce its length on this store")
            return UploadTooLarge(f"{target.size_bytes} bytes are more than the {PUT_BYTES_MAX} that one PUT takes")
        is_kept = self.creates if target.replaces is None else self.replaces
        if is_kept and size_bytes <= CHUNK_BYTES:
            return None
        kind = "an upload" if target.replaces is None else "an upload that replaces"
        size = f" over {CHUNK_BYTES >> 20} MiB" if is_kept else ""
        return NotOnce(f"the store keeps no condition that would make {kind}{size} once; see doctor")

    def _large_ways(self, target: Target) -> Sequence[Way]:
        return self.large_creates if target.replaces is None else self.large_replaces

    def way(self, target: Target) -> Way | None:
        """How a large object is put in place; None where it cannot be made once."""
        ways = self._large_ways(target)
        fits_put = target.size_bytes is not None and target.size_bytes <= PUT_BYTES_MAX
        return next((way for way in ways if way != "put" or fits_put), None)

    def warnings(self) -> Sequence[str]:
        """What an operator should know."""
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
    """An object that is sent in parts while it comes.

    Until ``place`` is asked for nothing may stand, also where every byte was appended: the checksum is compared after
    the last one, and the process may be killed there.
    """

    @property
    def chunk_bytes(self) -> int:
        """How long each part must be, but the last."""
        ...

    async def append(self, chunk: bytes) -> None:
        """Send a part; returns when another can be taken. Raises ``StoreFault``."""
        ...

    async def place(self) -> str:
        """Put the object in place on its condition, and return its ETag. Raises ``ObjectStands``, ``StoreFault``."""
        ...

    async def discard(self) -> None:
        """Remove what was sent; never raises for an expected fault, for what is left is swept."""
        ...
