"""Downloads through links that lose packets and go down: what is told and given back, against what really arrived.

Both ends are the kernel's own TCP, and between them a link of ours (``lossy_links``). It takes root; elsewhere these
tests are skipped with the reason.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from homes import Home
from lossy_links import GoesDown, Link, NoNamespaces, loses_nothing, loses_some
from oncegate.testing.raw_http import ask, request_bytes, target_of
from oncegate.uses.receipts import COMPLETE, UNACKNOWLEDGED

pytestmark = [pytest.mark.system, pytest.mark.slow]

KIB, MIB = 1024, 1024 * 1024
STALL_S = 3
"""The gateway's ``stall_timeout``: for so long its kernel waits for an acknowledgement."""
SILENT_S = 90.0
"""A viewer leaves after that: long after the gateway."""
ENDED_WITHIN_S = 60.0


@dataclasses.dataclass
class Far:
    """A gateway, and viewers at the other end of a link."""

    home: Home
    link: Link
    folder: pathlib.Path
    until: Callable[..., Any]
    numbers: Iterator[int] = dataclasses.field(default_factory=itertools.count)

    def asks(self, url: str, headers: dict[str, str] | None = None) -> Any:
        """A viewer who asks for an object, from the other end; a context manager."""
        host = self.home.public_url.removeprefix("http://")
        request = request_bytes("GET", target_of(url), host=host, headers=headers or {})
        got = self.folder / f"got-{next(self.numbers)}"
        return self.link.viewer(self.home.port, request, got, silent_s=SILENT_S)

    def take(self, url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Status and body of an answer, as far as they come."""
        with self.asks(url, headers) as viewer:
            viewer.leave()
            return viewer.status, viewer.body

    def told(self, url: str) -> Any:
        """The event of a link's first download, once there is one."""
        return self.until(lambda: self.home.downloads(url), "the end is told", within_s=ENDED_WITHIN_S)[0]

    def status(self, url: str) -> dict[str, Any]:
        """What ``oncegate status`` says, once it knows an end."""
        said: dict[str, Any] = self.until(
            lambda: (found := json.loads(self.home.run("status", url, "--json").stdout))["outcome"] and found,
            "status tells the end",
        )
        return said

    def is_refused_to_a_stranger(self, url: str) -> bool:
        """Whether somebody from another address gets nothing."""
        answer = ask("GET", url)
        return answer.status == 403 and b"<Code>" in answer.body

    def until_refused(self, url: str, headers: dict[str, str] | None = None) -> int:
        """How many bytes the holder still gets, until the link gives nothing more."""
        total = 0
        for _ in range(5):
            status, body = self.take(url, headers)
            if status == 403:
                return total
            assert status in (200, 206)
            total += len(body)
        pytest.fail("a link that opens once went on to be served")


@pytest.fixture(scope="module")
def far(
    tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str], until: Callable[..., Any]
) -> Iterator[Far]:
    """A gateway at one end of a link."""
    require_tool("ip")
    if os.geteuid():
        pytest.skip("network namespaces need root")
    link, folder = Link(), tmp_path_factory.mktemp("lossy")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(link.running())
        except NoNamespaces as reason:
            pytest.skip(f"network namespaces and TUN devices cannot be made here: {reason}")
        home = Home(folder, tables={"links": {"stall_timeout": f"{STALL_S}s"}})
        home.public_url = f"http://{link.gateway_address}:{home.port}"
        config = home.write_config()
        listen = f"127.0.0.1:{home.port}"
        config.write_text(config.read_text().replace(listen, f"{link.gateway_address}:{home.port}"))
        home.serving = stack.enter_context(home.serve(config))
        yield Far(home, link, folder, until)


@pytest.fixture(autouse=True)
def up(far: Far) -> None:
    """Each test begins with a link that loses nothing."""
    far.link.loses = loses_nothing


def content(size: int) -> bytes:
    """Bytes that differ from place to place."""
    return b"".join(number.to_bytes(4) for number in range(-(-size // 4)))[:size]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("size", "share"), [(KIB, 0.2), (64 * KIB, 0.1), (4 * MIB, 0.03)])
def test_a_download_arrives_through_a_link_that_loses_packets(far: Far, size: int, share: float) -> None:
    """What is lost is sent again by the kernels, so all of it arrives, and the use is over for everybody."""
    url, body = far.home.fresh(content(size)), content(size)
    far.link.loses = loses_some(share, seed=size)
    assert far.take(url) == (200, body)
    told = far.told(url)
    assert (told["outcome"], told["bytes"], told["acked"]) == (COMPLETE, size, size)
    assert far.status(url)["outcome"] == COMPLETE
    far.link.loses = loses_nothing
    assert far.take(url)[0] == 403
    assert far.is_refused_to_a_stranger(url)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [KIB, 64 * KIB, 4 * MIB])
def test_whoever_received_nothing_is_served_again_and_nobody_else(far: Far, size: int) -> None:
    """The request arrives and nothing of the answer: the gateway must not believe that somebody else may have it."""
    url, body = far.home.fresh(content(size)), content(size)
    far.link.loses = down = GoesDown(None)
    with far.asks(url) as viewer:
        far.until(lambda: down.lost_segments > 0, "the answer is on its way")
        assert far.is_refused_to_a_stranger(url)
        told = far.told(url)
        assert viewer.body == b""
        assert far.is_refused_to_a_stranger(url)
    assert told["acked"] == 0
    assert 0 < told["bytes"] <= size
    assert told["outcome"] == (UNACKNOWLEDGED if size <= 64 * KIB else "broken")
    assert far.status(url)["outcome"] == told["outcome"]
    far.link.loses = loses_nothing
    assert far.take(url) == (200, body)
    assert far.is_refused_to_a_stranger(url)
    assert far.until_refused(url) <= size  # twice the size at most, and once it was served


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("size", "passed"), [(64 * KIB, 10 * KIB), (8 * MIB, MIB)])
def test_a_link_that_goes_down_midway_leaves_the_rest_to_its_holder(far: Far, size: int, passed: int) -> None:
    """The viewer has at least what was acknowledged and at most what was sent; the rest is theirs, by a Range."""
    url, body = far.home.fresh(content(size)), content(size)
    far.link.loses = GoesDown(passed)
    with far.asks(url) as viewer:
        told = far.told(url)
        had, status = viewer.body, viewer.status
        assert far.is_refused_to_a_stranger(url)
    assert status == 200
    assert had == body[: len(had)]
    assert 0 < told["acked"] <= len(had) <= told["bytes"] < size
    assert told["outcome"] == (UNACKNOWLEDGED if size <= 64 * KIB else "broken")
    assert far.status(url)["outcome"] == told["outcome"]
    far.link.loses = loses_nothing
    status, rest = far.take(url, {"Range": f"bytes={len(had)}-"})
    assert (status, had + rest) == (206, body)
    assert far.is_refused_to_a_stranger(url)
    assert told["bytes"] + len(rest) + far.until_refused(url) <= 2 * size


@pytest.mark.timeout(300)
def test_a_link_that_comes_back_in_time_breaks_nothing(far: Far) -> None:
    """A short hole in the network is the kernel's business: the transfer goes on, and arrives whole."""
    size = 4 * MIB
    url, body = far.home.fresh(content(size)), content(size)
    far.link.loses = down = GoesDown(MIB)
    with far.asks(url) as viewer:
        began = time.monotonic()
        far.until(lambda: down.lost_segments >= 3, "packets are lost")
        assert time.monotonic() - began < STALL_S * 10
        far.link.loses = loses_nothing
        viewer.leave()
        assert (viewer.status, viewer.body) == (200, body)
    assert far.told(url)["outcome"] == COMPLETE
    assert far.take(url)[0] == 403
    assert far.is_refused_to_a_stranger(url)
