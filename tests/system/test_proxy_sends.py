"""nginx and Caddy send what the gateway has claimed, from a folder and from a bucket: the promises of a use hold."""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
from collections.abc import Callable

import pytest

from fronts import ADA, BOB, Front, Until
from oncegate.testing.installation import free_port
from oncegate.testing.races import race
from oncegate.testing.raw_http import ask
from relay import Relay

MIB = 1024 * 1024
BIG = random.Random(7).randbytes(40 * MIB)
BODY = BIG[: 2 * MIB]
ELSEWHERE = "127.0.0.9"
# set by the one that sends
OWN = {"date", "server", "connection", "set-cookie", "accept-ranges", "x-accel-buffering", "keep-alive"}

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("proxies"),
    pytest.mark.told_by_datagrams,
]


def ended(front: Front, url: str, until: Until, count: int = 1) -> list[str]:
    """What the proxy told of the link's transfers, once it has told of so many."""
    until(lambda: len(front.ends(url)) >= count, f"{count} transfers have ended")
    return front.ends(url)


def test_the_object_is_sent_once_and_the_proxy_sent_it(front: Front, until: Until) -> None:
    """200 and the bytes, then 403; nothing of the talk behind it reaches the viewer."""
    url = front.fresh(BODY)
    before = front.handed_over()
    answer = front.get(url)
    assert (answer.status, answer.body) == (200, BODY)
    assert not {name for name, _ in answer.headers if name.startswith(("x-og", "x-accel"))}
    assert ended(front, url, until) == ["complete"]
    until(lambda: front.handed_over() > before, "the log says so")
    again = front.get(url)
    assert again.status == 403
    assert BODY[:64] not in again.body


def test_answers_are_those_of_the_gateway(front: Front) -> None:
    """What the proxy adds or drops would be another answer: types, names, dates, what keeps scripts from running."""
    asked: list[dict[str, str]] = [
        {}, {"Range": "bytes=1000000-"}, {"Range": "bytes=0-999999"}, {"Range": "bytes=5-9,20-29"},
        {"Range": "bytes=-400000"}, {"If-Range": '"x"', "Range": "bytes=5-"}, {"Range": "bytes=9999999-"},
        {"If-None-Match": "*"}, {"If-Match": '"x"'}, {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ]  # fmt: skip
    for headers in asked:
        key = front.lay(BODY)
        by_proxy, by_gateway = front.link(key, filename="Ü b.bin"), front.link(key, filename="Ü b.bin")
        one = front.get(by_proxy, headers)
        other = ask("GET", by_gateway, headers, at=front.gateway_url, source=ELSEWHERE)
        assert one.status == other.status, headers
        if one.status in (200, 206):
            assert one.body == other.body, headers
            assert {pair for pair in one.headers if pair[0] not in OWN} == {
                pair for pair in other.headers if pair[0] not in OWN
            }


@pytest.mark.anyio
async def test_of_many_callers_one_wins(front: Front) -> None:
    """Losers get not a byte of the object."""
    for _ in range(3):
        answers = await race(front.fresh(BODY), [front.public_url], callers=12)
        assert [body for status, body in answers if status == 200] == [BODY]
        assert not [body for status, body in answers if status != 200 and BODY[:16] in body]


def test_what_is_cut_anywhere_is_finished_by_its_holder_and_yields_no_second_copy(front: Front, until: Until) -> None:
    """By Range, again and again; the viewer counts what came, and then the link is used."""
    url, cuts = front.fresh(BIG), random.Random(3)
    got, yielded, told = b"", 0, 0
    while len(got) < len(BIG):
        ranges = {"Range": f"bytes={len(got)}-"} if got else {}
        with front.begun(url, **ranges) as (head, connection):
            assert head.status == (206 if got else 200)
            part = connection.read_some(cuts.randrange(1, 12 * MIB) if told < 3 else len(BIG) - len(got))
        got, yielded, told = got + part, yielded + len(part), told + 1
        assert ended(front, url, until, told)[-1] == ("complete" if len(got) == len(BIG) else "broken")
    assert got == BIG
    assert yielded <= len(BIG) * 3 // 2
    assert front.get(url, {"Range": "bytes=1-"}).status == 403


def test_a_holder_who_leaves_again_and_again_gets_no_more_than_size_and_slack(front: Front, until: Until) -> None:
    """The attack on the budget: read, leave, and ask for the same bytes once more."""
    url = front.fresh(BIG)
    yielded, told = 0, 0
    for _ in range(40):
        with front.begun(url, **({"Range": "bytes=0-"} if told else {})) as (head, connection):
            if head.status not in (200, 206):
                break
            yielded += len(connection.read_some(900_000))
        told += 1
        ended(front, url, until, told)
    assert told > 1
    assert yielded <= len(BIG) * 3 // 2
    assert front.get(url, source=BOB).status == 403


def test_keys_of_every_kind_arrive_as_they_are(front: Front, until: Until) -> None:
    """A proxy that decodes once more, or once too little, opens another object or none."""
    keys = [
        "ü+%41?#.bin",
        "a%2Fb;c'\"d {x}.bin",
        "日本/ö &=~.bin",
        "100%.bin",
        "a  b.bin",
        "_objects/x.bin"[1:],
        "%00.bin",
    ]
    for number, key in enumerate(keys):
        body = bytes([number]) * MIB
        front.put(key, body)
        url = front.link(key)
        answer = front.get(url)
        assert (answer.status, answer.body == body) == (200, True), key
        until(lambda link=url: front.ends(link) == ["complete"] and not front.under_way(link), key)


def test_a_key_with_blanks_at_its_ends_and_an_empty_object_are_sent_by_the_gateway(front: Front) -> None:
    """A header loses the one, and no proxy needs to be asked for the other."""
    for key, body in ((" x ", BODY), ("empty.bin", b"")):
        front.put(key, body)
        assert front.get(front.link(key)).body == body


def test_nobody_gets_in_by_the_internal_location(front: Front) -> None:
    """It would serve every object without a link."""
    front.put("secret.bin", BODY)
    for path in (
        "/_objects/secret.bin",
        "/_objects/../_objects/secret.bin",
        "/_bucket/",
        "/_objects/secret.bin?once=x",
    ):
        answer = front.get(f"{front.public_url}{path}", {"X-Accel-Redirect": "/_objects/secret.bin"})
        assert answer.status in (403, 404, 502)
        assert BODY[:64] not in answer.body


def test_a_link_out_of_the_folder_is_followed_by_neither(front: Front, tmp_path: pathlib.Path) -> None:
    """404, and the use is untouched."""
    if front.kind == "bucket":
        return
    (tmp_path / "outside.bin").write_bytes(BODY)
    (front.objects / "way.bin").symlink_to(tmp_path / "outside.bin")
    url = front.link("way.bin")
    assert front.get(url).status == 404
    assert front.record(url) is None


def test_a_proxy_that_finds_no_object_spends_nothing(front: Front, until: Until) -> None:
    """It answers 404 or 502, the use is given back, and the next GET, by anyone, has the object."""
    url = front.fresh(BODY)
    with front.out_of_the_proxys_reach():
        answer = front.get(url)
        assert answer.status == (502 if front.bucket else 404)
        assert ended(front, url, until) == ["failed"]
    assert front.get(url, source=BOB).body == BODY


def test_an_object_replaced_before_the_bucket_is_asked_is_not_sent(front: Front, until: Until) -> None:
    """If-Match pins what was looked at; whoever answers for another object is refused."""
    if front.bucket is None:
        return
    url = front.fresh(BODY)
    # the bucket says 412 to the proxy: what stands is no longer what the look saw
    front.bucket.faults.add("replaced-after-look")
    try:
        assert front.get(url).status == 502
    finally:
        front.bucket.faults.discard("replaced-after-look")
    assert ended(front, url, until) == ["failed"]
    assert front.get(url).body == BODY


def test_a_bucket_that_breaks_off_leaves_the_rest_to_the_holder(front: Front, until: Until) -> None:
    """The viewer's connection ends early, the proxy tells how much it sent, and a Range has the rest."""
    if front.bucket is None:
        return
    url = front.fresh(BIG)
    front.bucket.faults.add("half-body")
    try:
        with front.begun(url) as (_, connection):
            got = connection.read_some(len(BIG))
    finally:
        front.bucket.faults.discard("half-body")
    assert len(got) == len(BIG) // 2
    assert ended(front, url, until) == ["broken"]
    assert got + front.get(url, {"Range": f"bytes={len(got)}-"}).body == BIG
    assert front.get(url, source=BOB).status == 403


def test_no_log_of_the_proxy_quotes_a_link_or_a_presigned_url(front: Front) -> None:
    """Whoever reads either can open the object: also where the gateway, the bucket or the folder fails."""
    url = front.fresh(BODY)
    with front.out_of_the_proxys_reach():
        front.get(url)
    front.get(url)
    with front.begun(front.fresh(BIG)) as (_, connection):
        connection.read_some(MIB)
        connection.reset()
    logs = [path for path in front.folder.glob("*.log") if path.name.startswith(("proxy", "nginx"))]
    assert logs
    for path in logs:
        said = path.read_text(errors="replace")
        assert not re.search("Signature|once=|X-Amz", said, re.IGNORECASE), said[-2000:]


def test_a_running_transfer_is_not_taken_over(front: Front, until: Until) -> None:
    """Another request of the holder waits and gets 503; a stranger is refused; the transfer ends whole."""
    url = front.fresh(BIG)
    with front.begun(url) as (head, connection):
        cookie = {"Cookie": head.cookie, "Range": "bytes=20000000-"}
        assert front.get(url, cookie).status == 503
        assert front.get(url, {"Range": "bytes=20000000-"}, source=BOB).status == 403
        rest = connection.read_some(len(BIG))
    assert rest == BIG
    assert ended(front, url, until) == ["complete"]


def test_a_player_seeks(front: Front, until: Until) -> None:
    """It closes one connection and asks on the next at once, with the claim's cookie, before the proxy has told the end."""
    url = front.fresh(BIG)
    with front.begun(url, Range="bytes=0-") as (head, connection):
        connection.read_some(MIB)
    seek = front.get(url, {"Cookie": head.cookie, "Range": f"bytes={30 * MIB}-"})
    assert (seek.status, seek.body) == (206, BIG[30 * MIB :])
    assert set(ended(front, url, until, 2)) == {"broken", "complete"}


def test_a_lost_line_leaves_the_use_spent(front: Front, until: Until) -> None:
    """The gateway stands still and its log socket is full: the line is dropped, and nothing is given back by mistake."""
    url = front.fresh(BIG)
    with front.begun(url) as (_, connection):
        connection.read_some(MIB)
        os.kill(front.serving.process.pid, signal.SIGSTOP)
        try:
            while not (dropped := front.dropped_lines()):
                front.say(b"x" * 200)
            connection.reset()
            until(lambda: front.dropped_lines() > dropped, "the proxy's line is dropped")
        finally:
            os.kill(front.serving.process.pid, signal.SIGCONT)
    assert front.get(url, {"Range": "bytes=1000-"}).status == 503
    assert front.get(url, source=BOB).status == 403
    assert front.ends(url) == []


def test_a_killed_proxy_leaves_the_use_spent(front: Front, until: Until) -> None:
    """Nobody tells what was sent: at most once."""
    url = front.fresh(BIG)
    with front.begun(url) as (_, connection):
        connection.read_some(MIB)
        front.kill_proxy()
    if front.proxy_name == "caddy":
        front.start_proxy(until)
    until(lambda: front.get(f"{front.public_url}/nothing").status == 403, "the proxy answers again")
    assert front.get(url, source=BOB).status == 403
    assert front.get(url, {"Range": "bytes=1000-"}).status == 503


def test_a_killed_gateway_leaves_the_transfer_running_and_the_use_spent(
    front: Front, tmp_path: pathlib.Path, until: Until, require_tool: Callable[[str], str]
) -> None:
    """The proxy has the object already; the gateway that comes back knows that the link was used."""
    (tmp_path / "own").mkdir()
    with Front(tmp_path / "own", f"{front.proxy_name} {front.kind}").running(until, require_tool) as own:
        url = own.fresh(BIG)
        with own.begun(url) as (_, connection):
            connection.read_some(MIB)
            own.serving.kill()
            assert len(connection.read_some(len(BIG) - MIB)) == len(BIG) - MIB
        with own.serve() as own.serving:
            assert own.get(url).status == 403


class CutOnce(Relay):
    """Cuts the first connection on its way."""

    def pass_down(self, server, client, number):  # type: ignore[no-untyped-def]  # as the class it extends
        """Pass on 5 MB of the first connection, and everything of the others."""
        left = 5_000_000 if number == 0 else 1 << 62
        while left > 0 and (data := server.recv(65_536)):
            client.sendall(data)
            left -= len(data)


CLIENTS = {
    "curl": (["curl", "-sf", "-o", "{path}", "{url}"], ["curl", "-sf", "-C", "-", "-o", "{path}", "{url}"]),
    "wget": (["wget", "-q", "-t1", "-O", "{path}", "{url}"], ["wget", "-q", "-c", "-O", "{path}", "{url}"]),
    "aria2c": (
        ["aria2c", "--no-conf", "-q", "-x4", "-s4", "-k1M", "--retry-wait=1", "-d", "{folder}", "-o", "{name}", "{url}"],
        ["aria2c", "--no-conf", "-q", "-c", "-x4", "-s4", "-k1M", "--retry-wait=1", "-d", "{folder}", "-o", "{name}", "{url}"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLIENTS)
def test_programs_resume(
    front: Front, tmp_path: pathlib.Path, name: str, until: Until, require_tool: Callable[[str], str]
) -> None:
    """Whose first connection is cut: by themselves or when run again, they have the whole, and nobody else anything."""
    require_tool(name)
    # a client who leaves before the proxy has read the gateway's answer leaves a line without an id: that use is spent
    if (said := cut_and_run_again(front, tmp_path / "first", name, until)) is None:
        said = cut_and_run_again(front, tmp_path / "second", name, until)
    assert said == ""


def cut_and_run_again(front: Front, folder: pathlib.Path, name: str, until: Until) -> str | None:
    """Download once through a connection that is cut; empty: the whole has come. None: an end was not told."""
    folder.mkdir()
    url, path = front.fresh(BIG), folder / "got.bin"
    with CutOnce(front.front_port, source=ADA).running() as relay:
        through = url.replace(front.public_url, relay.url)
        said = ""
        for command in CLIENTS[name]:
            if path.exists() and path.stat().st_size == len(BIG) and not path.with_suffix(".bin.aria2").exists():
                break
            words = [part.format(path=path, folder=folder, name=path.name, url=through) for part in command]
            done = subprocess.run(words, check=False, timeout=120, capture_output=True, text=True)
            said += f"{done.returncode}: {done.stdout}{done.stderr}\n"
            try:
                until(lambda: not front.under_way(url), "the proxy has told the end", within_s=30)
            except pytest.fail.Exception:
                return None
    assert front.get(url, source=BOB).status == 403
    return "" if path.read_bytes() == BIG else said


def test_doctor_fetches_a_probe_through_the_proxy_and_leaves_nothing(front: Front) -> None:
    """What the guide's headers are good for is seen before a viewer sees it."""
    said = front.run("doctor", "--json")
    checks = [check for check in json.loads(said.stdout)["checks"] if check["name"] == "proxy"]
    assert [check["state"] for check in checks] == ["ok"], said.stdout
    assert checks[0]["words"].endswith("its log tells what was sent")
    if front.kind == "folder":
        assert not list(front.objects.glob("oncegate-doctor-*"))


@pytest.mark.slow
def test_doctor_says_that_the_log_of_the_proxy_does_not_arrive(
    front: Front, tmp_path: pathlib.Path, until: Until, require_tool: Callable[[str], str]
) -> None:
    """Everything is sent as it should be, and whatever breaks off would be lost."""
    (tmp_path / "own").mkdir()
    own = Front(tmp_path / "own", f"{front.proxy_name} {front.kind}")
    own.log_port = free_port()  # of the proxy's configuration; that of the gateway is written
    with own.running(until, require_tool):
        said = own.run("doctor", "--json")
    checks = [check for check in json.loads(said.stdout)["checks"] if check["name"] == "proxy"]
    assert [check["state"] for check in checks] == ["failed"], said.stdout
    assert "its log does not tell" in checks[0]["words"]


def test_many_links_at_once_lose_nothing(front: Front, until: Until) -> None:
    """Half of the viewers leave in the middle and come back: with every line arrived, each has the whole."""
    links, failed = [front.fresh(BIG) for _ in range(6)], []

    def fetch(number: int, url: str) -> None:
        got = b""
        if number % 2:
            with front.begun(url) as (_, connection):
                got = connection.read_some(2_000_000 * number)
            rest = front.get(url, {"Range": f"bytes={len(got)}-"})
        else:
            rest = front.get(url)
        if got + rest.body != BIG or front.get(url).status != 403:
            failed.append(url)

    threads = [threading.Thread(target=fetch, args=pair) for pair in enumerate(links)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
