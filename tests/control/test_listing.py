"""Lists, standings and revocation."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from control_world import NOW_S, World, change

from oncegate.control import recording
from oncegate.ledgers.protocol import FORGET_NEVER_S, LedgerFacts, ReadOutcome, Stands, Unknown
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.grant import Operation, Scheme
from oncegate.links.issue import Wish, make_link
from oncegate.links.link_id import text_of_id, uuid7
from oncegate.links.refusal import Reason
from oncegate.links.ticket import Ticket
from oncegate.stores.protocol import StoreBusy, StoreRefused
from oncegate.uses.record import Claim, Record, from_json, to_json
from oncegate.uses.use import DownloadAsk, Kind, Rules, admit_download

Talk = Callable[..., None]
NONCE = uuid7(NOW_S * 1000, bytes(range(10)))
NAME = text_of_id(NONCE)
CLAIM = Claim(claim_id="a-secret-of-16-c", at_s=NOW_S - 5, address="203.0.113.7", gateway="x7Qa")


async def _pages(client: httpx.AsyncClient, path: str, member: str, limit: int) -> list[dict[str, Any]]:
    """Follow ``next`` to the end."""
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": limit}
    while True:
        page = (await client.get(path, params=params)).json()
        assert len(page[member]) <= limit
        found += page[member]
        if page["next"] is None:
            return found
        assert len(page[member]) == limit
        params["after"] = page["next"]


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 1000])
def test_links_are_listed_to_the_last(talk: Talk, limit: int) -> None:
    """None twice, none left out, whatever the page; an exact page is the last one."""

    async def calls(client: httpx.AsyncClient) -> None:
        made = [(await client.post("/v1/links", json={"key": "a", "label": str(n)})).json() for n in range(7)]
        listed = await _pages(client, "/v1/links", "links", limit)
        assert [link["id"] for link in listed] == sorted((link["id"] for link in made), key=_order)

    talk(calls)


def _order(name: str) -> bytes:
    return base64.urlsafe_b64decode(name + "==")


def test_a_record_that_cannot_be_read_does_not_hide_the_others(world: World, talk: Talk) -> None:
    """One of a newer version, among others: it is shown as what it is, and by itself it is a conflict."""

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.insert(NONCE, b'{"z":1}', FORGET_NEVER_S)
        await client.post("/v1/links", json={"key": "a", "label": "x"})
        listed = (await client.get("/v1/links")).json()["links"]
        assert sorted(link["state"] for link in listed) == ["issued", "unreadable"]
        assert (await client.get(f"/v1/links/{NAME}")).status_code == 409
        assert (await client.delete(f"/v1/links/{NAME}")).status_code == 409

    talk(calls)


def test_a_link_shows_its_claims_and_never_a_claim_id(world: World, talk: Talk) -> None:
    """Who, when, how it ended, how many previews; the claim id is the holder's cookie."""
    record = Record(uses=1, claims=(CLAIM,))

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.insert(NONCE, to_json(record), FORGET_NEVER_S)
        write = world.parts.journal.write
        write("preview", link_id=NAME, key="a", why="link preview")
        write("download", link_id=NAME, key="a", outcome="complete", bytes=5, size=5, address="203.0.113.7")
        write("download", link_id=text_of_id(uuid7(1, bytes(10))), key="b", outcome="broken", bytes=1, size=5)
        await world.parts.journal.aclose()
        for answer in (await client.get(f"/v1/links/{NAME}"), await client.get("/v1/links")):
            assert CLAIM.claim_id not in answer.text
            shown = answer.json() if "id" in answer.json() else answer.json()["links"][0]
            assert (shown["state"], shown["outcome"], shown["bytes"]) == ("claimed", "complete", 5)
            assert shown["claims"] == [
                {"at": "2025-12-31T23:59:55Z", "address": "203.0.113.7", "size": None, "promised": None}
            ]
            assert shown["previews_suppressed"] == 1
            assert shown["key"] == "a"

    talk(calls)


def test_without_a_receipt_the_end_is_unknown(world: World, talk: Talk) -> None:
    """A gateway that was killed wrote none: that is no proof of either."""

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.insert(NONCE, to_json(Record(uses=1, claims=(CLAIM,))), FORGET_NEVER_S)
        shown = (await client.get(f"/v1/links/{NAME}")).json()
        assert (shown["outcome"], shown["bytes"]) == (None, None)
        assert shown["words"].endswith("end unknown")

    talk(calls)


def test_a_link_that_nobody_opened_is_not_known(talk: Talk) -> None:
    """It may have been signed anywhere: 404 in words."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.get(f"/v1/links/{NAME}")
        assert (answer.status_code, "No record" in answer.text) == (404, True)

    talk(calls)


@pytest.mark.parametrize("name", ["x", NAME[:-1], NAME[:-1] + "B", NAME + "A", NAME[:-1] + "+"])
def test_what_is_no_id_is_refused(talk: Talk, name: str) -> None:
    """Another spelling of an id must not be another link."""

    async def calls(client: httpx.AsyncClient) -> None:
        for method in ("GET", "DELETE"):
            assert (await client.request(method, f"/v1/links/{name}")).status_code == 422
        assert (await client.get("/v1/links", params={"after": name})).status_code == 422

    talk(calls)


def test_a_revoked_link_is_refused_by_the_rules(world: World, talk: Talk) -> None:
    """One that was signed offline, of which the ledger knows nothing: a revoked record stands, and for ever."""
    ticket = Ticket(operation=Operation.GET, uses=1, nonce=NONCE)
    wish = Wish(object_key="a.txt", ticket=ticket, expires_s=NOW_S + 60, scheme=Scheme.CANNED)
    public_url = world.parts.settings.viewer.public_url[0]
    url = make_link(wish, public_url=public_url, key=world.parts.signer(), s3=None, now_s=NOW_S)
    world.store.put("a.txt")
    ask = DownloadAsk(
        uses=1, size_bytes=5, etag="e", span=None, cookie=None, address=None, gateway="g", claim_id="c", mark="m"
    )

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await client.post("/v1/explain", json={"url": url})).json()["admitted"]
        for _ in range(2):
            answer = await client.delete(f"/v1/links/{NAME}")
            assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
        (row,) = await world.ledger.scan(b"", 2)
        admission = admit_download(from_json(row.record), ask, NOW_S, Rules())
        assert (admission.kind, admission.reason) == (Kind.REFUSE, Reason.REVOKED)
        assert row.forget_after_s == FORGET_NEVER_S
        explained = (await client.post("/v1/explain", json={"url": url})).json()
        assert [step["reason"] for step in explained["steps"] if step["passed"] is False] == ["revoked"]

    talk(calls)
    assert [event["event"] for event in world.events] == ["revoked", "revoked"]


def test_the_end_that_is_told_lets_a_revocation_be_forgotten(world: World, talk: Talk) -> None:
    """A day after it; and a listed link's own end counts where it is later."""

    async def calls(client: httpx.AsyncClient) -> None:
        await client.delete(f"/v1/links/{NAME}", params={"expires_at": "2026-01-01T00:01:00Z"})
        (row,) = await world.ledger.scan(b"", 2)
        assert row.forget_after_s == NOW_S + 60 + 86_400
        made = (await client.post("/v1/links", json={"key": "a", "label": "x"})).json()
        await client.delete(f"/v1/links/{made['id']}", params={"expires_at": "2026-01-01T00:01:00Z"})
        rows = {text_of_id(row.link_id): row for row in await world.ledger.scan(b"", 3)}
        assert rows[made["id"]].forget_after_s == NOW_S + 3600 + 86_400
        wrong = await client.delete(f"/v1/links/{NAME}", params={"expires_at": "tomorrow"})
        assert (wrong.status_code, "expires_at" in wrong.text) == (422, True)

    talk(calls)


def test_a_spent_link_is_not_forgotten_early_because_of_its_revocation(world: World, talk: Talk) -> None:
    """Forgetting it while it lives would revive it: the caller's word is not enough."""

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.insert(NONCE, to_json(Record(uses=1, claims=(CLAIM,))), NOW_S + 999_999)
        await client.delete(f"/v1/links/{NAME}", params={"expires_at": "2026-01-01T00:01:00Z"})
        (row,) = await world.ledger.scan(b"", 2)
        assert row.forget_after_s == FORGET_NEVER_S

    talk(calls)


def test_a_revocation_that_the_ledger_has_swept_past_is_kept_for_ever(world: World, talk: Talk) -> None:
    """An end that lies before what was swept cannot be relied on; the link is revoked all the same."""

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.sweep(NOW_S, force=True)
        answer = await client.delete(f"/v1/links/{NAME}", params={"expires_at": "2025-12-01T00:00:00Z"})
        assert answer.json()["state"] == "revoked"
        (row,) = await world.ledger.scan(b"", 2)
        assert row.forget_after_s == FORGET_NEVER_S

    talk(calls)


def test_revoking_keeps_what_was_known(world: World, talk: Talk) -> None:
    """Label and claims stay in the record."""

    async def calls(client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/links", json={"key": "a", "label": "x"})).json()
        shown = (await client.delete(f"/v1/links/{made['id']}")).json()
        assert (shown["label"], shown["key"], shown["revoked"]) == ("x", "a", True)

    talk(calls)


class _Silent:
    """A ledger whose answers are all lost."""

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> Unknown:
        return Unknown("the password is hunter2")

    async def replace(self, link_id: bytes, version: object, record: bytes, forget_after_s: int) -> Unknown:
        return Unknown("the password is hunter2")

    async def read(self, link_id: bytes) -> ReadOutcome:
        return Unknown("the password is hunter2")

    async def probe(self) -> LedgerFacts:
        return LedgerFacts(born_ms=0)

    async def aclose(self) -> None:
        """Nothing is open."""


def test_a_silent_ledger_is_a_503_in_words(world: World, talk: Talk) -> None:
    """With Retry-After, and without what the driver said."""
    silent: Any = _Silent()
    change(world, ledger=silent, runner=LedgerRunner(silent))

    async def calls(client: httpx.AsyncClient) -> None:
        keyed = {"Idempotency-Key": "k"}
        for answer in (
            await client.get(f"/v1/links/{NAME}"),
            await client.delete(f"/v1/links/{NAME}"),
            await client.post("/v1/links", json={"key": "a"}, headers=keyed),
        ):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "hunter2" not in answer.text

    talk(calls)


def test_a_write_goes_on_when_nobody_waits_any_more(world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was told 503 asked for a revocation: it happens once the ledger answers."""
    monkeypatch.setattr(recording, "WAIT_MAX_S", 0.02)
    insert, answers = world.ledger.insert, [Unknown("lost")]

    async def flaky(link_id: bytes, record: bytes, forget_after_s: int) -> Any:
        return answers.pop() if answers else await insert(link_id, record, forget_after_s)

    world.ledger.insert = flaky  # type: ignore[method-assign]

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await client.delete(f"/v1/links/{NAME}")).status_code == 503
        await world.parts.runner.drain()
        found = await world.ledger.read(NONCE)
        assert isinstance(found, Stands)
        assert from_json(found.record).is_revoked

    talk(calls)


def test_a_ledger_that_cannot_list_says_so(world: World, talk: Talk) -> None:
    """501 for the lists; single links are shown all the same."""
    silent: Any = _Silent()
    change(world, ledger=silent)

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/links")).status_code == 501
        assert (await client.get("/v1/events")).status_code == 501
        assert (await client.get(f"/v1/links/{NAME}")).status_code == 404

    talk(calls)


def test_a_list_that_breaks_says_to_try_again(world: World, talk: Talk) -> None:
    """Lists have no "unknown": ledgers raise OSError, whose text stays inside."""

    async def broken(after: object, limit: int, **which: object) -> Any:
        raise OSError("/secret/path")

    world.ledger.read_events = broken  # type: ignore[method-assign]
    world.ledger.events_of_link = broken  # type: ignore[method-assign]

    async def calls(client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/links", json={"key": "a.txt", "label": "a"})).json()
        calls = ["/v1/links", f"/v1/links/{made['id']}", "/v1/events"]
        of_events = [await client.get(call) for call in calls]
        world.ledger.scan = broken  # type: ignore[method-assign]
        for answer in (*of_events, await client.get("/v1/links")):
            assert (answer.status_code, "/secret" in answer.text) == (503, False)

    talk(calls)


def test_a_download_behind_a_thousand_previews_is_told(world: World, talk: Talk) -> None:
    """The first hundred, or thousand, events were read: a complete download behind them was "end unknown"."""

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.insert(NONCE, to_json(Record(uses=1, claims=(CLAIM,))), FORGET_NEVER_S)
        previews = [{"at": NOW_S, "event": "preview", "link_id": NAME} for _ in range(1_200)]
        receipt = {"at": NOW_S, "event": "download", "link_id": NAME, "outcome": "complete", "bytes": 5, "size": 5}
        await world.ledger.append_events([*previews, receipt, *previews])
        for answer in (await client.get(f"/v1/links/{NAME}"), await client.get("/v1/links")):
            shown = answer.json() if "id" in answer.json() else answer.json()["links"][0]
            assert (shown["outcome"], shown["bytes"], shown["previews_suppressed"]) == ("complete", 5, 2_400)
            assert shown["counted_all"] is True

    talk(calls)


# Objects and events


@pytest.mark.parametrize("limit", [1, 4, 5, 1000])
def test_objects_are_listed_to_the_last(world: World, talk: Talk, limit: int) -> None:
    """In the order of bytes, with keys that need escaping in the query."""
    keys = ["a b&c=d", "a+b", "a/b%20", "ä/ü", "z#?"]
    for key in keys:
        world.store.put(key)

    async def calls(client: httpx.AsyncClient) -> None:
        listed = await _pages(client, "/v1/objects", "objects", limit)
        assert [found["key"] for found in listed] == sorted(keys, key=str.encode)
        one = (await client.get("/v1/objects", params={"prefix": "a+"})).json()["objects"]
        assert one == [
            {
                "key": "a+b",
                "size": 5,
                "etag": '"abc"',
                "modified_at": "2026-01-01T00:00:00Z",
                "content_type": "text/plain",
            }
        ]

    talk(calls)


@pytest.mark.parametrize(("fault", "status"), [(StoreBusy("secret path"), 503), (StoreRefused("secret path"), 502)])
def test_a_fault_of_the_store_keeps_its_words(world: World, talk: Talk, fault: Exception, status: int) -> None:
    """A driver's text may hold paths and URLs."""
    world.store.fault = fault

    async def calls(client: httpx.AsyncClient) -> None:
        for path in ("/v1/objects", "/s3objects"):
            answer = await client.get(path)
            assert (answer.status_code, "secret" in answer.text) == (status, False)
            assert answer.headers["content-type"] == "application/problem+json"

    talk(calls)


@pytest.mark.parametrize("path", ["/v1/links", "/v1/objects", "/v1/events"])
@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", ""])
def test_a_page_has_1_to_1000_entries(talk: Talk, path: str, limit: str) -> None:
    """A limit is refused, never cut: a caller who believes he saw all must have."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.get(path, params={"limit": limit})
        assert (answer.status_code, "query.limit" in answer.text) == (422, True)

    talk(calls)


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
def test_events_are_listed_to_the_last(world: World, talk: Talk, limit: int) -> None:
    """Oldest first; of one link where asked."""
    other = text_of_id(uuid7(1, bytes(10)))

    async def calls(client: httpx.AsyncClient) -> None:
        for number in range(5):
            link = NAME if number % 2 else other
            world.parts.journal.write("download", link_id=link, key="a", outcome="complete", bytes=number, size=5)
        await world.parts.journal.aclose()
        listed = await _pages(client, "/v1/events", "events", limit)
        assert [event["bytes"] for event in listed] == [0, 1, 2, 3, 4]
        assert listed[0] | {"number": 1} == {
            "number": 1,
            "at": "2026-01-01T00:00:00Z",
            "event": "download",
            "link_id": other,
            "key": "a",
            "outcome": "complete",
            "bytes": 0,
            "size": 5,
        }
        mine = (await client.get("/v1/events", params={"link": NAME})).json()["events"]
        assert [event["bytes"] for event in mine] == [1, 3]

    talk(calls)
