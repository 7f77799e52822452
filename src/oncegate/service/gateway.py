"""From a configuration to a gateway that is kept in order: what ``oncegate serve`` stands on, and how to embed it.

Opens the key group, the ledger and the store, and probes the last two. While it is open, it follows the key group, cuts
stalled transfers, asks whether the ledger is still fit, and sweeps ledger and store. At the end it cuts the transfers
that still run and settles them. It opens no socket: that is for the server (server/listener.py, or any other that keeps
to docs/guides/embed.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from oncegate.events import Journal
from oncegate.gateway.app import Gateway
from oncegate.gateway.delivery import Transfers
from oncegate.gateway.handed_over import LINE_WITHIN_S, HandedOver
from oncegate.gateway.parts import Parts
from oncegate.keys.trust import Trusting
from oncegate.ledgers.health import LedgerHealth
from oncegate.ledgers.homes import FurtherHomes, HomeLedger
from oncegate.ledgers.protocol import KeepsEvents, Ledger, LimitsEvents
from oncegate.ledgers.runner import LedgerRunner
from oncegate.meters import Meters
from oncegate.server.limits import KERNEL_FIRST_S
from oncegate.service import proxy_log
from oncegate.service.home_ledgers import open_home_ledger
from oncegate.service.upkeep import keep_removing, keep_swept, stay_fit
from oncegate.settings import Settings
from oncegate.stores.metered import MeteredStore
from oncegate.stores.opening import open_store
from oncegate.stores.protocol import StoreFault, StoreUnfit
from oncegate.web.pages import Pages

_log = logging.getLogger("oncegate.gateway")

TICK_S = 1.0
SWEEP_EVERY_S = 3_600
LEFTOVER_AGE_S = 86_400
SETTLE_MIN_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenGateway:
    """A gateway that is kept in order while its block runs.

    Attributes:
        app: ASGI 3, for HTTP alone; knows no lifespan.
        parts: what it is made of.
        ledger: the one that ``parts.runner`` asks.
        trusting: the public keys and S3 credentials that are trusted, as they are now.
    """

    app: Gateway
    parts: Parts
    ledger: Ledger
    trusting: Trusting


def _is_for_a_person(settings: Settings, descriptor: int) -> bool:
    """Whether the log is read by a person, not by a program."""
    match settings.log.format:
        case "auto":
            return os.isatty(descriptor)
        case form:
            return form == "console"


@contextlib.asynccontextmanager
async def open_gateway(settings: Settings, *, log_descriptor: int = 2) -> AsyncGenerator[OpenGateway]:
    """Open everything that serves links; on leaving, cut what still runs, settle it, and let go.

    To be entered and left in the event loop that serves.

    Args:
        settings: of the configuration.
        log_descriptor: where log lines go.

    Raises:
        LedgerUnfit, StoreUnfit, KeyUnfit: what cannot keep its promise, or cannot be opened; in words for the operator.
    """
    trusting = Trusting(settings)
    pages = Pages(settings)
    async with contextlib.AsyncExitStack() as last:
        ledger = open_home_ledger(settings)
        last.push_async_callback(ledger.aclose)
        store = open_store(settings.store.url, folder=settings.folder, options=settings.store.options)
        last.push_async_callback(store.aclose)
        if isinstance(ledger, LimitsEvents):
            ledger.limit_events(settings.ledger.events_size_bytes)
        facts = await ledger.probe()
        try:
            await store.probe()
            may_remove = settings.links.delete_after == "refuse" or await store.may_remove()
        except StoreFault as fault:  # at the start, every fault of a store is a message for the operator
            raise StoreUnfit(f"store.url: {fault}") from fault
        if not may_remove:
            raise StoreUnfit(
                'delete_after = "allow", and this store cannot remove the one version that a link delivered',
                remedy="take a store that can (docs/reference/stores.md), let the gateway write to it, or refuse such links",
                where="links.delete_after",
            )
        meters = Meters()
        keep = ledger.append_events if isinstance(ledger, KeepsEvents) else None
        journal = Journal(descriptor=log_descriptor, console=_is_for_a_person(settings, log_descriptor), keep=keep)
        parts = Parts(
            settings=settings,
            store=MeteredStore(store, meters),
            runner=LedgerRunner(ledger, meters, health=LedgerHealth(facts)),
            born_ms=facts.born_ms,
            trust=trusting.now,
            journal=journal,
            clock=time.time,
            monotonic=time.monotonic,
            transfers=Transfers(time.monotonic),
            pages=pages,
            meters=meters,
            homes=_further_homes(settings, meters, last),
            handed=_handed_over(settings, journal, last),
        )
        last.push_async_callback(parts.homes.aclose)
        # Left in reverse order: ticking and sweeping end, what broke is settled, and events are written (to the ledger,
        # if it keeps them). Only then are store and ledger closed.
        last.push_async_callback(parts.journal.aclose)
        last.push_async_callback(_settle, parts)
        upkeep = (
            stay_fit(parts.runner.health, ledger),
            keep_swept(parts, ledger),
            keep_removing(parts, ledger),
            _sweep_store(parts),
        )
        for work in (_tick(parts, trusting), *upkeep):
            last.callback(asyncio.create_task(work).cancel)
        yield OpenGateway(app=Gateway(parts), parts=parts, ledger=ledger, trusting=trusting)


def _handed_over(settings: Settings, journal: Journal, last: contextlib.AsyncExitStack) -> HandedOver | None:
    """Return the transfers that proxies have; while ``last`` is open, what proxies say of them is listened to."""
    if settings.delivery.mode != "accel":
        return None
    handed = HandedOver(clock=time.monotonic, journal=journal)
    last.enter_context(proxy_log.listening(settings, handed.take_line))
    return handed


def _further_homes(settings: Settings, meters: Meters, last: contextlib.AsyncExitStack) -> FurtherHomes:
    """Return the homes of ``[ledger.homes]``; while ``last`` is open, each that was opened is asked whether it is fit."""

    def keep_fit(home: HomeLedger) -> None:
        last.callback(asyncio.create_task(stay_fit(home.runner.health, home.ledger)).cancel)

    return FurtherHomes(
        settings.ledger.homes, open_home=functools.partial(open_home_ledger, settings), meters=meters, on_open=keep_fit
    )


async def _tick(parts: Parts, trusting: Trusting) -> None:
    """Every second: follow the key group, and cut what has stalled."""
    while True:
        await asyncio.sleep(TICK_S)
        parts.transfers.cut_stalled(parts.settings.links.stall_timeout_s + KERNEL_FIRST_S)
        if parts.handed is not None:
            parts.handed.end_unknown(LINE_WITHIN_S)
        try:
            if await asyncio.to_thread(trusting.refresh):
                parts.journal.write("keys-changed", keys=len(trusting.folder.group))
        except Exception:  # noqa: BLE001  if this task died, a retired key would be trusted until the process ends
            _log.exception("the key group could not be followed; looking again in a second")


async def _sweep_store(parts: Parts) -> None:
    """At the start and every hour: delete from the store what killed uploads left more than a day ago."""
    while True:
        with contextlib.suppress(StoreFault, OSError):
            leftovers = await parts.store.sweep(parts.now_s() - LEFTOVER_AGE_S)
            if leftovers:
                parts.journal.write("swept", records=0, leftovers=leftovers)
        await asyncio.sleep(SWEEP_EVERY_S)


async def _settle(parts: Parts) -> None:
    """Cut the transfers that still run, and wait, for a limited time, until their unsent bytes are given back."""
    left = len(parts.transfers)
    # With -1, transfers that made progress this very moment count as stalled too.
    parts.transfers.cut_stalled(-1)
    if parts.handed is not None:
        await parts.handed.drain(parts.settings.viewer.drain_s)
    parts.runner.stop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(SETTLE_MIN_S, parts.settings.viewer.drain_s)):
            await parts.transfers.until_none()
            await parts.runner.drain()
            await parts.homes.drain()
    parts.journal.write("stopped", transfers=left)
