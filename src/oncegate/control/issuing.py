"""Making a link for the control API: what is decided when the order leaves it open, what is recorded, what is signed.

Without a label and an idempotency key a link needs no ledger. With either, an issued record is inserted before the
link is handed out, so that it is listed before anyone opens it.

**Idempotency.** The ticket's nonce is derived from the caller's token and his key alone (HMAC-SHA256 under the token,
which nobody else has), so the same call meets the same record in the ledger, whichever process answers it, and one
atomic insert decides which of two calls at once made the link. The answer is then built from that record: the same
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
from dataclasses import asdict, dataclass, replace

from oncegate.control.parts import ControlParts
from oncegate.control.recording import read_record, run_until_known
from oncegate.control.tokens import Token
from oncegate.ledgers.claiming import insert_or_rewrite
from oncegate.ledgers.protocol import forget_after
from oncegate.links.grant import Scheme
from oncegate.links.issue import S3Issuer, Wish, make_link
from oncegate.links.ticket import Ticket, text_of_id, uuid7
from oncegate.settings import Settings
from oncegate.uses.record import Issued, Record
from oncegate.uses.standing import LABEL_SEPARATOR

DEFAULT_LIFETIME_S = 3_600
S3_REGION = "us-east-1"
"""What S3 links name where ``[links] s3_region`` is empty, as the SDKs do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller asks for; None: to be decided here.

    Attributes:
        object_key: decoded text.
        operation: ``g`` or ``p``.
        lifetime_s: from now; not beside ``expires_s``.
        expires_s: refused at this second and after.
        label: of the issuer; a link with one is listed before it is opened.
        others: as ``links.issue.Wish`` has them.
    """

    object_key: str
    operation: str = "g"
    lifetime_s: int | None = None
    expires_s: int | None = None
    not_before_s: int | None = None
    uses: int = 1
    source_ip: str | None = None
    filename: str | None = None
    inline: bool = False
    max_bytes: int | None = None
    media_type: str | None = None
    may_replace: bool = False
    scheme: Scheme = Scheme.CANNED
    label: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        token: what is known of it.
        secret: as it was shown; derives nonces and goes nowhere else.
    """

    token: Token
    secret: bytes

    def __repr__(self) -> str:
        return f"Caller({self.token.id})"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLink:
    """A link and what was decided.

    Attributes:
        url: the link; a secret of whoever it is for.
        wish: what it allows.
        made_s: seconds since 1970 UTC.
        label: of the issuer.
        is_listed: an issued record stands in the ledger.
    """

    url: str
    wish: Wish
    made_s: int
    label: str
    is_listed: bool

    def __repr__(self) -> str:
        return f"MadeLink({text_of_id(self.wish.ticket.nonce)})"


class OrderRefused(ValueError):
    """The order cannot be filled; the message says what to change."""


class KeyUsedOtherwise(Exception):
    """The idempotency key was used for another order, and its link is still remembered."""


async def issue_link(
    parts: ControlParts, order: Order, *, caller: Caller, idempotency_key: str | None = None
) -> MadeLink:
    """Make a link.

    Args:
        parts: of the control API.
        order: what is asked for.
        caller: who asks.
        idempotency_key: so that the same call makes no second link.

    Raises:
        OrderRefused: it cannot be filled.
        KeyUsedOtherwise: see there.
        LedgerSilent: whether the link is recorded is not known; the same call with the same key will tell.
        RecordUnreadable: what stands under the key is of another version, or damaged.
    """
    now_s = parts.now_s()
    mark = ""
    if idempotency_key is None:
        # by a clock that is behind the ledger's the link would be older than the ledger, and refused everywhere
        nonce = uuid7(max(int(parts.clock_s() * 1000), parts.born_ms), parts.random_bytes(10))
    else:
        nonce, mark = _nonce_of(idempotency_key, caller, parts), _mark_of(order)
        # before the order is checked: a call that is repeated is answered alike, also when its expires_at has passed
        standing = await read_record(parts.runner, nonce)
        if standing is not None:
            return await _make_again(parts, order, nonce=nonce, mark=mark, record=standing)
    expires_s = _end_of(order, now_s, parts.settings.links.max_lifetime_s)
    made = await _sign(parts, order, nonce=nonce, made_s=now_s, expires_s=expires_s)
    if order.label or mark:
        standing = await _insert(parts, order, made, mark)
        if standing is not None:
            return await _make_again(parts, order, nonce=nonce, mark=mark, record=standing)
        made = replace(made, is_listed=True)
    _note(parts, made, caller.token)
    return made


def _end_of(order: Order, now_s: int, max_lifetime_s: int) -> int:
    """Decide when a link expires."""
    if order.lifetime_s is not None and order.expires_s is not None:
        raise OrderRefused("give expires_in or expires_at, not both")
    expires_s = order.expires_s
    if expires_s is None:
        expires_s = now_s + (min(DEFAULT_LIFETIME_S, max_lifetime_s) if order.lifetime_s is None else order.lifetime_s)
    if expires_s <= now_s:
        raise OrderRefused("the link would have expired already: expires_at lies in the past, or expires_in is 0")
    if expires_s - now_s > max_lifetime_s:
        raise OrderRefused(
            f"links live at most {max_lifetime_s} seconds here, this one would live {expires_s - now_s}: "
            "ask for less, or raise [links] max_lifetime"
        )
    if order.not_before_s is not None and order.not_before_s >= expires_s:
        raise OrderRefused("not_before lies after the end of the link: it could never be opened")
    return expires_s


def _nonce_of(idempotency_key: str, caller: Caller, parts: ControlParts) -> bytes:
    """The same 16 bytes for the same token and key, as long as the ledger is the same."""
    # under the token: a key may be an order's number, and who guesses it must neither know the id nor meet its record
    digest = hmac.digest(caller.secret, b"oncegate idempotency key\0" + idempotency_key.encode(), "sha256")
    return uuid7(max(parts.born_ms, parts.settings.ledger.accept_from_ms or 0), digest[:10])


async def _sign(parts: ControlParts, order: Order, *, nonce: bytes, made_s: int, expires_s: int) -> MadeLink:
    """Sign, in a thread: the key may be a service's. Refuses what no link could hold before anything is written."""
    settings = parts.settings
    try:
        ticket = Ticket(operation=order.operation, uses=order.uses, nonce=nonce, home=settings.links.home)
        wish = Wish(
            object_key=order.object_key,
            ticket=ticket,
            expires_s=expires_s,
            not_before_s=order.not_before_s,
            source_ip=order.source_ip,
            filename=order.filename,
            inline=order.inline,
            max_bytes=order.max_bytes,
            media_type=order.media_type,
            may_replace=order.may_replace,
            scheme=_scheme_of(order),
        )
        url = await asyncio.to_thread(
            make_link,
            wish,
            public_url=settings.viewer.public_url[0],
            key=parts.signer(),
            s3=_s3_issuer(settings),
            now_s=made_s,
        )
    except ValueError as error:
        raise OrderRefused(str(error)) from None
    return MadeLink(url=url, wish=wish, made_s=made_s, label=order.label, is_listed=False)


def _scheme_of(order: Order) -> Scheme:
    """A canned policy holds an end and nothing else."""
    needs_custom = order.not_before_s is not None or order.source_ip is not None
    return Scheme.CUSTOM if order.scheme is Scheme.CANNED and needs_custom else order.scheme


def _s3_issuer(settings: Settings) -> S3Issuer | None:
    """The first of the configured credentials signs."""
    for access_key_id, secret in settings.s3_credentials.items():
        region = settings.links.s3_region or S3_REGION
        return S3Issuer(access_key_id=access_key_id, secret=secret, region=region, bucket=settings.links.s3_bucket)
    return None


async def _insert(parts: ControlParts, order: Order, made: MadeLink, mark: str) -> Record | None:
    """Insert the issued record; return what stands there instead, where another call was first."""
    ticket = made.wish.ticket
    issued = Issued(
        object_key=order.object_key,
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
    # two calls within one second write the same bytes: then both made the link
    return None if stands == mine else stands or Record()


async def _make_again(parts: ControlParts, order: Order, *, nonce: bytes, mark: str, record: Record) -> MadeLink:
    """Answer as the call did that made the link."""
    issued = record.issued
    if issued is None or issued.label != _stored_label(order, mark):
        raise KeyUsedOtherwise
    made = await _sign(parts, order, nonce=nonce, made_s=issued.made_s, expires_s=issued.expires_s)
    return replace(made, is_listed=True)


def _stored_label(order: Order, mark: str) -> str:
    return f"{order.label}{LABEL_SEPARATOR}{mark}" if mark else order.label


def _mark_of(order: Order) -> str:
    """Tell one order from another: 16 characters over what differs from the usual values."""
    # only what differs: a later version's new members do not change the mark of an order that has none of them
    said = {name: str(value) for name, value in asdict(order).items() if value != getattr(_USUAL, name)}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()
    return base64.urlsafe_b64encode(digest[:12]).decode()


_USUAL = Order(object_key="")


def _note(parts: ControlParts, made: MadeLink, token: Token) -> None:
    parts.journal.write(
        "issued",
        link_id=text_of_id(made.wish.ticket.nonce),
        key=made.wish.object_key,
        operation="put" if made.wish.ticket.operation == "p" else "get",
        uses=made.wish.ticket.uses,
        expires=made.wish.expires_s,
        label=made.label or None,
        token=token.id,
    )
