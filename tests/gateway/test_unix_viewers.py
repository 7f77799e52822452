"""The viewer on a Unix socket, and on one of systemd: whose address counts there, and what a restart is to viewers."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys
from ipaddress import ip_network

import pytest

from oncegate.gateway.viewer import Viewers
from oncegate.server.pieces import Head
from oncegate.settings.addresses import Network, UnixPeers
from oncegate.settings.tables import ViewerSettings
from oncegate.testing.installation import STOP_MAX_S, Installation
from oncegate.testing.raw_http import request_bytes, target_of

VIEWER = "203.0.113.7"
ON_A_SOCKET = {"ONCEGATE_VIEWER__LISTEN": "unix:./viewer.sock"}
_AS_SYSTEMD = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
    " os.execv(sys.executable, [sys.executable, '-m', 'oncegate', *sys.argv[2:]])"
)


def ask_at(path: pathlib.Path, url: str) -> tuple[int, bytes]:
    """Status and body that a GET through a Unix socket is answered with."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(STOP_MAX_S)
        client.connect(str(path))
        return ask_over(client, url)


def ask_over(client: socket.socket, url: str) -> tuple[int, bytes]:
    """The same over a connection that stands."""
    client.sendall(request_bytes("GET", target_of(url), host="127.0.0.1", headers={"Connection": "close"}))
    head, _, body = b"".join(iter(lambda: client.recv(65_536), b"")).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_a_link_opens_once_through_a_unix_socket(tmp_path: pathlib.Path) -> None:
    """And the gateway says on stderr where it listens."""
    made = Installation(tmp_path)
    made.put("a.txt", b"hello")
    url = made.link("a.txt")
    with made.serve(environ=ON_A_SOCKET) as gateway:
        assert gateway.viewer_url == f"unix:{tmp_path}/viewer.sock"
        assert ask_at(tmp_path / "viewer.sock", url) == (200, b"hello")
        assert ask_at(tmp_path / "viewer.sock", url)[0] == 403
        assert gateway.terminate() == 0
    assert not (tmp_path / "viewer.sock").exists()


@pytest.mark.parametrize(
    ("trusted", "forwarded_for", "expected"),
    [
        (("unix:",), VIEWER, (VIEWER, True)),
        (("unix:", ip_network("10.0.0.0/8")), f"{VIEWER}, 10.1.2.3", (VIEWER, True)),
        (("unix:",), f"{VIEWER}, 192.0.2.1", ("192.0.2.1", True)),
        (("unix:",), "unix:", (None, False)),
        (("unix:",), None, (None, False)),
        ((ip_network("0.0.0.0/0"), ip_network("::/0")), VIEWER, (None, False)),
        ((), VIEWER, (None, False)),
        ((), None, (None, False)),
    ],
)
def test_only_where_unix_peers_are_trusted_a_viewer_has_an_address(
    trusted: tuple[Network | UnixPeers, ...], forwarded_for: str | None, expected: tuple[str | None, bool]
) -> None:
    """Any program that may connect could name one; and two viewers without an address must not pass for one holder."""
    headers = [(b"host", b"127.0.0.1:8080")]
    if forwarded_for is not None:
        headers.append((b"x-forwarded-for", forwarded_for.encode()))
    request = Viewers(ViewerSettings(trusted_proxies=trusted)).request_of(
        Head("GET", b"/a", b"", "1.1", headers, keeps_alive=True, has_body=False, expects_continue=False), None
    )
    assert (request.address, request.address_is_proof) == expected


def test_peers_of_a_unix_socket_are_trusted_nowhere_else() -> None:
    """A viewer with an address is one who came over the network."""
    headers = [(b"host", b"127.0.0.1:8080"), (b"x-forwarded-for", VIEWER.encode())]
    request = Viewers(ViewerSettings(trusted_proxies=("unix:",))).request_of(
        Head("GET", b"/a", b"", "1.1", headers, keeps_alive=True, has_body=False, expects_continue=False),
        ("192.0.2.1", 5),
    )
    assert (request.address, request.address_is_proof) == ("192.0.2.1", False)


@pytest.mark.slow
def test_viewers_wait_while_systemd_starts_the_gateway_again(tmp_path: pathlib.Path) -> None:
    """The socket stays, so nobody is refused: who comes between two processes is answered by the second."""
    made = Installation(tmp_path)
    made.put("a.txt", b"hello")
    config = made.folder / "oncegate.toml"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        environ = {
            **os.environ,
            "ONCEGATE_VIEWER__LISTEN": "systemd:viewer",
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "viewer",
        }
        command = [sys.executable, "-c", _AS_SYSTEMD, str(bound.fileno()), "--config", str(config), "serve"]
        url = made.link("a.txt")
        for status in (200, 403):
            with (
                socket.create_connection(bound.getsockname(), STOP_MAX_S) as waiting,
                subprocess.Popen(command, env=environ, pass_fds=[bound.fileno()], stderr=subprocess.DEVNULL) as process,
            ):
                assert ask_over(waiting, url)[0] == status
                process.terminate()
                assert process.wait(STOP_MAX_S) == 0
