"""Objects of a bucket: their ETag as in a header, their description, and which keys are reserved for oncegate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, cast

import obstore

from oncegate.stores.media_types import media_type_of
from oncegate.stores.protocol import ObjectInfo

if TYPE_CHECKING:  # the driver has these names for type checkers alone
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

RESERVED_NAME = ".oncegate"
UPLOADS_FOLDER = f"{RESERVED_NAME}/uploads"
"""For temporary objects, and for notes on multipart uploads under way; swept."""


def is_reserved(key: str) -> bool:
    """Tell whether a key is reserved, at any depth: a ledger may use the same bucket under another prefix."""
    return f"/{RESERVED_NAME}/" in f"/{key}/"


def etag_of(meta: ObjectMeta) -> str:
    """Return a strong entity tag, quoted; made of date and size if the store has none."""
    raw = meta["e_tag"] or f"{int(meta['last_modified'].timestamp() * 1e6):x}-{meta['size']:x}"
    raw = raw.removeprefix("W/")
    return raw if raw.startswith('"') else f'"{raw}"'


def info_of(key: str, meta: ObjectMeta, content_type: str | None) -> ObjectInfo:
    """Describe an object; its type is guessed from the name if the store names none."""
    return ObjectInfo(
        key=key,
        size_bytes=meta["size"],
        etag=etag_of(meta),
        modified_s=int(meta["last_modified"].timestamp()),
        content_type=content_type or media_type_of(key),
    )


def pages_of(
    store: ObjectStore, folder: str, *, after: str = "", page_objects: int = 1000
) -> AsyncIterator[Sequence[ObjectMeta]]:
    """List a folder page by page, from after ``after`` (exclusive); an empty folder is the whole bucket."""
    # The cast: obstore's own types name those of an optional package.
    listing = cast("Callable[..., AsyncIterator[Sequence[ObjectMeta]]]", obstore.list)  # pyright: ignore[reportUnknownMemberType]  the same
    return listing(store, folder or None, offset=after or None, chunk_size=page_objects)
