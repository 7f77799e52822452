"""Lists the objects of a bucket in the order of their keys as UTF-8 bytes, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oncegate.links.urls import object_key_problem
from oncegate.stores.bucket.faults import DRIVER_ERRORS, fault_of
from oncegate.stores.bucket.objects import info_of, is_reserved, pages_of
from oncegate.stores.protocol import ObjectInfo, StoreFault

if TYPE_CHECKING:  # the driver has this name for type checkers alone
    from obstore.store import ObjectStore

PAGE_OBJECTS = 1000
_SORTED_SCHEMES = frozenset({"s3", "gs"})
"""Their lists are sorted and can begin anywhere; with others everything is listed, then sorted."""


async def list_bucket(store: ObjectStore, prefix: str, after: str, limit: int, *, scheme: str) -> Sequence[ObjectInfo]:
    """List up to ``limit`` objects whose key begins with ``prefix`` and sorts after ``after``.

    Args:
        store: the bucket.
        prefix: any text; it need not end with a slash.
        after: exclusive.
        limit: the most that is returned.
        scheme: of the store's URL.

    Raises:
        StoreFault: also if the bucket holds a key that obstore cannot name (``a//b``, ``..``).
    """
    listed: list[ObjectInfo] = []
    folder, start = prefix.rpartition("/")[0], _start_of(prefix, after)
    is_sorted = scheme in _SORTED_SCHEMES
    try:
        async for page in pages_of(store, folder, after=start, page_objects=min(limit, PAGE_OBJECTS)):
            for meta in page:
                key = meta["path"]
                # Text sorts by code points, which is the order of its UTF-8 bytes.
                if key.startswith(prefix) and key > after and not is_reserved(key):
                    listed.append(info_of(key, meta, None))
            if is_sorted and page and (len(listed) >= limit or page[-1]["path"][: len(prefix)] > prefix):
                break
            if len(listed) > 2 * limit:  # an unsorted list is read to its end, but never held whole
                listed = sorted(listed, key=_key_of)[:limit]
    except FileNotFoundError:
        return []
    except DRIVER_ERRORS as error:
        raise _list_fault(error) from error
    return sorted(listed, key=_key_of)[:limit]


def _start_of(prefix: str, after: str) -> str:
    """Return a key shortly before the first wanted one; lists begin after it.

    It must not be past a wanted key; unwanted keys after it are filtered out. Without it a prefix late in a folder of
    100,000 objects would cost 100 pages.
    """
    before = prefix[:-1]
    if prefix and prefix[-1].isascii() and prefix[-1].isalnum() and chr(ord(prefix[-1]) - 1).isalnum():
        before += chr(ord(prefix[-1]) - 1) + "~~~~"
    start = max(before, after)
    # obstore reads the offset as a path. If it cannot, we list from the beginning and filter.
    return start if start and not object_key_problem(start) else ""


def _key_of(info: ObjectInfo) -> str:
    return info.key


def _list_fault(error: Exception) -> StoreFault:
    if isinstance(error, ValueError) or "path" in type(error).__name__.lower():
        return StoreFault(f"the bucket holds a key that cannot be listed (an empty or dot segment): {error}")
    return fault_of(error, doing="list")
