"""Hands a claimed download over to the proxy that asked for it, where ``accel.py`` says that it can send it."""

from __future__ import annotations

from typing import Protocol

from oncegate.gateway import accel
from oncegate.gateway.exchange import Exchange
from oncegate.gateway.handed_over import SENT_BY_PROXY
from oncegate.gateway.parts import Parts
from oncegate.gateway.ranges import Plan
from oncegate.ledgers.claiming import Talk
from oncegate.links.grant import Grant
from oncegate.links.link_id import text_of_id
from oncegate.links.people import agent_of
from oncegate.links.request import ViewerRequest
from oncegate.stores.protocol import OpenObject, OpenPresigned, StoreFault
from oncegate.uses.record import Doubt
from oncegate.web.answers import Header

URL_LIVES_S = 20
"""The proxy asks the bucket at once; the clocks of gateway and bucket may differ by some seconds."""


class GivesBack(Protocol):
    """Makes the talk that gives back so many bytes of a claim, and says whether the others have arrived."""

    def __call__(self, back_bytes: int, *, doubt: Doubt) -> Talk[bool]:
        """Return it."""
        ...


async def hand_over(
    parts: Parts,
    exchange: Exchange,
    request: ViewerRequest,
    grant: Grant,
    opened: OpenObject,
    *,
    plan: Plan,
    claim_id: str,
    headers: list[Header],
    give_back: GivesBack,
) -> bool:
    """Let the proxy send what was claimed.

    Args:
        parts: of the gateway, with the ledger that counts the link.
        exchange: whose peer the proxy is.
        request: the viewer's.
        grant: of the link.
        opened: the object, looked at.
        plan: what is to be answered.
        claim_id: whose bytes are sent; empty for a link that is not counted.
        headers: of the answer that the gateway would give.
        give_back: makes the talk that gives back what was not sent.

    Returns:
        False: the gateway is to send, and nothing was sent yet.
    """
    handed, info = parts.handed, opened.info
    if handed is None or not exchange.is_from_proxy or exchange.has_gone():
        return False
    span = plan.span or (0, info.size_bytes)
    is_part = plan.status == 206
    min_bytes = parts.settings.delivery.accel_min_bytes
    if not accel.is_handed_over(request, headers, span, is_part=is_part, min_bytes=min_bytes):
        return False
    where = await _where(parts, opened, plan.span)
    if where is None:
        return False
    fields = {
        "link_id": text_of_id(grant.link_id),
        "key": grant.object_key,
        "size": info.size_bytes,
        "address": request.address,
        "agent": agent_of(request),
    }
    transfer_id = handed.begin(
        claim_id,
        span[1] - span[0],
        lambda back_bytes, doubt: parts.runner.run_in_background(grant.link_id, give_back(back_bytes, doubt=doubt)),
        fields,
    )
    if not transfer_id:
        return False
    exchange.outcome = SENT_BY_PROXY
    head = accel.head_for_proxy(headers, transfer_id, *where)
    # the proxy makes 206 of it, and reads the range as the gateway did
    exchange.start(200, head)
    await exchange.write(b"", is_last=True)
    return True


async def _where(parts: Parts, opened: OpenObject, span: tuple[int, int] | None) -> tuple[str, list[Header]] | None:
    """The internal location, and what else the proxy needs to know; None: the proxy cannot have this object."""
    prefix, key = parts.settings.delivery.accel_prefix, opened.info.key
    if key != key.strip(" "):
        return None  # a header's value has no blanks at its ends
    if parts.settings.store.url.startswith("file:"):
        return accel.folder_headers(prefix, key)
    if not isinstance(opened, OpenPresigned):
        return None
    try:
        presigned = await opened.presigned(URL_LIVES_S)
    except StoreFault:
        return None  # it will fail for the gateway too, which says why
    return None if presigned is None else (prefix, accel.bucket_headers(presigned.url, presigned.etag, span))
