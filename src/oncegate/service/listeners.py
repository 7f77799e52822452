"""Run the gateway: open it, start both listeners, and stop cleanly. Used by ``serve`` and ``demo``."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass

from oncegate.control.parts import ControlParts
from oncegate.control.tokens import TokenFile
from oncegate.events import Journal, JournalHandler
from oncegate.gateway.parts import Parts
from oncegate.keys.following import SigningFollower
from oncegate.server.asgi import answers
from oncegate.server.binding import CannotListen
from oncegate.server.door import USUAL, Room
from oncegate.server.limits import STALL_MORE_S
from oncegate.server.listener import Listener
from oncegate.server.turn import Answer
from oncegate.service.gateway import TICK_S, OpenGateway, open_gateway
from oncegate.service.readiness import readiness_of
from oncegate.settings import Settings
from oncegate.settings.addresses import Address
from oncegate.settings.sockets import UnixSocket
from oncegate.settings.tables import ControlSettings, ViewerSettings

_Listen = Callable[[str, Answer, ViewerSettings | ControlSettings, Room], Awaitable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A gateway that answers.

    Attributes:
        viewer_url: of the viewer's listener; ``unix:`` and a path where it has no other.
        control_url: the same of the control listener.
        settings: with the ports that were really taken.
    """

    viewer_url: str
    control_url: str
    settings: Settings


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
        Unfit: something cannot be used as configured.
    """
    async with contextlib.AsyncExitStack() as last:
        with _kept_logs() as records:
            opened = await last.enter_async_context(open_gateway(settings, log_descriptor=log_descriptor))
        await last.enter_async_context(_module_logs(opened.parts.journal, records))
        signing = await last.enter_async_context(_signing(opened))
        listen = await last.enter_async_context(_listening(opened.parts, announce))
        viewer = settings.viewer
        room = Room(per_address_max=viewer.connections_per_address, unlimited=viewer.trusted_networks)
        viewer_url = await listen("viewer", opened.app.answer, viewer, room)
        # Imported late and in a thread: FastAPI takes most of a second, in which the viewer's listener answers already.
        control = await asyncio.to_thread(importlib.import_module, "oncegate.control.app")
        app = control.control_app(_control_parts(opened, signing))
        control_url = await listen("control", answers(app), settings.control, USUAL)
        yield Running(viewer_url=viewer_url, control_url=control_url, settings=settings)


@contextlib.asynccontextmanager
async def _signing(opened: OpenGateway) -> AsyncGenerator[SigningFollower]:
    """Yield the signing key, which follows the configuration while the block runs."""
    following = SigningFollower(opened.parts.settings, os.environ, group=opened.trusting.folder)
    task = asyncio.create_task(_follow(following, opened.parts.journal))
    try:
        yield following
    finally:
        task.cancel()


async def _follow(following: SigningFollower, journal: Journal) -> None:
    """Look every second, and log what changed."""
    told: tuple[str, ...] = ()
    while True:
        await asyncio.sleep(TICK_S)
        try:
            is_other = await asyncio.to_thread(following.refresh)
        except Exception:
            logging.getLogger("oncegate.keys").exception("the signing key could not be followed; looking again")
            continue
        if is_other:
            key = following.now()
            journal.write("signing-changed", key=None if key is None else key.key_id)
        if following.changed != told and following.changed:
            journal.write("settings-changed", settings=" ".join(following.changed), what="restart to apply")
        told = following.changed


@contextlib.asynccontextmanager
async def _listening(parts: Parts, announce: Callable[[str], None]) -> AsyncGenerator[_Listen]:
    """Yield a function that starts a listener and returns its URL; on leaving, stop all, letting transfers finish."""
    listeners: list[Listener] = []
    silent_s = parts.settings.links.stall_timeout_s

    async def listen(name: str, answer: Answer, table: ViewerSettings | ControlSettings, room: Room) -> str:
        where = table.listen
        if isinstance(where, UnixSocket):
            where = UnixSocket(str(parts.settings.resolve(where.path)))
        try:
            mode = int(table.socket_mode, 8)
            listener = Listener(
                answer, where, stall_s=silent_s + STALL_MORE_S, silent_s=silent_s, room=room, socket_mode=mode
            )
        except CannotListen as cannot:
            raise cannot.at(f"[{name}] listen") from None
        listeners.append(listener)
        await listener.start()
        announce(f"{name} ready {url_of(listener.address)}")
        return url_of(listener.address)

    try:
        yield listen
    finally:
        drain_s = parts.settings.viewer.drain_s
        parts.journal.write("draining", transfers=len(parts.transfers), limit_s=drain_s)
        proxies = () if parts.handed is None else (parts.handed.drain(drain_s),)
        await asyncio.gather(*(listener.stop(drain_s) for listener in listeners), *proxies)


def url_of(address: Address | UnixSocket) -> str:
    """Return the URL of a listener; of a Unix socket the words that ``listen`` has for it."""
    if isinstance(address, UnixSocket):
        return str(address)
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{address.port}"


@contextlib.contextmanager
def _kept_logs() -> Generator[list[logging.LogRecord]]:
    """Collect what modules log while the gateway is opened; if that fails, they are printed as usual.

    Without a handler ``logging`` writes to stderr itself, and waits for ever where that is a pipe that nobody reads.
    """
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    log, handler = logging.getLogger("oncegate"), Keeping(logging.WARNING)
    log.addHandler(handler)
    try:
        yield records
    except BaseException:
        if logging.lastResort is not None:
            for record in records:
                logging.lastResort.handle(record)
        raise
    finally:
        log.removeHandler(handler)


@contextlib.asynccontextmanager
async def _module_logs(journal: Journal, records: Sequence[logging.LogRecord]) -> AsyncGenerator[None]:
    """Write what modules log through ``logging`` into the journal, and what they logged before there was one."""
    handler = JournalHandler(journal, asyncio.get_running_loop())
    for record in records:
        handler.handle(record)
    logging.getLogger("oncegate").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("oncegate").removeHandler(handler)


def _control_parts(opened: OpenGateway, following: SigningFollower) -> ControlParts:
    from oncegate.control.admission import TokenCallers

    parts, settings = opened.parts, opened.parts.settings
    return ControlParts(
        settings=settings,
        callers=TokenCallers(TokenFile(settings.resolve("tokens.json"))),
        ledger=opened.ledger,
        runner=parts.runner,
        born_ms=parts.born_ms,
        store=parts.store,
        trust=parts.trust,
        signer=following.now,
        homes=parts.homes,
        journal=parts.journal,
        readiness=lambda: readiness_of(opened),
        meters=parts.meters,
        gauges=lambda: {"transfers": float(len(parts.transfers))},
    )
