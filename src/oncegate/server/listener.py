"""A listener: an address that is bound, and its connections: how many there may be, and how they end.

``[viewer] listen`` and ``[control] listen`` are one each, in one process and one loop. HTTP/1.1 in the clear; TLS and
HTTP/2 are for the proxy in front (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import functools
import resource
import socket

from oncegate.server.asgi import Application, answer_by
from oncegate.server.door import USUAL, Door, Room
from oncegate.server.limits import BACKLOG
from oncegate.server.turn import Turn
from oncegate.server.wire import Wire
from oncegate.settings.addresses import Address
from oncegate.unfit import Unfit

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
        room: Room = USUAL,
    ) -> None:
        """Take the address: from now on the system lets clients connect, and they wait for ``start``.

        Args:
            app: ASGI 3, for HTTP alone; knows no lifespan.
            address: host and port; port 0 picks a free one.
            stall_s: seconds without progress after which a connection is cut, above the limits of the application.
            room: how many connections there may be; fewer where the system has no descriptors for them.

        Raises:
            PortTaken: somebody else listens there, or it is not ours to take.
        """
        at_most = _connections_at_most(room.connections_max)
        self._socket = _bound(address)
        self.address: Address = Address(address.host, self._socket.getsockname()[1])
        self._app = app
        self._door = Door(dataclasses.replace(room, connections_max=at_most), stall_s)
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
