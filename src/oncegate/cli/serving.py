"""Run the gateway: open the parts, start both listeners, keep time, and stop cleanly. Used by ``serve`` and ``demo``."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oncegate.cli import wiring
from oncegate.cli.main import Misuse
from oncegate.events import Journal, JournalHandler
from oncegate.gateway.app import Gateway
from oncegate.gateway.delivery import Transfers
from oncegate.gateway.parts import Parts
from oncegate.gateway.server import Listener, PortTaken
from oncegate.keys.folder import KeyFolder
from oncegate.ledgers.protocol import KeepsEvents, Ledger, LedgerUnfit, Sweeps, Unknown
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.key_group import SigningKey
from oncegate.links.verify import Trust
from oncegate.settings import Settings
from oncegate.spellings import Address
from oncegate.stores.metered import MeteredStore
from oncegate.stores.protocol import Store, StoreFault, StoreUnfit

if TYPE_CHECKING:
    from oncegate.control.parts import PartState

TICK_S = 1.0
SWEEP_EVERY_S = 3_600
LEFTOVER_AGE_S = 86_400
SETTLE_MIN_S = 10
_PROBE_KEY = "oncegate-readiness"
_PROBE_ID = b"\xff" + bytes(15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A gateway that answers.

    Attributes:
        viewer_url: of the viewer's listener.
        control_url: of the control listener.
        settings: with the ports that were really taken.
    """

    viewer_url: str
    control_url: str
    settings: Settings


class Keyring:
    """The keys of now: who is trusted, and with what new links are signed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder: KeyFolder = wiring.open_keys(settings)
        self.signer: SigningKey | None = wiring.open_signer(settings, self.folder) if settings.keys.signing else None
        self._trust = wiring.trust_of(settings, self.folder.group)

    def trust(self) -> Trust:
        """Whom the viewer believes."""
        return self._trust

    def refresh(self) -> bool:
        """Follow the folder; say whether it changed."""
        if not self.folder.refresh():
            return False
        self._trust = wiring.trust_of(self._settings, self.folder.group)
        return True


@contextlib.asynccontextmanager
async def running(
    settings: Settings, *, announce: Callable[[str], None], log_descriptor: int = 2
) -> AsyncGenerator[Running]:
    """Serve while the block runs; on leaving, take no new connections, finish, settle, and let go of everything.

    Args:
        settings: of the configuration.
        announce: is told ``viewer ready URL`` and ``control ready URL`` when each answers.
        log_descriptor: where log lines go.

    Raises:
        Misuse: something cannot be used as configured.
    """
    keyring = Keyring(settings)
    try:
        viewer = control = None
        ledger, store = wiring.open_ledger(settings), wiring.open_store(settings)
        facts = await ledger.probe()
        await store.probe()
    except (LedgerUnfit, StoreUnfit) as error:
        raise Misuse(str(error)) from None
    keep = ledger.append_events if isinstance(ledger, KeepsEvents) else None
    journal = Journal(descriptor=log_descriptor, console=settings.log.format == "console", keep=keep)
    handler = JournalHandler(journal, asyncio.get_running_loop())
    logging.getLogger("oncegate").addHandler(handler)
    meters: defaultdict[tuple[str, ...], float] = defaultdict(float)
    runner = LedgerRunner(ledger, meters)
    store = MeteredStore(store, meters)
    transfers = Transfers(time.monotonic)
    parts = Parts(
        settings=settings,
        store=store,
        runner=runner,
        born_ms=facts.born_ms,
        trust=keyring.trust,
        journal=journal,
        clock=time.time,
        monotonic=time.monotonic,
        transfers=transfers,
        meters=meters,
    )
    background: list[asyncio.Task[None]] = []
    try:
        try:
            viewer = Listener(Gateway(parts), settings.viewer.listen)
            await viewer.start()
            announce(f"viewer ready {url_of(viewer.address)}")
            # the control application takes most of a second to import: the viewer answers meanwhile
            app = await asyncio.to_thread(importlib.import_module, "oncegate.control.app")
            control = Listener(app.control_app(_control_parts(parts, ledger, keyring)), settings.control.listen)
            await control.start()
            announce(f"control ready {url_of(control.address)}")
        except PortTaken as error:
            raise Misuse(str(error)) from None
        background = [asyncio.create_task(_tick(parts, keyring)), asyncio.create_task(_sweep(parts, ledger))]
        yield Running(viewer_url=url_of(viewer.address), control_url=url_of(control.address), settings=settings)
    finally:
        journal.write("draining", transfers=len(transfers), limit_s=settings.viewer.drain_s)
        listeners = [listener for listener in (viewer, control) if listener is not None]
        await asyncio.gather(*(listener.stop(settings.viewer.drain_s) for listener in listeners))
        for task in background:
            task.cancel()
        left = len(transfers)
        transfers.cut_stalled(-1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(SETTLE_MIN_S, settings.viewer.drain_s)):
                await transfers.until_none()
                await runner.drain()
        journal.write("stopped", transfers=left)
        logging.getLogger("oncegate").removeHandler(handler)
        await journal.aclose()
        await store.aclose()
        await ledger.aclose()


def url_of(address: Address) -> str:
    """The URL of a listener."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{address.port}"


def _control_parts(parts: Parts, ledger: Ledger, keyring: Keyring) -> object:
    from oncegate.control.parts import ControlParts
    from oncegate.control.tokens import TokenFile

    settings = parts.settings
    return ControlParts(
        settings=settings,
        tokens=TokenFile(settings.resolve("tokens.json")),
        ledger=ledger,
        runner=parts.runner,
        born_ms=parts.born_ms,
        store=parts.store,
        trust=keyring.trust,
        signer=lambda: keyring.signer,
        journal=parts.journal,
        readiness=lambda: _readiness(ledger, parts.store, keyring),
        meters=parts.meters,
        gauges=lambda: {"transfers": float(len(parts.transfers))},
    )


async def _readiness(ledger: Ledger, store: Store, keyring: Keyring) -> Sequence[PartState]:
    """Ask every part for something harmless."""
    from oncegate.control.parts import PartState

    found = await ledger.read(_PROBE_ID)
    ledger_ready = not isinstance(found, Unknown)
    try:
        opened = await store.look(_PROBE_KEY)
        if opened is not None:
            await opened.aclose()
        store_ready = True
    except StoreFault:
        store_ready = False
    has_keys = bool(len(keyring.folder.group)) or bool(keyring.trust().s3.credentials)
    return [
        PartState(name="ledger", is_ready=ledger_ready, words="" if ledger_ready else "does not answer"),
        PartState(name="store", is_ready=store_ready, words="" if store_ready else "does not answer"),
        PartState(name="keys", is_ready=has_keys, words="" if has_keys else "the key group is empty"),
    ]


async def _tick(parts: Parts, keyring: Keyring) -> None:
    """Every second: follow the key group, and cut what has stalled."""
    while True:
        await asyncio.sleep(TICK_S)
        if await asyncio.to_thread(keyring.refresh):
            parts.journal.write("keys-changed", keys=len(keyring.folder.group))
        parts.transfers.cut_stalled(parts.settings.links.stall_timeout_s)


async def _sweep(parts: Parts, ledger: Ledger) -> None:
    """At the start and every hour: forget records of links that are over, and what killed uploads left."""
    while True:
        # an outage must not end sweeping for good: ledgers raise OSError (and TimeoutError) while they are out of reach
        with contextlib.suppress(StoreFault, LedgerUnfit, OSError):
            records = await ledger.sweep(parts.now_s()) if isinstance(ledger, Sweeps) else 0
            leftovers = await parts.store.sweep(parts.now_s() - LEFTOVER_AGE_S)
            if records or leftovers:
                parts.journal.write("swept", records=records, leftovers=leftovers)
        await asyncio.sleep(SWEEP_EVERY_S)
