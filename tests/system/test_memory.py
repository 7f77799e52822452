"""Memory stays flat: in the size of an object, and in the number of viewers who do not read."""

import contextlib
import resource
import threading
from collections.abc import Callable

import pytest

from homes import Home
from oncegate.testing.raw_http import RawConnection, ask, target_of

MIB = 1024 * 1024
GROWTH_MAX_BYTES = 64 * MIB
STALLED_MAX_BYTES = 32 * MIB

pytestmark = pytest.mark.system


class Highest:
    """The most memory that a process held while the block ran."""

    def __init__(self, serving):
        self._serving = serving
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def _watch(self):
        while not self._stop.wait(0.02):
            self.bytes = max(self.bytes, self._serving.rss_bytes())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()


def warm(home):
    """A first download and a first upload, so that what is loaded once is not counted; then the memory held."""
    assert ask("GET", home.fresh(bytes(2 * MIB)), keep=False).is_whole
    assert ask("PUT", home.upload(), body=bytes(2 * MIB)).status == 200
    return home.serving.rss_bytes()


@pytest.mark.timeout(300)
def test_large_download_takes_no_memory(gateway: Home, is_nightly: bool) -> None:
    """An object of a gigabyte passes through in pieces: read no faster than it is sent."""
    idle = warm(gateway)
    size = (4096 if is_nightly else 1024) * MIB
    url = gateway.link(gateway.sparse(size))
    with Highest(gateway.serving) as highest:
        answer = ask("GET", url, keep=False)
    assert (answer.status, answer.body_bytes) == (200, size)
    assert highest.bytes - idle < GROWTH_MAX_BYTES
    assert ask("GET", url).status == 403


@pytest.mark.timeout(300)
def test_large_upload_takes_no_memory(gateway: Home, is_nightly: bool) -> None:
    """Half a gigabyte goes to the disk as it comes: taken no faster than it is written."""
    idle = warm(gateway)
    size = (4096 if is_nightly else 512) * MIB
    url = gateway.upload()
    piece = bytes(4 * MIB)
    with Highest(gateway.serving) as highest, RawConnection(url, timeout_s=120) as connection:
        connection.send_request(
            "PUT", target_of(url), host=gateway.public_url[7:], headers={"Content-Length": str(size)}
        )
        for _ in range(size // len(piece)):
            connection.send(piece)
        assert connection.read_answer().status == 200
    path = gateway.objects / url.partition("?")[0].removeprefix(gateway.public_url + "/")
    assert path.stat().st_size == size
    path.unlink()
    assert highest.bytes - idle < GROWTH_MAX_BYTES


@pytest.mark.timeout(180)
def test_many_who_do_not_read_leave_room_for_one_who_does(
    gateway_with: Callable[..., Home],
    is_nightly: bool,
    within: Callable[[float], contextlib.AbstractContextManager[None]],
) -> None:
    """Hundreds of viewers take the head of a large object and then nothing: little memory, and others are served."""
    home = gateway_with(links={"resume_window": "10m"}, viewer={"connections_per_address": 0})
    count = 1000 if is_nightly else 300
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + 200, hard), hard))
    key = home.sparse(64 * MIB)
    idle = warm(home)
    with contextlib.ExitStack() as stack:
        with Highest(home.serving) as highest:
            for _ in range(count):
                connection = stack.enter_context(RawConnection(home.public_url, receive_buffer_bytes=4096))
                connection.send_request("GET", target_of(home.link(key)), host=home.public_url[7:])
                assert connection.read_head().status == 200
            for _ in range(10):
                url = home.fresh(bytes(100_000))
                with within(1):
                    assert ask("GET", url).body_bytes == 100_000
        assert highest.bytes - idle < STALLED_MAX_BYTES
