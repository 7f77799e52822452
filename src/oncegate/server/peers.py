"""What a connection meets: the listener that it came through, and the address at its other end."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar

Peer = tuple[str, int] | None
Connection_contra = TypeVar("Connection_contra", contravariant=True)


class Door(Protocol[Connection_contra]):
    """What a listener knows of its connections."""

    stall_s: float
    is_draining: bool

    def enter(self, wire: Connection_contra) -> bool:
        """Take a connection, or return False where there is no room."""
        ...

    def leave(self, wire: Connection_contra) -> None:
        """Forget a connection that has ended."""
        ...

    def rest(self, wire: Connection_contra) -> None:
        """Note that no request is under way there."""
        ...

    def work(self, wire: Connection_contra) -> None:
        """Note that one is."""
        ...


def address_of(transport: asyncio.Transport, which: str) -> Peer:
    """An address of a connection, ``peername`` or ``sockname``; None on a socket that has none."""
    name: tuple[str, int] | str | None = transport.get_extra_info(which)
    return (name[0], name[1]) if isinstance(name, tuple) else None
