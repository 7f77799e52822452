"""How much of each large answer the kernel may hold: as much as it likes of a few, little of each when they are many.

A kernel takes megabytes for a client who reads none of them. With a limit the gateway is woken for every few kilobytes:
an answer of 4 MiB then costs half as much again. So it is set from the 33rd large answer on.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator

from oncegate.server.limits import CROWD_FREE, CROWD_UNSENT_BYTES, LARGE_BYTES

_NO_LIMIT = 0
"""As the system has it (net.ipv4.tcp_notsent_lowat)."""


class Crowd:
    """The large answers that are under way.

    Attributes:
        under_way: how many.
    """

    __slots__ = ("under_way",)

    def __init__(self) -> None:
        self.under_way: int = 0

    @contextlib.contextmanager
    def one_more(self, descriptor: int, size_bytes: int) -> Generator[None]:
        """Count an answer while the block runs, and hold the kernel to the limit where there are many.

        Args:
            descriptor: of the connection, open when the block begins.
            size_bytes: of what is to be sent.
        """
        if size_bytes < LARGE_BYTES:
            yield
            return
        self.under_way += 1
        _hold_unsent(descriptor, CROWD_UNSENT_BYTES if self.under_way > CROWD_FREE else _NO_LIMIT)
        try:
            yield
        finally:
            self.under_way -= 1


def _hold_unsent(descriptor: int, most_bytes: int) -> None:
    """Let the kernel take no more while it holds so many bytes that it has not sent; TCP alone knows such a limit."""
    taken = socket.socket(fileno=descriptor)
    try:
        if taken.family != socket.AF_UNIX:
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most_bytes)
    except OSError:
        return  # the client has gone, which who sends will see
    finally:
        taken.detach()
