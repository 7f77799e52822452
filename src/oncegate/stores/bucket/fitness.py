"""Finds out by trying whether a bucket can be read, and which conditions its server keeps.

Servers that speak S3 differ most in what they silently ignore: an older one accepts ``If-None-Match`` and overwrites
nevertheless. So each condition is tried on objects of the probe, both one after another and at once, and a condition
whose violation was not refused counts as not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

import obstore
from obstore import exceptions

from oncegate.stores.bucket.abilities import MARK, Abilities, Way
from oncegate.stores.bucket.faults import DRIVER_ERRORS, fault_of, first_line
from oncegate.stores.bucket.objects import RESERVED_NAME, etag_of, pages_of
from oncegate.stores.bucket.s3_calls import S3Calls
from oncegate.stores.bucket.s3_multipart import condition_of, copy_condition_of
from oncegate.stores.protocol import ObjectStands, StoreBusy, StoreFault, StoreRefused, StoreUnfit

if TYPE_CHECKING:  # the driver has these names for type checkers alone
    from obstore import PutMode
    from obstore.store import ObjectStore

AT_ONCE = 4
ANOTHER_ETAG = '"00000000000000000000000000000000"'

_OF_THE_PROBE = {"content-type": "application/octet-stream", f"x-amz-meta-{MARK}": "probe"}
_CONDITION_FAILED = (exceptions.AlreadyExistsError, exceptions.PreconditionError)


async def check_reading(store: ObjectStore) -> None:
    """List one page, and look for an object that does not exist.

    Raises:
        StoreUnfit: one of them failed; it says what to change.
    """
    try:
        async for _ in pages_of(store, RESERVED_NAME, page_objects=1):
            break
        with contextlib.suppress(FileNotFoundError):
            await obstore.head_async(store, f"{RESERVED_NAME}/none")
    except FileNotFoundError as error:
        raise _no_bucket(error) from error
    except DRIVER_ERRORS as error:
        if "status code: 404" in str(error):  # obstore's list has no class of error for this
            raise _no_bucket(error) from error
        match fault_of(error, doing="probe"):
            case StoreRefused() as fault:
                what = "the store refuses our credentials"
                remedy = "check the credentials in [store.options], and that they may get and list"
            case StoreBusy() as fault:
                what, remedy = "the store does not answer", "check aws_endpoint, aws_allow_http and the network"
            case fault:
                what, remedy = "the store cannot be used", ""
        raise StoreUnfit(f"{what} ({fault})", remedy=remedy, where="store.url") from error


def _no_bucket(error: Exception) -> StoreUnfit:
    return StoreUnfit(
        f"there is no such bucket ({first_line(error)})", remedy="make it, or correct its name", where="store.url"
    )


async def find_abilities(store: ObjectStore, scheme: str, calls: S3Calls | None) -> Abilities:
    """Try every condition that uploads need.

    Raises:
        obstore's errors: the store failed, so nothing is known of its conditions.
        StoreFault: the same.
    """
    key = f"{RESERVED_NAME}/probe/{secrets.token_hex(8)}"
    try:
        return await _try_conditions(store, scheme, calls, key)
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, StoreRefused):
        return Abilities(may_write=False, why="the credentials may not write")
    except exceptions.NotSupportedError:
        return Abilities(why="the server knows no conditions")
    except exceptions.GenericError as error:
        fault = fault_of(error, doing="probe of conditional writes")
        if isinstance(fault, StoreBusy):
            raise
        return Abilities(why=str(fault))
    finally:
        with contextlib.suppress(*DRIVER_ERRORS):
            await obstore.delete_async(store, key)


async def _try_conditions(store: ObjectStore, scheme: str, calls: S3Calls | None, key: str) -> Abilities:
    tries = [_put(store, key, b"%d" % number, "create") for number in range(AT_ONCE)]
    won = (await asyncio.gather(*tries)).count(True)
    if won != 1 or await _put(store, key, b"again", "create"):
        why = f"of {AT_ONCE} writes only where nothing stands {won} were taken, or one more later"
        if calls is not None and await calls.keeps_versions():  # as Ceph 16, which keeps conditions in other buckets
            why += "; the bucket keeps versions, and there some servers pass over conditions: take one that keeps none"
        return Abilities(why=why)
    if calls is None:
        # Copies in Google's and Azure's stores can be conditional, but cannot name the version that they replace.
        return Abilities(creates=True, replaces=await _keeps_match(store, scheme, key), large_creates=("copy",))
    replaces = await _keeps_match(store, scheme, key)
    has_bare_etags = not replaces and await _keeps_match(store, scheme, key, has_bare_etags=True)
    return Abilities(
        creates=True,
        replaces=replaces or has_bare_etags,
        large_creates=await _large_ways(calls, key, None),
        large_replaces=await _large_ways(calls, key, ANOTHER_ETAG),
        has_bare_etags=has_bare_etags,
    )


async def keeps_removals(store: ObjectStore, calls: S3Calls | None) -> bool:
    """Try whether a removal is refused where another version stands, and done where the named one does.

    Raises:
        obstore's errors: the store failed, so nothing is known.
        StoreBusy: the same.
    """
    if calls is None:  # obstore's own removal takes no condition
        return False
    key = f"{RESERVED_NAME}/probe/{secrets.token_hex(8)}-removal"
    await obstore.put_async(store, key, b"probe", use_multipart=False)
    try:
        meta = await obstore.head_async(store, key)
        if not await _is_removal_refused(calls, key):
            return False
        await calls.delete_version(key, etag_of(meta))
        await obstore.head_async(store, key)
    except FileNotFoundError:
        return True
    except ObjectStands:
        return False
    except StoreFault as fault:
        if isinstance(fault, StoreBusy):
            raise
        return False
    finally:
        with contextlib.suppress(*DRIVER_ERRORS):
            await obstore.delete_async(store, key)
    return False


async def _is_removal_refused(calls: S3Calls, key: str) -> bool:
    try:
        await calls.delete_version(key, ANOTHER_ETAG)
    except ObjectStands:
        return True
    return False


async def _large_ways(calls: S3Calls, key: str, replaced: str | None) -> Sequence[Way]:
    """Return the ways that refuse what they must; there is an object at ``key``."""
    if await _is_completion_refused(calls, key, replaced) and (replaced or await _has_race_one_winner(calls, key)):
        return ("completion",)
    if await _is_copy_refused(calls, key, replaced):
        return ("copy",)
    return ("put",) if await _is_put_refused(calls, key, replaced) else ()


async def _put(store: ObjectStore, key: str, data: bytes, mode: PutMode) -> bool:
    try:
        await obstore.put_async(store, key, data, mode=mode, use_multipart=False)
    except _CONDITION_FAILED:
        return False
    except FileNotFoundError:
        return False
    return True


async def _keeps_match(store: ObjectStore, scheme: str, key: str, *, has_bare_etags: bool = False) -> bool:
    """Replace the object, then try the same again with the version that was replaced."""
    meta = await obstore.head_async(store, key)
    raw = meta["e_tag"] or ""
    etag = raw.strip('"') if has_bare_etags else raw
    mode: PutMode = {"version": meta["version"]} if scheme == "gs" else {"e_tag": etag}
    if not await _put(store, key, b"replaced", mode):
        return False
    is_refused = not await _put(store, key, b"replaced twice", mode)
    return is_refused and etag_of(await obstore.head_async(store, key)) != etag_of(meta)


async def _is_completion_refused(calls: S3Calls, key: str, replaced: str | None) -> bool:
    upload_id = ""
    try:
        upload_id = await calls.create(key, _OF_THE_PROBE)
        etag = await calls.upload_part(key, upload_id, 1, b"probe")
        await calls.complete(key, upload_id, [etag], condition_of(replaced))
    except ObjectStands:
        return True
    except StoreFault as fault:
        if isinstance(fault, StoreBusy):
            raise
        return False  # a server that does not know the header, or no multipart uploads at all, says so with 400 or 501
    finally:
        if upload_id:
            with contextlib.suppress(StoreFault):
                await calls.abort(key, upload_id)
    return False


async def _has_race_one_winner(calls: S3Calls, key: str) -> bool:
    """Complete several uploads to a free key at once: a server that first compares and then writes lets two win."""
    target = f"{key}-race"
    ids = [await calls.create(target, _OF_THE_PROBE) for _ in range(AT_ONCE)]

    async def complete(upload_id: str) -> bool:
        etag = await calls.upload_part(target, upload_id, 1, b"probe")
        try:
            await calls.complete(target, upload_id, [etag], condition_of(None))
        except (ObjectStands, StoreFault):
            return False
        return True

    try:
        return sum(await asyncio.gather(*(complete(upload_id) for upload_id in ids))) == 1
    finally:
        for upload_id in ids:
            with contextlib.suppress(StoreFault):
                await calls.abort(target, upload_id)
        with contextlib.suppress(StoreFault):
            await calls.delete(target)


async def _is_copy_refused(calls: S3Calls, key: str, replaced: str | None) -> bool:
    source = f"{key}-source"
    try:
        upload_id = await calls.create(source, _OF_THE_PROBE)
        etag = await calls.upload_part(source, upload_id, 1, b"probe")
        await calls.complete(source, upload_id, [etag], {})
        await calls.copy(source, key, copy_condition_of(replaced))
    except ObjectStands:
        return True
    except StoreFault as fault:
        if isinstance(fault, StoreBusy):
            raise
    finally:
        with contextlib.suppress(StoreFault):
            await calls.delete(source)
    return False


async def _is_put_refused(calls: S3Calls, key: str, replaced: str | None) -> bool:
    """Try the request that is used for large objects. That of such PUTs one wins was tried before."""

    async def body() -> AsyncGenerator[bytes]:
        yield b"probe"

    condition = condition_of(replaced)
    try:
        await calls.put(key, body(), size_bytes=5, headers=_OF_THE_PROBE, condition=condition)
    except ObjectStands:
        return True
    except StoreFault as fault:
        if isinstance(fault, StoreBusy):
            raise
    return False
