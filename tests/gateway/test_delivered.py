"""What the gateway makes of what the kernel knows: resets, breaks, repeats, and what status says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from homes import Home
from oncegate.testing.raw_http import RawAnswer, RawConnection, ask, target_of
from oncegate.uses.record import EMPTY, Doubt, Record

VIEWERS = 60
BODY = bytes(range(256)) * 4
MIB = 1024 * 1024


def _asked(url: str, headers: dict[str, str] | None = None) -> RawConnection:
    """A connection on which the object was asked for."""
    connection = RawConnection(url)
    connection.send_request("GET", target_of(url), host=url[7:].partition("/")[0], headers=headers or {})
    return connection


def _told(home: Home, url: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(home.run("status", url, "--json").stdout)
    return told


def _is_settled(home: Home, url: str) -> Callable[[], Record | None]:
    """Whether the record says how a transfer ended."""

    def look() -> Record | None:
        record = home.record(url)
        return record if record is not None and (not record.claims or record.claims[0].size_bytes is not None) else None

    return look


def _given_up(home: Home, url: str, until: Callable[..., Any]) -> RawAnswer:
    """Take an object, and reset the connection in place of closing it: so does a program that is killed."""
    with _asked(url) as connection:
        answer = connection.read_answer()
        connection.reset()
    until(_is_settled(home, url), "the end is settled")
    return answer


def test_who_resets_right_after_their_request_loses_no_use(gateway: Home, until: Callable[..., Any]) -> None:
    """Nothing of the object was sent to them, as the kernel says, so the use is free for anyone.

    On a busy machine a reset can come late, and the viewer's kernel has acknowledged the whole object by then: the record
    says so, and such a use is spent.
    """
    urls = [gateway.fresh(BODY) for _ in range(VIEWERS)]
    for url in urls:
        _asked(url).reset()

    def became_of(url: str) -> str:
        answer = ask("GET", url)
        if answer.status == 200 and answer.body == BODY:
            return "free"
        record = gateway.record(url)
        return "late" if record is not None and any(claim.doubt is Doubt.UNREAD for claim in record.claims) else ""

    # 403 while it is not known yet: whoever has no cookie may be anybody
    ends = [until(lambda url=url: became_of(url), "the use is free, or all was acknowledged") for url in urls]
    assert ends.count("late") <= VIEWERS // 10


@pytest.mark.parametrize("size", [1024, 64 * 1024])
def test_who_shows_the_cookie_may_repeat_a_download_that_was_never_read(
    gateway: Home, until: Callable[..., Any], size: int
) -> None:
    """As a browser that hands the link to a download manager: all was acknowledged, and the connection reset."""
    body = (BODY * (size // len(BODY) + 1))[:size]
    url = gateway.fresh(body)
    head = _given_up(gateway, url, until)
    assert ask("GET", url).status == 403
    assert ask("GET", url, source="127.0.0.2").status == 403
    again = ask("GET", url, {"Cookie": head.cookie})
    assert (again.status, again.body) == (200, body)
    until(lambda: ask("GET", url, {"Cookie": head.cookie}).status == 403, "once is enough")


def test_a_reset_is_told_as_unread_and_the_repeat_as_complete(gateway: Home, until: Callable[..., Any]) -> None:
    """The issuer sees that the object was acknowledged and nobody may have read it; then, that it arrived."""
    url = gateway.fresh(BODY)
    head = _given_up(gateway, url, until)
    record = gateway.record(url)
    assert record is not None
    assert record.claims[0].doubt is Doubt.UNREAD
    until(lambda: _told(gateway, url)["outcome"] == "unread", "status tells")
    assert ask("GET", url, {"Cookie": head.cookie}).status == 200
    until(lambda: _told(gateway, url)["outcome"] == "complete", "status tells")


def test_complete_means_acknowledged(gateway: Home, until: Callable[..., Any]) -> None:
    """Who takes nothing of a large object has all of it on the way, and no status may call it complete."""
    size = 2 * MIB
    url = gateway.fresh(bytes(size))
    connection = RawConnection(url, receive_buffer_bytes=4096)
    with connection:
        connection.send_request("GET", target_of(url), host=url[7:].partition("/")[0])
        connection.read_head()
        until(
            lambda: any(
                line.get("event") == "request" and line.get("outcome") == "handed over" and line.get("bytes") == size
                for line in gateway.serving.log_lines()
            ),
            "all was handed over",
        )
        assert _told(gateway, url)["outcome"] is None
        connection.read_some(size)
    until(lambda: _told(gateway, url)["outcome"] == "complete", "all was acknowledged")


def test_what_was_never_sent_of_a_large_object_is_given_back(gateway: Home, until: Callable[..., Any]) -> None:
    """4 MB lie in the kernel when a reader who stands still leaves; they went nowhere, so they are not paid."""
    size = 48 * MIB
    url = gateway.link(gateway.sparse(size))
    with RawConnection(url, receive_buffer_bytes=64 * 1024) as connection:
        connection.send_request("GET", target_of(url), host=url[7:].partition("/")[0])
        head = connection.read_head()
        connection.read_some(1000)
        connection.reset()
    record = until(_is_settled(gateway, url), "the end is settled")
    assert record.claims[0].paid < MIB
    rest = ask("GET", url, {"Range": "bytes=1000-", "Cookie": head.cookie}, keep=False)
    assert (rest.status, rest.body_bytes) == (206, size - 1000)


def test_an_empty_object_is_spent_by_its_head(gateway: Home, until: Callable[..., Any]) -> None:
    """It has nothing to repeat, so who resets behind its head had it."""
    url = gateway.fresh(b"")
    with _asked(url) as connection:
        head = connection.read_head()
        connection.reset()
    assert head.status == 200
    for cookie in ({}, {"Cookie": head.cookie}):
        until(lambda cookie=cookie: ask("GET", url, cookie).status == 403, "it is known how it ended")


def test_a_spent_link_is_refused_without_its_ledger(gateway: Home, until: Callable[..., Any]) -> None:
    """A process remembers what it served whole; the record, which is removed here, is not asked."""
    url = gateway.fresh(BODY)
    assert ask("GET", url).status == 200
    until(lambda: _told(gateway, url)["outcome"] == "complete", "the end is known")
    gateway.change_record(url, lambda _record: EMPTY._replace(is_revoked=False))
    assert ask("GET", url).status == 403
    assert ask("HEAD", url).status == 200


def test_a_spent_link_is_refused_without_its_store(gateway: Home, until: Callable[..., Any]) -> None:
    """It gives nothing to anyone, whatever stands there by now; what asks about a version is answered by the store."""
    key = gateway.lay(BODY)
    url = gateway.link(key)
    assert ask("GET", url).status == 200
    until(lambda: _told(gateway, url)["outcome"] == "complete", "the end is known")
    (gateway.objects / key).unlink()
    assert ask("GET", url).status == 403
    assert ask("GET", url, {"If-None-Match": "*"}).status == 404


def test_a_link_of_several_uses_is_never_remembered(gateway: Home, until: Callable[..., Any]) -> None:
    """Its second use is another's."""
    url = gateway.fresh(BODY, uses=2)
    for _ in range(2):
        assert ask("GET", url).status == 200
    assert ask("GET", url).status == 403
    until(lambda: _told(gateway, url)["outcome"] == "complete", "the end is known")
    gateway.change_record(url, lambda _record: EMPTY._replace(is_revoked=False))
    assert ask("GET", url).status == 200
