"""Checks of a store: what a look says, which keys are one object, and what a read gives."""

from __future__ import annotations

import re
import time
import unicodedata

from oncegate.stores.protocol import KeyRefused, ObjectChanged, Store
from oncegate.testing.store_checks import (
    MEDIA_TYPE,
    StoreChecks,
    begin,
    content_of,
    fresh_folder,
    info_of,
    is_there,
    keys_of,
    look,
    put,
    put_in_place_of,
    try_to_put,
)
from oncegate.testing.suite import CheckFailed, CheckSkipped, check

AWKWARD_NAMES = (
    "a b", " lead and trail ", "a+b", "100%", "%2F%20", "a#b", "#1", "a?b=c&d", "*", "[x]{y}|z", "'\"`$;<>", "~root",
    "-rf", "...", "..a", ".hidden", "a.", "A", "\N{PILE OF POO}", "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    unicodedata.normalize("NFC", "\u00e9t\u00e9"), unicodedata.normalize("NFD", "\u00e9t\u00e9"),
    "n" * 200, "\u00e9" * 100,
)  # fmt: skip
"""Names that some tool decodes, trims, globs, sorts away or normalises."""

NO_KEYS = ("", ".", "..", "../x", "a/../x", "a/./x", "/x", "x/", "a//x", "a\0b", "a\nb", "a\\b", "\ud800")
"""Keys that a verified link never has."""

CLOCKS_APART_MAX_S = 600


class ObjectChecks(StoreChecks):
    """Looks, keys and reads."""

    async def check_a_look_says_what_stands(self) -> None:
        """Size, strong ETag, date and type are those of the upload, and stay the same."""
        async with self._opened() as store:
            key = f"{fresh_folder()}/a/b.txt"
            told = await put(store, key, b"12345")
            seen = await info_of(store, key)
            check((seen.key, seen.size_bytes) == (key, 5), f"5 bytes were stored as {key!r}; a look says {seen}")
            check(seen.content_type == MEDIA_TYPE, f"stored as {MEDIA_TYPE}; a look says {seen.content_type}")
            check(seen.etag == told.etag, f"the commit said {told.etag}, a look says {seen.etag}")
            check(re.fullmatch(r'"[^"]+"', seen.etag) is not None, f"a strong ETag has its quotes: {seen.etag}")
            away_s = abs(seen.modified_s - time.time())
            check(away_s < CLOCKS_APART_MAX_S, f"stored just now; its date is {away_s:.0f} s from now")
            check(await info_of(store, key) == seen, "nothing was changed, but a second look says something else")

    async def check_what_is_missing_is_none(self) -> None:
        """A missing name, a part of a key, a name below an object and another case are not there."""
        async with self._opened() as store:
            folder = fresh_folder()
            await put(store, f"{folder}/a/b.txt", b"12345")
            for missing in ("a", "a/b", "a/b.txt/c", "a/B.txt", "b", "b/c"):
                check(not await is_there(store, f"{folder}/{missing}"), f"a/b.txt was stored; {missing} is found")

    async def check_keys_are_exact(self) -> None:
        """What was stored under a key is read and listed under those very bytes, as a segment and at the top."""
        async with self._opened() as store:
            folder = fresh_folder()
            for name in AWKWARD_NAMES:
                for key in (f"{folder}/{name}", f"{folder}/{name}-/{name}", f"{name}{folder}.txt"):
                    await put(store, key, key.encode())
                    got = await content_of(store, key)
                    check(got == key.encode(), f"{key!r} reads as the object of {got!r}")
                    listed = await keys_of(store, key, limit=1)
                    check(listed == [key], f"{key!r} was stored; with it as prefix are listed {listed}")

    async def check_spellings_of_one_letter_are_two_objects(self) -> None:
        """NFC and NFD look alike and are different keys, as in S3."""
        async with self._opened() as store:
            folder = fresh_folder()
            composed, decomposed = f"{folder}/\u00e9", f"{folder}/e\u0301"
            await put(store, composed, b"composed")
            check(not await is_there(store, decomposed), "stored in NFC, found in NFD")
            await put(store, decomposed, b"decomposed")
            got = await content_of(store, composed), await content_of(store, decomposed)
            check(got == (b"composed", b"decomposed"), f"one of the two spellings reads as the other: {got}")

    async def check_what_is_no_key_has_no_object(self) -> None:
        """Keys that verify refuses are not there and not taken: a second lock on the door that leads out of the store."""
        async with self._opened() as store:
            for key in (*NO_KEYS, "k/" * 512 + "k"):
                check(not await is_there(store, key), f"{key!r} is no key, but a look finds an object")
                await _must_be_refused(store, key)

    async def check_what_is_ours_is_no_object(self) -> None:
        """``.oncegate`` at the top is for staged uploads: it is neither served nor listed nor taken."""
        async with self._opened() as store:
            for key in (".oncegate", ".oncegate/x", ".oncegate/uploads/x", ".oncegate/staging/x"):
                check(not await is_there(store, key), f"{key!r} is ours, but a look finds an object")
                await _must_be_refused(store, key)
            key = f".oncegate-{fresh_folder()}"
            await put(store, key, b"theirs")
            check(await content_of(store, key) == b"theirs", f"{key!r} only begins like ours")
            check(await keys_of(store, ".oncegate/") == [], "something of ours is listed")

    async def check_a_read_gives_the_range_in_pieces(self) -> None:
        """Every piece but the last has the length that was asked for, and together they are the range."""
        async with self._opened() as store:
            for chunk_bytes in (1, 7, 1000, 4096, 65536, 1 << 20):
                key, data = f"{fresh_folder()}/x.txt", (bytes(range(256)) * 400)[: 1003 if chunk_bytes < 10 else None]
                await put(store, key, data)
                end = len(data)
                for span in ((0, end), (0, 1), (1, end - 1), (5, min(1005, end)), (end - 1, end), (9, 9), (0, 0)):
                    found = await look(store, key)
                    pieces = [piece async for piece in found.read(*span, chunk_bytes)]
                    await found.aclose()
                    lengths = [len(piece) for piece in pieces]
                    check(
                        b"".join(pieces) == data[slice(*span)], f"bytes {span} read as others, in pieces of {lengths}"
                    )
                    check(set(lengths[:-1]) <= {chunk_bytes}, f"pieces of {chunk_bytes} were asked for: {lengths}")

    async def check_an_empty_object_stands_and_reads_as_nothing(self) -> None:
        """An upload of no bytes is an object all the same."""
        async with self._opened() as store:
            key = f"{fresh_folder()}/empty.txt"
            await put(store, key, b"")
            check((await info_of(store, key)).size_bytes == 0, "no bytes were stored; a look says some")
            check(await content_of(store, key) == b"", "no bytes were stored; some are read")
            check(await try_to_put(store, key, b"") == "stands", "an object of no bytes stood, and another was stored")

    async def check_a_read_may_be_left(self) -> None:
        """A viewer leaves midway: the read ends, and the object can be let go of, twice, and be read again."""
        async with self._opened() as store:
            key, data = f"{fresh_folder()}/x.txt", b"0123456789" * 30_000
            await put(store, key, data)
            found = await look(store, key)
            reading = found.read(0, len(data), 1000)
            check(await anext(reading) == data[:1000], "the first piece is not that of the object")
            await reading.aclose()
            await found.aclose()
            await found.aclose()
            check(await content_of(store, key) == data, "after a read that was left the object reads otherwise")

    async def check_another_version_is_never_read_for_the_one_seen(self) -> None:
        """A claim names what was seen: what is read is that, or the read fails, also if it is replaced midway."""
        async with self._opened() as store:
            old, new = b"old!" * 100_000, b"new!" * 100_000
            for pieces_before in (0, 1):
                key = f"{fresh_folder()}/x.txt"
                etag = (await put(store, key, old)).etag
                found = await look(store, key)
                reading = found.read(0, len(old), 65536)
                got = b"".join([await anext(reading) for _ in range(pieces_before)])
                if await put_in_place_of(store, key, new, etag) is None:
                    raise CheckSkipped("the store replaces nothing")
                try:
                    got += b"".join([piece async for piece in reading])
                except ObjectChanged:
                    got = old
                await found.aclose()
                check(got == old, f"replaced after {pieces_before} pieces: bytes of another version were read")
                check(await content_of(store, key) == new, "a later look must see the new version")


async def _must_be_refused(store: Store, key: str) -> None:
    try:
        upload = await begin(store, key, size_bytes=1)
    except KeyRefused:
        return
    await upload.abort()
    raise CheckFailed(f"{key!r} can be no object's key, but an upload to it was begun")
