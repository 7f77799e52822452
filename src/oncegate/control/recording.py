"""Records, as the control API and the command line read and write them: no caller waits longer than a viewer would.

A write whose result is not known in time goes on in the background (``LedgerRunner.drain`` waits for it): a revocation
that was asked for happens, even if its caller got 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar, cast

from oncegate.ledgers.claiming import Talk, insert_or_rewrite
from oncegate.ledgers.protocol import (
    FORGET_NEVER_S,
    Event,
    KeepsEvents,
    Ledger,
    LinkEvents,
    Stands,
    Unknown,
    forget_after,
)
from oncegate.ledgers.removals import change_removal
from oncegate.ledgers.runner import WAIT_MAX_S, LedgerRunner
from oncegate.links.issue import Wish
from oncegate.links.link_id import text_of_id
from oncegate.uses import use
from oncegate.uses.record import Record, from_json
from oncegate.uses.removal import Removal, removal_id

T = TypeVar("T")


class LedgerSilent(Exception):
    """The ledger did not answer in time: 503. A write goes on in the background."""


async def read_record(runner: LedgerRunner, link_id: bytes) -> Record | None:
    """Read a link's record; None where there is none.

    Raises:
        LedgerSilent: it is not known in time.
        RecordUnreadable: its record cannot be read.
    """
    try:
        async with asyncio.timeout(WAIT_MAX_S):
            found = await runner.read(link_id)
    except TimeoutError:
        raise LedgerSilent from None
    if isinstance(found, Unknown):
        raise LedgerSilent
    return from_json(found.record) if isinstance(found, Stands) else None


async def read_events_of_link(ledger: Ledger, link_id: bytes, limit: int) -> LinkEvents:
    """Read the newest events of a link and their counts, as ``KeepsEvents`` does; none where the ledger keeps none.

    Raises:
        LedgerSilent: the ledger does not answer; its own error may hold what a driver was told.
    """
    if not isinstance(ledger, KeepsEvents):
        return LinkEvents()
    try:
        return await ledger.events_of_link(text_of_id(link_id), limit)
    except OSError:
        raise LedgerSilent from None


async def read_events(
    ledger: KeepsEvents, after: int, limit: int, *, link_id: str | None = None
) -> Sequence[tuple[int, Event]]:
    """List events, as ``KeepsEvents.read_events`` does.

    Raises:
        LedgerSilent: the ledger does not answer; its own error may hold what a driver was told.
    """
    try:
        return await ledger.read_events(after, limit, link_id=link_id)
    except OSError:
        raise LedgerSilent from None


async def run_until_known(runner: LedgerRunner, link_id: bytes, talk: Talk[T]) -> T:
    """Run a talk about a link.

    Raises:
        LedgerSilent: it is not known in time, and goes on.
        RecordUnreadable: its record cannot be read.
    """
    task = runner.run_in_background(link_id, talk)
    done, _ = await asyncio.wait({task}, timeout=WAIT_MAX_S)
    if not done:
        raise LedgerSilent
    return cast("T", task.result())


class SweptAhead(Exception):
    """The ledger was swept past the end of this link, so it would be refused everywhere: a clock was ahead."""


async def record_removal(runner: LedgerRunner, wish: Wish, etag: str) -> None:
    """Record that an object goes with its link, before the link is handed out: also one that is never opened.

    Args:
        runner: over the ledger that counts the link.
        wish: what the link allows.
        etag: of the object that stands now; no other version is removed unless the link delivers it.

    Raises:
        LedgerSilent: whether it is recorded is not known.
        SweptAhead: see there.
    """
    nonce = wish.ticket.nonce
    removal = Removal(
        link_id=text_of_id(nonce),
        object_key=wish.object_key,
        etag=etag,
        uses=wish.ticket.uses,
        expires_s=wish.expires_s,
    )
    row_id = removal_id(nonce)
    talk = change_removal(row_id, removal.forget_after_s, lambda stands: removal if stands is None else None)
    if await run_until_known(runner, row_id, talk) is None:
        raise SweptAhead


async def revoke_link(runner: LedgerRunner, link_id: bytes, *, expires_s: int | None = None) -> Record:
    """Revoke a link, whoever signed it: no gateway admits a new claim or range of it from then on.

    Without a record the ledger does not know when the link ends, so the revocation is kept for ever, unless
    ``expires_s`` says when; a value that is too early lets the revocation be forgotten before the link ends. Where there
    is a record of an unlisted link ``expires_s`` is ignored: the record must not be forgotten while the link lives.

    Args:
        runner: over the ledger.
        link_id: 16 bytes.
        expires_s: when the link ends, seconds since 1970 UTC.

    Returns:
        The record as it is now.

    Raises:
        LedgerSilent: whether it is revoked is not known yet.
        RecordUnreadable: its record cannot be read.
    """
    record = await read_record(runner, link_id)
    if record is not None:
        expires_s = None if record.issued is None else max(expires_s or 0, record.issued.expires_s)
    forget_after_s = FORGET_NEVER_S if expires_s is None else forget_after(expires_s)
    stands = await run_until_known(runner, link_id, insert_or_rewrite(link_id, forget_after_s, use.revoke))
    if stands is None:  # the end that was given is before the ledger's last sweep, so it cannot be right
        talk = insert_or_rewrite(link_id, FORGET_NEVER_S, use.revoke)
        stands = await run_until_known(runner, link_id, talk)
    return stands if stands is not None else Record(is_revoked=True)
