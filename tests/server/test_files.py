"""Files that go to clients without entering Python: whole, in order, and no further than the client reads."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pathlib
import socket
import threading
from collections.abc import Generator

import pytest
import uvloop

from oncegate.server.crowd import Crowd
from oncegate.server.files import TURN_BYTES, FileWay
from oncegate.server.limits import CROWD_FREE, CROWD_UNSENT_BYTES
from raw_requests import get
from wires import FILE_STEP, Serving, serving

SIZE = 20 * FILE_STEP + 4_321


@pytest.fixture(scope="module", params=[uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Serving]:
    """A listener whose application has a file."""
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(os.urandom(SIZE))
    with serving(on=request.param) as made:
        made.program.descriptor = os.open(path, os.O_RDONLY)
        yield made
    os.close(made.program.descriptor)


def content(server: Serving) -> bytes:
    """The file."""
    return os.pread(server.program.descriptor, SIZE, 0)


def test_a_file_comes_whole_between_what_is_written(server: Serving) -> None:
    """What is written waits in a buffer of the loop, a file in none: the order must be that of the application."""
    with server.connect() as connection:
        for _ in range(3):
            connection.send(get(target=b"/file") + get(target=b"/whole"))
            assert connection.read_answer().body == b"abc" + content(server) + b"xyz"
            assert connection.read_answer().body == b"whole"


def test_to_a_client_who_reads_slowly_it_comes_as_it_is_read(server: Serving) -> None:
    """Each wait for the client begins where the last one ended."""
    earlier = server.program.sent_bytes
    with server.connect(receive_buffer_bytes=100_000) as connection:
        connection.send(get(b"Connection: close\r\n", target=b"/file"))
        assert connection.read_head().status == 200
        found = b"".join(connection.read_some(10_007) for _ in range((SIZE + 6) // 10_007 + 1))
    assert found == b"abc" + content(server) + b"xyz"
    assert server.program.sent_bytes - earlier == SIZE


def test_head_gets_no_byte_of_a_file(server: Serving) -> None:
    """Nor does the next request on the connection."""
    with server.connect() as connection:
        connection.send(get(target=b"/file").replace(b"GET", b"HEAD") + get(target=b"/whole"))
        assert connection.read_answer(is_head=True).header("content-length") == str(SIZE + 6)
        assert connection.read_answer().body == b"whole"


def test_a_file_that_is_too_short_cuts_the_answer(server: Serving) -> None:
    """It was truncated after its length was told."""
    with server.connect() as connection:
        connection.send(get(target=b"/file?%d" % (SIZE + 1)))
        answer = connection.read_answer()
    assert (answer.status, answer.is_whole, answer.body) == (200, False, b"abc" + content(server))


def test_a_file_needs_an_announced_length(server: Serving) -> None:
    """In chunks each piece would need a frame; nobody does that, so it is refused rather than done wrongly."""
    with server.connect() as connection:
        connection.send(get(target=b"/file?0"))
        assert not connection.read_answer().is_whole


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_who_leaves_ends_the_sending(server: Serving, leave: str) -> None:
    """The application gets on, and what it sends afterwards goes nowhere."""
    server.told.forget()
    connection = server.connect(receive_buffer_bytes=4_096)
    connection.send(get(target=b"/file"))
    assert connection.read_head().status == 200
    getattr(connection, leave)()
    assert server.told.heard("end file")


def test_a_client_who_does_not_read_is_cut_in_the_end(tmp_path: pathlib.Path) -> None:
    """Else they would hold an open file, and the use that it belongs to, for ever."""
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 256 * 1024 * 1024)
    with serving(stall_s=1) as server, server.connect(receive_buffer_bytes=4_096) as connection:
        server.program.descriptor = os.open(tmp_path / "file", os.O_RDONLY)
        connection.send(get(target=b"/file"))
        assert server.told.heard("end file")
        assert connection.is_cut()
        os.close(server.program.descriptor)


def test_others_have_their_turn_beside_a_large_file(tmp_path: pathlib.Path) -> None:
    """A client who reads faster than the server sends never makes it wait: it must rest by itself."""
    size = 32 * TURN_BYTES
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", size)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    reading = threading.Thread(target=lambda: [None for _ in iter(lambda: theirs.recv(1 << 20), b"")])
    turns = 0

    async def main() -> None:
        nonlocal turns
        way = FileWay(ours.fileno())
        with (tmp_path / "file").open("rb") as file:
            sending = asyncio.create_task(way.send(file.fileno(), 0, size))
            while not sending.done():
                turns += 1
                await asyncio.sleep(0)
        assert way.sent_bytes == size
        way.close()
        ours.close()

    reading.start()
    asyncio.run(main())
    reading.join()
    theirs.close()
    assert turns >= 31


def test_where_there_is_no_sendfile_the_bytes_are_copied(server: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems in user space know none: they are served as they were before."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "sendfile", refuse)
    with server.connect() as connection:
        connection.send(get(target=b"/file"))
        assert connection.read_answer().body == b"abc" + content(server) + b"xyz"


@contextlib.contextmanager
def connected() -> Generator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection whose client reads nothing, and has room for little."""
    with socket.socket() as listening, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        client.connect(listening.getsockname())
        taken = listening.accept()[0]
        with taken:
            taken.setblocking(False)
            yield taken, client


def test_of_a_crowd_that_reads_nothing_the_kernel_takes_little(tmp_path: pathlib.Path) -> None:
    """Two megabytes each are gigabytes for a thousand; the first few may have them, since a limit costs time.

    A connection that was in a crowd once is free of the limit in its next answer.
    """
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 8 * 1024 * 1024)

    async def sent_bytes() -> list[int]:
        loop = asyncio.get_running_loop()
        with path.open("rb") as file, contextlib.ExitStack() as stack:
            ends = [stack.enter_context(connected()) for _ in range(CROWD_FREE + 8)]
            ways = [FileWay(taken.fileno()) for taken, _ in ends]
            sending = [loop.create_task(way.send(file.fileno(), 0, 8 * 1024 * 1024)) for way in ways]
            while not all(way.is_waiting for way in ways):
                await asyncio.sleep(0)
            found = [way.sent_bytes for way in ways]
            for way in ways:
                way.close()
            await asyncio.gather(*sending)
            last = ends[-1][0]
            assert last.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == CROWD_UNSENT_BYTES
            again = FileWay(last.fileno())
            sending = [loop.create_task(again.send(file.fileno(), 0, 8 * 1024 * 1024))]
            while not again.is_waiting:
                await asyncio.sleep(0)
            assert last.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 0
            again.close()
            await asyncio.gather(*sending)
            return found

    found = asyncio.run(sent_bytes())
    assert max(found[CROWD_FREE:]) < min(found[:CROWD_FREE])
    assert max(found[CROWD_FREE:]) <= 4 * CROWD_UNSENT_BYTES


def test_a_unix_socket_has_no_such_limit(tmp_path: pathlib.Path) -> None:
    """It belongs to TCP alone, and a proxy reads there."""
    ours, theirs = socket.socketpair()
    crowd = Crowd()
    crowd.under_way = CROWD_FREE
    with ours, theirs, crowd.one_more(ours.fileno(), 1 << 30):
        ours.send(b"x")
        assert theirs.recv(1) == b"x"
    assert crowd.under_way == CROWD_FREE
