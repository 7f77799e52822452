"""nginx and Caddy send in the gateway's place while things go wrong: kills at any moment, many gateways, TLS, own pages.

What goes right is in test_proxy_sends.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import pathlib
import random
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from fronts import ADA, BOB, FRONTS, Front, Until
from oncegate.links.urls import parse_url
from oncegate.testing.installation import free_port
from oncegate.testing.races import race

MIB = 1024 * 1024
BIG = random.Random(11).randbytes(24 * MIB)
TEXT = b"the same line again and again\n" * 200_000
CAROL = "127.0.0.4"
KILLS = 10
RACES = 3

pytestmark = [
    pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("proxies"), pytest.mark.told_by_datagrams,
]  # fmt: skip


@pytest.fixture(params=FRONTS)
def own(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Front:
    """A gateway and a proxy that sends in its place, not running yet."""
    name: str = request.param
    return Front(tmp_path, name)


def ended(front: Front, url: str, until: Until) -> str:
    """What became of the link's newest transfer, once the proxy has told it."""
    until(lambda: front.ends(url) and not front.under_way(url), "the proxy has told the end")
    return front.ends(url)[-1]


def sent_bytes(front: Front, url: str) -> int:
    """How many bytes of a link's transfers count as sent."""
    return sum(int(str(event["bytes"])) for event in front.downloads(url))


@contextlib.contextmanager
def three_gateways(front: Front, until: Until, require_tool: Callable[[str], str]) -> Iterator[Front]:
    """Two more gateways over the same ledger and store, each with its own log, and the proxy before all."""
    first, others = parse_url(front.gateway_url).host, [(free_port(), free_port()) for _ in range(2)]
    addresses = [first, *(f"127.0.0.1:{port}" for port, _ in others)]
    logs = [log for _, log in others]
    if front.proxy_name == "nginx":
        line = f"access_log syslog:server=127.0.0.1:{front.log_port},"
        servers = "".join(f"server {address}; " for address in addresses)
        condition = "$og_transfer" if front.kind == "bucket" else "$upstream_http_x_og_transfer"
        more = "".join(f"access_log syslog:server=127.0.0.1:{log},tag=og og if={condition};\n    " for log in logs)
        front.changes += [
            ("\nserver {\n", f"\nupstream gateways {{ {servers}}}\nserver {{\n"),
            (f"proxy_pass http://{first};", "proxy_pass http://gateways;"),
            (line, more + line),
        ]
    else:
        fields = "format filter {\nwrap json\nfields {\nrequest delete\nresp_headers delete\n}\n}"
        more = "".join(
            f"log og{log} {{\noutput net udp/127.0.0.1:{log}\ninclude http.log.access\n{fields}\n}}\n" for log in logs
        )
        front.changes += [
            ("{\n    log {\n", f"{{\n{more}    log {{\n"),
            (f"reverse_proxy {first}", f"reverse_proxy {' '.join(addresses)}"),
        ]
    with contextlib.ExitStack() as stack:
        stack.enter_context(front.running(until, require_tool))
        for port, log in others:
            config = front.write_config(f"gateway-{port}.toml", port=port, delivery={"accel_log": f"127.0.0.1:{log}"})
            stack.enter_context(front.serve(config))
        yield front


def test_of_many_callers_at_three_gateways_one_wins(
    own: Front, until: Until, require_tool: Callable[[str], str]
) -> None:
    """The ledger decides, and each gateway hears of its own transfers."""
    with three_gateways(own, until, require_tool) as front:
        for _ in range(RACES):
            url = front.fresh(BIG)
            answers = asyncio.run(race(url, [front.public_url], callers=24))
            assert [body for status, body in answers if status == 200] == [BIG]
            assert not [body for status, body in answers if status != 200 and BIG[:16] in body]
            until(lambda seen=url: front.ends(seen) == ["complete"], "its gateway was told the end")


class Viewing:
    """What viewers of one link got of it, by their address."""

    def __init__(self, front: Front, is_over: threading.Event) -> None:
        self.front = front
        self.url = front.fresh(BIG)
        self.got = dict.fromkeys((ADA, BOB), b"")
        self._is_over = is_over

    def fetch(self, source: str) -> None:
        """Ask and ask again for what is missing, until all is there, it is refused, or the proxy's line seems to be lost."""
        busy = 0
        while len(self.got[source]) < len(BIG) and busy < 2:
            status = self._ask(source)
            if status == 403:
                return
            busy += status == 503

    def _ask(self, source: str) -> int:
        got = self.got[source]
        try:
            with self.front.begun(self.url, source=source, **({"Range": f"bytes={len(got)}-"} if got else {})) as begun:
                head, connection = begun
                left = len(BIG) - len(got) if head.status in (200, 206) else 0
                while left and (part := connection.read_some(min(left, MIB // 2))):
                    self.got[source] += part
                    left -= len(part)
                    self._is_over.wait(0.01)  # a line of 50 MB/s
        except OSError:
            return 0
        if head.status not in (200, 206):
            self._is_over.wait(0.05)
        return head.status


def test_kills_at_random_moments_yield_no_second_copy(
    own: Front, until: Until, require_tool: Callable[[str], str]
) -> None:
    """Of proxy and gateway, while two viewers of each link ask again and again: only one of them gets a byte."""
    moments, is_over, seen = random.Random(5), threading.Event(), list[Viewing]()

    def view() -> None:
        while not is_over.is_set():
            viewing = Viewing(own, is_over)
            seen.append(viewing)
            other = threading.Thread(target=viewing.fetch, args=(BOB,))
            other.start()
            viewing.fetch(ADA)
            other.join()

    with contextlib.ExitStack() as stack:
        stack.enter_context(own.running(until, require_tool))
        viewers = [threading.Thread(target=view) for _ in range(3)]
        for viewer in viewers:
            viewer.start()
        try:
            for number in range(KILLS):
                is_over.wait(moments.uniform(0.05, 1.5))
                if number % 2:
                    own.serving.kill()
                    own.serving = stack.enter_context(own.serve())
                else:
                    own.kill_proxy()
                    if own.proxy_name == "caddy":
                        own.start_proxy(until)
        finally:
            is_over.set()
            for viewer in viewers:
                viewer.join()
        assert any(len(got) == len(BIG) for viewing in seen for got in viewing.got.values())
        for viewing in seen:
            assert b"" in viewing.got.values(), "two viewers got bytes"
            assert all(BIG.startswith(got) for got in viewing.got.values())
            assert own.get(viewing.url, source=CAROL).status == 403


def test_over_tls_and_http2_what_was_cut_is_counted_and_finished(
    own: Front, until: Until, require_tool: Callable[[str], str]
) -> None:
    """Both send larger pieces before they count them: what counts as sent must be no less than what the viewer has."""
    curl, path, cuts = require_tool("curl"), own.folder / "got.bin", random.Random(9)
    own.behind_tls()
    common = [
        curl,
        "-sS",
        "--http2",
        "--cacert",
        own.folder / "ca.pem",
        "--interface",
        ADA,
        "-w",
        "%{http_version} %{http_code}",
    ]
    with own.running(until, require_tool):
        url = own.fresh(BIG)
        for told in range(1, 4):
            aim = (path.stat().st_size if path.exists() else 0) + cuts.randrange(1, 5 * MIB)
            slowly = [*common, "--limit-rate", "30M", "-C", "-", "-o", path, url]
            with subprocess.Popen(slowly, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reading:
                until(lambda least=aim: path.exists() and path.stat().st_size >= least, "so much has come")
                reading.kill()
            until(lambda least=told: len(own.ends(url)) >= least, "the proxy has told the end")
            assert own.ends(url)[-1] == "broken"
            assert sent_bytes(own, url) >= path.stat().st_size
        rest = subprocess.run(
            [*common, "-C", "-", "-o", path, url], check=True, capture_output=True, text=True, timeout=60
        )
        assert rest.stdout == "2 206"
        assert path.read_bytes() == BIG
        again = subprocess.run(
            [*common, "-o", "/dev/null", url], check=True, capture_output=True, text=True, timeout=60
        )
        assert again.stdout == "2 403"


def test_a_page_of_the_proxys_own_for_errors_spends_nothing(
    own: Front, until: Until, require_tool: Callable[[str], str]
) -> None:
    """A jump in nginx, other routes in Caddy: the line must name the transfer all the same."""
    if own.proxy_name == "nginx":
        (own.folder / "own.html").write_text("an own page")
        page = f"location = /own.html {{ internal; root {own.folder}; }}"
        own.changes.append(("    gzip off;", f"    error_page 404 502 /own.html;\n    {page}\n    gzip off;"))
    else:
        page = 'handle_errors {\n        respond "an own page" {http.error.status_code}\n    }'
        own.changes.append(("    bind 127.0.0.1", f"    bind 127.0.0.1\n    {page}"))
    with own.running(until, require_tool):
        url = own.fresh(BIG)
        with own.out_of_the_proxys_reach():
            assert own.get(url).status == (502 if own.bucket else 404)
            assert ended(own, url, until) == "failed"
        assert own.get(url, source=BOB).body == BIG


def test_what_the_proxy_compresses_against_the_guide_counts_as_sent(
    own: Front, until: Until, require_tool: Callable[[str], str]
) -> None:
    """A hundredth of the bytes is the whole object: what seems to be missing must not be given back."""
    if own.proxy_name == "nginx":
        own.changes.append(("gzip off;", "gzip on; gzip_types *; gzip_proxied any;"))
    else:
        own.changes.append(("    bind 127.0.0.1", "    bind 127.0.0.1\n    encode gzip"))
    with own.running(until, require_tool):
        url = own.fresh(TEXT, key="a.txt")
        answer = own.get(url, {"Accept-Encoding": "gzip"})
        # Caddy does not do it with what it has from a bucket
        is_packed = answer.header("content-encoding") == "gzip"
        assert is_packed or (own.proxy_name, own.kind) == ("caddy", "bucket")
        assert (gzip.decompress(answer.body) if is_packed else answer.body) == TEXT
        assert ended(own, url, until) == "complete"
        assert sent_bytes(own, url) == len(TEXT)
        assert own.get(url, {"Range": "bytes=1000-"}).status == 403
