"""The log: one line per request with fixed fields, and no secret of a link anywhere, whatever went wrong."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from homes import Home
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Scheme
from oncegate.links.link_id import id_of_text, text_of_id
from oncegate.testing.raw_http import RawConnection, ask, target_of

CREDENTIALS = {"AKTEST": "secret-of-the-tests"}
FIELDS = {
    "time", "level", "at", "event", "method", "status", "reason", "link_id", "key", "bytes", "ms", "address",
    "request_id", "outcome",
}  # fmt: skip


def lines_of(home, until, link_id, count=1):
    """The request lines of a link, once there are so many."""

    def find():
        lines = [line for line in home.serving.log_lines() if line.get("link_id") == link_id]
        return lines if len(lines) >= count else None

    return until(find, f"{count} lines of {link_id}")


def id_text(url):
    """The link's id, as logs and status show it."""
    return re.search(r"once=[gp]\d*\.([A-Za-z0-9_-]{22})", url)[1]


def test_each_request_is_one_line(gateway: Home, until: Callable[..., Any]) -> None:
    """Served, refused, a page, an upload: one line each at its end, with outcome, bytes and milliseconds."""
    url = gateway.fresh(b"x" * 5000, "logged.bin")
    assert ask("GET", url).status == 200
    assert ask("GET", url).status == 403
    assert ask("HEAD", url).status == 403
    first, second, third = lines_of(gateway, until, id_text(url), 3)
    assert all(set(line) <= FIELDS for line in (first, second, third))
    assert (first["method"], first["status"], first["outcome"], first["bytes"]) == ("GET", 200, "handed over", 5000)
    assert (first["key"], first["address"]) == ("logged.bin", "127.0.0.1")
    assert isinstance(first["ms"], int)
    assert (second["status"], second["reason"]) == (403, "used")
    assert (third["method"], third["reason"]) == ("HEAD", "used")
    assert len({line["request_id"] for line in (first, second, third)}) == 3
    up = gateway.upload()
    assert ask("PUT", up, body=b"y" * 700).status == 200
    (line,) = lines_of(gateway, until, id_text(up))
    assert (line["method"], line["status"], line["outcome"], line["bytes"]) == ("PUT", 200, "complete", 700)


def test_request_id_of_the_answer_stands_in_the_log(gateway: Home, until: Callable[..., Any]) -> None:
    """Who complains about a refusal can be found: the id in the answer is the id in the log."""
    url = gateway.link("missing")
    answer = ask("GET", url)
    request_id = answer.header("x-request-id")
    assert f"<RequestId>{request_id}</RequestId>" in answer.text
    assert lines_of(gateway, until, id_text(url))[0]["request_id"] == request_id


def test_stranger_is_logged_with_the_reason_that_he_was_not_told(gateway: Home, until: Callable[..., Any]) -> None:
    """He reads "Access denied"; the operator reads why."""
    ask("GET", f"{gateway.public_url}/guess?Expires=1&Signature=c2lnbmF0dXJlLW9mLWEtZ3Vlc3M_&Key-Pair-Id=KGUESS")

    def find():
        return [line for line in gateway.serving.log_lines() if line.get("reason") == "unknown-key"]

    assert until(find, "the refusal is logged")
    assert "KGUESS" not in gateway.serving.log.read_text()


def test_broken_transfer_is_logged_as_broken(gateway: Home, until: Callable[..., Any]) -> None:
    """A viewer who left midway is not a completed download."""
    url = gateway.link(gateway.sparse(128 * 1024 * 1024))
    with RawConnection(url) as connection:
        connection.send_request("GET", target_of(url), host=gateway.public_url[7:])
        connection.read_some(1000)
    (line,) = lines_of(gateway, until, id_text(url))
    assert (line["status"], line["outcome"]) == (200, "broken")
    assert 0 < line["bytes"] < 128 * 1024 * 1024


def test_agents_and_keys_cannot_forge_lines(gateway: Home, until: Callable[..., Any]) -> None:
    """Line breaks and quotes in what a stranger sends stay inside one JSON line."""
    url = gateway.fresh(b"x", 'quote"{}\u2028.txt')
    ask("GET", url, {"User-Agent": '"}{"event":"forged'})
    (line,) = lines_of(gateway, until, id_text(url))
    assert line["key"] == 'quote"{}\u2028.txt'
    assert all(json.loads(text) for text in gateway.serving.log.read_text().split("\n") if text.startswith("{"))


@pytest.fixture
def busy_home(gateway_with):
    """A gateway whose log has every kind of link in it, served, refused, forged and broken; and what must not be in it."""
    home = gateway_with(credentials=CREDENTIALS, viewer={"confirm": "auto", "cors_origins": ["*"]})
    secrets = set()

    def note(url):
        for name in ("Signature", "Policy", "X-Amz-Signature"):
            found = re.search(rf"[?&]{name}=([^&]+)", url)
            if found:
                secrets.add(found[1])
        secrets.add(url)
        secrets.add(url.partition("?")[2])
        return url

    for scheme in Scheme:
        url = note(home.fresh(b"x" * 100, scheme=scheme))
        answer = ask("GET", url, {"Range": "bytes=0-9"})
        assert answer.status == 206
        secrets.update(answer.cookies.values())
        ask("GET", url, {"Cookie": answer.cookie + "; session=visitor-secret"})
        ask("GET", url.replace("once=g.", "once=g3."), {"Authorization": "Bearer visitor-secret"})
        ask("GET", url, {"Referer": url, "User-Agent": "agent"})
        ask("POST", url, {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"})
        ask("PUT", note(home.upload(scheme=scheme)), body=b"visitor-secret")
    plain = note(sign_url(f"{home.public_url}/{home.lay(b'x')}", key=home.signer, expires_s=int(time.time()) + 60))
    assert ask("GET", plain).status == 200
    secrets.add("visitor-secret")
    secrets.add(CREDENTIALS["AKTEST"])
    return home, secrets


def test_no_secret_is_logged(busy_home: Home, until: Callable[..., Any]) -> None:
    """Not a signature, a policy, a URL, a cookie, a claim id or a token: who reads the log must not be able to download."""
    home, secrets = busy_home
    until(lambda: len([1 for line in home.serving.log_lines() if line["event"] == "request"]) >= 19, "all lines")
    log = home.serving.log.read_text()
    assert len(log) > 2000
    for secret in secrets:
        assert secret not in log
    assert "Signature=" not in log
    assert "once=" not in log


def test_no_secret_is_logged_with_a_fault(home_with: Callable[..., Home], until: Callable[..., Any]) -> None:
    """A fault is logged by its kind and place, not with the values at hand: they hold the URL."""
    home = home_with()
    with home.serve() as serving:
        home.serving = serving
        url = home.link(home.sparse(64 * 1024 * 1024, "cut.bin"))
        with RawConnection(url) as connection:
            connection.send_request("GET", target_of(url), host=home.public_url[7:])
            head = connection.read_head()
            connection.read_some(1000)
            with (home.objects / "cut.bin").open("r+b") as file:
                file.truncate(1000)
            assert connection.is_cut()
        until(lambda: [line for line in serving.log_lines() if line["event"] == "fault"], "the fault is logged")
        log = serving.log.read_text()
        for secret in (url, url.partition("?")[2], *head.cookies.values(), "Signature="):
            assert secret not in log


def test_audit_events_hold_no_secret_either(busy_home: Home, until: Callable[..., Any]) -> None:
    """Events go to the issuer: link id, key and what became of it; no claim id, no cookie."""
    home, secrets = busy_home
    events = home.folder / "ledger-events.db"
    until(lambda: events.exists() and b'"download"' in _everything(home), "events are kept")
    kept = _everything(home)
    for secret in secrets:
        assert secret.encode() not in kept


def _everything(home):
    return b"".join(path.read_bytes() for path in home.folder.glob("ledger-events.db*"))


def test_link_ids_in_the_log_are_those_of_status(gateway: Home, until: Callable[..., Any]) -> None:
    """What the log names can be looked up: 22 characters, the nonce of a ticket."""
    url = gateway.fresh(b"x")
    assert ask("GET", url).status == 200
    (line,) = lines_of(gateway, until, id_text(url))
    assert text_of_id(id_of_text(line["link_id"])) == line["link_id"]
