"""Links whose object goes with them (``--delete-after``): what the commands that make such links share.

The removal is recorded in the ledger before the link is printed, so that the object goes also if nobody opens the link.
"""

from __future__ import annotations

import asyncio

import click

from oncegate.cli.main import Misuse, Refusal
from oncegate.cli.records import with_records
from oncegate.cli.wiring import open_store
from oncegate.control.recording import SweptAhead, record_removal
from oncegate.links.errors import BadRequest
from oncegate.links.issue import Wish, check_removals
from oncegate.settings import Settings
from oncegate.stores.protocol import StoreFault


def check_allowed(settings: Settings) -> None:
    """Make sure that the gateway would serve such a link.

    Raises:
        Misuse: it would not.
    """
    try:
        check_removals(settings.links.delete_after)
    except BadRequest as bad:
        raise Misuse(bad.why) from None


def record(wish: Wish, etag: str, settings: Settings) -> None:
    """Record that this version of an object goes with a link that is about to be printed.

    Raises:
        Misuse: its uses are counted by another home, which has other gateways.
        Refusal, LedgerUnfit: it is not recorded.
    """
    if wish.ticket.home != settings.links.home:
        raise Misuse("--delete-after is for links of this installation's own home")
    try:
        with_records(settings, lambda records: record_removal(records.runner, wish, etag))
    except SweptAhead:
        raise Refusal("the ledger was swept past the end of this link: see oncegate doctor") from None


def etag_of(key: str, settings: Settings) -> str:
    """Return the ETag of the object that stands now.

    Raises:
        Refusal: there is none, or the store does not say.
    """

    async def look() -> str | None:
        store = open_store(settings)
        try:
            opened = await store.look(key)
            if opened is None:
                return None
            await opened.aclose()
            return opened.info.etag
        finally:
            await store.aclose()

    try:
        etag = asyncio.run(look())
    except StoreFault as fault:
        raise Refusal(f"the store does not say whether it has {key}: {fault or type(fault).__name__}") from None
    if etag is None:
        raise Refusal(f"the store has no object {key}: --delete-after is for one that is there")
    return etag


def take_away(key: str, etag: str, settings: Settings) -> None:
    """Remove an object that was stored for a link which cannot be handed out; say so where it stays."""

    async def remove() -> None:
        store = open_store(settings)
        try:
            await store.remove(key, etag)
        finally:
            await store.aclose()

    try:
        asyncio.run(remove())
    except StoreFault as fault:
        click.echo(f"{key} stays in the store: {fault or type(fault).__name__}", err=True)
