"""Objects of a bucket: their ETag as in a header, their description, and which keys are reserved for oncegate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import obstore

from oncegate.links.media_types import media_type_of
from oncegate.stores.bucket.abilities import MARK, ObjectTarget
from oncegate.stores.protocol import NotKept, ObjectInfo

if TYPE_CHECKING:  # the driver has these names for type checkers alone
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

RESERVED_NAME = ".oncegate"
META = "x-amz-meta-"
EXPIRES = "oncegateexpires"
"""Name of the metadata that holds an object's Expires."""
_DRIVERS_NAMES = {
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
}
_DRIVERS_OWN = frozenset(
    name.replace("-", "") for name in (*_DRIVERS_NAMES, "content-type", "storage-class", "expires")
)
_HEADERS = {name: name.lower() for name in (*_DRIVERS_NAMES.values(), "Content-Type", "Storage-Class")}
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


def attributes_of(target: ObjectTarget) -> dict[str, str]:
    """What is stored with an object, under the driver's names."""
    found = {"Content-Type": target.content_type, MARK: target.upload_id}
    for name, value in target.kept:
        if name == "expires":  # the driver, Google and Azure have no such header
            found[EXPIRES] = value
        elif name != "content-type":
            found[_DRIVERS_NAMES.get(name) or name.removeprefix(META)] = value
    return found


def headers_of(target: ObjectTarget) -> dict[str, str]:
    """The same as headers of a request to S3."""
    return {
        name.lower() if name in _HEADERS else f"{META}{name}": value for name, value in attributes_of(target).items()
    }


def check_kept(kept: tuple[tuple[str, str], ...], scheme: str) -> None:
    """Refuse headers that a bucket cannot keep.

    Raises:
        NotKept: Azure takes names of programming languages only; some names are our own, and the driver takes metadata
            that is called like a header for the header.
    """
    for name, _ in kept:
        own = name.removeprefix(META) if name.startswith(META) else "a"
        is_taken = own in (MARK, EXPIRES) or own.replace("-", "") in _DRIVERS_OWN
        if is_taken or (scheme == "az" and not (own.isascii() and own.isidentifier())):
            raise NotKept(name, "the bucket takes no metadata of this name")


def kept_of(attributes: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers that an object is to be shown with, from the driver's attributes; its type is not among them."""
    kept = {_HEADERS.get(name) or f"{META}{name.lower()}": value for name, value in attributes.items()}
    expires = kept.pop(f"{META}{EXPIRES}", None)
    for name in ("content-type", "storage-class", f"{META}{MARK}"):
        kept.pop(name, None)
    return (*kept.items(), *((("expires", expires),) if expires is not None else ()))


def info_of(key: str, meta: ObjectMeta, content_type: str | None, kept: tuple[tuple[str, str], ...] = ()) -> ObjectInfo:
    """Describe an object; its type is guessed from the name if the store names none."""
    return ObjectInfo(
        key=key,
        size_bytes=meta["size"],
        etag=etag_of(meta),
        modified_s=int(meta["last_modified"].timestamp()),
        content_type=content_type or media_type_of(key),
        kept=kept,
    )


def pages_of(
    store: ObjectStore, folder: str, *, after: str = "", page_objects: int = 1000
) -> AsyncIterator[Sequence[ObjectMeta]]:
    """List a folder page by page, from after ``after`` (exclusive); an empty folder is the whole bucket."""
    # The cast: obstore's own types name those of an optional package.
    listing = cast("Callable[..., AsyncIterator[Sequence[ObjectMeta]]]", obstore.list)  # pyright: ignore[reportUnknownMemberType]  the same
    return listing(store, folder or None, offset=after or None, chunk_size=page_objects)
