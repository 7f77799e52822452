"""Whether a client that sends no more still reads: asked by the first bytes of the answer, which every answer begins with.

A client that closes its sending side alone (``shutdown``) and one that closes its connection look the same, until
something is sent: the first one's kernel acknowledges it, the other's answers with a reset. Source: Linux, tcp(7) for
TCP_INFO, and TIOCOUTQ of ``termios`` (bytes that are not acknowledged).
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios

LINE_BEGINS = b"HTTP/1.1 "
"""What is sent to ask: an answer of any status begins so."""
ASK_MAX_S = 2.0
"""For how long an acknowledgement is waited for: a round trip, and one loss. Who does not answer is not there."""
_FIRST_WAIT_S = 0.0005
_WAIT_MAX_S = 0.02
_STATE_CLOSED = 7


async def acknowledges(taken: socket.socket) -> bool:
    """Wait until the peer's kernel has acknowledged everything that was sent, or has reset the connection.

    Args:
        taken: a connected socket, on which something was sent just now.

    Returns:
        False where the connection was reset, or nothing came for ``ASK_MAX_S``. True for a Unix socket: there a proxy of
        this machine has taken it.
    """
    if taken.family == socket.AF_UNIX:
        return True
    loop = asyncio.get_running_loop()
    deadline, wait_s = loop.time() + ASK_MAX_S, _FIRST_WAIT_S
    while loop.time() < deadline:
        try:
            if taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _STATE_CLOSED:
                return False
            if _unacknowledged_bytes(taken) == 0:
                return True
        except OSError:  # closed meanwhile, by whomever
            return False
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _WAIT_MAX_S)
    return False


def _unacknowledged_bytes(taken: socket.socket) -> int:
    (size,) = struct.unpack("i", fcntl.ioctl(taken.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(size)
