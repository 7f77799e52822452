"""Make a link for the control API: decide what the order leaves open, record it where that was asked for, sign it.

Without a label and an idempotency key a link needs no ledger. With either, an issued record is inserted before the
link is handed out, so that it is listed before anyone opens it.

**Idempotency.** The ticket's nonce is derived from the caller's token and key alone (HMAC-SHA256 under the token, which
nobody else has). So the same call finds the same record in the ledger, whichever process answers it, and one atomic
insert decides which of two concurrent calls made the link. The answer is then built from that record: the same
id, the same times, the same one use. (An ECDSA signature has many spellings, so the text of the URL may differ.) The
record also keeps a mark of the order; the same key with another order is refused. It holds as long as the record: a
day longer than the link; then the key makes a new link. The nonce's time part is the beginning of the ledger (or
``accept_from``), which every ticket must reach: no moment of a call could be found again by the next one.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from oncegate.control.callers import Caller
from oncegate.control.parts import ControlParts
from oncegate.control.recording import SweptAhead, read_record, record_removal, run_until_known
from oncegate.control.tokens import Token
from oncegate.keys.signing import s3_issuer_of
from oncegate.ledgers.claiming import insert_or_rewrite
from oncegate.ledgers.protocol import forget_after
from oncegate.links.errors import BadRequest
from oncegate.links.issue import Wish, check_removals, end_of, make_link, members_of_made
from oncegate.links.link_id import text_of_id, uuid7
from oncegate.uses.record import Issued, Record
from oncegate.uses.standing import LABEL_SEPARATOR

if TYPE_CHECKING:
    from oncegate.control.bodies.making import LinkOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLink:
    """A link and what was decided.

    Attributes:
        url: the link; a secret of whoever it is for.
        wish: what it allows.
        made_s: seconds since 1970 UTC.
        label: of the issuer.
        is_listed: the ledger has a record of it before it is opened.
    """

    url: str
    wish: Wish
    made_s: int
    label: str
    is_listed: bool

    @property
    def members(self) -> dict[str, object]:
        """As ``POST /v1/links`` shows it."""
        shown = members_of_made(self.wish, url=self.url, made_s=self.made_s)
        return {**shown, "label": self.label or None, "listed": self.is_listed}

    def __repr__(self) -> str:
        return f"MadeLink({text_of_id(self.wish.ticket.nonce)})"


class KeyUsedOtherwise(Exception):
    """The idempotency key was used for another order, and its link is still remembered."""


async def issue_link(
    parts: ControlParts, order: LinkOrder, *, caller: Caller, idempotency_key: str | None = None
) -> MadeLink:
    """Make a link.

    Args:
        parts: of the control API.
        order: what is asked for.
        caller: who asks.
        idempotency_key: so that the same call makes no second link.

    Raises:
        BadRequest: no link can be made of it; nothing was written.
        KeyUsedOtherwise: see there.
        SweptAhead: see there.
        LedgerSilent: whether the link is recorded is not known; the same call with the same key will tell.
        RecordUnreadable: the record under the key is of another version, or damaged.
    """
    now_s = parts.now_s()
    mark = ""
    if idempotency_key is None:
        # with a clock behind the ledger's, the link would be older than the ledger and refused everywhere
        nonce = uuid7(max(int(parts.clock_s() * 1000), parts.born_ms), parts.random_bytes(10))
    else:
        nonce, mark = _nonce_of(idempotency_key, caller, parts), _mark_of(order)
        # before the order is checked: a repeated call gets the same answer, also after its expires_at
        standing = await read_record(parts.runner, nonce)
        if standing is not None:
            return await _make_again(parts, order, nonce=nonce, mark=mark, record=standing)
    made = await _sign(parts, order, nonce=nonce, made_s=now_s)
    if made.wish.delete_after:
        await record_removal(parts.runner, made.wish, await _etag_to_remove(parts, made.wish))
    if order.label or mark:
        standing = await _insert(parts, order, made, mark)
        if standing is not None:
            return await _make_again(parts, order, nonce=nonce, mark=mark, record=standing)
        made = replace(made, is_listed=True)
    _note(parts, made, caller.token)
    return made


async def _etag_to_remove(parts: ControlParts, wish: Wish) -> str:
    """Return which version of the object the link is made for.

    Raises:
        BadRequest: no object is removed here, or there is none.
        StoreFault: the store does not say.
    """
    check_removals(parts.settings.links.delete_after)
    opened = await parts.store.look(wish.object_key)
    if opened is None:
        raise BadRequest("key", f"the store has no object {wish.object_key}: delete_after is for one that is there")
    await opened.aclose()
    return opened.info.etag


def _nonce_of(idempotency_key: str, caller: Caller, parts: ControlParts) -> bytes:
    """The same 16 bytes for the same token and key, as long as the ledger is the same."""
    # keyed with the token: a key may be the number of an order, and nobody who guesses it may learn the id or find its
    # record
    digest = hmac.digest(caller.secret, b"oncegate idempotency key\0" + idempotency_key.encode(), "sha256")
    return uuid7(max(parts.born_ms, parts.settings.ledger.accept_from_ms or 0), digest[:10])


async def _sign(
    parts: ControlParts, order: LinkOrder, *, nonce: bytes, made_s: int, expires_s: int | None = None
) -> MadeLink:
    """Sign, in a thread: the key may be a service's. Refuses what no link could hold before anything is written.

    Args:
        parts: of the control API.
        order: what is asked for.
        nonce: of the ticket.
        made_s: seconds since 1970 UTC.
        expires_s: the end of a link that is made again; None: to be decided.

    Raises:
        BadRequest: no link can hold it, or there is nothing to sign it with.
    """
    settings = parts.settings
    if expires_s is None:
        expires_s = end_of(
            now_s=made_s,
            expires_s=order.expires_at,
            lifetime_s=order.expires_in,
            max_lifetime_s=settings.links.max_lifetime_s,
        )
    wish = order.wish(nonce=nonce, home=settings.links.home, expires_s=expires_s)
    url = await asyncio.to_thread(
        make_link,
        wish,
        public_url=settings.viewer.public_url[0],
        key=parts.signer(),
        s3=s3_issuer_of(settings),
        now_s=made_s,
    )
    return MadeLink(url=url, wish=wish, made_s=made_s, label=order.label or "", is_listed=False)


async def _insert(parts: ControlParts, order: LinkOrder, made: MadeLink, mark: str) -> Record | None:
    """Insert the issued record; return the record of another call where that one was first."""
    ticket = made.wish.ticket
    issued = Issued(
        object_key=made.wish.object_key,
        operation=ticket.operation,
        uses=ticket.uses,
        made_s=made.made_s,
        expires_s=made.wish.expires_s,
        label=_stored_label(order, mark),
    )
    mine = Record(uses=0, issued=issued)
    talk = insert_or_rewrite(
        ticket.nonce, forget_after(issued.expires_s), lambda stands: mine if stands is None else None
    )
    stands = await run_until_known(parts.runner, ticket.nonce, talk)
    if stands is None:
        raise SweptAhead
    # two calls within one second write the same bytes; both made the link then
    return None if stands == mine else stands


async def _make_again(parts: ControlParts, order: LinkOrder, *, nonce: bytes, mark: str, record: Record) -> MadeLink:
    """Give the answer of the call that made the link."""
    issued = record.issued
    if issued is None or issued.label != _stored_label(order, mark):
        raise KeyUsedOtherwise
    made = await _sign(parts, order, nonce=nonce, made_s=issued.made_s, expires_s=issued.expires_s)
    return replace(made, is_listed=True)


def _stored_label(order: LinkOrder, mark: str) -> str:
    label = order.label or ""
    return f"{label}{LABEL_SEPARATOR}{mark}" if mark else label


def _mark_of(order: LinkOrder) -> str:
    """Tell one order from another: 16 characters over what differs from the usual values."""
    # only what differs: a later version's new members do not change the mark of an order that has none of them
    said = {name: str(value) for name, value in order.model_dump(exclude_defaults=True).items()}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()


def _note(parts: ControlParts, made: MadeLink, token: Token) -> None:
    parts.journal.write(
        "issued",
        link_id=text_of_id(made.wish.ticket.nonce),
        key=made.wish.object_key,
        operation=made.wish.ticket.operation.word,
        uses=made.wish.ticket.uses,
        expires=made.wish.expires_s,
        label=made.label or None,
        token=token.id,
    )
