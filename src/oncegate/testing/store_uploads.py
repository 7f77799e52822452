"""Checks of a store: one upload from its beginning to its end, whichever that is."""

from __future__ import annotations

import asyncio
import contextlib
import time

from oncegate.stores.protocol import LengthNeeded, ObjectStands, Store, StoreFault, Upload
from oncegate.testing.store_checks import (
    StoreChecks,
    begin,
    content_of,
    fresh_folder,
    info_of,
    is_there,
    keys_of,
    put,
    put_in_place_of,
    write,
)
from oncegate.testing.suite import CheckSkipped, check

SOON_S = 60


class UploadChecks(StoreChecks):
    """An upload stands whole or not at all, and only on its condition."""

    async def check_an_upload_stands_whole(self) -> None:
        """What came is what is read, whether or not its length was announced; the commit says what a look says."""
        async with self._opened() as store:
            for size_bytes in self._sizes_bytes:
                for announced in (size_bytes, None):
                    key, data = f"{fresh_folder()}/new/folder/x.txt", _bytes_of(size_bytes)
                    upload = await begin(store, key, size_bytes=announced)
                    try:
                        await write(upload, data)
                        told = await upload.commit()
                    except LengthNeeded:
                        check(announced is None, f"the length of {size_bytes} bytes was announced, but is needed")
                        continue
                    finally:
                        await upload.abort()
                    seen = await info_of(store, key)
                    check(told[:3] == seen[:3], f"of {size_bytes} bytes the commit said {told}, a look {seen}")
                    check(await content_of(store, key) == data, f"{size_bytes} bytes are read otherwise than they came")

    async def check_an_upload_is_seen_when_it_is_committed(self) -> None:
        """Neither half an upload nor a whole one is found or listed before its commit."""
        async with self._opened() as store:
            for size_bytes in self._sizes_bytes:
                folder, data = fresh_folder(), _bytes_of(size_bytes)
                upload = await begin(store, f"{folder}/x.txt", size_bytes=size_bytes)
                for part in (data[: size_bytes // 2], data[size_bytes // 2 :]):
                    await write(upload, part)
                    await _must_be_free(
                        store, folder, f"{len(part)} of {size_bytes} bytes came and nothing was asked for"
                    )
                await upload.commit()
                check(await keys_of(store, folder) == [f"{folder}/x.txt"], "a committed upload is not listed")

    async def check_an_aborted_upload_leaves_nothing(self) -> None:
        """Given up before its first byte, midway, or with all its bytes: twice is as good as once, and the key is free."""
        async with self._opened() as store:
            await store.sweep(int(time.time()) + SOON_S)
            for size_bytes in self._sizes_bytes:
                folder, data = fresh_folder(), _bytes_of(size_bytes)
                for came_bytes in (0, size_bytes // 2, size_bytes):
                    upload = await begin(store, f"{folder}/x.txt", size_bytes=size_bytes)
                    await write(upload, data[:came_bytes])
                    await upload.abort()
                    await upload.abort()
                    await _must_be_free(store, folder, f"aborted after {came_bytes} of {size_bytes} bytes")
                    left = await store.sweep(int(time.time()) + SOON_S)
                    check(left == 0, f"aborted after {came_bytes} of {size_bytes} bytes: {left} were left to be swept")
                await put(store, f"{folder}/x.txt", data)

    async def check_an_ended_upload_takes_no_more(self) -> None:
        """After an abort, and after a commit, nothing can be written or committed."""
        async with self._opened() as store:
            for is_committed in (False, True):
                folder = fresh_folder()
                upload = await begin(store, f"{folder}/x.txt", size_bytes=None)
                await upload.write(b"data")
                await (upload.commit() if is_committed else upload.abort())
                was = "committed" if is_committed else "aborted"
                with contextlib.suppress(StoreFault):
                    await upload.write(b"more")
                check(await _fails_to_commit(upload), f"an upload that was {was} was committed all the same")
                await upload.abort()
                check(await is_there(store, f"{folder}/x.txt") == is_committed, f"it was {was}, and then ended again")

    async def check_another_length_than_was_announced_is_refused(self) -> None:
        """A body that is shorter or longer than its Content-Length is no object."""
        async with self._opened() as store:
            for size_bytes in self._sizes_bytes:
                folder, data = fresh_folder(), _bytes_of(size_bytes + 1)
                for came_bytes in {max(size_bytes - 1, 0), size_bytes + 1} - {size_bytes}:
                    upload = await begin(store, f"{folder}/x.txt", size_bytes=size_bytes)
                    try:
                        await write(upload, data[:came_bytes])
                        await upload.commit()
                    except StoreFault:
                        await upload.abort()
                    await _must_be_free(store, folder, f"{size_bytes} bytes were announced, {came_bytes} came")

    async def check_an_upload_never_overwrites(self) -> None:
        """Where an object stands an upload is told so, also if it began when nothing stood, and changes nothing."""
        async with self._opened() as store:
            for size_bytes in self._sizes_bytes:
                key, first = f"{fresh_folder()}/x.txt", _bytes_of(size_bytes)
                slow = await begin(store, key, size_bytes=size_bytes)
                await write(slow, b"2" * size_bytes)
                told = await put(store, key, first)
                check(await _stands(slow), f"of {size_bytes} bytes the slower upload stands as well")
                await slow.abort()
                late = await begin(store, key, size_bytes=size_bytes)
                try:
                    await write(late, b"3" * size_bytes)
                    check(await _stands(late), f"an object of {size_bytes} bytes stood, and another was stored")
                finally:
                    await late.abort()
                check(await content_of(store, key) == first, f"of {size_bytes} bytes the first are no longer there")
                check((await info_of(store, key)).etag == told.etag, "uploads that lost changed the ETag")

    async def check_only_the_named_version_is_replaced(self) -> None:
        """An upload that replaces takes the place of the version that it names, and of no other, nor of none."""
        async with self._opened() as store:
            replaced = 0
            for size_bytes in self._sizes_bytes:
                folder = fresh_folder()
                key = f"{folder}/x.txt"
                old = await put(store, key, b"1")
                new = await put_in_place_of(store, key, b"2" * size_bytes, old.etag)
                if new is None:
                    check(
                        await content_of(store, key) == b"1", "it was said that nothing is replaced, and something was"
                    )
                    continue
                replaced += 1
                check(new.etag != old.etag, f"two versions have one ETag: {new.etag}")
                for name, stood in (
                    ("x.txt", "another version"),
                    ("y.txt", "nothing"),
                    ("y/z.txt", "not even a folder"),
                ):
                    upload = await begin(store, f"{folder}/{name}", size_bytes=size_bytes, replaces=old.etag)
                    await write(upload, b"3" * size_bytes)
                    check(await _stands(upload), f"a version was to be replaced where {stood} stood: it was stored")
                    await upload.abort()
                check(
                    await content_of(store, key) == b"2" * size_bytes, "the version that replaced is not what is read"
                )
                check((await info_of(store, key)).etag == new.etag, "the commit and a look say different ETags")
                check(await keys_of(store, folder) == [key], "what replaced nothing left something")
            if not replaced:
                raise CheckSkipped("the store replaces nothing")

    async def check_a_commit_that_is_cancelled_is_all_or_nothing(self) -> None:
        """A viewer leaves while the object is put in place: after the abort it stands whole, or the key is free."""
        async with self._opened() as store:
            for size_bytes in self._sizes_bytes:
                key, data = f"{fresh_folder()}/x.txt", _bytes_of(size_bytes)
                upload = await begin(store, key, size_bytes=size_bytes)
                await write(upload, data)
                committing = asyncio.ensure_future(upload.commit())
                await asyncio.sleep(0)
                committing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await committing
                await upload.abort()
                if not await is_there(store, key):
                    await put(store, key, data)
                check(await content_of(store, key) == data, f"cancelled while {size_bytes} bytes were put in place")


def _bytes_of(size_bytes: int) -> bytes:
    return (b"0123456789abcdef!" * (size_bytes // 17 + 1))[:size_bytes]


async def _fails_to_commit(upload: Upload) -> bool:
    try:
        await upload.commit()
    except (StoreFault, ObjectStands):
        return True
    return False


async def _stands(upload: Upload) -> bool:
    """Commit; tell whether that was refused because of what stands there."""
    try:
        await upload.commit()
    except ObjectStands:
        return True
    return False


async def _must_be_free(store: Store, folder: str, what: str) -> None:
    check(not await is_there(store, f"{folder}/x.txt"), f"{what}: an object is found")
    listed = await keys_of(store, folder)
    check(listed == [], f"{what}: {listed} are listed")
