"""Where a listener's socket comes from: bound at an address, at the path of a Unix socket, or handed over by systemd.

A Unix socket's file outlives a process that was killed. Such a file is replaced; one behind which somebody answers is
not. A lock on its folder keeps two processes that start at once from replacing each other's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from oncegate.server.limits import BACKLOG
from oncegate.settings.addresses import Address
from oncegate.settings.sockets import PATH_MAX_BYTES, Listen, SystemdSocket, UnixSocket
from oncegate.unfit import Unfit

_FIRST_HANDED_OVER = 3
"""Descriptors of systemd begin here (sd_listen_fds(3))."""


class CannotListen(Unfit):
    """There can be no listener here; the message says where."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A socket on which clients connect.

    Attributes:
        socket: non-blocking; it listens.
        address: where it is bound.
        file: device and inode of a Unix socket's file that was made here; None: there is none.
    """

    socket: socket.socket
    address: Address | UnixSocket
    file: tuple[int, int] | None = None

    def remove_file(self) -> None:
        """Remove the file of a Unix socket, unless another process has put its own there."""
        if self.file is None or not isinstance(self.address, UnixSocket):
            return
        path = Path(self.address.path)
        with contextlib.suppress(OSError), _locked(path.parent):
            if _identity(path) == self.file:
                path.unlink()


def bound(listen: Listen, *, socket_mode: int) -> Bound:
    """Bind and listen, so that a taken address is an error at once.

    Args:
        listen: where; a Unix socket by its absolute path.
        socket_mode: of the file of a Unix socket.

    Raises:
        CannotListen: somebody else listens there, or it is not ours to take.
    """
    match listen:
        case Address():
            return _at_address(listen)
        case UnixSocket():
            return _at_path(listen, socket_mode)
        case SystemdSocket():
            return _handed_over(listen, os.environ)


def _at_address(address: Address) -> Bound:
    made = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host, address.port))
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"{address} is taken", remedy="stop who listens there, or choose another port") from None
        raise CannotListen(f"{address} cannot be used: {error.strerror}") from None
    made.setblocking(False)  # noqa: FBT003  its only argument
    return Bound(made, Address(address.host, made.getsockname()[1]))


def _at_path(at: UnixSocket, mode: int) -> Bound:
    path = Path(at.path)
    if len(os.fsencode(path)) > PATH_MAX_BYTES:
        raise CannotListen(f"{at} is longer than {PATH_MAX_BYTES} bytes", remedy="choose a shorter path")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _locked(path.parent):
            _remove_stale(path)
            # what the file is made with; chmod then adds what the process's mask took away
            os.fchmod(made.fileno(), mode)
            made.bind(os.fspath(path))
            path.chmod(mode)
            made.listen(BACKLOG)
            identity = _identity(path)
    except OSError as error:
        made.close()
        raise CannotListen(f"{at} cannot be used: {error.strerror}") from None
    except CannotListen:
        made.close()
        raise
    made.setblocking(False)  # noqa: FBT003  its only argument
    return Bound(made, at, identity)


def _remove_stale(path: Path) -> None:
    """Remove the file of a socket on which nobody listens any more.

    Raises:
        CannotListen: somebody listens, or what stands there is no socket.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise CannotListen(f"unix:{path} stands there already, and is no socket", remedy="choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        # without waiting: where its queue is full, somebody listens
        asking.setblocking(False)  # noqa: FBT003  its only argument
        try:
            asking.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise CannotListen(f"unix:{path} is taken", remedy="stop who listens there, or choose another path")


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _handed_over(wanted: SystemdSocket, environ: Mapping[str, str]) -> Bound:
    """Take a socket of sd_listen_fds(3), and hold that no program that is started from here inherits it."""
    names: list[str] = []
    if environ.get("LISTEN_PID") == str(os.getpid()):
        names = environ.get("LISTEN_FDNAMES", "").split(":")[: int(environ.get("LISTEN_FDS", "0"))]
    found = [number for number, name in enumerate(names, _FIRST_HANDED_OVER) if name == wanted.name]
    if len(found) != 1:
        told = ", ".join(names) or "none"
        raise CannotListen(
            f"{wanted}: systemd has handed over {len(found)} sockets of this name (all: {told})",
            remedy=f"write FileDescriptorName={wanted.name} and one ListenStream in one .socket unit of the service",
        )
    os.set_inheritable(found[0], False)  # noqa: FBT003  its only way to be called
    try:
        taken = socket.socket(fileno=found[0])
        is_listening = taken.type == socket.SOCK_STREAM and taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise CannotListen(f"{wanted} cannot be used: {error.strerror}") from None
    if not is_listening or taken.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        taken.close()
        raise CannotListen(
            f"{wanted} is no socket to which clients connect", remedy="write ListenStream, and Accept=no"
        )
    taken.setblocking(False)  # noqa: FBT003  its only argument
    name = taken.getsockname()
    if taken.family == socket.AF_UNIX:
        # a name without a file begins with a zero byte, which is written as an @ (unix(7))
        return Bound(taken, UnixSocket(os.fsdecode(name).replace("\0", "@", 1)))
    return Bound(taken, Address(name[0], name[1]))
