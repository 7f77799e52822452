"""A store whose objects are found in its list, for who may list a bucket and read nothing in it.

A look at one object is S3's HeadObject, which needs the right to read the object. The control API asks whether there
is one, how large it is and its ETag, and a list says all of that. Nothing here reads or writes an object.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from oncegate.stores.protocol import ObjectInfo, OpenObject, Store, StoreRefused, Upload


class ListedStore:
    """A store, listed.

    Args:
        store: the store that does the work.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self, key: str) -> OpenObject | None:
        """Find an object in the list; see ``Store.look``."""
        found = await self._store.list_objects(key, "", 1)  # the key itself is the first with that beginning
        return _Listed(found[0]) if found and found[0].key == key else None

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Upload:
        """Refuse: nothing is written here."""
        raise StoreRefused("objects are only listed here")

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        """List objects; see ``Store.list_objects``."""
        return await self._store.list_objects(prefix, after, limit)

    async def may_remove(self) -> bool:
        """Say no: nothing is written here."""
        return False

    async def remove(self, key: str, etag: str) -> bool:
        """Refuse: nothing is written here."""
        raise StoreRefused("objects are only listed here")

    async def sweep(self, older_than_s: int) -> int:
        """Remove nothing."""
        return 0

    async def probe(self) -> None:
        """Ask for the beginning of the list."""
        await self.list_objects("", "", 1)

    async def aclose(self) -> None:
        """Close the store."""
        await self._store.aclose()


class _Listed:
    """An object that was found in the list."""

    def __init__(self, info: ObjectInfo) -> None:
        self.info: ObjectInfo = info

    async def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:
        """Refuse: nothing is read here."""
        raise StoreRefused("objects are only listed here")
        yield b""

    async def aclose(self) -> None:
        """Nothing is open."""
