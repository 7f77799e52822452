"""The socket where proxies say what became of the transfers that were handed over to them: a datagram for each.

Over UDP only a trusted proxy is heard; the path of a unix socket is as safe as its folder. Either way a line counts
only for an id that this process drew (``gateway/handed_over.py``). Datagrams that come faster than they are read are
lost, and their uses stay spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable, Generator, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path

from oncegate.gateway.accel import LINE_MAX_BYTES, ProxyLine, read_line
from oncegate.links.address import canonical_address, is_in_any
from oncegate.settings import Settings
from oncegate.settings.addresses import Network, read_address
from oncegate.settings.tables import ViewerSettings
from oncegate.unfit import Unfit

WAITING_BYTES = 4 * 1024 * 1024
"""Asked of the kernel, for lines that were not read yet; it may give less."""
READ_AT_ONCE_MAX = 64
"""Between others' turns."""
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_WHERE = "[delivery] accel_log"


@contextlib.contextmanager
def listening(settings: Settings, take: Callable[[ProxyLine], None]) -> Generator[None]:
    """Hand each line of a proxy on while the block runs; in the event loop.

    Raises:
        Unfit: the address cannot be had.
    """
    scheme, _, path = settings.delivery.accel_log.partition(":")
    is_unix = scheme == "unixgram"
    opening = _unix_socket(settings.resolve(path)) if is_unix else _udp_socket(settings.delivery.accel_log)
    with opening as taken:
        taken.settimeout(0)
        with contextlib.suppress(OSError):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WAITING_BYTES)
        proxies = None if is_unix else _senders(settings.viewer)
        loop = asyncio.get_running_loop()
        loop.add_reader(taken, _read, taken, proxies, take)
        try:
            yield
        finally:
            loop.remove_reader(taken)


def _senders(viewer: ViewerSettings) -> tuple[Network, ...]:
    """Who is heard over UDP: trusted proxies, and this machine where one of them connects through a Unix socket."""
    return (*viewer.trusted_networks, *(LOOPBACK if viewer.trusts_unix_peers else ()))


def _read(taken: socket.socket, proxies: Sequence[Network] | None, take: Callable[[ProxyLine], None]) -> None:
    for _ in range(READ_AT_ONCE_MAX):
        try:
            datagram, sender = taken.recvfrom(LINE_MAX_BYTES + 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            return  # an error of the network that the kernel notes on the socket; it goes with being told
        if proxies is not None and not _is_from(sender, proxies):
            continue
        line = read_line(datagram)
        if line is not None:
            take(line)


def _is_from(sender: Sequence[object], proxies: Sequence[Network]) -> bool:
    address = canonical_address(str(sender[0]))
    return address is not None and is_in_any(address, proxies)


@contextlib.contextmanager
def _udp_socket(where: str) -> Generator[socket.socket]:
    address = read_address(where)
    family = socket.AF_INET6 if ip_address(address.host).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as taken:
        try:
            taken.bind((address.host, address.port))
        except OSError as error:
            raise Unfit(
                f"{where} cannot be had: {error.strerror}",
                remedy="end what listens there, or write another",
                where=_WHERE,
            ) from error
        yield taken


@contextlib.contextmanager
def _unix_socket(path: Path) -> Generator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
        _remove_dead(path)
        try:
            taken.bind(str(path))
            # the proxy runs as another user; which of them may come here, the folder says
            path.chmod(0o666)
        except OSError as error:
            raise Unfit(
                f"no socket can be made at {path}: {error.strerror}",
                remedy="write a path in a folder of its own",
                where=_WHERE,
            ) from error
        mine = path.stat().st_ino
        try:
            yield taken
        finally:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == mine:
                    os.unlink(path)


def _remove_dead(path: Path) -> None:
    """Remove a socket that a killed process left; whatever else is there is left for ``bind`` to refuse.

    Raises:
        Unfit: a living process listens there.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            try:
                asking.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise Unfit(
                    f"another process listens at {path}",
                    remedy="end it, or give each gateway a path of its own",
                    where=_WHERE,
                )
