"""PUT: look, claim a lease, stage the body, take the use and put the object in place (docs/promises.md).

A body is staged where nobody sees it, and put in place by one step on the store's condition: only if nothing stands
there, or, for a link that may replace, only if what stands is the version seen at the link's first claim. Whether the
use is taken before that step or after it is for ``upload_use.py``.
"""

from __future__ import annotations

import asyncio

from oncegate.gateway.answers import stored
from oncegate.gateway.checksums import Checksums, wants_digest
from oncegate.gateway.delivery import Transfer
from oncegate.gateway.exchange import Exchange
from oncegate.gateway.parts import Parts
from oncegate.gateway.ranges import names_version
from oncegate.gateway.upload_use import UploadUse, refusal_where_stands
from oncegate.links.grant import Grant
from oncegate.links.kept_headers import Kept, kept_headers, type_to_keep
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.upload_head import UploadHead, read_upload_head
from oncegate.links.wishes import not_implemented
from oncegate.stores.protocol import KeyRefused, NotKept, ObjectInfo, ObjectStands
from oncegate.stores.protocol import Upload as StagedUpload


async def serve_upload(parts: Parts, exchange: Exchange, request: ViewerRequest, grant: Grant) -> None:
    """Answer a verified PUT.

    Raises:
        Refused: whatever ends it; nothing of the object is visible then, and the use is free again.
        StoreFault: the same, by the store's doing.
    """
    is_hashed = wants_digest(request)
    info, digest = await receive_upload(parts, exchange, request, grant, is_hashed=is_hashed)
    await exchange.answer(stored(info, digest=digest if is_hashed else b""))


async def receive_upload(
    parts: Parts, exchange: Exchange, request: ViewerRequest, grant: Grant, *, is_hashed: bool = False
) -> tuple[ObjectInfo, bytes]:
    """Take the body of a verified PUT and store it; the use is taken when this returns.

    Args:
        parts: of the gateway.
        exchange: with the body.
        request: the PUT.
        grant: what it may do.
        is_hashed: compute what was stored.

    Returns:
        The object that stands, and its SHA-256 where that was asked for.

    Raises:
        Refused, StoreFault: as ``serve_upload``.
    """
    request = request.with_headers(grant.moved)
    head = read_upload_head(
        request, grant.limits, key=grant.object_key, max_bytes=parts.settings.viewer.max_upload_bytes
    )
    to_keep = _to_keep(request, head, grant)
    checksums = Checksums(request, is_hashed=is_hashed)
    use = UploadUse(parts, grant, await _look(parts, request, grant))
    await use.claim()
    transfer = parts.transfers.begin(use.claim_id, "", (0, 0))
    try:
        with use.kept():
            info = await _store(parts, exchange, grant, use, transfer, head, checksums, to_keep)
    # whatever it was, a cancelled task too: else the link answers 409 until its lease is over
    except BaseException as error:
        use.let_go()
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and transfer.cut_why and task is not None:
            task.uncancel()
            exchange.outcome, exchange.unread_body = transfer.cut_why, False
            raise Refused(Reason.INCOMPLETE) from None
        raise
    finally:
        parts.transfers.end(transfer)
    await use.stored(info.etag)
    # the object stands, so the answer is 200 whatever the ledger does
    exchange.outcome = "complete"
    return info, checksums.sha256()


def _to_keep(request: ViewerRequest, head: UploadHead, grant: Grant) -> tuple[str, Kept]:
    """The type of the object, and the headers to keep with it; the type among them where it is signed."""
    content_type = type_to_keep(request, head, key=grant.object_key, is_signed=grant.is_type_signed)
    kept = kept_headers(request)
    return content_type, (*kept, ("content-type", content_type)) if grant.is_type_signed else kept


async def _look(parts: Parts, request: ViewerRequest, grant: Grant) -> str:
    """The ETag of what stands there, empty for nothing.

    Raises:
        Refused: OBJECT_STANDS, PRECONDITION; USED, REVOKED, LEDGER_UNKNOWN where an object stands.
    """
    opened = await parts.store.look(grant.object_key)
    etag = ""
    if opened is not None:
        etag = opened.info.etag
        await opened.aclose()
        if not grant.limits.may_replace:
            raise Refused(await refusal_where_stands(parts, grant))
    if_match, if_none_match = request.header(b"if-match"), request.header(b"if-none-match")
    if if_match is not None and not (etag and names_version(if_match, etag)):
        raise Refused(Reason.PRECONDITION)
    if if_none_match is not None and etag and names_version(if_none_match, etag, is_weak=True):
        raise Refused(Reason.PRECONDITION)
    return etag


async def _store(
    parts: Parts,
    exchange: Exchange,
    grant: Grant,
    use: UploadUse,
    transfer: Transfer,
    head: UploadHead,
    checksums: Checksums,
    to_keep: tuple[str, Kept],
) -> ObjectInfo:
    """Stage the body and put it in place."""
    content_type, kept = to_keep
    try:
        staged = await parts.store.start_upload(
            grant.object_key,
            content_type=content_type,
            size_bytes=head.size_bytes,
            replaces=use.replaces or None,
            kept=kept,
        )
    except NotKept as fault:
        raise not_implemented(fault.header) from None
    except KeyRefused:
        raise Refused(Reason.MALFORMED_UPLOAD, message="The store cannot hold an object of this name.") from None
    try:
        await _receive_body(parts, exchange, transfer, staged, head, checksums)
        checksums.check()
        transfer.leave()  # whole: what is left is to put it in place, which nobody must cut
        await use.take_before_placing()
        try:
            return await staged.commit()
        except (ObjectStands, KeyRefused):
            use.give_back()
            raise
    except ObjectStands:
        raise Refused(Reason.OBJECT_STANDS) from None
    finally:
        await staged.abort()


async def _receive_body(
    parts: Parts,
    exchange: Exchange,
    transfer: Transfer,
    staged: StagedUpload,
    head: UploadHead,
    checksums: Checksums,
) -> None:
    """Take the body piece by piece, as fast as the store takes it."""
    stall_s = parts.settings.links.stall_timeout_s
    while True:
        try:
            async with asyncio.timeout(stall_s):
                data = await exchange.read()
        except TimeoutError:
            exchange.outcome, exchange.unread_body = "stalled", False
            raise Refused(Reason.INCOMPLETE) from None
        if data is None:
            exchange.outcome, exchange.unread_body = "broken", False
            raise Refused(Reason.INCOMPLETE)
        if not data:
            exchange.unread_body = False
            return
        exchange.received_bytes += len(data)
        # before it is written, whatever Content-Length said
        if exchange.received_bytes > head.max_bytes:
            raise Refused(Reason.TOO_LARGE)
        checksums.update(data)
        await staged.write(data)
        parts.transfers.touch(transfer)
