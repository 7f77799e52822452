"""The page where files are sent, and what a form without a script gets. The upload itself is ``uploads.py``'s."""

from __future__ import annotations

from collections.abc import Callable

from oncegate.gateway.exchange import Exchange
from oncegate.gateway.forms import Form, safe_name
from oncegate.gateway.parts import Parts
from oncegate.gateway.records import record_of
from oncegate.gateway.uploads import receive_upload
from oncegate.links.grant import Grant
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.uses.record import EMPTY
from oncegate.uses.upload import is_leased
from oncegate.web.names import shown_file
from oncegate.web.pages import Uploaded
from oncegate.web.uploading import Upload

NAMES_MAX = 20
"""Numbers that are tried where a file of the same name was sent before."""


async def serve_upload_page(parts: Parts, exchange: Exchange, request: ViewerRequest, grant: Grant) -> None:
    """Show where a file can be sent, to a browser that goes to an upload link. Spends nothing.

    Raises:
        Refused: USED, REVOKED, UPLOAD_RUNNING, OBJECT_STANDS, LEDGER_UNKNOWN: nothing can be sent now.
    """
    exchange.outcome = "page"
    record = (await record_of(parts, grant) if grant.is_counted else None) or EMPTY
    if record.is_revoked:
        raise Refused(Reason.REVOKED)
    if grant.is_counted and record.uses >= grant.uses:
        raise Refused(Reason.USED)
    if grant.uses == 1 and is_leased(record, parts.now_s(), parts.rules):
        raise Refused(Reason.UPLOAD_RUNNING)
    if not grant.is_any_key and not grant.limits.may_replace and await _stands(parts, grant.object_key):
        raise Refused(Reason.OBJECT_STANDS)
    limits = grant.limits
    upload = Upload(
        uses_left=grant.uses - record.uses if grant.is_counted else 1,
        expires_s=grant.expires_s,
        is_many=request.path.endswith(b"/"),
        max_bytes=limits.max_bytes,
        media_type=limits.media_type or "",
        sender=limits.sender,
        note=limits.note,
    )
    await exchange.answer(parts.pages.upload(request, upload))


async def serve_form(
    parts: Parts, exchange: Exchange, request: ViewerRequest, grant: Grant, verify: Callable[[ViewerRequest], Grant]
) -> None:
    """Answer the form of a browser without a script: what a PUT does, and a page.

    Args:
        parts: of the gateway.
        exchange: with the form's body.
        request: the POST.
        grant: what the link allows; of a link to many keys, beneath a name that stands for any.
        verify: of the PUT to the name that the file is given.

    Raises:
        Refused, StoreFault: as a PUT's.
    """
    form = Form(request, exchange.read, stall_s=parts.settings.links.stall_timeout_s)
    put = await form.open()
    if request.path.endswith(b"/"):
        put = form.at(put, await _free_name(parts, grant, form.name))
        grant = exchange.grant = verify(put)
    read, exchange.read = exchange.read, form.read
    try:
        info, digest = await receive_upload(parts, exchange, put, grant, is_hashed=True)
    finally:
        exchange.read = read
    record = (await record_of(parts, grant) if grant.is_counted else None) or EMPTY
    file = shown_file(form.name, media_type=info.content_type, size_bytes=info.size_bytes)
    left = max(0, grant.uses - record.uses) if grant.is_counted else 0
    answer = parts.pages.uploaded(request, Uploaded(file, parts.now_s(), digest.hex(), left))
    await exchange.answer(answer)


async def _free_name(parts: Parts, grant: Grant, name: str) -> str:
    """A name under which nothing stands yet; whether that is still so is decided where the file is put in place."""
    folder = grant.object_key.rpartition("/")[0]
    for number in range(1, NAMES_MAX):
        if not await _stands(parts, f"{folder}/{safe_name(name, number)}"):
            return safe_name(name, number)
    raise Refused(Reason.OBJECT_STANDS)


async def _stands(parts: Parts, key: str) -> bool:
    opened = await parts.store.look(key)
    if opened is not None:
        await opened.aclose()
    return opened is not None
