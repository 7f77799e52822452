"""Request smuggling through nginx, HAProxy, Caddy and Traefik: requests whose end two servers could see in two places.

Each is sent by an attacker, with another request hidden where only one of the two would see it. What must hold: the
gateways answer no request that the proxy has not passed on for somebody, and everybody afterwards gets their own answer
over the connections that proxy and gateway keep. A proxy may take what was hidden for a second request of the attacker, and
answer it to them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from fleets import HERE, THERE, Fleet
from oncegate.links.grant import Operation
from oncegate.links.urls import parse_url
from oncegate.testing.raw_http import RawConnection, target_of

VICTIMS = 12
QUIET_S = 0.4
"""For how long nothing comes until an answer is taken to be complete; what the gateways log is waited for besides."""

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.xdist_group("proxies")]

CHUNKED = b"Transfer-Encoding: chunked\r\n"
AFTER_END = b"0\r\n\r\n%b"
"""A chunked body that ends at once, with the hidden request behind it."""
HIDDEN_LINES = [
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: chunked;q=1",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b" Transfer-Encoding: chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x0b",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding\r\n: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"Transfer_Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: CHUNKED",
]


def with_length(lines: bytes, body: bytes, length: bytes | None = None) -> bytes:
    """Headers, and a body whose length is announced, or another one."""
    return lines + b"Content-Length: " + (length or b"%d" % len(body)) + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    """One chunk and the end of the body."""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


ATTACKS: dict[str, Callable[[bytes], bytes]] = {
    "CL.TE": lambda hidden: with_length(CHUNKED, AFTER_END % hidden),
    "TE.CL": lambda hidden: with_length(CHUNKED, chunk(hidden), b"4"),
    "TE.CL of nothing": lambda hidden: with_length(CHUNKED, AFTER_END % hidden, b"0"),
    "length first": lambda hidden: b"Content-Length: 0\r\n" + CHUNKED + b"\r\n" + chunk(hidden),
    **{
        f"CL.TE by {line!r}": lambda hidden, line=line: with_length(line + b"\r\n", AFTER_END % hidden)
        for line in HIDDEN_LINES
    },
    **{
        f"TE.CL by {line!r}": lambda hidden, line=line: with_length(line + b"\r\n", chunk(hidden), b"4")
        for line in HIDDEN_LINES
    },
    "two lengths, short first": lambda hidden: with_length(b"Content-Length: 0\r\n", hidden),
    "two lengths, short last": lambda hidden: with_length(b"Content-Length: %d\r\n" % len(hidden), hidden, b"0"),
    "two lengths in one": lambda hidden: with_length(b"", hidden, b"0, %d" % len(hidden)),
    "length with a sign": lambda hidden: with_length(b"", hidden, b"+%d" % len(hidden)),
    "length of zero with a minus": lambda hidden: with_length(b"", hidden, b"-0"),
    "length in hexadecimal": lambda hidden: with_length(b"", hidden, b"0x%x" % len(hidden)),
    "length beyond 64 bits": lambda hidden: with_length(b"", hidden, b"%d" % (2**64 + len(hidden))),
    "length with a space": lambda hidden: with_length(b"", hidden, b"%d 0" % len(hidden)),
    "space before the colon": lambda hidden: b"Content-Length : %d\r\n\r\n%b" % (len(hidden), hidden),
    "length behind a bare LF": lambda hidden: b"X: y\nContent-Length: %d\r\n\r\n%b" % (len(hidden), hidden),
    "length behind a bare CR": lambda hidden: b"X: y\rContent-Length: %d\r\n\r\n%b" % (len(hidden), hidden),
    "length in a folded line": lambda hidden: b"X: y\r\n Content-Length: %d\r\n\r\n%b" % (len(hidden), hidden),
    "lines that end in LF": lambda hidden: b"Content-Length: %d\n\n%b" % (len(hidden), hidden),
    "end of the head by LF": lambda hidden: b"X: y\r\n\n" + hidden,
    "length as a hop's own": lambda hidden: with_length(b"Connection: Content-Length\r\n", hidden),
    "chunks as a hop's own": lambda hidden: b"Connection: Transfer-Encoding\r\n" + CHUNKED + b"\r\n" + chunk(hidden),
    "chunk size by LF": lambda hidden: CHUNKED + b"\r\n%x\n%b\r\n0\r\n\r\n" % (len(hidden), hidden),
    "last chunk by LF": lambda hidden: CHUNKED + b"\r\n0\n\n" + hidden,
    "chunk size beyond 64 bits": lambda hidden: CHUNKED + b"\r\n1%016x\r\n%b" % (0, hidden),
    "chunk size with a sign": lambda hidden: CHUNKED + b"\r\n-1\r\n" + hidden,
    "chunk size in hexadecimal": lambda hidden: CHUNKED + b"\r\n0x%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden),
    "extension over a bare LF": lambda hidden: CHUNKED + b"\r\n0;a\n\r\n\r\n" + hidden,
    "extension over a bare CR": lambda hidden: CHUNKED + b"\r\n2;\rxx\r\n0\r\n\r\n" + hidden,
    "chunk longer than its size": lambda hidden: CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n" + hidden,
    "trailers": lambda hidden: CHUNKED + b"\r\n0\r\nContent-Length: 5\r\nX: y\r\n\r\n" + hidden,
    "h2c": lambda hidden: (
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
        + hidden
    ),
    "h2c with a body": lambda hidden: with_length(
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n", hidden
    ),
    "websocket": lambda hidden: (
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\nSec-WebSocket-Key: eA==\r\n\r\n"
        + hidden
    ),
    "100-continue": lambda hidden: with_length(b"Expect: 100-continue\r\n", hidden),
    "100-continue, unknown": lambda hidden: with_length(b"Expect: 100-continue, y\r\n", hidden),
    "two hosts": lambda hidden: with_length(b"Host: elsewhere.example\r\n", hidden),
    "no name": lambda hidden: b": y\r\nContent-Length: %d\r\n\r\n%b" % (len(hidden), hidden),
    "NUL in a value": lambda hidden: with_length(b"X: a\x00b\r\n", hidden),
}


def received(connection: RawConnection, until_heard: Callable[[bytes], bool]) -> bytes:
    """Everything that is answered, until the connection ends or nothing more comes and what is waited for has come."""
    connection.socket.settimeout(QUIET_S)
    said = b""
    while True:
        try:
            data = connection.socket.recv(65_536)
        except TimeoutError:
            if until_heard(said):
                return said
            continue
        except (ConnectionError, ssl.SSLError):
            return said
        if not data:
            return said
        said += data


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_no_hidden_request_is_answered_but_to_who_sent_it(fleet: Fleet, method: str) -> None:
    """A request that the proxy does not know of is answered to the next viewer, whose own answer then waits for another."""
    for number in range(VICTIMS):
        fleet.made.put(f"victim-{number}.bin", b"for viewer %d alone" % number)
    wrong: list[str] = []
    for number, (name, attack) in enumerate(ATTACKS.items()):
        outer, inner = f"{method}/outer-{number}.bin", f"{method}/inner-{number}.bin"
        secret = f"the answer to the hidden request {method} {number}".encode()
        fleet.made.put(inner, secret)
        if method == "GET":
            fleet.made.put(outer, b"the outer answer")
        link = fleet.made.link(outer, operation=Operation.PUT if method == "PUT" else Operation.GET)
        host = parse_url(link).host
        hidden = f"GET {target_of(fleet.made.link(inner))} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        head = f"{method} {target_of(link)} HTTP/1.1\r\nHost: {host}\r\n".encode()

        def is_answered(said: bytes, inner: str = inner, secret: bytes = secret) -> bool:
            return not fleet.lines_of(inner) or secret in said

        with fleet.connect(source=HERE) as connection:
            connection.send(head + attack(hidden))
            said = received(connection, is_answered)
        if b"HTTP/1.1 101" in said:
            wrong.append(f"{name}: the protocol was changed")
        for victim in range(VICTIMS):
            key = f"victim-{victim}.bin"
            answer = fleet.ask("GET", fleet.made.link(key), source=THERE)
            if (answer.status, answer.body) != (200, b"for viewer %d alone" % victim):
                wrong.append(f"{name}: viewer {victim} got {answer.status} {answer.body[:60]!r}")
        if fleet.lines_of(inner) and secret not in said:
            wrong.append(f"{name}: a gateway answered the hidden request to nobody who sent it")
    assert wrong == []


def test_a_hidden_request_would_be_found(fleet: Fleet) -> None:
    """Sent openly behind the first one, it is seen by a gateway and answered: so the test above looks at the right place."""
    fleet.made.put("first.bin", b"first")
    fleet.made.put("second.bin", b"second")
    links = [fleet.made.link("first.bin"), fleet.made.link("second.bin")]
    with fleet.connect(source=HERE) as connection:
        for link in links:
            connection.send(f"GET {target_of(link)} HTTP/1.1\r\nHost: {parse_url(link).host}\r\n\r\n".encode())
        said = received(connection, lambda said: b"second" in said)
    assert said.index(b"first") < said.index(b"second")
    assert len(fleet.lines_of("second.bin")) == 1
