"""What the kernel knows of a TCP connection: how many of its bytes were sent, and how many were acknowledged.

Source: Linux, tcp(7) for TCP_INFO (``struct tcp_info``) and TCP_USER_TIMEOUT, and linux/sockios.h for SIOCOUTQNSD; tried on
this machine when first asked for. Elsewhere nobody can say: on Unix sockets, other systems, and where the trial fails.

"Never sent" is final only once a socket is dead: of a living one the kernel sends it yet, also after ``close``. What was
acknowledged stays so, and is the word of the client's machine.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import socket
import struct
import termios
import time
from typing import NamedTuple

# as plain numbers: an enumeration costs a look-up for each of its names
_TCP: int = int(socket.IPPROTO_TCP)
_TCP_INFO: int = int(getattr(socket, "TCP_INFO", 0))
_SIOCOUTQNSD = 0x894B
_STATE_CLOSED = 7
_BYTES_ACKED = struct.Struct("=Q")
_BYTES_ACKED_AT = 120
_INFO_BYTES = 128
_TRIAL_BYTES = 1_000
_TRIAL_MAX_S = 1.0


class Progress(NamedTuple):
    """How far the bytes of a connection have come.

    Attributes:
        acked_bytes: of all that were written to it, those that the client's machine has acknowledged.
        sent_bytes: those that may have reached it; None while the socket lives, for the kernel still sends.
    """

    acked_bytes: int
    sent_bytes: int | None


class Duplicate:
    """A descriptor of a connection that is ours: its transport closes the other one before it says so.

    The number of a closed descriptor is soon another connection's, and what this one was sent can still be asked of a
    duplicate. While it is open the connection does not end, whatever the transport has closed: whoever makes one closes
    it when the connection is lost.
    """

    __slots__ = ("_is_tcp", "_socket")

    def __init__(self, taken: socket.socket) -> None:
        self._socket = socket.socket(taken.family, socket.SOCK_STREAM, fileno=os.dup(taken.fileno()))
        self._is_tcp = taken.family != socket.AF_UNIX and can_say()

    @property
    def descriptor(self) -> int:
        """Its number; -1 once it is closed."""
        return self._socket.fileno()

    def progress(self) -> Progress | None:
        """Ask how far the bytes of the connection have come; None where nobody can say."""
        if not self._is_tcp:
            return None
        try:
            return _progress(self._socket)
        except OSError:
            return None

    def close(self) -> None:
        """Let go of the connection."""
        self._socket.close()


def _progress(taken: socket.socket) -> Progress:
    info = taken.getsockopt(_TCP, _TCP_INFO, _INFO_BYTES)
    (acked_bytes,) = _BYTES_ACKED.unpack_from(info, _BYTES_ACKED_AT)
    if info[0] != _STATE_CLOSED:
        return Progress(acked_bytes, None)
    return Progress(acked_bytes, acked_bytes + _count(taken, termios.TIOCOUTQ) - _count(taken, _SIOCOUTQNSD))


def _count(taken: socket.socket, request: int) -> int:
    (size,) = struct.unpack("i", fcntl.ioctl(taken.fileno(), request, b"\0\0\0\0"))
    return int(size)


def reset_on_close(taken: socket.socket) -> None:
    """Make the end of a connection an error: without a length, a clean end would look like a whole answer."""
    # on a connection that has been reset already there is nothing left to do
    with contextlib.suppress(OSError):
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def end_silent_after(listening: socket.socket, seconds: float) -> None:
    """Let the kernel end connections of a listener on which sent bytes stay unacknowledged, or unread, for so long.

    Then its numbers are final. Connections have this from the socket that accepts them.
    """
    if listening.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        with contextlib.suppress(OSError):
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(1, int(seconds * 1000)))


def _when_acked(taken: socket.socket) -> Progress:
    """Ask once all of the trial is acknowledged: a kernel may take 40 ms for that, and a busy machine longer."""
    until = time.monotonic() + _TRIAL_MAX_S
    while (found := _progress(taken)).acked_bytes < _TRIAL_BYTES and time.monotonic() < until:
        time.sleep(0.001)
    return found


@functools.cache
def can_say() -> bool:
    """Whether the numbers of this kernel are what they should be: tried once, on a connection that is reset."""
    if not hasattr(socket, "TCP_INFO"):
        return False
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            client = socket.create_connection(listening.getsockname(), _TRIAL_MAX_S)
            with listening.accept()[0] as taken:
                taken.settimeout(_TRIAL_MAX_S)
                with client:
                    taken.sendall(bytes(_TRIAL_BYTES))
                    client.settimeout(_TRIAL_MAX_S)
                    client.recv(1)
                    lives = _when_acked(taken)
                # it closed with bytes unread, so its kernel has reset the connection
                with contextlib.suppress(ConnectionError):
                    taken.recv(1)
                dead = _progress(taken)
    except (OSError, struct.error):
        return False
    return lives == Progress(_TRIAL_BYTES, None) and dead == Progress(_TRIAL_BYTES, _TRIAL_BYTES)
