"""The gateway dies, is told to stop, or meets somebody who does nothing: what is spent, and what is not."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import socket
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from oncegate.testing.installation import STOP_MAX_S
from oncegate.testing.raw_http import TIMEOUT_S, ask
from oncegate.uses.record import Lease, Record

MIB = 1 << 20


def begin(url: str, *, method: str = "GET", headers: str = "", receive_bytes: int | None = None) -> socket.socket:
    """Send the head of a request on a connection of its own, whose window may be kept small."""
    parts = urlsplit(url)
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(TIMEOUT_S)
    connection.connect((parts.hostname or "", parts.port or 80))
    connection.sendall(
        f"{method} {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n{headers}\r\n".encode()
    )
    return connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other end closes, cleanly or not."""
    pieces = []
    try:
        while piece := connection.recv(1 << 20):
            pieces.append(piece)
    except ConnectionError:
        pass
    return b"".join(pieces)


def test_a_download_that_the_gateway_died_in_is_spent(home_with: Callable[..., object]) -> None:
    """At most once: nobody knows how much was delivered, so nothing is given again; others still work."""
    home = home_with()
    url, unused = home.link(home.sparse(512 * MIB)), home.fresh(b"unused")
    with home.serve() as gateway, begin(url) as viewer:
        assert viewer.recv(65_536).startswith(b"HTTP/1.1 200")
        gateway.kill()
    with home.serve():
        assert ask("GET", url).status == 403
        assert ask("GET", unused).body == b"unused"


def test_an_upload_that_the_gateway_died_in_leaves_nothing_and_the_link_comes_back(
    home_with: Callable[..., object], until: Callable[..., object]
) -> None:
    """No part of an object ever appears; the lease keeps others waiting for a minute, then the link works."""
    home = home_with()
    url = home.upload()
    with home.serve() as gateway, begin(url, method="PUT", headers="Content-Length: 50000000\r\n") as viewer:
        viewer.sendall(bytes(10 * MIB))
        until(lambda: (home.record(url) or Record()).lease, "the upload has begun")
        gateway.kill()
    assert home.stands(url) is None
    with home.serve():
        waiting = ask("PUT", url, body=b"x")
        assert (waiting.status, waiting.header("retry-after") is not None) == (409, True)
    lease = home.record(url).lease
    assert time.time() < lease.until_s <= time.time() + 60

    def let_it_end(record: Record | None) -> Record | None:
        if record is None:
            return Record()  # is refused: something stands there
        over = Lease(lease.claim_id, int(time.time()) - 1)
        return None if record.lease == over else record._replace(lease=over)

    home.change_record(url, let_it_end)
    with home.serve():
        assert ask("PUT", url, body=b"whole").status == 200
    assert home.stands(url) == b"whole"


def takes_no_connection(port: int) -> bool:
    """Whether nobody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:
        return True
    return False


@pytest.mark.slow
def test_sigterm_lets_a_transfer_finish_and_takes_no_new_ones(
    home_with: Callable[..., object], until: Callable[..., object]
) -> None:
    """A deployment must not cost a use; and the process must end by itself, with 0."""
    home = home_with(viewer={"drain": "120s"})
    size = 48 * MIB
    url = home.link(home.sparse(size))
    with home.serve() as gateway:
        with begin(url, receive_bytes=65_536) as viewer:
            head = viewer.recv(1000)
            gateway.process.terminate()
            until(lambda: takes_no_connection(home.port), "no connection is taken")
            body = (head + read_all(viewer)).partition(b"\r\n\r\n")[2]
        assert len(body) == size
        assert gateway.process.wait(STOP_MAX_S) == 0


@pytest.mark.slow
def test_what_does_not_finish_within_drain_is_cut_and_given_back(home_with: Callable[..., object]) -> None:
    """A viewer who takes nothing must not hold the process; he may resume at the next one."""
    home = home_with(viewer={"drain": "1s"})
    url = home.link(home.sparse(256 * MIB))
    with home.serve() as gateway, begin(url, receive_bytes=65_536) as viewer:
        assert viewer.recv(1000).startswith(b"HTTP/1.1 200")
        assert gateway.terminate() == 0
    claim = home.record(url).claims[0]
    assert 0 < claim.paid < 256 * MIB


@pytest.mark.slow
def test_a_reader_who_stalls_is_cut_and_what_he_did_not_get_is_given_back(
    home_with: Callable[..., object], until: Callable[..., object]
) -> None:
    """Else he holds memory, a transfer and a drain for ever."""
    home = home_with(links={"stall_timeout": "2s"})
    url = home.link(home.sparse(256 * MIB))
    with home.serve(), begin(url, receive_bytes=65_536) as viewer:
        assert viewer.recv(1000).startswith(b"HTTP/1.1 200")
        until(lambda: home.record(url).claims[0].size_bytes, "the claim is settled")
        assert 0 < home.record(url).claims[0].paid < 64 * MIB
        assert len(read_all(viewer)) < 256 * MIB


@pytest.mark.slow
def test_a_sender_who_stalls_is_cut_and_the_use_is_free(
    home_with: Callable[..., object], until: Callable[..., object]
) -> None:
    """A body that never ends must not keep others waiting longer than stall_timeout."""
    home = home_with(links={"stall_timeout": "2s"})
    url = home.upload()
    with home.serve(), begin(url, method="PUT", headers="Content-Length: 1000\r\n") as viewer:
        viewer.sendall(b"half")
        until(lambda: (home.record(url) or Record()).lease, "the upload has begun")
        until(lambda: not home.record(url).lease, "the lease is let go")
        assert ask("PUT", url, body=b"whole").status == 200
    assert home.stands(url) == b"whole"


@pytest.mark.slow
def test_an_object_that_is_cut_short_under_way_is_never_ended_cleanly(home_with: Callable[..., object]) -> None:
    """The viewer must see a broken connection, not a short file that looks whole; the rest stays his."""
    home = home_with()
    path = home.put("a.bin", os.urandom(64 * MIB))
    url = home.link("a.bin")
    with home.serve(), begin(url, receive_bytes=65_536) as viewer:
        head = viewer.recv(1000)
        assert b"content-length: 67108864" in head
        os.truncate(path, 20 * MIB)
        got = len((head + read_all(viewer)).partition(b"\r\n\r\n")[2])
        assert got < 64 * MIB
    assert home.record(url).claims[0].paid < 64 * MIB


def test_an_object_that_is_away_for_a_while_costs_no_use(home_with: Callable[..., object]) -> None:
    """404 before the claim, nothing written, and the link works when the object is back."""
    home = home_with()
    path = home.put("a.bin", b"data")
    url = home.link("a.bin")
    with home.serve():
        moved = path.rename(path.with_suffix(".away"))
        assert ask("GET", url).status == 404
        moved.rename(path)
        assert ask("GET", url).body == b"data"


@pytest.mark.slow
def test_a_ledger_that_cannot_be_written_serves_nothing_and_comes_back_by_itself(
    home_with: Callable[..., object],
    until: Callable[..., object],
    within: Callable[[float], contextlib.AbstractContextManager[None]],
) -> None:
    """Unknown is never free: 503 with Retry-After within five seconds, and no restart is needed afterwards."""
    home = home_with()
    url = home.fresh(b"data")
    ledger = home.folder / "ledger.db"
    with home.serve():
        assert ask("GET", home.fresh(b"before")).status == 200
        away = ledger.rename(home.folder / "away.db")
        with within(5):
            refused = ask("GET", url)
        assert (refused.status, refused.header("retry-after") is not None) == (503, True)
        assert b"data" not in refused.body
        assert not ledger.exists()
        away.rename(ledger)
        until(lambda: ask("GET", url).status in (200, 403), "the ledger is back")
        assert ask("GET", home.fresh(b"after")).status == 200


def test_a_deleted_ledger_revives_no_ticket(home_with: Callable[..., object]) -> None:
    """A container without a volume, a wiped disk: links made before the new ledger are refused, used or not."""
    home = home_with()
    used, unused = home.fresh(b"one"), home.fresh(b"two")
    with home.serve():
        assert ask("GET", used).status == 200
    for path in home.folder.glob("ledger*"):
        path.unlink()
    time.sleep(0.01)  # the new ledger is born in a later millisecond than the links
    with home.serve():
        for url in (used, unused):
            answer = ask("GET", url)
            assert answer.status == 403
            assert "older than the ledger" in answer.text
        assert ask("GET", home.fresh(b"new")).status == 200


@pytest.mark.slow
def test_accept_from_refuses_what_was_made_before_a_restored_copy(home_with: Callable[..., object]) -> None:
    """Yesterday's copy forgot today's uses: the operator says from when on tickets count."""
    home = home_with()
    copy = home.folder.parent / "backup"
    shutil.copytree(home.folder, copy)
    used = home.fresh(b"one")
    with home.serve():
        assert ask("GET", used).status == 200
    for path in home.folder.glob("ledger*"):
        path.unlink()
    for path in copy.glob("ledger*"):
        shutil.copy2(path, home.folder)
    time.sleep(1.1)
    restored = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    with home.serve(environ={"ONCEGATE_LEDGER__ACCEPT_FROM": restored}):
        assert ask("GET", used).status == 403
        assert ask("GET", home.fresh(b"new")).status == 200
