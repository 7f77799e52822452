"""The promise itself, over real HTTP: of many callers of one link exactly one gets the object, and losers not a byte."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from oncegate.links.grant import Operation
from oncegate.testing.installation import Installation, free_port
from oncegate.testing.races import race

CALLERS, ROUNDS = 64, 10
BODY = b"only one of you may read this: " + bytes(range(256)) * 40


def assert_one_winner(answers: list[tuple[int, bytes]]) -> None:
    """One 200 with the whole object; everybody else 403 (or 503: ask again) and no byte of it."""
    assert [body for status, body in answers if status == 200] == [BODY]
    losers = [(status, body) for status, body in answers if status != 200]
    assert len(losers) == CALLERS - 1
    for status, body in losers:
        assert status == 403
        assert BODY[:16] not in body


@pytest.mark.anyio
async def test_losers_get_no_bytes(tmp_path: pathlib.Path) -> None:
    """64 GETs of one link at once, ten times over: check-then-act designs let two through here."""
    made = Installation(tmp_path)
    made.put("secret.bin", BODY)
    with made.serve():
        for _ in range(ROUNDS):
            assert_one_winner(await race(made.link("secret.bin"), [made.public_url], callers=CALLERS))


@pytest.mark.anyio
async def test_losers_get_no_bytes_from_three_gateways_on_one_file(tmp_path: pathlib.Path) -> None:
    """An in-process lock would let one through per process: three processes share nothing but the SQLite file."""
    made = Installation(tmp_path)
    made.put("secret.bin", BODY)
    ports = [made.port, free_port(), free_port()]
    with contextlib.ExitStack() as stack:
        configs = [made.write_config(f"gateway-{port}.toml", port=port) for port in ports]
        urls = [stack.enter_context(made.serve(config)).viewer_url for config in configs]
        for _ in range(ROUNDS):
            assert_one_winner(await race(made.link("secret.bin"), urls, callers=CALLERS))


def test_an_upload_link_raced_by_many_stores_one_object(tmp_path: pathlib.Path) -> None:
    """What stands in the end is one sender's whole body, and every other sender was told so."""
    made = Installation(tmp_path)
    with made.serve():
        url = urlsplit(made.link("inbox/one.bin", operation=Operation.PUT))

        def send(number: int) -> int:
            body = bytes([number]) * 300_000
            request = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(body)}\r\n"
            with socket.create_connection(("127.0.0.1", made.port), timeout=30) as connection:
                connection.sendall(request.encode() + b"Connection: close\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    connection.sendall(body)
                return int(connection.makefile("rb").readline().split()[1])

        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(send, range(16)))
    stands = (made.objects / "inbox" / "one.bin").read_bytes()
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 403, 409, 412}
    assert stands == bytes([statuses.index(200)]) * 300_000


_LOAD = """
import http.client, sys
served, port = 0, int(sys.argv[1])
for path in sys.stdin.read().split():
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == 200: print(path, len(body), flush=True)
        connection.close()
    except (OSError, http.client.HTTPException):
        pass
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.anyio
async def test_kill_9_at_random_moments_serves_no_link_twice(
    tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    """A claim that was answered before the kill must stand after it; a link that nobody opened must still work."""
    kills = 50 if request.config.getoption("--nightly") else 5
    made = Installation(tmp_path)
    made.put("a.bin", BODY)
    served: dict[str, int] = {}
    lock = threading.Lock()
    links = [made.link("a.bin", expires_in_s=7200)[len(made.public_url) :] for _ in range(150 * kills)]
    for kill in range(kills):
        mine = links[150 * kill : 150 * (kill + 1)]
        earlier = links[max(0, 150 * kill - 60) : 150 * kill]  # some of these were spent before the last kill
        with made.serve() as gateway:
            callers = [
                subprocess.Popen(
                    [sys.executable, "-c", _LOAD, str(made.port)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                for _ in range(3)
            ]
            timer = threading.Timer(0.05 + int.from_bytes(os.urandom(1)) / 255 * 0.4, gateway.kill)
            timer.start()
            paths = "\n".join(earlier + mine)
            with ThreadPoolExecutor(3) as pool:
                asked = [pool.submit(caller.communicate, paths, timeout=60) for caller in callers]
                outputs = [future.result()[0] for future in asked]
            timer.join()
        for line in "".join(outputs).splitlines():
            path = line.split()[0]
            with lock:
                served[path] = served.get(path, 0) + 1
    assert served
    assert max(served.values()) == 1
    with made.serve():
        assert_one_winner(await race(made.link("a.bin"), [made.public_url], callers=CALLERS))
