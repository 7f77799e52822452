"""What an application is told of its answers, once it is known what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
from collections.abc import Generator

import pytest
import uvloop

from oncegate.server import kernel
from oncegate.server.fates import Fate, Stretch, fate_of
from oncegate.server.kernel import Progress
from oncegate.settings.sockets import UnixSocket
from oncegate.testing.raw_http import RawConnection
from raw_requests import get
from wires import Serving, serving

KIB = 1024
WHOLE = Stretch(100, 150, 250, is_whole=True)
PART = WHOLE._replace(is_whole=False)


@pytest.fixture(scope="module", params=[uvloop.run, asyncio.run], ids=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Generator[Serving]:
    """A listener."""
    with serving(on=request.param) as made:
        yield made


@contextlib.contextmanager
def asked(
    server: Serving, kib: int, *, version: bytes = b"1.1", before: bool = True, more: str = ""
) -> Generator[RawConnection]:
    """A connection on which so much was asked for, and may go; without ``before`` it waits for ``server.go``."""
    server.told.forget()
    server.program.fates.clear()
    with server.connect(receive_buffer_bytes=16 * KIB if kib > KIB else None) as connection:
        connection.send(get(target=f"/followed?{kib}{more}".encode()).replace(b"HTTP/1.1", b"HTTP/" + version))
        assert server.told.heard("follows")
        if before:
            server.go()
        yield connection


def fate(server: Serving) -> Fate:
    """What the application was told, once it was."""
    assert server.told.heard("fate 1"), server.told.all
    assert len(server.program.fates) == 1
    return server.program.fates[0]


@pytest.mark.parametrize(
    ("answer", "progress", "is_reset", "said"),
    [
        (WHOLE, Progress(250, None), False, Fate(100, 100, True, is_clean=True, is_reset=False)),
        (WHOLE, Progress(251, 251), False, Fate(100, 100, True, is_clean=True, is_reset=False)),
        (WHOLE, Progress(250, 250), True, Fate(100, 100, True, is_clean=False, is_reset=True)),
        (WHOLE, Progress(249, 250), True, Fate(100, 99, True, is_clean=False, is_reset=True)),
        (WHOLE, Progress(249, None), False, Fate(None, 99, True, is_clean=False, is_reset=False)),
        (WHOLE, Progress(160, 170), True, Fate(20, 10, True, is_clean=False, is_reset=True)),
        (WHOLE, Progress(100, 120), True, Fate(0, 0, True, is_clean=False, is_reset=True)),
        (WHOLE, Progress(100, 100), True, Fate(0, 0, False, is_clean=False, is_reset=True)),
        (WHOLE, Progress(40, 60), False, Fate(0, 0, False, is_clean=False, is_reset=False)),
        (WHOLE, None, False, Fate(None, None, True, is_clean=True, is_reset=False)),
        (WHOLE, None, True, Fate(None, None, True, is_clean=False, is_reset=True)),
        (PART, Progress(250, 250), True, Fate(100, 100, True, is_clean=False, is_reset=True)),
        (PART, Progress(250, None), False, Fate(None, 100, True, is_clean=False, is_reset=False)),
        (PART, None, False, Fate(None, None, True, is_clean=False, is_reset=False)),
        (Stretch(100, 100, 100, False), Progress(100, 100), True, Fate(0, 0, False, is_clean=False, is_reset=True)),
    ],
)
def test_a_fate_is_what_the_numbers_of_its_stretch_say(
    answer: Stretch, progress: Progress | None, *, is_reset: bool, said: Fate
) -> None:
    """Never sent only of a dead socket, never more than the body, and clean only where all of it was acknowledged."""
    assert fate_of(answer, progress, is_reset=is_reset) == said


def test_this_kernel_can_say() -> None:
    """Where it cannot, everything else here would show what is told then; Linux is what it is made for."""
    assert kernel.can_say()


def test_an_answer_has_arrived_when_the_next_request_begins(server: Serving) -> None:
    """The client has received what it goes on behind."""
    with asked(server, 3) as connection:
        assert connection.read_answer().body_bytes == 3 * KIB
        assert not server.program.fates
        connection.send(get(target=b"/whole"))
        assert connection.read_answer().status == 200
        assert fate(server) == Fate(3 * KIB, 3 * KIB, True, is_clean=True, is_reset=False)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_answer_has_arrived_when_its_client_closes(server: Serving, version: bytes) -> None:
    """As curl does, and each connection of a proxy that speaks HTTP/1.0."""
    with asked(server, 3, version=version) as connection:
        connection.read_answer()
    assert fate(server) == Fate(3 * KIB, 3 * KIB, True, is_clean=True, is_reset=False)


def test_an_answer_of_http_1_0_ends_though_its_client_stays(server: Serving) -> None:
    """It is told apart by the end of the connection, which must not wait for the client's."""
    with asked(server, 3, version=b"1.0") as connection:
        connection.read_answer()
        assert connection.socket.recv(1) == b""


def test_a_client_who_sends_no_more_and_reads_has_the_answer(server: Serving) -> None:
    """As ``printf ... | nc`` does; its connection ends, and says so."""
    with asked(server, 3, before=False) as connection:
        connection.socket.shutdown(socket.SHUT_WR)
        server.go()
        assert connection.read_answer().body_bytes == 3 * KIB
        assert connection.socket.recv(1) == b""
        assert fate(server).is_clean


def test_who_resets_behind_an_answer_had_it_acknowledged(server: Serving) -> None:
    """And may never have read it."""
    with asked(server, 3) as connection:
        connection.read_answer()
        connection.reset()
    assert fate(server) == Fate(3 * KIB, 3 * KIB, True, is_clean=False, is_reset=True)


def test_who_resets_before_an_answer_was_sent_nothing(server: Serving) -> None:
    """Whatever the application wrote after that."""
    with asked(server, 3, before=False) as connection:
        connection.reset()
        told = fate(server)
        assert (told.sent_bytes, told.acked_bytes, told.is_head_sent) == (0, 0, False)
        server.go()


def test_who_resets_midway_was_sent_less_than_the_kernel_has(server: Serving) -> None:
    """Of megabytes that the kernel took the greater part was on no wire."""
    with asked(server, 20 * KIB) as connection:
        connection.read_head()
        connection.reset()
    told = fate(server)
    assert told.acked_bytes is not None
    assert told.sent_bytes is not None
    assert 0 < told.acked_bytes <= told.sent_bytes < 10 * KIB * KIB
    assert (told.is_head_sent, told.is_clean) == (True, False)


def test_who_reads_nothing_is_ended_by_the_kernel() -> None:
    """Then its numbers are final, before any timer of ours looks."""
    with serving(silent_s=1) as server, asked(server, 20 * KIB) as connection:
        connection.read_head()
        told = fate(server)
        assert told.sent_bytes is not None
        assert told.sent_bytes < 10 * KIB * KIB
        assert (told.is_clean, told.is_reset) == (False, False)


def test_of_a_connection_that_we_end_all_counts_as_sent(server: Serving) -> None:
    """The kernel sends on behind a close, and nobody looks any more."""
    with asked(server, 60, more="+") as connection:
        connection.read_head()
        told = fate(server)
        assert (told.sent_bytes, told.is_head_sent, told.is_clean) == (None, True, False)
        assert connection.is_cut()


def test_of_a_unix_socket_nobody_knows_more_than_that_it_ended_well(tmp_path: pathlib.Path) -> None:
    """There are no acknowledgements."""
    path = tmp_path / "socket"
    with serving(UnixSocket(str(path))) as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(get(target=b"/followed?3"))
        assert server.told.heard("follows")
        server.go()
        received = 0
        while received < 3 * KIB:
            received += len(client.recv(KIB * KIB))
        client.close()
        assert fate(server) == Fate(None, None, True, is_clean=True, is_reset=False)


def test_the_connection_ends_when_it_is_lost(server: Serving) -> None:
    """The duplicate by which the kernel is asked would keep it open, and its client waiting."""
    with asked(server, 3) as connection:
        connection.read_answer()
        connection.send(b"no request\r\n\r\n")
        assert connection.read_answer().status == 400
        assert connection.socket.recv(1) == b""
    assert fate(server).is_clean
