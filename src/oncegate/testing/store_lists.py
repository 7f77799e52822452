"""Checks of a store: lists in the order of S3, and what is left by a sweep and a probe."""

from __future__ import annotations

import time

from oncegate.testing.store_checks import StoreChecks, begin, content_of, fresh_folder, info_of, keys_of, put, write
from oncegate.testing.suite import check

NAMES = (
    "a b", "a-b", "a.txt", "a/1", "a0", "b/x/1", "b/x/2", "b/xy", "b0", "p/001", "p/01", "Z",
    "\u00e9", "\uffee", "\U0001f511",
)  # fmt: skip
"""In another order than a walk from folder to folder has, or one by UTF-16, by letters, or by numbers."""

MANY = 60


class ListChecks(StoreChecks):
    """Lists, sweeps and probes."""

    async def check_lists_are_sorted_and_prefixes_are_of_bytes(self) -> None:
        """``p/00`` finds ``p/001``: a prefix ends anywhere; ``after`` is exclusive; the order is of whole keys as UTF-8."""
        async with self._opened() as store:
            folder = fresh_folder()
            stored = sorted((f"{folder}/{name}" for name in NAMES), key=str.encode)
            for key in reversed(stored):
                await put(store, key, b"data")
            for prefix in ("", "a", "a/", "b/x", "b/x/", "p/00", "p/0", "z", "\u00e9", "nothing/there"):
                wanted = [key for key in stored if key.startswith(f"{folder}/{prefix}")]
                for limit in (1, 2, 5, 1000):
                    listed, after = list[str](), ""
                    while page := await keys_of(store, f"{folder}/{prefix}", after, limit):
                        check(len(page) <= limit, f"{len(page)} objects where {limit} were asked for")
                        check(page[-1] > after, f"after {after!r} comes {page[-1]!r}")
                        listed, after = [*listed, *page], page[-1]
                    check(listed == wanted, f"prefix {prefix!r} in pages of {limit}: {listed}, not {wanted}")
            for after in ("b/x/1", "a//b\x00", "a/", "zz"):
                wanted = [key for key in stored if key.encode() > f"{folder}/{after}".encode()]
                listed = await keys_of(store, f"{folder}/", f"{folder}/{after}")
                check(listed == wanted, f"after {after!r} are listed {listed}, not {wanted}")

    async def check_a_long_list_is_whole(self) -> None:
        """Page by page each object is listed once, in order, and nothing else."""
        async with self._opened() as store:
            folder = fresh_folder()
            stored = sorted(f"{folder}/{number % 3}/{number:x}.txt" for number in range(MANY))
            for key in stored:
                await put(store, key, b"")
            listed = list[str]()
            while page := await keys_of(store, f"{folder}/", listed[-1] if listed else "", 7):
                listed += page
            check(listed == stored, f"{MANY} objects were stored, in pages of 7 are listed {listed}")

    async def check_the_list_says_what_a_look_says(self) -> None:
        """Key, size, ETag, date and type of a page are those of the object."""
        async with self._opened() as store:
            folder = fresh_folder()
            for name in ("a/b.txt", "c.txt"):
                await put(store, f"{folder}/{name}", name.encode())
            page = await store.list_objects(folder, "", 10)
            check(len(page) == 2, f"2 objects were stored, {len(page)} are listed")
            for info in page:
                seen = await info_of(store, info.key)
                check(info == seen, f"the list says {info}, a look says {seen}")

    async def check_a_sweep_leaves_objects_and_uploads_at_work(self) -> None:
        """What was written to within the limit is at work; an object is never swept."""
        async with self._opened() as store:
            key, size_bytes = f"{fresh_folder()}/x.txt", max(self._sizes_bytes)
            upload = await begin(store, key, size_bytes=size_bytes)
            await write(upload, b"1" * (size_bytes // 2))
            check(await store.sweep(int(time.time()) - 600) == 0, "nothing is ten minutes old, and something was swept")
            await write(upload, b"1" * (size_bytes - size_bytes // 2))
            await upload.commit()
            await store.sweep(int(time.time()) + 600)
            check(
                await content_of(store, key) == b"1" * size_bytes, "an upload that was at work during a sweep is broken"
            )

    async def check_what_was_stored_outlives_its_opening(self) -> None:
        """The store is closed, twice, and opened again: the object is the same."""
        self._needs_sharing()
        key = f"{fresh_folder()}/x.txt"
        async with self._opened() as store:
            await put(store, key, b"data")
            seen = await info_of(store, key)
            await store.aclose()
        async with self._opened() as store:
            check(await info_of(store, key) == seen, "after another opening a look says something else")
            check(await content_of(store, key) == b"data", "after another opening other bytes are read")

    async def check_a_probe_leaves_nothing(self) -> None:
        """What a probe tries leaves no object, and it can be asked again at any time."""
        async with self._opened() as store:
            before = await keys_of(store, "")
            await store.probe()
            after = await keys_of(store, "")
            check(after == before, f"a probe left {sorted(set(after) - set(before))}")
