"""A connection, over real sockets: order, keep-alive, broken requests, broken answers, and clients who leave."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Generator

import pytest
import uvloop

from oncegate.testing.raw_http import RawConnection
from raw_requests import BROKEN_BODIES, REFUSED, TAKEN, get, put
from wires import PIECE, Serving, serving


@pytest.fixture(scope="module", params=[uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Generator[Serving]:
    """A listener on the loop of ``oncegate serve``, and on the one that Python brings."""
    with serving(on=request.param) as made:
        yield made


def answers(connection: RawConnection) -> list[tuple[int, bytes]]:
    """Status and body of all answers, up to the end of the connection."""
    found: list[tuple[int, bytes]] = []
    while (answer := connection.read_answer()).status:
        found.append((answer.status, answer.body))
    return found


@pytest.mark.parametrize("name", TAKEN)
def test_a_request_is_answered_however_it_arrives(server: Serving, name: str) -> None:
    """In two parts, split where the parser has most to remember; the next request on the connection is answered too."""
    data = TAKEN[name]
    is_head = data.startswith(b"HEAD")
    for at in range(1, len(data), max(1, len(data) // 12)):
        with server.connect() as connection:
            connection.send(data[:at])
            connection.send(data[at:])
            assert connection.read_answer(is_head=is_head).status == 200
            connection.send(get(target=b"/whole?next"))
            follows = b"1.0" not in data or b"keep-alive" in data
            follows = follows and b"Connection: close" not in data
            assert connection.read_answer().body == (b"next" if follows else b"")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_ends_the_connection(server: Serving, name: str) -> None:
    """One answer with its status, and no second one: what hides behind such a request is never looked at."""
    status, data = REFUSED[name]
    begun = len(server.program.scopes)
    with server.connect() as connection:
        connection.send(data + get(target=b"/whole"))
        first = connection.read_answer()
        assert (first.status, first.header("connection")) == (status, "close")
        assert answers(connection) == []
    assert len(server.program.scopes) == begun


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_a_broken_body_ends_the_connection(server: Serving, name: str) -> None:
    """Its application is told that the rest will not come; nothing behind it is answered."""
    server.told.forget()
    with server.connect() as connection:
        connection.send(BROKEN_BODIES[name] + get(target=b"/whole"))
        assert answers(connection) == []
    assert server.told.heard("broken body")


def test_what_comes_in_one_packet_is_answered_in_order(server: Serving) -> None:
    """A thousand requests at once; the second begins when the first has ended."""
    with server.connect() as connection:
        connection.send(b"".join(get(target=b"/whole?%d" % number) for number in range(1_000)))
        assert [connection.read_answer().body for _ in range(1_000)] == [b"%d" % number for number in range(1_000)]


def test_a_request_waits_for_the_one_before(server: Serving) -> None:
    """Answers have no numbers: the order is all that tells them apart."""
    with server.connect() as connection:
        server.told.forget()
        connection.send(get(target=b"/wait") + get(target=b"/whole"))
        assert server.told.heard("begin wait")
        assert server.told.all[-1] == "begin wait"
        server.go()
        assert [connection.read_answer().body for _ in range(2)] == [b"waited", b"whole"]


@pytest.mark.parametrize(
    ("headers", "version", "keeps"),
    [
        (b"", b"1.1", True),
        (b"Connection: close\r\n", b"1.1", False),
        (b"Connection: keep-alive, close\r\n", b"1.1", False),
        (b"", b"1.0", False),
        (b"Connection: keep-alive\r\n", b"1.0", True),
    ],
)
def test_a_connection_stays_open_where_both_want_it(
    server: Serving, headers: bytes, version: bytes, keeps: bool
) -> None:
    """And the answer says so: a client that waits for the end of the connection must not wait for ever."""
    with server.connect() as connection:
        connection.send(get(headers, target=b"/whole", version=version))
        said = connection.read_answer().header("connection")
        assert said == ("close" if not keeps else "keep-alive" if version == b"1.0" else None)
        if not keeps:
            assert answers(connection) == []


@pytest.mark.parametrize(("status", "length"), [(200, "4"), (204, None), (304, None), (404, "4")])
def test_some_answers_have_no_body(server: Serving, status: int, length: str | None) -> None:
    """A body behind 204 or 304 would be read as the next answer."""
    with server.connect() as connection:
        for _ in range(2):
            connection.send(get(target=b"/status?%d" % status))
            answer = connection.read_answer()
            assert (answer.status, answer.header("content-length")) == (status, length)


def test_head_is_answered_without_a_body(server: Serving) -> None:
    """Its length is that of the answer to GET."""
    with server.connect() as connection:
        for _ in range(2):
            connection.send(get(target=b"/whole").replace(b"GET", b"HEAD"))
            answer = connection.read_answer(is_head=True)
            assert (answer.status, answer.header("content-length")) == (200, "5")


def test_an_answer_without_a_length_has_an_end(server: Serving) -> None:
    """In chunks for HTTP/1.1; for 1.0 the end of the connection is that of the answer, and a broken one is no end."""
    with server.connect() as connection:
        for _ in range(2):
            connection.send(get(target=b"/pieces"))
            assert connection.read_answer().body == b"onetwo"
        connection.send(get(target=b"/pieces?break"))
        answer = connection.read_answer()
        assert (answer.body, answer.is_whole) == (b"onetwo", False)
    with server.connect() as connection:
        connection.send(get(target=b"/pieces", version=b"1.0"))
        assert connection.read_answer().body == b"onetwo"
    with server.connect() as connection, pytest.raises(ConnectionResetError):
        connection.send(get(target=b"/pieces?break", version=b"1.0"))
        while connection.socket.recv(1_000):
            pass


@pytest.mark.parametrize("query", [b"value", b"name", b"lf", b"nul"])
def test_no_header_of_an_answer_becomes_two(server: Serving, query: bytes) -> None:
    """Whoever could write a line of a head could set cookies, or begin a second answer."""
    with server.connect() as connection:
        connection.send(get(target=b"/split?" + query))
        answer = connection.read_answer()
    assert (answer.status, answer.cookies) == (500, {})
    assert b"split" not in answer.body


@pytest.mark.parametrize("path", [b"fail", b"nothing"])
def test_an_application_that_fails_is_answered_for(server: Serving, path: bytes) -> None:
    """500 without a word of what it raised."""
    with server.connect() as connection:
        for _ in range(2):
            connection.send(get(target=b"/" + path))
            answer = connection.read_answer()
            assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")


def test_a_broken_answer_is_cut(server: Serving) -> None:
    """Never ended cleanly: the client sees that it has not all of it."""
    with server.connect() as connection:
        connection.send(get(target=b"/fail?late"))
        answer = connection.read_answer()
        assert (answer.status, answer.body, answer.is_whole) == (200, b"some", False)
        assert answers(connection) == []


@pytest.mark.parametrize("length", [b"4", b"6"])
def test_an_answer_is_as_long_as_it_says(server: Serving, length: bytes) -> None:
    """A byte more would be read as the beginning of the next answer, and for one that lacks a client would wait."""
    with server.connect() as connection:
        connection.send(get(target=b"/wrong?" + length))
        assert connection.read_answer().body == b"500 Internal Server Error\n"


def test_who_ends_their_side_is_served(server: Serving) -> None:
    """A client that ends its sending side and waits, as ``printf .. | nc`` does; all that it has asked is answered."""
    with server.connect() as connection:
        connection.send(get(target=b"/large?40") + get(target=b"/whole") + get(target=b"/wh"))
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.read_answer().body_bytes == 40 * len(PIECE)
        assert connection.read_answer().body == b"whole"
        assert connection.read_answer().status == 500
        assert answers(connection) == []


def test_who_ends_in_a_body_has_left(server: Serving) -> None:
    """The rest will not come, and its application does not wait for it."""
    server.told.forget()
    with server.connect() as connection:
        connection.send(put(b"Content-Length: 10\r\n", b"hello"))
        connection.socket.shutdown(socket.SHUT_WR)
        assert connection.is_cut()
    assert server.told.heard("broken body")


@pytest.mark.parametrize("leave", [RawConnection.reset, RawConnection.close], ids=["reset", "close"])
def test_an_application_learns_that_the_client_has_gone(
    server: Serving, leave: Callable[[RawConnection], None], request: pytest.FixtureRequest
) -> None:
    """By a reset at once; by a closed connection as soon as something is sent."""
    server.told.forget()
    connection = server.connect()
    connection.send(get(target=b"/leave" if leave is RawConnection.reset else b"/large?10000"))
    assert server.told.heard("begin leave" if leave is RawConnection.reset else "begin large")
    leave(connection)
    assert server.told.heard("gone" if leave is RawConnection.reset else "end large")


def test_100_continue_comes_when_the_body_is_asked_for(server: Serving) -> None:
    """And not where the request is refused: then the body is never sent, and the connection cannot go on."""
    with server.connect() as connection:
        connection.send(put(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b""))
        assert connection.read_head().status == 100
        connection.send(b"hello")
        assert connection.read_answer().body == b"hello"
        connection.send(put(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"").replace(b"/echo", b"/refuse"))
        answer = connection.read_answer()
        assert (answer.status, answer.header("connection")) == (403, "close")
        assert answers(connection) == []


@pytest.mark.parametrize(("version", "body"), [(b"1.0", b"hello"), (b"1.1", b"hello"), (b"1.1", b"he")])
def test_no_100_continue_for_who_does_not_wait(server: Serving, version: bytes, body: bytes) -> None:
    """HTTP/1.0 does not know it; and who has begun to send will go on."""
    with server.connect() as connection:
        connection.send(put(b"Expect: 100-continue\r\nContent-Length: 5\r\n", body, version=version))
        connection.send(b"hello"[len(body) :])
        assert connection.read_head().status == 200


def test_an_answer_before_the_end_of_a_body_is_seen(server: Serving) -> None:
    """A megabyte is still on its way: closed at once, the connection would be reset, and the answer lost."""
    with server.connect() as connection:
        connection.send(put(b"Content-Length: 900000\r\n", bytes(300_000)).replace(b"/echo", b"/refuse"))
        connection.send(bytes(600_000))
        answer = connection.read_answer()
        assert (answer.status, answer.body, answer.header("connection")) == (403, b"no", "close")


def test_a_body_is_taken_no_faster_than_the_application_takes_it(server: Serving) -> None:
    """Else memory would hold what a disk, or a bucket, has not taken yet."""
    with server.connect(timeout_s=1) as connection, pytest.raises(TimeoutError):
        connection.send(put(b"Content-Length: 1000000000\r\n", b"").replace(b"/echo", b"/stuck"))
        for _ in range(10_000):
            connection.send(PIECE)


def test_an_application_waits_for_a_client_who_does_not_read(server: Serving) -> None:
    """Else the whole object would lie in memory, and count as delivered."""
    earlier = server.program.sent_bytes
    with server.connect(receive_buffer_bytes=4_096) as connection:
        connection.send(get(target=b"/large?10000"))
        assert connection.read_head().status == 200
        before = -1
        while before != server.program.sent_bytes:
            before = server.program.sent_bytes
            time.sleep(0.2)  # long enough to send hundreds of megabytes
        assert server.program.sent_bytes - earlier < 1_000 * len(PIECE)


def test_a_scope_is_what_was_sent(server: Serving) -> None:
    """Byte for byte where a signature covers it."""
    with server.connect() as connection:
        connection.send(b"GET /whole/?a=%2F%zz+~ HTTP/1.1\r\nHOST: A \r\nx-Two: 1\r\nX-two:2\t\r\n\r\n")
        assert connection.read_answer().status == 200
        address = connection.socket.getsockname()
    scope = server.program.scopes[-1]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/whole/", b"/whole/", b"a=%2F%zz+~")
    assert scope["headers"] == [(b"host", b"A"), (b"x-two", b"1"), (b"x-two", b"2")]
    assert (scope["client"], scope["http_version"], scope["method"]) == (address, "1.1", "GET")
    assert scope["server"] == ("127.0.0.1", server.listener.address.port)
