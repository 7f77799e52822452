"""Objects that go with their links: when, which version, and never while somebody may still have them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from homes import Home
from oncegate.gateway import removals
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Stands
from oncegate.ledgers.removals import scan_links
from oncegate.links.request import ViewerRequest
from oncegate.links.verify import verify
from oncegate.stores.protocol import StoreBusy
from oncegate.testing.raw_http import RawConnection, ask, target_of
from oncegate.uses.removal import RENEW_EVERY_S, SPARE_S, Stage, removal_from_json, removal_id
from oncegate.uses.use import revoke
from shelves import ALLOWED, WINDOW_S, ahead, change_row, in_bucket, lay, remove_as_of, rows_of, stands

OVER_S = WINDOW_S + SPARE_S + 2
DAY_S = 86_400
_keys = iter(range(10_000))


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def home(
    request: pytest.FixtureRequest,
    gateway_with: Callable[..., Home],
    wrong_s3_for_module: Callable[..., Any],
    buckets: dict[str, Any],
) -> Home:
    """A running gateway that may remove objects, from a folder and from a bucket."""
    if request.param == "file":
        return gateway_with(**ALLOWED)
    server = buckets.setdefault("s3", None) or wrong_s3_for_module()
    buckets["s3"] = server
    return gateway_with(**in_bucket(server.url))


@pytest.fixture(scope="module")
def buckets() -> dict[str, Any]:
    """The servers of this module's buckets."""
    return {}


def fresh(home: Home, data: bytes = b"x" * 1000, **wish: Any) -> tuple[str, str]:
    """A new object and a link after which it goes."""
    key = f"folder{next(_keys)}/b.bin"
    lay(home, key, data)
    return key, home.link(key, delete_after=True, **wish)


def take(home: Home, url: str) -> None:
    """Use a link by asking for all of its object as a part: nobody knows whether more will be asked for."""
    assert ask("GET", url, {"Range": "bytes=0-"}, keep=False).status == 206
    assert home.record(url) is not None


def outcomes(home: Home, url: str) -> list[object]:
    """What the events say of the removal."""
    link_id = url.partition("once=g")[2].partition(".")[2][:22]

    async def read() -> list[object]:
        async with ahead(home, 0) as (_, opened):
            found = await opened.ledger.events_of_link(link_id, 10)  # type: ignore[attr-defined]  # sqlite: keeps events
            return [event["outcome"] for event in found.newest if event["event"] == "removed"]

    return asyncio.run(read())


def test_an_object_goes_after_its_last_use_and_its_link_says_used(home: Home) -> None:
    """Not before whoever has it could no longer resume; then it is gone, and the link was used, not wrong."""
    key, url = fresh(home)
    take(home, url)
    remove_as_of(home, WINDOW_S)
    assert stands(home, key)
    assert ask("GET", url).status == 403
    remove_as_of(home, OVER_S)
    assert not stands(home, key)
    for method in ("GET", "HEAD"):
        assert ask(method, url).status == 403
    remove_as_of(home, OVER_S)
    assert outcomes(home, url) == ["removed"]


def test_what_has_arrived_whole_goes_at_once(home: Home, until: Callable[..., Any]) -> None:
    """Its viewer's machine acknowledged all of it, so nobody can resume: the object has nothing to wait for."""
    key, url = fresh(home, bytes(300_000))
    assert ask("GET", url).body_bytes == 300_000
    until(lambda: not stands(home, key), "the object stays")
    assert ask("GET", url).status == 403
    until(lambda: outcomes(home, url) == ["removed"], "no event says so")


def test_what_may_not_have_arrived_waits(home: Home) -> None:
    """The viewer reads half and resets the connection: its holder may have the rest, so the object stays for that."""
    key, url = fresh(home, bytes(4_000_000), expires_in_s=DAY_S)
    with RawConnection(url, receive_buffer_bytes=65_536) as connection:
        connection.send_request("GET", target_of(url), host=home.public_url[7:])
        assert connection.read_head().status == 200
        connection.read_some(1000)
        connection.reset()
    remove_as_of(home, WINDOW_S)
    assert stands(home, key)
    remove_as_of(home, 2 * WINDOW_S + SPARE_S)
    assert not stands(home, key)


def test_while_a_use_is_left_the_object_stays(home: Home) -> None:
    """Until the link ends: then it goes, whatever is left of it."""
    key, url = fresh(home, uses=2, expires_in_s=DAY_S)
    assert ask("GET", url).status == 200
    remove_as_of(home, OVER_S)
    assert stands(home, key)
    assert ask("GET", url).status == 200
    remove_as_of(home, OVER_S)
    assert not stands(home, key)


def test_an_object_whose_link_ends_with_uses_left_goes(home: Home) -> None:
    """Its time is over: nobody can have it any more."""
    key, url = fresh(home, uses=3, expires_in_s=DAY_S)
    assert ask("GET", url).status == 200
    remove_as_of(home, DAY_S - 5)
    assert stands(home, key)
    remove_as_of(home, DAY_S + 5)
    assert not stands(home, key)


def test_a_broken_download_keeps_its_object_for_as_long_as_it_may_be_resumed(home: Home) -> None:
    """Half of it came: its holder has the rest, and only then, after the window, the object goes."""
    data = bytes(range(256)) * 40
    key, url = fresh(home, data)
    first = ask("GET", url, {"Range": "bytes=0-999"}, keep=False)
    assert first.status == 206
    remove_as_of(home, WINDOW_S)
    assert stands(home, key)
    rest = ask("GET", url, {"Range": "bytes=1000-", "Cookie": first.cookie})
    assert (rest.status, rest.body) == (206, data[1000:])
    remove_as_of(home, WINDOW_S)
    assert stands(home, key)
    remove_as_of(home, OVER_S)
    assert not stands(home, key)


def test_another_version_is_never_removed(home: Home) -> None:
    """Somebody put a new object in its place after the download: that one was not delivered by this link."""
    key, url = fresh(home)
    take(home, url)
    lay(home, key, b"another")
    remove_as_of(home, OVER_S)
    assert stands(home, key)
    assert outcomes(home, url) == ["gone or replaced"]


def test_a_used_link_cannot_keep_its_object(home: Home) -> None:
    """Whoever goes on asking through it writes nothing: the object is held as long as its last download needs."""
    _, url = fresh(home)
    take(home, url)
    before = rows_of(home)
    for headers in ({}, {"Range": "bytes=5-9"}, {"Cookie": "og-x=y"}):
        assert ask("GET", url, headers).status == 403
    assert ask("HEAD", url).status == 403
    assert rows_of(home) == before


def test_looking_writes_no_row(home: Home) -> None:
    """HEAD, a page, a condition that holds: nothing is claimed, so nothing needs to be held."""
    key, url = fresh(home)
    before = len(rows_of(home))
    navigation = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
    assert ask("HEAD", url).status == 200
    assert ask("GET", url, navigation).status == 200
    assert ask("GET", url, {"Range": "bytes=99999-"}).status == 416
    assert len(rows_of(home)) == before
    assert stands(home, key)


def test_a_revoked_link_leaves_its_object_until_its_end(home: Home) -> None:
    """Taking a link back is no wish to lose the object; what was signed of its end still holds."""
    key, url = fresh(home, uses=2, expires_in_s=DAY_S)
    assert ask("GET", url).status == 200
    home.change_record(url, revoke)
    remove_as_of(home, DAY_S - 5)
    assert stands(home, key)
    remove_as_of(home, DAY_S + 5)
    assert not stands(home, key)


def test_no_use_is_claimed_of_an_object_that_is_being_removed(home: Home) -> None:
    """The row decides, whatever the record says: a use that is given back late opens nothing."""
    _, url = fresh(home, uses=2)
    assert ask("GET", url).status == 200
    change_row(home, url, lambda row: None if row is None else row._replace(stage=Stage.REMOVING))
    before = home.record(url)
    assert ask("GET", url).status == 403
    assert home.record(url) == before


def test_a_link_that_was_signed_elsewhere_and_never_shown_leaves_its_object(home: Home) -> None:
    """Nobody told the ledger of it: what is not known is not removed."""
    key, _ = fresh(home)
    remove_as_of(home, 10 * DAY_S)
    assert stands(home, key)


def test_links_made_by_command_are_recorded_before_they_are_printed(home: Home) -> None:
    """Never opened, their objects go all the same when they end; until then they stay."""
    key, _ = fresh(home)
    linked = home.run("link", key, "--delete-after", "--expires", "2h")
    assert linked.returncode == 0, linked.stderr
    file = home.folder / "report.txt"
    file.write_bytes(b"report")
    shared = home.run("share", str(file), "--delete-after", "--expires", "2h", "--json")
    assert shared.returncode == 0, shared.stderr
    made = json.loads(shared.stdout)
    assert made["delete_after"] is True
    assert "once-delete=1" in linked.stdout
    remove_as_of(home, 7_100)
    assert (stands(home, key), stands(home, made["key"])) == (True, True)
    remove_as_of(home, 7_300)
    assert (stands(home, key), stands(home, made["key"])) == (False, False)


def test_a_link_to_nothing_is_not_made(home: Home) -> None:
    """Which version would go is known only of an object that is there."""
    missing = home.run("link", "none.bin", "--delete-after")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "no object none.bin" in missing.stderr


def test_a_removal_that_fails_is_tried_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is down for a while: nobody gets the object meanwhile, and it goes later."""
    key, url = fresh(home)
    take(home, url)

    async def fail_then_remove() -> None:
        async with ahead(home, OVER_S) as (parts, opened):

            async def busy(key: str, etag: str) -> bool:
                raise StoreBusy(f"no answer for {key} {etag}")

            with monkeypatch.context() as patched:
                patched.setattr(parts.store, "remove", busy)
                await removals.remove_due(parts, opened.ledger)  # type: ignore[arg-type]  # sqlite: can list

    asyncio.run(fail_then_remove())
    assert stands(home, key)
    assert ask("GET", url).status == 403
    remove_as_of(home, OVER_S)
    assert stands(home, key)
    remove_as_of(home, OVER_S + removals.AFTER_FAULT_S)
    assert not stands(home, key)


def test_a_transfer_that_lasts_keeps_its_object_held(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its row is renewed while it runs: an hour later it may break, and its holder may want the rest."""
    key, url = fresh(home)

    path, _, query = url.removeprefix(home.public_url).partition("?")
    request = ViewerRequest(
        method="GET", scheme="http", host=home.public_url[7:], path=path.encode(), query=query.encode()
    )

    async def until_renewed() -> int:
        async with ahead(home, 0) as (parts, _):
            opened = await parts.store.look(key)
            assert opened is not None
            grant = verify(request, parts.trust(), now_s=parts.now_s())
            await removals._hold(parts, grant, opened.info)
            await opened.aclose()
        async with ahead(home, RENEW_EVERY_S) as (parts, opened_gateway):
            monkeypatch.setattr(removals, "RENEW_EVERY_S", 0.01)
            renewing = asyncio.create_task(removals._keep_held(parts, grant, opened.info))
            row_id = removal_id(grant.link_id)
            async with asyncio.timeout(60):
                while True:
                    found = await opened_gateway.ledger.read(row_id)
                    assert isinstance(found, Stands)
                    until_s = removal_from_json(found.record).until_s
                    if until_s >= parts.now_s() + WINDOW_S + SPARE_S - 5:
                        break
                    await asyncio.sleep(0.01)
            renewing.cancel()
            return until_s

    assert asyncio.run(until_renewed()) > time.time() + WINDOW_S + SPARE_S + RENEW_EVERY_S - 10


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_where_nothing_is_removed_such_a_link_is_refused_in_words(gateway: Home, method: str) -> None:
    """Served all the same, its object would stay for ever, against what was signed. Nothing is looked up for it."""
    url = gateway.link("none.bin", delete_after=True)
    answer = ask(method, url)
    assert answer.status == 501
    if method == "GET":
        assert "this gateway removes no objects" in answer.text
    for command in (["share", "oncegate.toml"], ["link", "none.bin"]):
        refused = gateway.run(*command, "--delete-after")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert 'delete_after = "allow"' in refused.stderr


def test_a_store_that_keeps_no_condition_ends_the_start(
    home_with: Callable[..., Home], wrong_s3: Callable[..., Any]
) -> None:
    """The operator hears it at once, not whoever opens the first link."""
    server = wrong_s3("ignores-delete-conditions")
    with pytest.raises(RuntimeError, match="cannot remove the one version"), home_with(**in_bucket(server.url)).serve():
        pass


@pytest.mark.anyio
async def test_lists_of_links_leave_the_rows_out() -> None:
    """They stand in the same ledger, between links with a ticket and plain ones."""
    ledger = MemoryLedger()
    tickets = [bytes([1]) + bytes([n]) * 15 for n in range(5)]
    plain = [b"\xff" + bytes([n]) * 15 for n in range(5)]
    rows = [removal_id(link_id) for link_id in tickets]
    for row_id in (*tickets, *plain, *rows):
        await ledger.insert(row_id, b"{}", FORGET_NEVER_S)
    for limit in range(1, 12):
        found: list[bytes] = []
        while page := await scan_links(ledger, found[-1] if found else b"", limit):
            assert len(page) <= limit
            found += [row.link_id for row in page]
        assert found == [*tickets, *plain]


def test_links_are_listed_without_the_rows_of_their_objects(home: Home) -> None:
    """Neither command nor API shows a row as a link that cannot be read."""
    _, url = fresh(home)
    assert ask("GET", url).status == 200
    listed = home.run("links", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "unreadable" not in listed.stdout
