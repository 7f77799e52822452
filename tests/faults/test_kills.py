"""The gateway is killed, stopped, and drained at bad moments: a use is never served twice, and nothing half appears."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from homes import Home
from oncegate.testing.raw_http import RawConnection, ask, target_of

MIB = 1024 * 1024

pytestmark = pytest.mark.faults


def begin_download(home, url, headers=()):
    """A download of which little was read; the rest waits in the gateway."""
    connection = RawConnection(url, receive_buffer_bytes=65_536)
    connection.send_request("GET", target_of(url), host=home.public_url[7:], headers=headers)
    head = connection.read_head()
    connection.read_some(1000)
    return connection, head


def test_killed_midway_through_a_range_the_holder_continues(home_with: Callable[..., Home]) -> None:
    """What was promised by Range is charged; the rest of the object is still the holder's after a restart."""
    home = home_with()
    url = home.link(home.sparse(64 * MIB))
    with home.serve() as serving:
        part = ask("GET", url, {"Range": f"bytes=0-{MIB - 1}"}, keep=False)
        connection, head = begin_download(home, url, {"Range": f"bytes={MIB}-{9 * MIB - 1}", "Cookie": part.cookie})
        with connection:
            assert head.status == 206
            serving.kill()
    with home.serve():
        rest = ask("GET", url, {"Range": f"bytes={9 * MIB}-", "Cookie": part.cookie}, keep=False)
        assert (rest.status, rest.body_bytes) == (206, 55 * MIB)


def test_killed_between_store_and_ledger_the_link_meets_its_object(home_with: Callable[..., Home]) -> None:
    """The object stands and the use was never written: after the lease the link tries again and gets 412."""
    home = home_with()
    url = home.upload()
    with home.serve():
        assert ask("PUT", url, body=b"stored").status == 200
    spent = home.record(url)
    home.change_record(url, lambda record: (record or spent)._replace(uses=0, marks=(), lease=None))
    assert home.record(url) != spent
    with home.serve():
        assert ask("PUT", url, body=b"other").status == 412
    assert home.stands(url) == b"stored"


def test_terminated_in_an_upload_it_finishes_or_leaves_nothing(
    home_with: Callable[..., Home], until: Callable[..., Any]
) -> None:
    """An upload that outlasts the drain is no object, and its link is free again at once: the lease was let go."""
    home = home_with(viewer={"drain": "1s"})
    url = home.upload()
    with home.serve() as serving, RawConnection(url) as connection:
        connection.send_request("PUT", target_of(url), host=home.public_url[7:], headers={"Content-Length": "2000000"})
        connection.send(bytes(1_000_000))
        until(lambda: home.record(url), "the upload runs")
        assert serving.terminate() == 0
    assert home.stands(url) is None
    assert home.record(url).lease is None
    with home.serve():
        assert ask("PUT", url, body=b"again").status == 200


def test_two_signals_and_idle_connections_do_not_hold_the_stop(
    home_with: Callable[..., Home], within: Callable[[float], AbstractContextManager[None]]
) -> None:
    """Kept-alive connections that say nothing are no transfers."""
    home = home_with()
    with home.serve() as serving, RawConnection(home.public_url) as silent, RawConnection(home.public_url) as idle:
        idle.send_request("GET", "/nothing", host=home.public_url[7:])
        assert idle.read_answer().status == 403
        with within(5):
            assert serving.terminate() == 0
        assert silent.is_cut()
