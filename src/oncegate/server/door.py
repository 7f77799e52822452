"""Who may come in: how many connections a listener has, from one address and in all, and how they end."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from oncegate.links.address import Network, canonical_address, holder_address, is_in_any
from oncegate.server.limits import CONNECTIONS_MAX, TURNED_AWAY_MAX
from oncegate.server.peers import Peer
from oncegate.server.wire import Wire

_log = logging.getLogger("oncegate.server")

CHECK_EVERY_S = 1.0
IDLE_LOOKED_AT_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many connections there may be.

    Attributes:
        connections_max: in all.
        per_address_max: of one IPv4 address, or of one IPv6 network of 64 bits; 0: no limit.
        unlimited: networks whose connections are not counted by address, as those of proxies.
    """

    connections_max: int = CONNECTIONS_MAX
    per_address_max: int = 0
    unlimited: tuple[Network, ...] = ()

    def counted(self, peer: Peer) -> str:
        """By which address a connection is counted; empty where it is not."""
        address = None if peer is None or not self.per_address_max else canonical_address(peer[0])
        if address is None or (self.unlimited and is_in_any(address, self.unlimited)):
            return ""
        return holder_address(address)


USUAL = Room()


class Door:
    """The connections of one listener.

    Attributes:
        stall_s: seconds without progress after which a connection is cut.
        is_draining: whether no more requests are taken.
    """

    def __init__(self, room: Room, stall_s: float) -> None:
        self.stall_s: float = stall_s
        self.is_draining: bool = False
        self._room = room
        self._inside: dict[Wire, str] = {}
        self._of_address: dict[str, set[Wire]] = {}
        # in the order in which they became idle
        self._idle: dict[Wire, int] = {}
        self._numbers = itertools.count()
        self._turned_away: set[Wire] = set()
        self._empty = asyncio.Event()

    def enter(self, wire: Wire) -> bool:
        """Take a connection; at a limit the one that has been idle longest goes for it."""
        if self.is_draining:
            return False
        address = self._room.counted(wire.peer)
        of_address = self._of_address.get(address, set())
        if (
            address
            and len(of_address) >= self._room.per_address_max
            and not self._make_room(self._idle_among(of_address))
        ):
            return self._turn_away(wire)
        if len(self._inside) >= self._room.connections_max and not self._make_room(self._idle):
            return self._turn_away(wire)
        self._inside[wire] = address
        if address:
            self._of_address.setdefault(address, set()).add(wire)
        return True

    def _idle_among(self, wires: set[Wire]) -> list[Wire]:
        return sorted(wires & self._idle.keys(), key=self._idle.__getitem__)

    def _make_room(self, idle: Iterable[Wire]) -> bool:
        """Close one of several connections, in the order in which they became idle; False where none can go."""
        # one whose client still takes the end of an answer is spared; so many are looked at, and no more
        for oldest in itertools.islice(idle, IDLE_LOOKED_AT_MAX):
            if not oldest.unsent_bytes:
                self.leave(oldest)
                oldest.close()
                return True
        return False

    def _turn_away(self, wire: Wire) -> bool:
        if len(self._turned_away) >= TURNED_AWAY_MAX:
            wire.cut()
        else:
            self._turned_away.add(wire)
        return False

    def leave(self, wire: Wire) -> None:
        """Forget a connection that has ended."""
        address = self._inside.pop(wire, "")
        of_address = self._of_address.get(address)
        if of_address is not None:
            of_address.discard(wire)
            if not of_address:
                del self._of_address[address]
        self._turned_away.discard(wire)
        self._idle.pop(wire, None)
        if not self._inside:
            self._empty.set()

    def rest(self, wire: Wire) -> None:
        """Note that no request is under way there."""
        self._idle[wire] = next(self._numbers)

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
                try:
                    wire.check(now)
                except Exception:  # noqa: BLE001  if this task died, no connection would have a limit any more
                    _log.exception("a connection could not be checked; it is cut")
                    wire.cut()

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
