"""Viewers who end their connection right after their request: who still reads is served, who does not spends nothing."""

from __future__ import annotations

import socket
import time

import pytest

from homes import Home
from oncegate.testing.raw_http import ask, target_of

VIEWERS = 30
BODY = bytes(range(256)) * 4


def _begin(gateway: Home, url: str, version: str) -> socket.socket:
    """Connect, and have a request ready that goes out as the sending side ends."""
    opened = socket.create_connection(("127.0.0.1", gateway.port))
    # the request goes out together with the end: on a busy machine it would be answered before the end was sent
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    opened.sendall(f"GET {target_of(url)} HTTP/{version}\r\nHost: 127.0.0.1:{gateway.port}\r\n\r\n".encode())
    return opened


def _read_all(opened: socket.socket) -> bytes:
    opened.settimeout(60)
    data = b""
    while piece := opened.recv(65_536):
        data += piece
    return data


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_who_ends_their_sending_side_alone_gets_the_object(gateway: Home, version: str) -> None:
    """As ``printf ... | nc`` does, and HAProxy for clients that do: one status line, one head, the object."""
    for _ in range(VIEWERS):
        with _begin(gateway, gateway.fresh(BODY), version) as opened:
            opened.shutdown(socket.SHUT_WR)
            data = _read_all(opened)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.count(b"HTTP/1.1") == 1
        assert body == BODY


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_who_closes_right_after_their_request_spends_nothing(gateway: Home, version: str) -> None:
    """Scanners, closed tabs, and proxies whose client has left: none of them reads a byte of what would be sent."""
    urls = [gateway.fresh(BODY) for _ in range(VIEWERS)]
    for url in urls:
        _begin(gateway, url, version).close()
    deadline = time.monotonic() + 60
    for url in urls:
        while (answer := ask("GET", url)).status == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (answer.status, answer.body) == (200, BODY)
