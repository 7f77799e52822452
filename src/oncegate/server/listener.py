"""A listener: an address that is bound, and its connections: how many there may be, and how they end.

``[viewer] listen`` and ``[control] listen`` are one each, in one process and one loop. HTTP/1.1 in the clear; TLS and
HTTP/2 are for the proxy in front (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import errno
import functools
import itertools
import resource
import socket

from oncegate.server.asgi import Application, answer_by
from oncegate.server.limits import BACKLOG, CONNECTIONS_MAX, TURNED_AWAY_MAX
from oncegate.server.turn import Turn
from oncegate.server.wire import Wire
from oncegate.settings.spellings import Address
from oncegate.unfit import Unfit

CHECK_EVERY_S = 1.0
IDLE_LOOKED_AT_MAX = 64
DESCRIPTORS_EACH = 3
"""A connection, its duplicate for files, and the object."""
DESCRIPTORS_BESIDE = 128
"""Of the ledger, keys, threads, and what is accepted just to be turned away."""


class PortTaken(Unfit):
    """The address cannot be listened on; the message says which."""


class Listener:
    """One address that is being served."""

    def __init__(
        self,
        app: Application,
        address: Address,
        *,
        stall_s: float,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """Take the address: from now on the system lets clients connect, and they wait for ``start``.

        Args:
            app: ASGI 3, for HTTP alone; knows no lifespan.
            address: host and port; port 0 picks a free one.
            stall_s: seconds without progress after which a connection is cut, above the limits of the application.
            connections_max: open connections.

        Raises:
            PortTaken: somebody else listens there, or it is not ours to take.
        """
        connections_max = min(connections_max, _connections_at_most(connections_max))
        self._socket = _bound(address)
        self.address: Address = Address(address.host, self._socket.getsockname()[1])
        self._app = app
        self._door = _Door(connections_max, stall_s)
        self._server: asyncio.Server | None = None
        self._checking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve; it answers when this returns."""

        async def answer(turn: Turn, wire: Wire) -> None:
            await answer_by(self._app, turn, wire)

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            functools.partial(Wire, self._door, answer), sock=self._socket, backlog=BACKLOG
        )
        self._checking = loop.create_task(self._door.check_all())

    async def stop(self, patience_s: float) -> bool:
        """Accept no new connections and let requests finish; return whether they did within that time."""
        if self._server is None or self._checking is None:
            self._socket.close()
            return True
        self._server.close()
        is_empty = await self._door.drain(patience_s)
        self._checking.cancel()
        return is_empty


class _Door:
    """The connections of one listener.

    Attributes:
        stall_s: seconds without progress after which a connection is cut.
        is_draining: whether no more requests are taken.
    """

    def __init__(self, connections_max: int, stall_s: float) -> None:
        self.stall_s: float = stall_s
        self.is_draining: bool = False
        self._connections_max = connections_max
        self._inside: set[Wire] = set()
        # in the order in which they became idle
        self._idle: dict[Wire, None] = {}
        self._turned_away: set[Wire] = set()
        self._empty = asyncio.Event()

    def enter(self, wire: Wire) -> bool:
        """Take a connection; at the limit the one that has been idle longest goes for it."""
        if self.is_draining:
            return False
        if len(self._inside) >= self._connections_max:
            # one whose client still takes the end of an answer is spared; so many are looked at, and no more
            candidates = itertools.islice(self._idle, IDLE_LOOKED_AT_MAX)
            oldest = next((idle for idle in candidates if not idle.unsent_bytes), None)
            if oldest is None:
                return self._turn_away(wire)
            self.leave(oldest)
            oldest.close()
        self._inside.add(wire)
        return True

    def _turn_away(self, wire: Wire) -> bool:
        if len(self._turned_away) >= TURNED_AWAY_MAX:
            wire.cut()
        else:
            self._turned_away.add(wire)
        return False

    def leave(self, wire: Wire) -> None:
        """Forget a connection that has ended."""
        self._inside.discard(wire)
        self._turned_away.discard(wire)
        self._idle.pop(wire, None)
        if not self._inside:
            self._empty.set()

    def rest(self, wire: Wire) -> None:
        """Note that no request is under way there."""
        self._idle[wire] = None

    def work(self, wire: Wire) -> None:
        """Note that one is."""
        self._idle.pop(wire, None)

    async def check_all(self) -> None:
        """Every second: hold the time limits of each connection."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            now = loop.time()
            for wire in (*self._inside, *self._turned_away):
                wire.check(now)

    async def drain(self, patience_s: float) -> bool:
        """Close what is idle, and wait until the rest has ended; return whether it has."""
        self.is_draining = True
        for wire in (*self._idle,):
            wire.close()
        self._empty.clear()
        if not self._inside:
            return True
        try:
            async with asyncio.timeout(patience_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True


def _connections_at_most(wanted: int) -> int:
    """How many connections there are descriptors for; the process's own limit is raised as far as it may be.

    A gateway without descriptors can open no object, so connections that say nothing must not take the last ones.
    """
    needed = wanted * DESCRIPTORS_EACH + DESCRIPTORS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    has_enough = soft == resource.RLIM_INFINITY or soft >= needed
    return wanted if has_enough else max(1, (soft - DESCRIPTORS_BESIDE) // DESCRIPTORS_EACH)


def _bound(address: Address) -> socket.socket:
    """Bind and listen, so that a taken port is an error at once."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"{address} is taken", remedy="stop who listens there, or choose another port") from None
        raise PortTaken(f"{address} cannot be used: {error.strerror}") from None
    bound.setblocking(False)  # noqa: FBT003  its only argument
    return bound
