"""A network link that loses packets and goes down: two TUN devices, one of them in a network namespace, and a relay.

What one device is given the relay hands to the other, unless it loses it; so the kernel's own TCP runs at both ends. It
needs root and ``/dev/net/tun``, and no ``netem``, which many kernels lack. Packets are IPv4; all others are lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import random
import secrets
import selectors
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

COMMAND_MAX_S = 30
VIEWER_MAX_S = 240
_TUNSETIFF = 0x400454CA
_IS_TUN_WITHOUT_HEADER = 0x1001
_PACKET_BYTES = 65_536

_VIEWER = pathlib.Path(__file__).with_name("lossy_viewer.py")


class NoNamespaces(Exception):
    """Network namespaces, or devices in them, cannot be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Packet:
    """What a rule of loss may look at.

    Attributes:
        is_to_viewer: whether the gateway sent it.
        payload_bytes: of its TCP segment.
    """

    is_to_viewer: bool
    payload_bytes: int


Loses = Callable[[Packet], bool]


def loses_nothing(packet: Packet) -> bool:
    """The rule of a link that is up."""
    del packet
    return False


def loses_some(share: float, *, seed: int) -> Loses:
    """Lose a share of the packets in both directions."""
    chance = random.Random(seed)
    return lambda packet: chance.random() < share


class GoesDown:
    """A link that goes down, and stays so, once enough has passed.

    Args:
        passed_bytes: payload towards the viewer that passes before; None: it goes down behind the first request.

    Attributes:
        lost_segments: how many segments with a payload towards the viewer were lost; a repeated one counts again.
        is_down: whether enough has passed.
    """

    def __init__(self, passed_bytes: int | None) -> None:
        self._left_bytes = passed_bytes
        self.lost_segments: int = 0
        self.is_down: bool = False

    def __call__(self, packet: Packet) -> bool:
        """Whether a packet is lost."""
        if self.is_down:
            self.lost_segments += packet.is_to_viewer and packet.payload_bytes > 0
            return True
        if self._left_bytes is None:
            self.is_down = not packet.is_to_viewer and packet.payload_bytes > 0
        elif packet.is_to_viewer:
            self._left_bytes -= packet.payload_bytes
            self.is_down = self._left_bytes <= 0
        return False


class Link:
    """The link between the gateway's machine, which is this one, and the viewer's, which is a namespace.

    Attributes:
        gateway_address: of this end.
        viewer_address: of the other.
        loses: the rule, asked for each packet; set it to change the link's state.
    """

    def __init__(self) -> None:
        name, net = f"og{secrets.token_hex(4)}", f"10.231.{secrets.randbelow(256)}.{4 * secrets.randbelow(64)}"
        first = int.from_bytes(socket.inet_aton(net))
        self.gateway_address: str = socket.inet_ntoa((first + 1).to_bytes(4))
        self.viewer_address: str = socket.inet_ntoa((first + 2).to_bytes(4))
        self.loses: Loses = loses_nothing
        self._namespace = name
        self._devices = f"{name}a", f"{name}b"

    @contextlib.contextmanager
    def running(self) -> Generator[Link]:
        """Make namespace and devices, pass packets until the block ends, and remove them.

        Raises:
            NoNamespaces: they cannot be made here.
        """
        with contextlib.ExitStack() as stack:
            try:
                _run("ip", "netns", "add", self._namespace)
                stack.callback(_run, "ip", "netns", "del", self._namespace)
                ends = [_tun(name) for name in self._devices]
                for end in ends:
                    stack.callback(os.close, end)
                here, there = self._devices
                _run("ip", "link", "set", there, "netns", self._namespace)
                _run("ip", "addr", "add", f"{self.gateway_address}/30", "dev", here)
                _run("ip", "link", "set", here, "up")
                _run("ip", "-n", self._namespace, "addr", "add", f"{self.viewer_address}/30", "dev", there)
                _run("ip", "-n", self._namespace, "link", "set", there, "up")
            except (OSError, subprocess.CalledProcessError) as error:
                said = error.stderr.decode().strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
                raise NoNamespaces(said) from error
            ours, stopping = socket.socketpair()
            stack.callback(stopping.close)
            passing = threading.Thread(target=self._pass, args=(*ends, ours))
            passing.start()
            stack.callback(passing.join)
            stack.callback(stopping.shutdown, socket.SHUT_RDWR)
            yield self

    @contextlib.contextmanager
    def viewer(self, port: int, request: bytes, got: pathlib.Path, *, silent_s: float) -> Generator[Viewer]:
        """Run a viewer in the namespace who sends a request and keeps what comes; at the block's end it is ended.

        Args:
            port: of the gateway.
            request: sent as it is.
            got: the file for what comes, written as it comes.
            silent_s: it leaves after so long without a byte.
        """
        command = ["ip", "netns", "exec", self._namespace, sys.executable, "-I", str(_VIEWER)]
        arguments = [self.gateway_address, str(port), str(got), str(silent_s), request.hex()]
        got.touch()
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL)
        try:
            yield Viewer(process, got)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _pass(self, here: int, there: int, stopping: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, stopping:
            for end in (here, there, stopping.fileno()):
                selector.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == stopping.fileno():
                        return
                    _pass_on(key.fd, there if key.fd == here else here, self.loses, is_to_viewer=key.fd == here)


class Viewer:
    """A viewer at the other end of the link.

    Attributes:
        process: theirs; it ends when the answer does, or after a long silence.
        got: the file of what they really have.
    """

    def __init__(self, process: subprocess.Popen[bytes], got: pathlib.Path) -> None:
        self.process: subprocess.Popen[bytes] = process
        self.got: pathlib.Path = got

    def leave(self) -> None:
        """Wait until they have left."""
        self.process.wait(VIEWER_MAX_S)

    @property
    def status(self) -> int:
        """Of the answer; 0 where its head has not come."""
        head, end, _ = self.got.read_bytes().partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]) if end else 0

    @property
    def body(self) -> bytes:
        """What they have of the answer's body."""
        return self.got.read_bytes().partition(b"\r\n\r\n")[2]


def _pass_on(source: int, target: int, loses: Loses, *, is_to_viewer: bool) -> None:
    # a packet that a device does not take is lost, as on any link
    with contextlib.suppress(OSError):
        data = os.read(source, _PACKET_BYTES)
        if data[0] >> 4 == 4 and not loses(Packet(is_to_viewer, _payload_bytes(data))):
            os.write(target, data)


def _payload_bytes(data: bytes) -> int:
    head = 4 * (data[0] & 15)
    return len(data) - head - 4 * (data[head + 12] >> 4) if data[9] == socket.IPPROTO_TCP else 0


def _tun(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IS_TUN_WITHOUT_HEADER))
    except OSError:
        os.close(end)
        raise
    return end


def _run(*command: str) -> None:
    arguments: Sequence[str] = command
    subprocess.run(arguments, check=True, capture_output=True, timeout=COMMAND_MAX_S)
