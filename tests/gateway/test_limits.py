"""Everything has a limit, and nothing that a stranger sends is a fault of ours."""

import contextlib
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from homes import Home
from oncegate.links.grant import Scheme
from oncegate.testing.raw_http import RawConnection, ask, target_of

MUTATIONS = 10_000
PER_CONNECTION = 100
# what no request line can hold: the server behind would read another request
_UNSENDABLE = frozenset(b"\r\n \t")


def faults(home):
    """Lines of the log that say that something is broken."""
    return [line for line in home.serving.log_lines() if line["event"] == "fault" or line.get("status") == 500]


@pytest.mark.parametrize("where", ["path", "query"])
def test_long_target_is_refused(gateway: Home, where: str) -> None:
    """16 KiB are enough for every policy: longer ones are 4xx, whichever part of the server says so."""
    url = gateway.fresh(b"x")
    long = {
        "path": f"{gateway.public_url}/{'a' * 20_000}",
        "query": f"{url}&pad={'a' * 20_000}",
    }[where]
    assert 400 <= ask("GET", long).status < 500
    assert ask("GET", url).status == 200


def test_huge_headers_are_refused(gateway: Home) -> None:
    """Headers have a limit in the server; beyond it the connection ends without a use being taken."""
    url = gateway.fresh(b"x")
    assert ask("GET", url, {"X-Padding": "a" * 100_000}).status in (0, 400, 431)
    assert ask("GET", url, [(f"X-{number}", "a") for number in range(5_000)]).status in (0, 400, 431)
    assert gateway.record(url) is None
    assert ask("GET", url, {"X-Padding": "a" * 8_000}).status == 200


def test_huge_cookies_are_refused(gateway: Home) -> None:
    """16 KiB of cookies: reading more of them costs more than the answer."""
    url = gateway.fresh(b"x")
    assert 400 <= ask("GET", url, {"Cookie": "a=" + "b" * 17_000}).status < 500
    many = "; ".join(f"og-{number:022d}=x" for number in range(300))
    assert ask("GET", url, {"Cookie": many}).status == 200


def test_a_target_has_a_limit_of_its_own(gateway: Home) -> None:
    """414 says what is too long: a program that pads its links reads it from the status."""
    room = 16_384 - len("/a?x=")
    at_limit = ask("GET", f"{gateway.public_url}/a?x={'a' * room}")
    beyond = ask("GET", f"{gateway.public_url}/a?x={'a' * (room + 1)}")
    assert (at_limit.status, beyond.status) == (403, 414)
    assert b"<Code>URITooLong</Code>" in beyond.body


def test_target_and_cookies_of_cloudfront_share_a_limit(gateway: Home) -> None:
    """A policy in a cookie is decoded and parsed like one in the URL: 16 KiB of both, whoever sent them."""
    room = 16_384 - len("/a") - len("CloudFront-Policy")
    cookies = [f"CloudFront-Policy={'a' * (room + more)}" for more in (-40, 1)]
    statuses = [ask("GET", f"{gateway.public_url}/a?{'x' * 39}", {"Cookie": cookie}).status for cookie in cookies]
    assert statuses == [403, 431]


@pytest.mark.parametrize(("length", "status"), [(1_024, 200), (1_025, 400)])
def test_a_list_of_etags_has_a_limit(gateway: Home, length: int, status: int) -> None:
    """Both sides of it; what is refused for its length has used nothing."""
    url = gateway.fresh(b"x")
    tags = ('"a",' * 300)[:length]
    assert ask("GET", url, {"If-None-Match": tags}).status == status
    assert (gateway.record(url) is None) is (status == 400)


@pytest.mark.parametrize(("length", "status"), [(255, 200), (256, 400)])
def test_a_host_has_a_limit(gateway: Home, length: int, status: int) -> None:
    """No name of the DNS is longer; one that is unknown means the first public URL."""
    host = ("a." * 200)[: length - 1] + "b"
    assert ask("GET", gateway.fresh(b"x"), {"Host": host}).status == status


@pytest.mark.parametrize(
    ("version", "status"),
    [(b"HTTP/1.1", 400), (b"HTTP/1.1\r\nHost:", 400), (b"HTTP/1.0", 200), (b"HTTP/1.0\r\nHost:", 200)],
)
def test_http_1_1_has_a_host(gateway: Home, version: bytes, status: int) -> None:
    """RFC 9112 3.2 and 9110 4.2.1 ask for 400; a program of 1.0 knows no Host: it gets the first public URL."""
    target = target_of(gateway.fresh(b"x")).encode()
    with RawConnection(gateway.public_url) as connection:
        connection.send(b"GET " + target + b" " + version + b"\r\n\r\n")
        assert connection.read_head().status == status


def test_too_many_parameters_are_refused(gateway: Home) -> None:
    """200 parameters: sorting thousands for one HMAC would be work for nothing."""
    url = gateway.fresh(b"x")
    assert ask("GET", url + "".join(f"&a{number}=1" for number in range(300))).status == 400
    assert ask("GET", url).status == 200


@pytest.mark.slow
def test_slow_header_is_cut(gateway: Home, within: Callable[[float], AbstractContextManager[None]]) -> None:
    """A request line that never ends holds a connection for 15 seconds at most; others are served meanwhile."""
    began = time.monotonic()
    with within(20), RawConnection(gateway.public_url) as connection:
        connection.send(b"GET /slow")
        assert ask("GET", gateway.fresh(b"x")).status == 200
        assert connection.is_cut()
    assert time.monotonic() - began > 5


def test_many_idle_connections_do_not_shut_others_out(
    gateway: Home, within: Callable[[float], AbstractContextManager[None]]
) -> None:
    """500 connections that say nothing: the next one is served at once."""
    silent = [RawConnection(gateway.public_url) for _ in range(500)]
    try:
        with within(2):
            assert ask("GET", gateway.fresh(b"x")).status == 200
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nSec-Fetch-Site: none\r\nContent-Length: 0\r\n\r\n",
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    ],
)
def test_broken_requests_are_refused_and_no_fault(gateway: Home, data: bytes) -> None:
    """What is no HTTP, or two things at once, ends with 4xx or a closed connection; never a 5xx, never a line of fault."""
    before = len(faults(gateway))
    with RawConnection(gateway.public_url) as connection:
        connection.send(data)
        answer = connection.read_head()
    assert answer.status in (0, 204) or 400 <= answer.status < 500
    assert ask("GET", gateway.fresh(b"x")).status == 200
    assert len(faults(gateway)) == before


def mutated(target, dice):
    """A target with one to four wounds."""
    text = bytearray(target)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(1, len(text))
        kind = dice.randrange(6)
        if kind == 0:
            text[at] = dice.randrange(33, 127)
        elif kind == 1:
            del text[at : at + dice.randrange(1, 20)]
        elif kind == 2:
            text[at:at] = bytes(dice.randrange(33, 256) for _ in range(dice.randrange(1, 5)))
        elif kind == 3:
            text[at:at] = dice.choice([b"%", b"%00", b"%2F", b"..", b"&", b"=", b"?", b"/", b"~", b"*", b"%25", b"\\"])
        elif kind == 4:
            piece = text[at : at + dice.randrange(1, 60)]
            text[at:at] = piece
        else:
            other = dice.randrange(1, len(text))
            text[at], text[other] = text[other], text[at]
    return b"/" + bytes(c for c in text[1:] if c not in _UNSENDABLE)


def statuses_of(home, requests):
    """Send requests one behind the other on one connection; the status of each that was answered."""
    statuses = []
    with RawConnection(home.public_url) as connection:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.send(b"".join(requests))
        for _ in requests:
            answer = connection.read_answer()
            if answer.status == 0:
                break
            statuses.append(answer.status)
    return statuses


def test_mutated_targets_are_never_a_fault(gateway_with: Callable[..., Home]) -> None:
    """Ten thousand links with wounds: each is served or refused, none is a 5xx, and the log speaks of no fault."""
    home = gateway_with(links={"home": "limits", "s3_bucket": "bucket"}, credentials={"AKTEST": "secret-of-the-tests"})
    home.lay(b"object", "photo album/ü.jpg")
    wishes = [{}, {"scheme": Scheme.CUSTOM}, {"scheme": Scheme.S3}, {"scheme": Scheme.CUSTOM, "filename": "ü"}]
    targets = [target_of(home.link("photo album/ü.jpg", **wish)).encode() for wish in wishes]
    dice = random.Random(20_260_101)
    host = home.public_url[7:].encode()
    left = [
        b"%s %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (dice.choice([b"GET", b"GET", b"PUT", b"POST"]), target, host)
        for target in (mutated(dice.choice(targets), dice) for _ in range(MUTATIONS))
    ]
    seen: dict[int, int] = {}
    while left:
        statuses = statuses_of(home, left[:PER_CONNECTION])
        for status in statuses:
            seen[status] = seen.get(status, 0) + 1
        left = left[max(1, len(statuses)) :]
    assert all(200 <= status < 500 for status in seen), seen
    assert sum(seen.values()) > MUTATIONS * 0.9, seen
    assert seen.get(200, 0) < MUTATIONS * 0.05, seen
    assert faults(home) == []
    assert home.serving.process.poll() is None
