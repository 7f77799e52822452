"""Transfers that a proxy sends: this test is the proxy, to a real gateway; tests/system has real proxies."""

from __future__ import annotations

import pathlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from homes import Home
from oncegate.gateway.accel import PIECE_BYTES
from oncegate.testing.installation import free_port
from oncegate.testing.raw_http import RawAnswer, ask

MIB = 1024 * 1024
ADA, BOB = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
ELSEWHERE = "127.0.0.9"
"""An address of this machine that no trusted proxy has."""

Until = Callable[..., object]


class Proxy:
    """A proxy's side of the talk."""

    def __init__(self, home: Home, log_port: int) -> None:
        self.home = home
        self._port = log_port

    def get(self, url: str, *more: dict[str, str], source: str | None = None) -> RawAnswer:
        """Ask as a proxy does."""
        return ask("GET", url, {key: value for each in more for key, value in each.items()}, source=source)

    def say(self, transfer_id: str, status: int, body_bytes: int, of_bytes: int, *, source: str = "127.0.0.1") -> None:
        """Write a line to the log."""
        self.send(
            f"<190>Nov 28 09:21:44 host og: og {transfer_id} {status} {body_bytes} {of_bytes}".encode(), source=source
        )

    def send(self, datagram: bytes, *, source: str = "127.0.0.1") -> None:
        """Write anything to the log."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.bind((source, 0))
            out.sendto(datagram, ("127.0.0.1", self._port))

    def ends(self, url: str) -> list[str]:
        """What the events say of the link's transfers."""
        return self.home.ends(url)


def transfer_of(answer: RawAnswer) -> str:
    """The id of a transfer that was handed over."""
    assert answer.status == 200
    assert answer.body == b""
    found = answer.header("x-og-transfer")
    assert found is not None
    return found


def accel_tables(log: str) -> dict[str, dict[str, object]]:
    """A configuration that hands over."""
    return {
        "viewer": {"trusted_proxies": ["127.0.0.1"], "drain": "2s"},
        "delivery": {"mode": "accel", "accel_log": log},
    }


@pytest.fixture(scope="module")
def proxy(gateway_with: Callable[..., Home]) -> Iterator[Proxy]:
    """A proxy before a running gateway."""
    log_port = free_port()
    yield Proxy(gateway_with(**accel_tables(f"127.0.0.1:{log_port}")), log_port)


def test_the_proxy_is_told_what_to_send(proxy: Proxy) -> None:
    """Without a body, and with the headers that the viewer is to see."""
    home = proxy.home
    url = home.fresh(bytes(MIB), "a b/ü?.bin", filename="Ü.bin")
    answer = proxy.get(url, ADA)
    assert len(transfer_of(answer)) == 32
    assert answer.header("x-accel-redirect") == "/_objects/a%20b/%C3%BC%3F.bin"
    assert answer.header("content-length") == "0"
    direct = ask("GET", home.fresh(bytes(MIB), "other.bin"), source=ELSEWHERE)
    given = {name for name, _ in answer.headers}
    assert {name for name, _ in direct.headers} - given <= {"accept-ranges", "x-accel-buffering"}


def test_whoever_is_no_trusted_proxy_gets_the_object(proxy: Proxy) -> None:
    """A viewer who reaches the gateway past the proxy would get an empty file and lose the use."""
    answer = proxy.get(proxy.home.fresh(bytes(MIB)), source=ELSEWHERE)
    assert (answer.status, answer.body) == (200, bytes(MIB))
    assert answer.header("x-og-transfer") is None


@pytest.mark.parametrize("header", [{"If-Range": '"x"'}, {"Range": "bytes=-300000"}, {"If-None-Match": '"x"'}])
def test_what_a_proxy_would_read_otherwise_is_sent_here(proxy: Proxy, header: dict[str, str]) -> None:
    """The proxy only passes it on."""
    answer = proxy.get(proxy.home.fresh(bytes(MIB)), ADA, header)
    assert answer.status in (200, 206)
    assert len(answer.body) in (MIB, 300_000)


def test_a_whole_transfer_writes_nothing(proxy: Proxy, until: Until) -> None:
    """Success is one write, the claim; the event says who sent it."""
    url = proxy.home.fresh(bytes(MIB))
    transfer = transfer_of(proxy.get(url, ADA))
    before = proxy.home.record(url)
    proxy.say(transfer, 200, MIB, MIB)
    until(lambda: proxy.ends(url) == ["complete"], "the line arrives")
    assert proxy.home.record(url) == before
    assert proxy.get(url, ADA).status == 403


def test_what_was_not_sent_is_given_back_to_its_holder(proxy: Proxy, until: Until) -> None:
    """By Range, at the same address; a stranger gets nothing, neither before nor after."""
    url = proxy.home.fresh(bytes(4 * MIB))
    transfer = transfer_of(proxy.get(url, ADA))
    proxy.say(transfer, 200, MIB, 4 * MIB)
    until(lambda: proxy.ends(url) == ["broken"], "the line arrives")
    rest = {"Range": f"bytes={MIB}-"}
    assert proxy.get(url, BOB, rest).status == 403
    answer = proxy.get(url, ADA, rest)
    proxy.say(transfer_of(answer), 206, 3 * MIB, 3 * MIB)
    until(lambda: len(proxy.ends(url)) == 2, "the second line arrives")
    assert proxy.get(url, BOB).status == 403


@pytest.mark.parametrize("status", [404, 416, 502])
def test_an_answer_without_the_object_frees_the_use(proxy: Proxy, until: Until, status: int) -> None:
    """The proxy found no file, or the bucket failed: the next GET opens the link, whoever sends it."""
    url = proxy.home.fresh(bytes(MIB))
    proxy.say(transfer_of(proxy.get(url, ADA)), status, 153, 153)
    until(lambda: proxy.ends(url) == ["failed"], "the line arrives")
    until(lambda: not proxy.home.record(url).uses, "it is given back")  # type: ignore[union-attr]
    assert transfer_of(proxy.get(url, BOB))


def test_a_line_is_believed_once_from_a_proxy_and_for_an_id_of_ours(proxy: Proxy, until: Until) -> None:
    """Who could write lines could free every use again and again."""
    url = proxy.home.fresh(bytes(MIB))
    transfer = transfer_of(proxy.get(url, ADA))
    proxy.say("0" * 32, 404, 0, 0)
    proxy.say(transfer, 404, 0, 0, source=ELSEWHERE)
    proxy.send(b"\xff" * 2000)
    proxy.say(transfer, 200, MIB, MIB)
    proxy.say(transfer, 404, 0, 0)
    until(lambda: proxy.ends(url), "a line arrives")
    other = proxy.home.fresh(bytes(MIB))
    proxy.say(transfer_of(proxy.get(other, ADA)), 404, 0, 0)
    until(lambda: proxy.ends(other), "a later line arrives, so all earlier ones have")
    assert proxy.ends(url) == ["complete"]
    assert proxy.get(url, BOB).status == 403


def test_a_running_transfer_is_not_taken_over(proxy: Proxy) -> None:
    """Nobody here can end what the proxy sends: the bytes would go out twice. The holder waits a moment, then gets 503."""
    url = proxy.home.fresh(bytes(40 * MIB))
    head = proxy.get(url, ADA)
    cookie = {"Cookie": head.cookie}
    began = time.monotonic()
    answer = proxy.get(url, cookie, ADA, {"Range": "bytes=5000000-"})
    assert answer.status == 503
    assert answer.header("retry-after")
    assert time.monotonic() - began > 1
    assert proxy.get(url, BOB, {"Range": "bytes=5000000-"}).status == 403
    assert proxy.get(url, cookie, ADA).status == 403
    proxy.say(transfer_of(head), 200, 40 * MIB, 40 * MIB)


def test_who_asks_while_the_line_is_on_its_way_is_answered_after_it(proxy: Proxy, until: Until) -> None:
    """A player closes one connection and asks on the next: sooner than the proxy has told it."""
    url = proxy.home.fresh(bytes(40 * MIB))
    head = proxy.get(url, ADA)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(proxy.get, url, ADA, {"Cookie": head.cookie}, {"Range": "bytes=20000000-"})
        until(lambda: proxy.home.record(url) is not None, "it is claimed")
        proxy.say(transfer_of(head), 200, MIB, 40 * MIB)
        transfer = transfer_of(asking.result(60))
    proxy.say(transfer, 206, 20 * MIB, 40 * MIB - 20_000_000)


def test_one_use_yields_at_most_twice_the_size_whatever_is_cut(proxy: Proxy, until: Until) -> None:
    """A viewer who leaves again and again gains a piece each time; it is counted against the slack."""
    size = MIB
    url = proxy.home.fresh(bytes(size))
    got, at, rounds = 0, 0, 0
    while rounds < 200:
        answer = proxy.get(url, ADA, *([{"Range": f"bytes={at}-"}] if rounds else []))
        if answer.status == 403:
            break
        rounds += 1
        # the proxy counted nothing of the piece that it was sending, and all of it was read
        got += PIECE_BYTES
        proxy.say(transfer_of(answer), 206, 0, size - at)
        until(lambda seen=rounds: len(proxy.ends(url)) == seen, "the line arrives")
    assert got <= 2 * size
    assert rounds > 1


@pytest.mark.slow
def test_a_stop_waits_for_the_line_and_then_for_no_longer(home_with: Callable[..., Home], until: Until) -> None:
    """The proxy goes on sending: what it tells in time is settled, and what it does not is spent."""
    log_port = free_port()
    home = home_with(**accel_tables(f"127.0.0.1:{log_port}"))
    proxy = Proxy(home, log_port)
    told, untold = home.fresh(bytes(4 * MIB)), home.fresh(bytes(4 * MIB))
    with home.serve() as serving:
        transfer = transfer_of(proxy.get(told, ADA))
        transfer_of(proxy.get(untold, ADA))
        serving.process.send_signal(signal.SIGTERM)
        until(lambda: any(line["event"] == "draining" for line in serving.log_lines()), "it stops")
        proxy.say(transfer, 404, 0, 0)
        assert serving.process.wait(60) == 0
    assert (proxy.ends(told), proxy.ends(untold)) == (["failed"], ["unknown"])
    assert home.record(told).uses == 0  # type: ignore[union-attr]
    assert home.record(untold).uses == 1  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_killed_gateway_leaves_the_use_spent(home_with: Callable[..., Home]) -> None:
    """The one that is started again knows nothing of the id, and believes no line about it."""
    log_port = free_port()
    home = home_with(**accel_tables(f"127.0.0.1:{log_port}"))
    proxy = Proxy(home, log_port)
    url = home.fresh(bytes(MIB))
    with home.serve() as serving:
        transfer = transfer_of(proxy.get(url, ADA))
        serving.kill()
    with home.serve():
        proxy.say(transfer, 404, 0, 0)
        assert proxy.get(url, BOB).status == 403
        assert proxy.get(home.fresh(b"x"), BOB).body == b"x"
        assert proxy.get(url, BOB).status == 403


@pytest.mark.slow
def test_lines_come_by_a_unix_socket_too(home_with: Callable[..., Home], tmp_path: pathlib.Path, until: Until) -> None:
    """One that a killed process left is replaced; one that lives is refused by name."""
    path = tmp_path / "s"
    home = home_with(**accel_tables(f"unixgram:{path}"))
    url = home.fresh(bytes(MIB))
    with home.serve() as serving:
        serving.kill()
    assert path.is_socket()
    with home.serve():
        transfer = transfer_of(ask("GET", url, ADA))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(f"og: og {transfer} 404 0 -".encode(), str(path))
        until(lambda: home.ends(url) == ["failed"], "the line arrives")
        other = home.run("serve", environ={"ONCEGATE_VIEWER__LISTEN": "127.0.0.1:0"})
        assert other.returncode == 2
        assert "another process listens" in other.stderr
    assert not path.exists()


def test_a_port_that_is_taken_ends_the_start(home_with: Callable[..., Home]) -> None:
    """Without its log the gateway would spend every broken transfer in silence."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        home = home_with(**accel_tables(f"127.0.0.1:{other.getsockname()[1]}"))
        said = home.run("serve")
    assert said.returncode == 2
    assert "[delivery] accel_log" in said.stderr
