"""What fails where no code of ours runs: Lambda ends the function, or CloudFront cannot reach the bucket."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from tests.aws.test_dev import Edge

from oncegate.aws import dev
from oncegate.aws.stacks.edge_code import joined_code

ENDED = """

import os as _os
_answer = handler

def handler(event, context):
    told = event["Records"][0]["cf"]["request"]["headers"].get("x-end", [{"value": ""}])[0]["value"]
    if told == "before":
        _os._exit(1)
    answered = _answer(event, context)
    if told == "after":
        _os._exit(1)
    if told == "late":
        import time
        time.sleep(60)
    return answered
"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge whose function ends when a viewer says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dev, "joined_code", lambda: joined_code() + ENDED)
        made = Edge(tmp_path_factory.mktemp("edge"))
    with contextlib.closing(made.dev):
        yield made


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_function_that_crashes_serves_nothing_and_a_use_that_was_written_stays_spent(edge: Edge, when: str) -> None:
    """CloudFront answers 503; whether the use was taken follows from the write alone, and never twice from one."""
    url = edge.fresh()
    crashed = edge.get(url, x_end=when)
    assert crashed.status == 503
    assert b"secret" not in crashed.body
    after = edge.get(url)
    assert (after.status, after.body == b"secret") == ((200, True) if when == "before" else (403, False))
    assert edge.get(url).status == 403


def test_a_function_that_takes_too_long_serves_nothing(edge: Edge) -> None:
    """Lambda ends it after five seconds; it had claimed, so the link is spent."""
    url = edge.fresh()
    assert edge.get(url, x_end="late").status == 503
    assert edge.get(url).status == 403


def test_a_bucket_that_cannot_be_reached_leaves_the_use_spent(edge: Edge) -> None:
    """CloudFront answers 502 by itself and runs no second trigger, so nobody gives back; an upload waits for its lease."""
    url, upload = edge.fresh(), edge.upload()
    edge.dev.bucket.is_away = True
    try:
        assert edge.get(url).status == 502
        assert edge.put(upload).status == 502
    finally:
        edge.dev.bucket.is_away = False
    assert edge.get(url).status == 403
    waiting = edge.put(upload)
    assert waiting.status == 409
    assert 1 <= int(waiting.headers["retry-after"]) <= 60


def test_a_download_that_breaks_midway_stays_spent(edge: Edge) -> None:
    """The viewer closes the connection: no trigger runs for it, and nobody resumes."""
    url = edge.fresh(b"x" * 1_000_000)
    place = urlsplit(url)
    with socket.create_connection(("127.0.0.1", edge.dev.served.port)) as connection:
        connection.sendall(f"GET {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        assert connection.recv(20).startswith(b"HTTP/1.1 200")
    again = edge.get(url, range="bytes=500000-")
    assert again.status == 403


def test_an_upload_that_breaks_midway_stores_nothing_and_its_link_stores_once(edge: Edge) -> None:
    """The referee runs the function when the body is whole, so no lease is left; tests/edge/test_origin_response has one."""
    url = edge.upload()
    place = urlsplit(url)
    with socket.create_connection(("127.0.0.1", edge.dev.served.port)) as connection:
        head = f"PUT {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 500)
        connection.shutdown(socket.SHUT_RDWR)
    assert [edge.put(url).status for _ in range(3)] == [200, 403, 403]
