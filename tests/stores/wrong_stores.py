"""Stores for the tests of the suite: a right one in memory, some that are wrong on purpose, and openings of the real ones.

Child processes import this module too: what it opens by itself is the same in all of them.
"""

# ruff: noqa: D102, D106  what a method does wrong is said at its class
from __future__ import annotations

import asyncio
import os
import pathlib
import time
import unicodedata
from collections.abc import AsyncGenerator, Sequence

from obstore.store import MemoryStore

from oncegate.links.urls import object_key_problem
from oncegate.stores.bucket.store import Bucket, ObstoreStore
from oncegate.stores.directory import staging
from oncegate.stores.directory.store import DirectoryStore
from oncegate.stores.protocol import KeyRefused, ObjectInfo, ObjectStands, StoreFault


def open_memory() -> ObstoreStore:
    """Open a store over obstore's dictionary: what ``gs:`` and ``az:`` do, without a server."""
    memory = MemoryStore()
    return ObstoreStore(Bucket(short=memory, long=memory, scheme="memory"))


def open_named(root: pathlib.Path) -> DirectoryStore:
    """Open a folder whose uploads are staged with names, as where the file system knows no files without one."""
    staging.UNNAMED_FLAG = 0
    return DirectoryStore(root)


class Found:
    """An object that was looked at: its bytes as they were then."""

    def __init__(self, info: ObjectInfo, data: bytes) -> None:
        self.info = info
        self._data = data

    async def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:
        """Yield a range in pieces."""
        for at in range(start, end, chunk_bytes):
            yield self._data[at : min(at + chunk_bytes, end)]

    async def aclose(self) -> None:
        """Hold nothing."""


class Staged:
    """An upload: its bytes are kept until it is committed."""

    def __init__(self, store: RightStore, key: str, size_bytes: int | None, replaces: str | None) -> None:
        self.store = store
        self.key = key
        self.size_bytes = size_bytes
        self.replaces = replaces
        self.data = b""
        self.is_ended = False

    async def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        if self.is_ended:
            raise StoreFault("ended")
        self.data += data

    async def commit(self) -> ObjectInfo:
        """Put the object in place."""
        if self.is_ended or self.size_bytes not in {None, len(self.data)}:
            raise StoreFault("ended, or of another length")
        self.is_ended = True
        self.must_hold()
        return self.store.place(self.key, self.data)

    def must_hold(self) -> None:
        """Raise unless the condition holds."""
        standing = self.store.objects.get(self.key)
        if (standing and standing[0].etag) != self.replaces:
            raise ObjectStands("the condition does not hold")

    async def abort(self) -> None:
        """Forget what came."""
        self.is_ended = True


class RightStore:
    """Keeps objects in a dictionary, and every promise of a store that lives and ends with its object."""

    Staging = Staged

    def __init__(self) -> None:
        self.objects: dict[str, tuple[ObjectInfo, bytes]] = {}
        self._count = 0

    def place(self, key: str, data: bytes) -> ObjectInfo:
        """Put an object in place, whatever stands there."""
        self._count += 1
        info = ObjectInfo(key, len(data), f'"{self._count}"', int(time.time()), "text/plain")
        self.objects[key] = info, data
        return info

    async def look(self, key: str) -> Found | None:
        """Look at an object."""
        return Found(*self.objects[key]) if key in self.objects else None

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Staged:
        """Begin an upload."""
        if object_key_problem(key) or key.partition("/")[0] == ".oncegate":
            raise KeyRefused(key)
        return self.Staging(self, key, size_bytes, replaces)

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        """List a page."""
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        return [self.objects[key][0] for key in keys[:limit]]

    async def may_remove(self) -> bool:
        """Say yes."""
        return True

    async def remove(self, key: str, etag: str) -> bool:
        """Remove a version."""
        if key not in self.objects or self.objects[key][0].etag != etag:
            return False
        del self.objects[key]
        return True

    async def sweep(self, older_than_s: int) -> int:
        """Sweep nothing: nothing is left."""
        return 0

    async def probe(self) -> None:
        """Find nothing wrong."""

    async def aclose(self) -> None:
        """Hold nothing."""


# Wrong in memory. Each says what it does; the test names the check that must find it.


class LooksThenWrites(RightStore):
    """Compares, and writes later: others come in between."""

    class Staging(Staged):
        async def commit(self) -> ObjectInfo:
            self.must_hold()
            await asyncio.sleep(0)
            return self.store.place(self.key, self.data)


class LooksThenReplaces(RightStore):
    """Creates at once, but compares a version and replaces it later."""

    class Staging(Staged):
        async def commit(self) -> ObjectInfo:
            if self.replaces is None:
                return await super().commit()
            self.must_hold()
            await asyncio.sleep(0)
            return self.store.place(self.key, self.data)


class Overwrites(RightStore):
    """Takes no notice of what stands."""

    class Staging(Staged):
        def must_hold(self) -> None:
            if self.replaces is not None:
                super().must_hold()


class ReplacesAnything(RightStore):
    """Replaces whatever version stands."""

    class Staging(Staged):
        def must_hold(self) -> None:
            if self.replaces is None:
                super().must_hold()


class LooksAtTheStart(RightStore):
    """Compares when the upload begins, and no more when it ends."""

    class Staging(Staged):
        def __init__(self, store: RightStore, key: str, size_bytes: int | None, replaces: str | None) -> None:
            super().__init__(store, key, size_bytes, replaces)
            self.must_hold()

        async def commit(self) -> ObjectInfo:
            return self.store.place(self.key, self.data)


class ShowsHalf(RightStore):
    """Writes into the object itself."""

    class Staging(Staged):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            self.store.place(self.key, self.data)


class PlacesAtTheLastByte(RightStore):
    """Takes an upload for ended when all announced bytes came, as one PUT does."""

    class Staging(Staged):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            if len(self.data) == self.size_bytes and self.key not in self.store.objects:
                self.store.place(self.key, self.data)


class PlacesAtTheAbort(RightStore):
    """Closes what was written, as a file is closed, and so keeps it."""

    class Staging(Staged):
        async def abort(self) -> None:
            if not self.is_ended and self.data:
                self.store.place(self.key, self.data)


class CommitsAfterAnAbort(RightStore):
    """Forgets that it was ended."""

    class Staging(Staged):
        async def abort(self) -> None:
            pass


class TakesAnyLength(RightStore):
    """Does not count what came."""

    class Staging(Staged):
        async def commit(self) -> ObjectInfo:
            self.size_bytes = None
            return await super().commit()


class LosesTheLastPiece(RightStore):
    """Stores what came before the last write."""

    class Staging(Staged):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            self.last_bytes = len(data)

        async def commit(self) -> ObjectInfo:
            info = await super().commit()
            self.store.objects[self.key] = info, self.data[: -self.last_bytes] + b"?" * self.last_bytes
            return info


class HalvesACancelledCommit(RightStore):
    """Puts the object in place in two steps, and a cancelled caller stops between them."""

    class Staging(Staged):
        async def commit(self) -> ObjectInfo:
            if self.is_ended or self.size_bytes not in {None, len(self.data)}:
                raise StoreFault("ended, or of another length")
            self.is_ended = True
            self.must_hold()
            self.store.place(self.key, self.data[: len(self.data) // 2])
            await asyncio.sleep(0)
            return self.store.place(self.key, self.data)


class ReadsTheNewest(RightStore):
    """Reads by the key, not what was looked at."""

    async def look(self, key: str) -> Found | None:
        class Newest(Found):
            async def read(found, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:  # noqa: N805  self is the store
                for at in range(start, end, chunk_bytes):
                    yield self.objects[key][1][at : min(at + chunk_bytes, end)]

        return Newest(*self.objects[key]) if key in self.objects else None


class CountsTheEnd(RightStore):
    """Takes the end of a range for inclusive, as HTTP does."""

    async def look(self, key: str) -> Found | None:
        class Inclusive(Found):
            def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:
                return super().read(start, min(end + 1, self.info.size_bytes), chunk_bytes)

        return Inclusive(*self.objects[key]) if key in self.objects else None


class HalfPieces(RightStore):
    """Yields as much as it has, not as much as was asked for."""

    async def look(self, key: str) -> Found | None:
        class Half(Found):
            def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:
                return super().read(start, end, chunk_bytes // 2 + 1)

        return Half(*self.objects[key]) if key in self.objects else None


class ClosesOnce(RightStore):
    """Cannot let go of an object a second time."""

    async def look(self, key: str) -> Found | None:
        class Once(Found):
            is_closed = False

            async def aclose(self) -> None:
                if self.is_closed:
                    raise StoreFault("closed before")
                self.is_closed = True

        return Once(*self.objects[key]) if key in self.objects else None


class FindsNothingEmpty(RightStore):
    """Takes an object of no bytes for none."""

    async def look(self, key: str) -> Found | None:
        found = await super().look(key)
        return found if found is not None and found.info.size_bytes else None


class TagsByKey(RightStore):
    """Has one ETag for all versions."""

    def place(self, key: str, data: bytes) -> ObjectInfo:
        info = super().place(key, data)._replace(etag=f'"{len(key)}"')
        self.objects[key] = info, data
        return info


class WeakTags(RightStore):
    """Has ETags that no condition may use."""

    def place(self, key: str, data: bytes) -> ObjectInfo:
        info = super().place(key, data)
        info = info._replace(etag=f"W/{info.etag}")
        self.objects[key] = info, data
        return info


class IgnoresCase(RightStore):
    """Finds an object by its name in any case."""

    async def look(self, key: str) -> Found | None:
        return next((Found(*self.objects[name]) for name in self.objects if name.lower() == key.lower()), None)


class Normalises(RightStore):
    """Takes spellings of one letter for one key."""

    async def look(self, key: str) -> Found | None:
        same = unicodedata.normalize("NFC", key)
        return next(
            (Found(*self.objects[name]) for name in self.objects if unicodedata.normalize("NFC", name) == same), None
        )


class Trims(RightStore):
    """Lists names without the blanks around them."""

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        return [info._replace(key=info.key.strip()) for info in await super().list_objects(prefix, after, limit)]


class TakesAnyKey(RightStore):
    """Trusts that a caller checked the key."""

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Staged:
        if key.partition("/")[0] == ".oncegate":
            raise KeyRefused(key)
        return self.Staging(self, key, size_bytes, replaces)


class ServesWhatIsOurs(RightStore):
    """Knows no folder of its own."""

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Staged:
        if object_key_problem(key):
            raise KeyRefused(key)
        return self.Staging(self, key, size_bytes, replaces)


class ListsByFolder(RightStore):
    """Sorts segments, not whole keys: ``a/1`` before ``a.txt``."""

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        keys = [key for key in self.objects if key.startswith(prefix) and key.split("/") > after.split("/")]
        return [self.objects[key][0] for key in sorted(keys, key=lambda key: key.split("/"))[:limit]]


class ListsAfterInclusively(RightStore):
    """Begins a page with the last of the page before, where there is more to come."""

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key >= after)
        return [self.objects[key][0] for key in keys[:limit] if keys[-1] != after]


class ListsOtherTags(RightStore):
    """Says in a list another ETag than at a look."""

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        return [info._replace(etag='"list"') for info in await super().list_objects(prefix, after, limit)]


class RemovesAnything(RightStore):
    """Removes whatever version stands."""

    async def remove(self, key: str, etag: str) -> bool:
        return self.objects.pop(key, None) is not None


class LooksThenRemoves(RightStore):
    """Compares a version, and removes later what stands then."""

    async def remove(self, key: str, etag: str) -> bool:
        stands = key in self.objects and self.objects[key][0].etag == etag
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return stands and self.objects.pop(key, None) is not None


class RemovesWhatIsGone(RightStore):
    """Takes a missing object for a fault."""

    async def remove(self, key: str, etag: str) -> bool:
        if key not in self.objects:
            raise StoreFault("nothing stands there")
        return await super().remove(key, etag)


class RemovesWithoutSayingSo(RightStore):
    """Says that it keeps no condition, and removes all the same."""

    async def may_remove(self) -> bool:
        return False


class HidesWhatItRemoves(RightStore):
    """Takes an object out of its lists alone."""

    async def remove(self, key: str, etag: str) -> bool:
        if key not in self.objects or self.objects[key][0].etag != etag:
            return False
        self.hidden = key
        return True

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        found = await super().list_objects(prefix, after, limit)
        return [info for info in found if info.key != getattr(self, "hidden", None)]


class SaysRemovedAgain(RightStore):
    """Answers as deletions of S3 do: what is gone was removed."""

    async def remove(self, key: str, etag: str) -> bool:
        return key not in self.objects or await super().remove(key, etag)


class ReadsRemovedAsHalf(RightStore):
    """Ends a read early once the object is removed, as if it had been shorter."""

    async def look(self, key: str) -> Found | None:
        objects = self.objects

        class Ending(Found):
            async def read(self, start: int, end: int, chunk_bytes: int) -> AsyncGenerator[bytes]:
                end = end if key in objects else (start + end) // 2
                async for piece in super().read(start, end, chunk_bytes):
                    yield piece

        return Ending(*objects[key]) if key in objects else None


class SweepsWhatIsAtWork(RightStore):
    """Ends every upload, however young."""

    def __init__(self) -> None:
        super().__init__()
        self._at_work: list[Staged] = []

    async def start_upload(
        self,
        key: str,
        *,
        content_type: str,
        size_bytes: int | None,
        replaces: str | None,
        kept: tuple[tuple[str, str], ...] = (),
    ) -> Staged:
        upload = await super().start_upload(
            key, content_type=content_type, size_bytes=size_bytes, replaces=replaces, kept=kept
        )
        self._at_work.append(upload)
        return upload

    async def sweep(self, older_than_s: int) -> int:
        return len([await upload.abort() for upload in self._at_work])


class LeavesItsProbe(RightStore):
    """Tries an upload when it is probed, and does not tidy up."""

    async def probe(self) -> None:
        self.place(f"probe-{len(self.objects)}", b"probe")


class NeverAnswers(RightStore):
    """Hangs."""

    async def look(self, key: str) -> Found | None:
        await asyncio.Event().wait()


# Wrong among processes: objects are files in a folder.


class LocksOneProcessOnly(RightStore):
    """Keeps a file for each object under a lock that only its own process knows."""

    class Staging(Staged):
        async def commit(self) -> ObjectInfo:
            assert isinstance(self.store, LocksOneProcessOnly)
            async with self.store.lock:
                self.store.load()
                self.must_hold()
                time.sleep(0.005)  # as long as a disk takes
                return self.store.place(self.key, self.data)

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__()
        self.lock = asyncio.Lock()
        self._folder = folder

    def load(self) -> None:
        """See what other processes stored."""
        for path in self._folder.iterdir():
            key, data, status = bytes.fromhex(path.name).decode(), path.read_bytes(), path.stat()
            etag = f'"{status.st_ino}-{status.st_mtime_ns}"'
            self.objects[key] = ObjectInfo(key, len(data), etag, int(status.st_mtime), "text/plain"), data

    def place(self, key: str, data: bytes) -> ObjectInfo:
        """Write the file, and give it its name."""
        unfinished = self._folder.with_name(f"unfinished-{id(self)}-{os.getpid()}")
        unfinished.write_bytes(data)
        unfinished.rename(self._folder / key.encode().hex())
        self.load()
        return self.objects[key][0]

    async def look(self, key: str) -> Found | None:
        self.load()
        return await super().look(key)

    async def list_objects(self, prefix: str, after: str, limit: int) -> Sequence[ObjectInfo]:
        self.load()
        return await super().list_objects(prefix, after, limit)


class WritesInPlace(LocksOneProcessOnly):
    """Writes into the file that has the key's name; an abort takes it away, a kill does not."""

    class Staging(LocksOneProcessOnly.Staging):
        async def write(self, data: bytes) -> None:
            await super().write(data)
            self.store.place(self.key, self.data)


class ForgetsAtItsEnd(LocksOneProcessOnly):
    """Takes its files along when it is closed."""

    async def aclose(self) -> None:
        for path in self._folder.iterdir():
            path.unlink()
