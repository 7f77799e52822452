"""A listener: how many connections it takes, how long each may stand still, and how it stops."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from ipaddress import ip_network

import pytest

from oncegate.server import door, wire
from oncegate.server.binding import CannotListen
from oncegate.server.door import Room
from oncegate.server.listener import Listener
from oncegate.settings.addresses import Address
from oncegate.testing.raw_http import RawConnection
from raw_requests import HOST, get, put
from wires import PIECE, Serving, serving

SOON_S = 0.2


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of time that a test can wait for."""
    monkeypatch.setattr(wire, "HEAD_WITHIN_S", SOON_S)
    monkeypatch.setattr(wire, "LINGER_S", SOON_S)
    monkeypatch.setattr(door, "CHECK_EVERY_S", 0.05)


def idle(server: Serving) -> RawConnection:
    """A connection that was answered, and is kept alive."""
    connection = server.connect()
    connection.send(get(target=b"/whole"))
    assert connection.read_answer().status == 200
    return connection


def test_at_the_limit_the_one_that_is_idle_longest_goes() -> None:
    """Who sends nothing keeps nobody out: 5,200 silent connections once shut all others out for 15 seconds."""
    with serving(connections_max=4) as server, contextlib.ExitStack() as stack:
        first, second, third, fourth = (stack.enter_context(idle(server)) for _ in range(4))
        first.send(get(target=b"/whole"))  # which makes the second one the oldest
        assert first.read_answer().status == 200
        fifth = stack.enter_context(idle(server))
        assert second.is_cut()
        for connection in (first, third, fourth, fifth):
            connection.send(get(target=b"/whole"))
            assert connection.read_answer().status == 200


_FEW_DESCRIPTORS = """
import asyncio, resource, uvloop
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
from oncegate.server.asgi import answers
from oncegate.server.listener import Listener
from oncegate.settings.addresses import Address

async def app(scope, receive, send):
    held = [open("/dev/null") for _ in range(50)]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})

async def main():
    listener = Listener(answers(app), Address("127.0.0.1", 0), stall_s=60)
    await listener.start()
    print(listener.address.port, flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


def test_silent_connections_leave_descriptors_for_objects() -> None:
    """300 descriptors, and 400 clients who say nothing: held by them, none would be left to open a file for another."""
    program = [sys.executable, "-c", _FEW_DESCRIPTORS]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as running, contextlib.ExitStack() as stack:
        stack.callback(running.kill)
        assert running.stdout is not None
        url = f"http://127.0.0.1:{int(running.stdout.readline())}"
        for _ in range(400):
            stack.enter_context(RawConnection(url))
        connection = stack.enter_context(RawConnection(url))
        connection.send(get())
        assert connection.read_answer().status == 200


def test_where_none_is_idle_who_comes_is_told() -> None:
    """503 and when to come again, in place of silence; those who are served are not disturbed."""
    with serving(connections_max=2) as server, contextlib.ExitStack() as stack:
        busy = [stack.enter_context(server.connect()) for _ in range(2)]
        for connection in busy:
            connection.send(get(target=b"/leave"))
            assert server.told.heard("begin leave")
            server.told.forget()
        refused = stack.enter_context(server.connect())
        refused.send(get(target=b"/whole"))
        answer = refused.read_answer()
        assert (answer.status, answer.header("retry-after"), answer.header("connection")) == (503, "5", "close")
        assert refused.is_cut()
        busy[0].reset()
        assert server.told.heard("gone")
        with server.connect() as late:
            late.send(get(target=b"/whole"))
            assert late.read_answer().status == 200


def test_one_address_cannot_take_all_connections() -> None:
    """One who opens connections without end closes their own, idle ones first; others do not notice."""
    with serving(per_address_max=2) as server, contextlib.ExitStack() as stack:
        other = stack.enter_context(server.connect(source="127.0.0.2"))
        first, second = (stack.enter_context(idle(server)) for _ in range(2))
        third = stack.enter_context(idle(server))
        assert first.is_cut()
        for connection in (second, third):
            connection.send(get(target=b"/leave"))
            assert server.told.heard("begin leave")
            server.told.forget()
        assert stack.enter_context(server.connect()).read_answer().status == 503
        other.send(get(target=b"/whole"))
        assert other.read_answer().status == 200
        second.reset()
        assert server.told.heard("gone")
        stack.enter_context(idle(server))


def test_a_trusted_proxy_has_no_limit_of_its_own() -> None:
    """Its connections are those of many people."""
    room = Room(per_address_max=1, unlimited=(ip_network("127.0.0.0/30"),))
    assert [room.counted((host, 1)) for host in ("127.0.0.1", "::ffff:127.0.0.2", "127.0.0.4")] == ["", "", "127.0.0.4"]
    assert {room.counted((f"2001:db8::{n}", 1)) for n in (1, 2)} == {"2001:db8::"}
    assert Room().counted(("127.0.0.1", 1)) == room.counted(None) == ""


def test_those_who_are_told_have_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else they would be the connections without limit."""
    monkeypatch.setattr(door, "TURNED_AWAY_MAX", 1)
    with serving(connections_max=1) as server, contextlib.ExitStack() as stack:
        busy = stack.enter_context(server.connect())
        busy.send(get(target=b"/leave"))
        assert server.told.heard("begin leave")
        answers = [stack.enter_context(server.connect()).read_answer().status for _ in range(3)]
        assert answers == [503, 0, 0]


@pytest.mark.parametrize("sent", [b"GET /whole", b"GET /whole HTTP/1.1\r\n" + HOST, b"\r\n"])
def test_a_head_has_its_time(hasty: None, sent: bytes) -> None:
    """However slowly it drips; 408 says why, where a request had begun."""
    with serving() as server, server.connect() as connection:
        connection.send(sent)
        assert connection.read_answer().status == 408
        assert connection.is_cut()


@pytest.mark.parametrize("open_one", [Serving.connect, idle], ids=["silent", "kept alive"])
def test_an_idle_connection_is_closed(hasty: None, open_one: Callable[[Serving], RawConnection]) -> None:
    """Without a word: nothing was asked."""
    with serving() as server, open_one(server) as connection:
        assert connection.read_answer().status == 0


def test_who_takes_nothing_is_cut(hasty: None) -> None:
    """The last resort, where an application has no limit of its own: it ends, and its memory is free."""
    with serving(stall_s=SOON_S) as server, server.connect(receive_buffer_bytes=4_096) as connection:
        connection.send(get(target=b"/large?10000"))
        assert server.told.heard("end large")
        assert connection.is_cut()


def test_who_takes_slowly_is_not(hasty: None) -> None:
    """Progress is what counts, not the time of the whole."""
    with serving(stall_s=1) as server, server.connect(receive_buffer_bytes=4_096) as connection:
        connection.send(get(target=b"/large?200"))
        answer = connection.read_head()
        assert answer.status == 200
        for _ in range(200):
            assert connection.read_some(len(PIECE)) == PIECE
            server.told.pause(0.01)


def test_a_body_that_does_not_come_is_cut(hasty: None) -> None:
    """Its application is told that the client has gone."""
    with serving(stall_s=SOON_S) as server, server.connect() as connection:
        connection.send(put(b"Content-Length: 10\r\n", b"hello"))
        assert server.told.heard("broken body")
        assert connection.is_cut()


def test_a_client_who_never_closes_is_not_waited_for(hasty: None) -> None:
    """After a refusal the connection is read for a moment and no longer."""
    with serving() as server, server.connect() as connection:
        connection.send(b"NOTHING\r\n\r\n")
        assert connection.read_answer().status == 400
        assert server.stop(60)()


def test_stopping_lets_requests_finish() -> None:
    """Idle connections close at once, and nobody new is let in; who is served is told that it is the last answer."""
    with serving() as server, idle(server) as resting, server.connect() as connection:
        connection.send(get(target=b"/wait"))
        assert server.told.heard("begin wait")
        stopped = server.stop(60)
        assert resting.is_cut()
        with pytest.raises(OSError):
            server.connect().read_head()
            raise ConnectionResetError
        server.go()
        answer = connection.read_answer()
        assert (answer.body, answer.header("connection")) == (b"waited", "close")
        assert connection.is_cut()
        assert stopped()


def test_stopping_has_a_limit() -> None:
    """What does not finish is for its owner to end."""
    with serving() as server, server.connect() as connection:
        connection.send(get(target=b"/stuck"))
        assert server.told.heard("begin stuck")
        assert not server.stop(0.1)()


def test_a_taken_port_is_an_error() -> None:
    """Two listeners of one port would share its connections, and each would see half of them."""
    with serving() as server, pytest.raises(CannotListen, match="is taken"):
        Listener(server.program.answer, server.listener.address, stall_s=1)


def test_an_address_of_somebody_else_is_an_error() -> None:
    """TEST-NET-1 is nobody's."""
    with pytest.raises(CannotListen, match="cannot be used"):
        Listener(lambda *_: None, Address("192.0.2.1", 0), stall_s=1)  # type: ignore[arg-type, return-value]  # never called


def test_ipv6_is_served() -> None:
    """With the client's address as a family of its own."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with (
        serving(Address("::1", 0)) as server,
        socket.create_connection(("::1", server.listener.address.port), 60) as client,
    ):
        client.sendall(get(b"Connection: close\r\n", target=b"/whole"))
        assert client.recv(1_000).startswith(b"HTTP/1.1 200 OK\r\n")
    assert server.program.scopes[0]["client"][0] == "::1"


def test_hundreds_at_once_are_served() -> None:
    """Each from a thread of its own, and none waits for another."""
    with serving() as server:
        found: list[bytes] = []

        def ask(number: int) -> None:
            with server.connect() as connection:
                for turn in range(5):
                    connection.send(get(target=b"/whole?%d-%d" % (number, turn)))
                    found.append(connection.read_answer().body)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == sorted(b"%d-%d" % (number, turn) for number in range(100) for turn in range(5))
