"""What ``/metrics`` of a running gateway says of its store: each GET and PUT of a bucket, and each that fails."""

import re
from collections.abc import Callable, Iterator

import pytest

from homes import Home
from oncegate.testing.raw_http import ask
from oncegate.testing.servers.object_stores import store_options
from wrong_s3 import WrongS3

_LINE = re.compile(
    r'^oncegate_store_(calls|seconds)_(?:total|sum)\{call="(\w+)"(?:,outcome="(\w+)")?\} (\S+)$', re.MULTILINE
)


class Metered:
    """A gateway before a bucket, and what it counted of it."""

    def __init__(self, home, serving, server):
        self.home, self.serving, self.server = home, serving, server
        self.token = home.run("tokens", "new", "scrape", "--scope", "metrics:read").stdout.strip()

    def scraped(self):
        """All that it exposes."""
        token = {"Authorization": f"Bearer {self.token}"}
        return ask("GET", f"{self.serving.control_url}/metrics", token).body.decode()

    def counted(self, what):
        """Counts by call and outcome, or seconds by call."""
        found = [match.groups() for match in _LINE.finditer(self.scraped())]
        return {(call, outcome) if outcome else call: float(value) for of, call, outcome, value in found if of == what}

    def uploaded(self):
        """Upload an object of 1 KiB, and return its key."""
        url = self.home.upload()
        assert ask("PUT", url, body=b"x" * 1024).status == 200
        return url.partition("?")[0].removeprefix(self.home.public_url + "/")


@pytest.fixture
def metered(home_with: Callable[..., Home], wrong_s3: Callable[..., WrongS3]) -> Iterator[Metered]:
    """A gateway of this test's own."""
    server = wrong_s3()
    home = home_with(**{"store": {"url": "s3://bucket"}, "store.options": store_options(server.url)})
    with home.serve() as serving:
        yield Metered(home, serving, server)


def test_each_get_and_put_of_the_store_is_counted(metered: Metered) -> None:
    """A look and an upload that begins are the cheap calls; those that move the bytes are where a store is slow."""
    assert ask("GET", metered.home.link(metered.uploaded())).status == 200
    calls, seconds = metered.counted("calls"), metered.counted("seconds")
    for call in ("start_upload", "write", "commit", "look", "read"):
        assert calls[call, "done"] >= 1
        assert seconds[call] > 0
    assert calls["commit", "done"] == calls["read", "done"] == 1


def test_a_get_that_the_store_refuses_is_counted(metered: Metered) -> None:
    """HEAD answers and GET does not: a store that looked healthy in every row while each download failed."""
    url = metered.home.link(metered.uploaded())
    metered.server.faults.add("503-get")
    assert ask("GET", url).status == 503
    calls = metered.counted("calls")
    assert calls["read", "StoreBusy"] == 1
    assert ("read", "done") not in calls
    assert metered.counted("seconds")["read"] > 0


def test_a_put_that_the_store_refuses_is_counted(metered: Metered) -> None:
    """The upload began well, for nothing was asked of the store then; its one PUT is what fails."""
    url = metered.home.upload()
    metered.server.faults.add("501-conditions")
    assert ask("PUT", url, body=b"x" * 1024).status == 502
    calls = metered.counted("calls")
    assert calls["start_upload", "done"] == calls["commit", "StoreFault"] == 1
    assert ("commit", "done") not in calls


def test_a_request_is_in_every_histogram_that_it_took_part_in(metered: Metered) -> None:
    """By its method and kind of answer: a flood of refusals would hide what downloads wait for."""
    url = metered.home.link(metered.uploaded())
    assert [ask("GET", url).status, ask("GET", url).status] == [200, 403]
    text = metered.scraped()
    for name in ("request", "first_byte"):
        for answer in ("2xx", "4xx"):
            of_gets = f'{{answer="{answer}",method="GET"}}'
            assert f"\noncegate_{name}_seconds_count{of_gets} 1.0\n" in text
            (seconds,) = re.findall(rf"^oncegate_{name}_seconds_sum{re.escape(of_gets)} (\S+)$", text, re.MULTILINE)
            assert float(seconds) > 0
    assert re.search(r'^oncegate_ledger_seconds_count\{call="insert"\} [1-9]', text, re.MULTILINE)
