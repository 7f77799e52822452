"""A listener: a socket that is bound, and its connections: how many there may be, and how they end.

``[viewer] listen`` and ``[control] listen`` are one each, in one process and one loop. HTTP/1.1 in the clear; TLS and
HTTP/2 are for the proxy in front (docs/decisions/0011).
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import resource

from oncegate.server.binding import bound
from oncegate.server.door import USUAL, Door, Room
from oncegate.server.kernel import can_say, end_silent_after
from oncegate.server.limits import BACKLOG
from oncegate.server.turn import Answer
from oncegate.server.wire import Wire
from oncegate.settings.addresses import Address
from oncegate.settings.sockets import Listen, UnixSocket

DESCRIPTORS_EACH = 3
"""A connection, its duplicate for files, and the object."""
DESCRIPTORS_BESIDE = 128
"""Of the ledger, keys, threads, and what is accepted just to be turned away."""


class Listener:
    """One socket that is being served.

    Attributes:
        address: where clients connect: with the port that was picked, and of a socket of systemd where it is bound.
    """

    def __init__(
        self,
        answer: Answer,
        listen: Listen,
        *,
        stall_s: float,
        silent_s: float | None = None,
        room: Room = USUAL,
        socket_mode: int = 0o660,
    ) -> None:
        """Take the address: from now on the system lets clients connect, and they wait for ``start``.

        Args:
            answer: answers a request; of an ASGI application, ``asgi.answers`` makes it.
            listen: where; port 0 picks a free one, and the path of a Unix socket is absolute.
            stall_s: seconds without progress after which a connection is cut, above the limits of the application.
            silent_s: seconds after which the kernel ends a connection whose client takes or acknowledges nothing, below
                those limits, so that what it says of the connection is final; None: as long as it usually waits.
            room: how many connections there may be; fewer where the system has no descriptors for them.
            socket_mode: of the file of a Unix socket that is bound here.

        Raises:
            CannotListen: somebody else listens there, or it is not ours to take.
        """
        at_most = _connections_at_most(room.connections_max)
        self._bound = bound(listen, socket_mode=socket_mode)
        self.address: Address | UnixSocket = self._bound.address
        if silent_s is not None:
            end_silent_after(self._bound.socket, silent_s)
        self._answer = answer
        self._door = Door(dataclasses.replace(room, connections_max=at_most), stall_s)
        self._server: asyncio.Server | None = None
        self._checking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve; it answers when this returns."""
        can_say()  # before anybody waits for it
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if isinstance(self.address, UnixSocket) else loop.create_server
        wire = functools.partial(Wire, self._door, self._answer)
        self._server = await create(wire, sock=self._bound.socket, backlog=BACKLOG)
        self._checking = loop.create_task(self._door.check_all())

    async def stop(self, patience_s: float) -> bool:
        """Accept no new connections and let requests finish; return whether they did within that time."""
        # first the file: who comes later finds nobody, and a successor binds it anew
        self._bound.remove_file()
        if self._server is None or self._checking is None:
            self._bound.socket.close()
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
