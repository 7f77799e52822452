"""PUT: look, claim a lease, stage the body, put it in place by the store's condition, spend (docs/promises.md).

The lease only spares others the work. What makes an upload once is the store: only if nothing stands there, or, for a
link that may replace, only if what stands is the version seen at the link's first claim. Store first, then the ledger.
"""

from __future__ import annotations

import asyncio

from oncegate.gateway.answers import stored
from oncegate.gateway.checksums import Checksums
from oncegate.gateway.delivery import Transfer
from oncegate.gateway.exchange import Exchange
from oncegate.gateway.parts import Parts, fresh_claim_id
from oncegate.gateway.ranges import names_version
from oncegate.ledgers.claiming import Talk, rewrite
from oncegate.ledgers.protocol import forget_after
from oncegate.ledgers.runner import WAIT_MAX_S
from oncegate.links.grant import Grant
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.upload_head import UploadHead, read_upload_head
from oncegate.stores.protocol import KeyRefused, ObjectInfo, ObjectStands
from oncegate.stores.protocol import Upload as StagedUpload
from oncegate.uses.record import Record
from oncegate.uses.upload import UploadAsk, admit_upload, renew_lease, upload_failed, upload_stored
from oncegate.uses.use import Admission, Kind
from oncegate.web.answers import page_answer
from oncegate.web.plain import said_by, upload_page


async def serve_upload(parts: Parts, exchange: Exchange, request: ViewerRequest, grant: Grant) -> None:
    """Answer a verified PUT.

    Raises:
        Refused: whatever ends it; nothing of the object is visible then, and the use is free again.
        StoreFault: the same, by the store's doing.
    """
    head = read_upload_head(request, grant.limits, max_bytes=parts.settings.viewer.max_upload_bytes)
    checksums = Checksums(request)
    stands = await _look(parts, request, grant)
    admission = await _claim(parts, grant, stands)
    # an upload that is not counted has no claim, and must be waited for and cut like the others
    transfer = parts.transfers.begin(admission.claim_id or exchange.request_id, "", (0, 0))
    try:
        info = await _store(parts, exchange, grant, admission, transfer, head, checksums)
    # whatever it was, a cancelled task too: else the link answers 409 until its lease is over
    except BaseException as error:
        if admission.claim_id:
            parts.runner.run_in_background(grant.link_id, _let_go(grant, admission.claim_id))
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and transfer.cut_why and task is not None:
            task.uncancel()
            exchange.outcome, exchange.unread_body = transfer.cut_why, False
            raise Refused(Reason.INCOMPLETE) from None
        raise
    finally:
        parts.transfers.end(transfer)
    if admission.claim_id:
        # store first, then ledger: the other way round a crash between the two leaves a used link and no object. This
        # way the link opens again after its lease, and meets 412 while the object stands
        spending = parts.runner.run_in_background(grant.link_id, _spend(grant, admission.claim_id, info.etag))
        # the object stands, so the answer is 200 whatever the ledger does; the talk goes on until it is known
        await asyncio.wait({spending}, timeout=WAIT_MAX_S)
    exchange.outcome = "complete"
    await exchange.answer(stored(info))


async def serve_upload_page(exchange: Exchange, grant: Grant) -> None:
    """Show the drop zone to a browser that goes to an upload link."""
    exchange.outcome = "page"
    name = grant.object_key.rpartition("/")[2]
    limits = grant.limits
    said = said_by(limits.sender, limits.note)
    page = upload_page(name=name, max_bytes=limits.max_bytes, media_type=limits.media_type, said=said)
    await exchange.answer(page_answer(page))


async def _look(parts: Parts, request: ViewerRequest, grant: Grant) -> str:
    """The ETag of what stands there, empty for nothing.

    Raises:
        Refused: OBJECT_STANDS, PRECONDITION.
    """
    opened = await parts.store.look(grant.object_key)
    etag = ""
    if opened is not None:
        etag = opened.info.etag
        await opened.aclose()
        if not grant.limits.may_replace:
            raise Refused(Reason.OBJECT_STANDS)
    if_match, if_none_match = request.header(b"if-match"), request.header(b"if-none-match")
    if if_match is not None and not (etag and names_version(if_match, etag)):
        raise Refused(Reason.PRECONDITION)
    if if_none_match is not None and etag and names_version(if_none_match, etag, is_weak=True):
        raise Refused(Reason.PRECONDITION)
    return etag


async def _claim(parts: Parts, grant: Grant, stands: str) -> Admission:
    """Take the lease.

    Raises:
        Refused: USED, REVOKED, UPLOAD_RUNNING, LEDGER_UNKNOWN, FORGOTTEN; OBJECT_STANDS: what stands is no longer the
            version that the link may replace.
    """
    if not grant.is_counted:
        return Admission(kind=Kind.ADMIT, replaces=stands if grant.limits.may_replace else None)

    def decide(record: Record | None) -> Admission:
        ask = UploadAsk(uses=grant.uses, may_replace=grant.limits.may_replace, stands=stands, claim_id=fresh_claim_id())
        return admit_upload(record, ask, parts.now_s(), parts.rules)

    def undo(admission: Admission) -> Talk[bool]:
        return _let_go(grant, admission.claim_id)

    admission = await parts.runner.claim(grant.link_id, forget_after(grant.expires_s), decide, undo=undo)
    parts.meters.claim(admission.kind.value)
    if admission.kind is not Kind.ADMIT:
        raise Refused(admission.reason or Reason.BUSY)
    # the link's first claim saw another version: what somebody else put there since is not this link's to replace
    if (admission.replaces or "") != stands:
        parts.runner.run_in_background(grant.link_id, _let_go(grant, admission.claim_id))
        raise Refused(Reason.OBJECT_STANDS)
    return admission


async def _store(
    parts: Parts,
    exchange: Exchange,
    grant: Grant,
    admission: Admission,
    transfer: Transfer,
    head: UploadHead,
    checksums: Checksums,
) -> ObjectInfo:
    """Stage the body and put it in place."""
    try:
        staged = await parts.store.start_upload(
            grant.object_key,
            content_type=head.media_type,
            size_bytes=head.size_bytes,
            replaces=admission.replaces or None,
        )
    except KeyRefused:
        raise Refused(Reason.MALFORMED_UPLOAD, message="The store cannot hold an object of this name.") from None
    try:
        await _receive_body(parts, exchange, grant, admission, transfer, staged, head, checksums)
        checksums.check()
        transfer.leave()  # whole: what is left is to put it in place, which nobody must cut
        return await staged.commit()
    except ObjectStands:
        raise Refused(Reason.OBJECT_STANDS) from None
    finally:
        await staged.abort()


async def _receive_body(
    parts: Parts,
    exchange: Exchange,
    grant: Grant,
    admission: Admission,
    transfer: Transfer,
    staged: StagedUpload,
    head: UploadHead,
    checksums: Checksums,
) -> None:
    """Take the body piece by piece, as fast as the store takes it; the lease is renewed while bytes come."""
    stall_s = parts.settings.links.stall_timeout_s
    # a third: two renewals may fail before another upload is let in
    renew_at = parts.monotonic() + parts.rules.lease_s / 3
    while True:
        try:
            async with asyncio.timeout(stall_s):
                message = await exchange.receive()
        except TimeoutError:
            exchange.outcome, exchange.unread_body = "stalled", False
            raise Refused(Reason.INCOMPLETE) from None
        if message["type"] == "http.disconnect":
            exchange.outcome, exchange.unread_body = "broken", False
            raise Refused(Reason.INCOMPLETE)
        data: bytes = message.get("body", b"")
        exchange.received_bytes += len(data)
        # before it is written, whatever Content-Length said
        if exchange.received_bytes > head.max_bytes:
            raise Refused(Reason.TOO_LARGE)
        checksums.update(data)
        await staged.write(data)
        parts.transfers.touch(transfer)
        if not message.get("more_body"):
            exchange.unread_body = False
            return
        if admission.claim_id and parts.monotonic() >= renew_at:
            renew_at = parts.monotonic() + parts.rules.lease_s / 3
            parts.runner.run_in_background(grant.link_id, _renew(parts, grant, admission.claim_id))


def _renew(parts: Parts, grant: Grant, claim_id: str) -> Talk[bool]:
    return rewrite(
        grant.link_id,
        forget_after(grant.expires_s),
        lambda record: renew_lease(record, claim_id, parts.now_s(), parts.rules),
    )


def _spend(grant: Grant, claim_id: str, etag: str) -> Talk[bool]:
    return rewrite(grant.link_id, forget_after(grant.expires_s), lambda record: upload_stored(record, claim_id, etag))


def _let_go(grant: Grant, claim_id: str) -> Talk[bool]:
    return rewrite(grant.link_id, forget_after(grant.expires_s), lambda record: upload_failed(record, claim_id))
