"""Three gateways behind nginx, HAProxy, Caddy and Traefik, set as the guide says: what viewers see through the proxy."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import threading
from collections.abc import Callable

import pytest

from fleets import GATEWAYS, HERE, THERE, Fleet
from oncegate.links.grant import Operation
from oncegate.links.urls import parse_url
from oncegate.testing.races import race
from oncegate.testing.raw_http import ask, target_of

CALLERS = 48
BODY = b"only one of you may read this: " + bytes(range(256)) * 40
HUGE_BYTES = 256 * 1024 * 1024  # of zeros, on no disk; far more than sockets and proxies should hold
HELD_MAX_BYTES = 32 * 1024 * 1024
BIG = bytes(range(256)) * 196_608  # 48 MiB: what sockets hold counts as delivered, and must fit into the slack

pytestmark = [pytest.mark.system, pytest.mark.timeout(120), pytest.mark.xdist_group("proxies")]


@pytest.mark.anyio
async def test_losers_get_no_bytes(fleet: Fleet) -> None:
    """48 callers race one link through the proxy: a proxy that repeats or shares an answer would make two winners."""
    fleet.made.put("secret.bin", BODY)
    for _ in range(3):
        answers = await race(
            fleet.made.link("secret.bin"), [f"http://127.0.0.1:{fleet.port}"], callers=CALLERS, tls=fleet.trust
        )
        assert [body for status, body in answers if status == 200] == [BODY]
        assert {status for status, _ in answers} == {200, 403}
        assert not [body for status, body in answers if status == 403 and BODY[:16] in body]


def test_links_are_spread_over_the_gateways(fleet: Fleet, until: Callable[..., object]) -> None:
    """A key of distribution that is always the same would leave two gateways idle."""
    keys = [f"spread/{number}.bin" for number in range(48)]
    for key in keys:
        fleet.made.put(key, BODY)
        assert fleet.ask("GET", fleet.made.link(key)).body == BODY

    def busy() -> set[str]:
        found = [fleet.served_by(key) for key in keys]
        return {gateway.address for gateway in found if gateway}

    until(lambda: len(busy()) == GATEWAYS, "each has served some")


def test_the_viewers_address_is_his_and_no_header_changes_it(fleet: Fleet) -> None:
    """A link for one network opens there, and for nobody who says that he is there."""
    fleet.made.put("near.bin", BODY)
    link = fleet.made.link("near.bin", source_ip=f"{HERE}/32")
    for name in ("X-Forwarded-For", "x-forwarded-for", "Forwarded", "X-Real-IP"):
        value = f"for={HERE}" if name == "Forwarded" else HERE
        assert fleet.ask("GET", link, {name: value}, source=THERE).status == 403
    assert fleet.ask("GET", link, {"X-Forwarded-For": f"{HERE}, 127.0.0.1"}, source=THERE).status == 403
    assert fleet.ask("GET", link, {"X-Forwarded-For": THERE}, source=HERE).body == BODY


def test_the_target_goes_on_as_it_came(fleet: Fleet) -> None:
    """A proxy that decodes, cleans or sorts a URL breaks its signature, or worse, opens another object."""
    for key in ("a b+c/%2e%2F;é~'()*.bin", "x//y".replace("//", "/&=#?/"), "ünï/日本.bin"):
        fleet.made.put(key, key.encode())
        link = fleet.made.link(key, filename="a;b c&d.bin")
        assert fleet.ask("GET", link).body == key.encode(), key
        assert fleet.ask("GET", link).status == 403


def test_a_viewer_who_reads_nothing_holds_the_gateway_back(fleet: Fleet, until: Callable[..., object]) -> None:
    """A proxy that buffers takes the whole object for him, and what he never gets counts as delivered.

    While he waits, another reads an object of the same size through the same proxy: time enough to buffer.
    """
    keys = ["waits.bin", "reads.bin"]
    for key in keys:
        with (fleet.made.objects / key).open("wb") as file:
            file.truncate(HUGE_BYTES)
    with fleet.connect(receive_buffer_bytes=65_536) as connection:
        link = fleet.made.link(keys[0])
        connection.send_request("GET", target_of(link), host=parse_url(link).host)
        assert connection.read_head().status == 200
        whole = fleet.ask("GET", fleet.made.link(keys[1]), keep=False)
        assert (whole.status, whole.body_bytes, whole.is_whole) == (200, HUGE_BYTES, True)
    until(lambda: fleet.lines_of(keys[0]), "the gateway sees that the viewer has left")
    (line,) = fleet.lines_of(keys[0])
    assert line["outcome"] == "broken"
    sent_bytes = line["bytes"]
    assert isinstance(sent_bytes, int)
    assert sent_bytes < HELD_MAX_BYTES


def test_a_cut_download_is_continued_at_another_gateway(fleet: Fleet, until: Callable[..., object]) -> None:
    """The gateway that began it is stopped; the proxy finds another, which gives the holder the rest and no stranger."""
    fleet.made.put("big.bin", BIG)
    link = fleet.made.link("big.bin")
    with fleet.connect(receive_buffer_bytes=65_536) as connection:
        connection.send_request("GET", target_of(link), host=parse_url(link).host)
        head = connection.read_head()
        begun = connection.read_some(1_000_000)
    assert head.status == 200
    until(lambda: fleet.lines_of("big.bin"), "the gateway sees that the viewer has left")
    first = fleet.served_by("big.bin")
    assert first is not None
    assert first.serving.terminate() == 0
    try:
        span = {"Range": f"bytes={len(begun)}-"}
        assert fleet.ask("GET", link, span, source=THERE).status == 403
        rest = fleet.ask("GET", link, {"Cookie": head.cookie, **span})
        assert rest.status == 206
        assert begun + rest.body == BIG
        assert fleet.ask("GET", link, span, source=THERE).status == 403
    finally:
        first.stop()
        first.start()


def test_uploads_of_many_bytes_go_through_once(fleet: Fleet) -> None:
    """A limit of a megabyte, as nginx has, or a body that is held back, would end them with 413."""
    for key, headers in {"up/one.bin": {}, "up/two.bin": {"Expect": "100-continue"}}.items():
        link = fleet.made.link(key, operation=Operation.PUT)
        assert fleet.ask("PUT", link, headers, BIG).status == 200
        assert (fleet.made.objects / key).read_bytes() == BIG
        assert fleet.ask("PUT", link, headers, b"again").status in {403, 412}
    link = fleet.made.link("up/chunks.bin", operation=Operation.PUT)
    chunk = bytes(65_536)
    with fleet.connect() as connection:
        connection.send_request(
            "PUT", target_of(link), host=parse_url(link).host, headers={"Transfer-Encoding": "chunked"}
        )
        for _ in range(64):
            connection.send(b"10000\r\n" + chunk + b"\r\n")
        connection.send(b"0\r\n\r\n")
        assert connection.read_answer().status == 200
    assert (fleet.made.objects / "up/chunks.bin").read_bytes() == chunk * 64


def test_viewers_of_http2_get_the_same(
    fleet: Fleet, tmp_path: pathlib.Path, require_tool: Callable[[str], str], until: Callable[..., object]
) -> None:
    """Browsers speak HTTP/2 to Caddy and Traefik: what is cut must be cut there too, where no connection ends with it."""
    if fleet.name not in {"caddy", "traefik"}:
        return  # the others are not set to offer it
    fleet.made.put("big.bin", BIG)
    got = tmp_path / "got"
    command = [require_tool("curl"), "-s", "--http2", "--insecure", "--interface", HERE, "-o", str(got)]
    command += ["--connect-to", f"::127.0.0.1:{fleet.port}", "-w", "%{http_version} %{http_code}"]

    def curl(link: str, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *more, link], capture_output=True, text=True, check=False, timeout=60)

    link = fleet.made.link("big.bin")
    assert curl(link).stdout == "2 200"
    assert got.read_bytes() == BIG
    assert curl(link).stdout == "2 403"
    upload = fleet.made.link("up/http2.bin", operation=Operation.PUT)
    assert curl(upload, "-T", str(fleet.made.objects / "big.bin")).stdout == "2 200"
    assert (fleet.made.objects / "up/http2.bin").read_bytes() == BIG
    # The object gets shorter while it is sent: the gateway cuts, and the viewer must see that it is not whole.
    path = fleet.made.objects / "shrinks.bin"
    with path.open("wb") as file:
        file.truncate(HUGE_BYTES)
    got.unlink()
    with subprocess.Popen([*command, "--limit-rate", "100M", fleet.made.link("shrinks.bin")]) as slow:
        until(lambda: got.exists() and got.stat().st_size, "the download has begun")
        os.truncate(path, 1_000_000)
        assert slow.wait(60) != 0
    assert got.stat().st_size < HUGE_BYTES


def test_an_upload_that_breaks_off_leaves_the_link_free(fleet: Fleet, until: Callable[..., object]) -> None:
    """A proxy that ends the request cleanly for a viewer who has left would store half an object."""
    link = fleet.made.link("up/half.bin", operation=Operation.PUT)
    with fleet.connect() as connection:
        headers = {"Content-Length": str(len(BIG))}
        connection.send_request("PUT", target_of(link), host=parse_url(link).host, headers=headers)
        connection.send(BIG[: len(BIG) // 2])
    until(lambda: fleet.lines_of("up/half.bin"), "the gateway sees that the viewer has left")
    assert not (fleet.made.objects / "up/half.bin").exists()
    assert fleet.ask("PUT", link, body=b"whole").status == 200
    assert (fleet.made.objects / "up/half.bin").read_bytes() == b"whole"


def test_a_gateway_that_is_stopped_is_missed_by_nobody(fleet: Fleet) -> None:
    """Every link opens while one of three is down: the proxy asks another, and no viewer sees 502."""
    fleet.made.put("any.bin", BODY)
    stopped = fleet.gateways[1]
    assert stopped.serving.terminate() == 0
    try:
        answers = [fleet.ask("GET", fleet.made.link("any.bin")).status for _ in range(24)]
        uploads = [
            fleet.ask("PUT", fleet.made.link(f"down/{n}", operation=Operation.PUT), body=BODY).status for n in range(12)
        ]
    finally:
        stopped.stop()
        stopped.start()
    assert set(answers) == {200}
    assert set(uploads) == {200}


def test_a_gateway_that_is_not_ready_gets_no_viewers_until_it_is(fleet: Fleet, until: Callable[..., object]) -> None:
    """It takes connections and would refuse every link; only /readyz tells. nginx does not ask, so it is left out."""
    if fleet.name == "nginx":
        return
    fleet.made.put("any.bin", BODY)
    lost = fleet.gateways[2]
    aside = lost.keys.with_name("keys-aside")
    shutil.copytree(lost.keys, aside)

    def opened() -> list[int]:
        return [fleet.ask("GET", fleet.made.link("any.bin")).status for _ in range(12)]

    def asked_after(before: int) -> bool:
        opened()
        return len(lost.requests()) > before

    for path in lost.keys.iterdir():
        path.unlink()
    try:
        until(lambda: ask("GET", f"{lost.serving.control_url}/readyz").status == 503, "it is not ready")
        until(lambda: set(opened()) == {200} and set(opened()) == {200}, "it is left out")
    finally:
        for path in aside.iterdir():
            shutil.copy(path, lost.keys)
    before = len(lost.requests())
    until(lambda: asked_after(before), "it is asked again")
    assert set(opened()) == {200}


def test_what_a_killed_gateway_began_is_no_whole_answer_and_no_link_is_logged(fleet: Fleet) -> None:
    """A proxy that ends it cleanly hands out half an object as if it were whole; one that logs the URL hands out links."""
    with (fleet.made.objects / "killed.bin").open("wb") as file:
        file.truncate(HUGE_BYTES)
    link = fleet.made.link("killed.bin")
    with fleet.connect(receive_buffer_bytes=65_536) as connection:
        connection.send_request("GET", target_of(link), host=parse_url(link).host)
        assert connection.read_head().status == 200
        assert len(connection.read_some(1_000_000)) == 1_000_000
        held = [(gateway, threading.Thread(target=gateway.serving.kill)) for gateway in fleet.gateways]
        for _, killing in held:
            killing.start()
        rest = connection.read_some(HUGE_BYTES)
        for _, killing in held:
            killing.join()
    assert len(rest) < HUGE_BYTES - 1_000_000
    try:
        lost = fleet.ask("GET", fleet.made.link("any.bin"))
        assert lost.status in {0, 502, 503, 504}
    finally:
        for gateway, _ in held:
            gateway.stop()
            gateway.start()
    assert "once=" not in fleet.said(), json.dumps(fleet.said()[-3_000:])
