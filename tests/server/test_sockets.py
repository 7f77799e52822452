"""Where a listener's socket comes from: the path of a Unix socket, or systemd."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
import stat
import threading
from collections.abc import Iterator

import pytest

from oncegate.server import binding
from oncegate.server.binding import CannotListen, bound
from oncegate.settings.sockets import PATH_MAX_BYTES, SystemdSocket, UnixSocket
from raw_requests import get
from wires import serving

MODE = 0o660


def request_through(path: pathlib.Path | str) -> bytes:
    """What is answered to a request for ``/whole``, until the connection ends."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(get(b"Connection: close\r\n", target=b"/whole"))
        return b"".join(iter(lambda: client.recv(4_096), b""))


def test_requests_come_through_a_unix_socket(tmp_path: pathlib.Path) -> None:
    """Their client has no address, and no connection of theirs is counted by one."""
    path = tmp_path / "viewer.sock"
    with serving(UnixSocket(str(path)), per_address_max=1) as server:
        assert request_through(path).endswith(b"whole")
        assert request_through(path).endswith(b"whole")
    assert server.program.scopes[0]["client"] is None


def test_a_large_answer_comes_whole_through_a_unix_socket(tmp_path: pathlib.Path) -> None:
    """Files go by sendfile there too, and pieces wait for their reader."""
    path = tmp_path / "viewer.sock"
    with serving(UnixSocket(str(path))), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(get(b"Connection: close\r\n", target=b"/large?64"))
        received = sum(map(len, iter(lambda: client.recv(65_536), b"")))
    assert received > 64 * 65_536


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_file_has_the_mode_that_was_asked_for(tmp_path: pathlib.Path, mode: int) -> None:
    """Whoever may write to it may connect; the mask of the process must neither widen nor narrow it."""
    path = tmp_path / "viewer.sock"
    mask = os.umask(0o077)
    try:
        made = bound(UnixSocket(str(path)), socket_mode=mode)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    made.socket.close()


def test_the_file_goes_when_the_listener_stops(tmp_path: pathlib.Path) -> None:
    """Else a proxy would find a socket that nobody answers, and the next start a stale one."""
    path = tmp_path / "viewer.sock"
    with serving(UnixSocket(str(path))):
        assert path.is_socket()
    assert not path.exists()


def test_the_file_of_a_process_that_was_killed_is_replaced(tmp_path: pathlib.Path) -> None:
    """It stays behind after SIGKILL or a power cut, and would keep the gateway from starting."""
    path = tmp_path / "viewer.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    with serving(UnixSocket(str(path))):
        assert request_through(path).endswith(b"whole")


def test_a_socket_that_somebody_serves_is_taken(tmp_path: pathlib.Path) -> None:
    """Replaced, the first gateway would go on unseen, without a viewer."""
    path = tmp_path / "viewer.sock"
    with serving(UnixSocket(str(path))):
        with pytest.raises(CannotListen, match=r"viewer\.sock is taken"):
            bound(UnixSocket(str(path)), socket_mode=MODE)
        assert request_through(path).endswith(b"whole")


def test_a_socket_whose_queue_is_full_is_taken(tmp_path: pathlib.Path) -> None:
    """A gateway that is busy does not answer at once, and lives all the same."""
    path = tmp_path / "viewer.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(CannotListen, match="is taken"):
            bound(UnixSocket(str(path)), socket_mode=MODE)


def test_what_is_no_socket_stays(tmp_path: pathlib.Path) -> None:
    """A path that was mistyped must not cost a file."""
    path = tmp_path / "letter.txt"
    path.write_text("dear reader")
    with pytest.raises(CannotListen, match="is no socket"):
        bound(UnixSocket(str(path)), socket_mode=MODE)
    assert path.read_text() == "dear reader"


def test_the_file_of_a_successor_stays(tmp_path: pathlib.Path) -> None:
    """While one gateway lets its transfers finish, the next one has bound the same path already."""
    path = UnixSocket(str(tmp_path / "viewer.sock"))
    first = bound(path, socket_mode=MODE)
    pathlib.Path(path.path).unlink()
    second = bound(path, socket_mode=MODE)
    first.remove_file()
    assert pathlib.Path(path.path).is_socket()
    second.remove_file()
    assert not pathlib.Path(path.path).exists()
    first.socket.close()
    second.socket.close()


def test_of_many_that_start_at_once_one_has_the_socket(tmp_path: pathlib.Path) -> None:
    """All of them find the stale file; without a lock, one removes what another has just bound."""
    path = tmp_path / "viewer.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    begin, made = threading.Barrier(8), list[binding.Bound]()

    def start() -> None:
        begin.wait()
        try:
            made.append(bound(UnixSocket(str(path)), socket_mode=MODE))
        except CannotListen:
            return

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (only,) = made
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    only.socket.close()


@pytest.mark.parametrize(
    ("path", "words"),
    [("/" + "a" * PATH_MAX_BYTES, "is longer than 107 bytes"), ("/no/such/folder/a", "No such file or directory")],
)
def test_a_path_that_cannot_be_bound_is_named(path: str, words: str) -> None:
    """The system says `AF_UNIX path too long`, and not which."""
    with pytest.raises(CannotListen, match=words):
        bound(UnixSocket(path), socket_mode=MODE)


@pytest.fixture
def handed_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that systemd has bound under the name ``viewer``."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        monkeypatch.setattr(binding, "_FIRST_HANDED_OVER", os.dup(made.fileno()))
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_FDNAMES", "viewer")
        yield made


def test_a_socket_of_systemd_is_served(handed_over: socket.socket) -> None:
    """Where it is bound is known, and no program that is started from here inherits it."""
    with serving(SystemdSocket("viewer")) as server, server.connect() as connection:
        connection.send(get(target=b"/whole"))
        assert connection.read_answer().status == 200
        assert server.listener.address.port == handed_over.getsockname()[1]
        assert not os.get_inheritable(binding._FIRST_HANDED_OVER)


@pytest.mark.parametrize(
    ("variable", "value"), [("LISTEN_PID", "1"), ("LISTEN_FDS", "0"), ("LISTEN_FDNAMES", "control")]
)
@pytest.mark.usefixtures("handed_over")
def test_what_was_handed_to_another_is_not_taken(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """The variables are inherited; a descriptor of that number may be anything here (sd_listen_fds(3))."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(CannotListen, match="systemd has handed over 0 sockets of this name") as raised:
        bound(SystemdSocket("viewer"), socket_mode=MODE)
    assert "FileDescriptorName=viewer" in (raised.value.remedy or "")
    os.close(binding._FIRST_HANDED_OVER)


def test_a_socket_that_takes_no_clients_is_refused(handed_over: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Accept=yes systemd hands over one connection for each process."""
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(binding, "_FIRST_HANDED_OVER", ours.detach())
    with theirs, pytest.raises(CannotListen, match="no socket to which clients connect"):
        bound(SystemdSocket("viewer"), socket_mode=MODE)


def test_a_unix_socket_works_on_asyncio_too(tmp_path: pathlib.Path) -> None:
    """Who embeds a listener has maybe no uvloop."""
    path = tmp_path / "viewer.sock"
    with serving(UnixSocket(str(path)), on=asyncio.run):
        assert request_through(path).endswith(b"whole")
    assert not path.exists()
