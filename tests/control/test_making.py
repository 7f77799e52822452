"""POST /v1/links: what is decided, what is refused, and that the gateway would open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from control_world import NOW_S, SECRET, World, change

from oncegate.ledgers.protocol import Stands
from oncegate.links.grant import Operation
from oncegate.links.link_id import id_of_text, is_uuid7, text_of_id
from oncegate.links.request import ViewerRequest
from oncegate.links.urls import parse_url
from oncegate.links.verify import verify
from oncegate.uses.record import from_json
from oncegate.uses.removal import Removal, removal_from_json, removal_id

Talk = Callable[..., None]


def _request(url: str, method: str = "GET", address: str | None = None) -> ViewerRequest:
    parts = parse_url(url)
    return ViewerRequest(
        method=method,
        scheme=parts.scheme,
        host=parts.host,
        path=parts.path,
        query=parts.query,
        address=address,
        address_is_proof=address is not None,
    )


def test_a_link_of_the_fewest_words_opens_once_for_an_hour(world: World, talk: Talk) -> None:
    """Everything that was left out is decided and said."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", json={"key": "reports/ä b%2F+.pdf"})
        assert answer.status_code == 201
        made = answer.json()
        assert made["expires_at"] == "2026-01-01T01:00:00Z"
        assert (made["uses"], made["operation"], made["scheme"], made["listed"]) == (1, "get", "cloudfront", False)
        grant = verify(_request(made["url"]), world.parts.trust(), now_s=NOW_S)
        assert grant.object_key == "reports/ä b%2F+.pdf"
        assert text_of_id(grant.link_id) == made["id"]
        assert grant.expires_s == NOW_S + 3600

    talk(calls)


def test_a_link_without_a_label_needs_no_ledger(world: World, talk: Talk) -> None:
    """It is made while the ledger is down, and leaves no row behind."""

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.aclose()
        assert (await client.post("/v1/links", json={"key": "a"})).status_code == 201

    talk(calls)


def test_everything_that_is_asked_for_is_signed(world: World, talk: Talk) -> None:
    """Start, network, name, inline and uses of a download."""
    wish: dict[str, Any] = {
        "key": "a.txt",
        "expires_at": "2026-01-01T02:00:00+01:00",
        "not_before": "2026-01-01T00:10:00Z",
        "uses": 3,
        "source_ip": "203.0.113.0/24",
        "filename": 'ä "1".txt',
        "inline": True,
    }

    async def calls(client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/links", json=wish)).json()
        assert made["scheme"] == "cloudfront-custom"
        assert made["expires_at"] == "2026-01-01T01:00:00Z"
        grant = verify(_request(made["url"], address="203.0.113.9"), world.parts.trust(), now_s=NOW_S + 601)
        assert grant.uses == 3
        assert grant.limits.disposition is not None
        assert grant.limits.disposition.startswith('inline; filename="')
        for name in ("not_before", "uses", "source_ip", "filename", "inline"):
            assert made[name] == wish[name]

    talk(calls)


def test_an_upload_link_holds_its_limits(world: World, talk: Talk) -> None:
    """Size, type and permission to replace stand in the signed bytes."""
    wish = {"key": "in/x.png", "operation": "put", "max_bytes": 10, "content_type": "Image/*", "overwrite": True}

    async def calls(client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/links", json=wish)).json()
        grant = verify(_request(made["url"], "PUT"), world.parts.trust(), now_s=NOW_S)
        limits = grant.limits
        assert (grant.operation, limits.max_bytes, limits.media_type, limits.may_replace) == (
            Operation.PUT,
            10,
            "image/*",
            True,
        )

    talk(calls)


def test_an_s3_link_is_signed_with_the_configured_credential(world: World, talk: Talk) -> None:
    """And its secret is in no answer."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", json={"key": "a.txt", "scheme": "s3", "expires_in": 60})
        assert SECRET not in answer.text
        grant = verify(_request(answer.json()["url"]), world.parts.trust(), now_s=NOW_S + 59)
        assert (grant.object_key, grant.scheme.value) == ("a.txt", "s3")

    talk(calls)


@pytest.mark.parametrize(("given", "lifetime_s"), [(1, 1), ("90", 90), ("15m", 900), ("2 h", 7200), ("7d", 604_800)])
def test_a_lifetime_is_seconds_or_text(talk: Talk, given: int | str, lifetime_s: int) -> None:
    """As everywhere else in oncegate, up to the limit."""

    async def calls(client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/links", json={"key": "a", "expires_in": given})).json()
        assert f"Expires={NOW_S + lifetime_s}&" in made["url"]

    talk(calls)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({}, "body.key"),
        ({"key": ""}, "body.key"),
        ({"key": "a/../b"}, "'..' segment"),
        ({"key": "/a"}, "slash at an end"),
        ({"key": "a", "colour": "red"}, "body.colour"),
        ({"key": "a", "operation": "delete"}, "body.operation"),
        ({"key": "a", "expires_in": "7d1h"}, "15m"),
        ({"key": "a", "expires_in": 0}, "15m"),
        ({"key": "a", "expires_in": True}, "15m"),
        ({"key": "a", "expires_in": 604_801}, "at most 604800 seconds"),
        ({"key": "a", "expires_in": 60, "expires_at": "2026-01-01T00:10:00Z"}, "not both"),
        ({"key": "a", "expires_at": "2026-01-01T00:00:00Z"}, "in the past"),
        ({"key": "a", "expires_at": "2026-01-01T00:10:00"}, "with its zone"),
        ({"key": "a", "expires_at": 1_767_229_200}, "with its zone"),
        ({"key": "a", "not_before": "2026-01-01T01:00:00Z"}, "could never be opened"),
        ({"key": "a", "uses": 0}, "body.uses"),
        ({"key": "a", "uses": 10_000}, "body.uses"),
        ({"key": "a", "uses": "2"}, "body.uses"),
        ({"key": "a", "source_ip": "2001:db8::/32"}, "is no IPv4 address or network"),
        ({"key": "a", "source_ip": "example.com"}, "is no IPv4 address or network"),
        ({"key": "a", "filename": "a\nb"}, "body.filename"),
        ({"key": "a", "max_bytes": 5}, "upload links"),
        ({"key": "a", "operation": "put", "filename": "x"}, "download links"),
        ({"key": "a", "operation": "put", "content_type": "png"}, "body.content_type"),
        ({"key": "a", "scheme": "s3", "source_ip": "203.0.113.7"}, "S3 link can hold neither"),
        ({"key": "a", "label": ""}, "body.label"),
        ({"key": "a", "label": "x\x1fy"}, "body.label"),
    ],
)
def test_what_no_link_can_hold_is_refused_in_words(world: World, talk: Talk, wish: dict[str, Any], words: str) -> None:
    """422, what to change, and nothing in the ledger."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", json=wish, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert words in answer.text
        assert not await world.ledger.scan(b"", 10)

    talk(calls)


def test_without_a_signing_key_the_words_name_the_setting(world: World, talk: Talk) -> None:
    """A gateway may verify only; S3 links can still be made there."""
    change(world, signer=lambda: None)

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", json={"key": "a"})
        assert (answer.status_code, "[keys] signing" in answer.text) == (422, True)
        assert (await client.post("/v1/links", json={"key": "a", "scheme": "s3"})).status_code == 201

    talk(calls)


def test_a_link_with_a_label_is_listed_before_it_is_opened(world: World, talk: Talk) -> None:
    """Its record says what it is for, takes no use, and lives a day longer than the link."""

    async def calls(client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/links", json={"key": "a.txt", "label": "for Ada"})).json()
        (row,) = await world.ledger.scan(b"", 10)
        record = from_json(row.record)
        assert text_of_id(row.link_id) == made["id"]
        assert (record.uses, record.issued.label if record.issued else "") == (0, "for Ada")
        assert row.forget_after_s == NOW_S + 3600 + 86_400

    talk(calls)


def test_a_new_ticket_is_never_older_than_the_ledger(world: World, talk: Talk) -> None:
    """Made within the second of the ledger's birth, or by a clock behind the server's: else nobody could open it."""
    born_ms = NOW_S * 1000 + 400
    change(world, born_ms=born_ms)

    async def calls(client: httpx.AsyncClient) -> None:
        for key in ("none", "some"):
            headers = {"Idempotency-Key": key} if key == "some" else {}
            made = (await client.post("/v1/links", json={"key": "a"}, headers=headers)).json()
            nonce = id_of_text(made["id"])
            assert is_uuid7(nonce)
            assert int.from_bytes(nonce[:6]) >= born_ms

    talk(calls)


def test_making_a_link_is_an_event_without_the_url(world: World, talk: Talk) -> None:
    """Who made what for which object; the URL is in no log and no event."""
    urls: list[str] = []

    async def calls(client: httpx.AsyncClient) -> None:
        made = (await client.post("/v1/links", json={"key": "a.txt", "label": "for Ada"})).json()
        urls.append(made["url"])

    talk(calls)
    (event,) = world.events
    assert (event["event"], event["key"], event["operation"], event["label"]) == ("issued", "a.txt", "get", "for Ada")
    assert event["token"] == world.tokens.list_tokens()[0].id
    signature = urls[0].partition("Signature=")[2].partition("&")[0]
    assert signature
    assert signature not in str(world.events) + str(world.log())


def test_a_link_that_could_never_be_opened_is_not_sold(world: World, talk: Talk) -> None:
    """It is refused at the second of its start and at that of its end; with one second between them it opens then."""

    async def calls(client: httpx.AsyncClient) -> None:
        body = {"key": "a", "expires_at": "2026-01-01T00:10:00Z", "not_before": "2026-01-01T00:09:59Z"}
        assert (await client.post("/v1/links", json=body)).status_code == 422
        made = await client.post("/v1/links", json=body | {"not_before": "2026-01-01T00:09:58Z"})
        assert made.status_code == 201
        assert verify(_request(made.json()["url"]), world.parts.trust(), now_s=NOW_S + 599).object_key == "a"

    talk(calls)


# Idempotency-Key


def test_the_same_key_and_body_make_one_link(world: World, talk: Talk) -> None:
    """At another time, in another process: the same id, the same end, one record, one event."""

    async def calls(client: httpx.AsyncClient) -> None:
        body, headers = {"key": "a.txt", "filename": "b.txt"}, {"Idempotency-Key": "order-17"}
        first = (await client.post("/v1/links", json=body, headers=headers)).json()
        world.now_s += 900
        again = (await client.post("/v1/links", json=body, headers=headers)).json()
        assert again | {"url": ""} == first | {"url": ""}
        grants = [verify(_request(made["url"]), world.parts.trust(), now_s=NOW_S) for made in (first, again)]
        assert grants[0] == grants[1]
        assert first["listed"]
        assert len(await world.ledger.scan(b"", 10)) == 1

    talk(calls)
    assert [event["event"] for event in world.events] == ["issued"]


def test_the_answer_stays_the_same_after_the_link_expired(world: World, talk: Talk) -> None:
    """A retry that comes late must not be told that its end lies in the past, or get another link."""

    async def calls(client: httpx.AsyncClient) -> None:
        body, headers = {"key": "a", "expires_at": "2026-01-01T00:01:00Z"}, {"Idempotency-Key": "k"}
        first = (await client.post("/v1/links", json=body, headers=headers)).json()
        world.now_s += 3600
        again = await client.post("/v1/links", json=body, headers=headers)
        assert (again.status_code, again.json()["id"]) == (201, first["id"])

    talk(calls)


@pytest.mark.parametrize(
    "other", [{"key": "b"}, {"key": "a", "uses": 2}, {"key": "a", "filename": "x"}, {"key": "a", "label": "x"}]
)
def test_the_same_key_with_another_body_is_refused(talk: Talk, other: dict[str, Any]) -> None:
    """Also where the record itself does not hold what differs."""

    async def calls(client: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "k"}
        assert (await client.post("/v1/links", json={"key": "a"}, headers=headers)).status_code == 201
        answer = await client.post("/v1/links", json=other, headers=headers)
        assert (answer.status_code, "Idempotency-Key" in answer.text) == (422, True)

    talk(calls)


def test_keys_of_two_callers_do_not_meet(world: World, talk: Talk) -> None:
    """Two services that both count their orders from 1."""

    async def calls(client: httpx.AsyncClient) -> None:
        ids: set[str] = set()
        for _ in range(2):
            client.headers["Authorization"] = f"Bearer {world.token()}"
            made = await client.post("/v1/links", json={"key": "a"}, headers={"Idempotency-Key": "1"})
            ids.add(made.json()["id"])
        assert len(ids) == 2

    talk(calls)


def test_a_key_makes_a_new_link_once_its_record_was_swept(world: World, talk: Talk) -> None:
    """A day after the link's end; the link that it made before is over by then."""

    async def calls(client: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "k"}
        first = (await client.post("/v1/links", json={"key": "a", "expires_in": 60}, headers=headers)).json()
        world.now_s = NOW_S + 61 + 86_400
        await world.ledger.sweep(int(world.now_s), force=True)
        second = (await client.post("/v1/links", json={"key": "b"}, headers=headers)).json()
        assert second["id"] == first["id"]
        assert second["key"] == "b"

    talk(calls)


def test_a_listed_link_that_a_wrong_clock_has_had_refused_is_not_sold(world: World, talk: Talk) -> None:
    """The ledger takes no record of it: that is what is said, and nothing about a key that nobody has sent."""

    async def calls(client: httpx.AsyncClient) -> None:
        await world.ledger.sweep(int(world.now_s) + 400 * 86_400, force=True)
        answer = await client.post("/v1/links", json={"key": "a", "label": "for Ada"})
        assert answer.status_code == 503
        assert "swept by a clock that was ahead" in answer.text
        assert "Idempotency-Key" not in answer.text

    talk(calls)


def test_the_mark_of_a_body_is_shown_to_nobody(world: World, talk: Talk) -> None:
    """It is kept beside the label; label and words come back as they were given."""

    async def calls(client: httpx.AsyncClient) -> None:
        headers = {"Idempotency-Key": "k"}
        made = (await client.post("/v1/links", json={"key": "a", "label": "for Ada"}, headers=headers)).json()
        shown = (await client.get(f"/v1/links/{made['id']}")).json()
        assert (made["label"], shown["label"]) == ("for Ada", "for Ada")
        found = await world.ledger.read(id_of_text(made["id"]))
        assert isinstance(found, Stands)
        assert b"\\u001f" in found.record

    talk(calls)


@pytest.mark.parametrize("key", ["", " ", "ä".encode(), "x" * 256])
def test_what_is_no_key_is_refused(talk: Talk, key: str | bytes) -> None:
    """Cutting it to size would let two keys meet."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", json={"key": "a"}, headers=[(b"idempotency-key", key)])  # type: ignore[list-item]
        assert (answer.status_code, "header" in answer.text) == (422, True)

    talk(calls)


def test_a_link_whose_object_goes_with_it_is_recorded_first(world: World, talk: Talk) -> None:
    """Before its URL is returned the ledger knows which version goes, and when at the latest."""
    links = replace(world.parts.settings.links, delete_after="allow")
    world.parts = replace(world.parts, settings=replace(world.parts.settings, links=links))
    world.store.put("a.bin")

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", json={"key": "a.bin", "delete_after": True, "uses": 2})
        assert (answer.status_code, answer.json()["delete_after"]) == (201, True)
        link_id = id_of_text(answer.json()["id"])
        assert verify(_request(answer.json()["url"]), world.parts.trust(), now_s=NOW_S).limits.delete_after
        found = await world.ledger.read(removal_id(link_id))
        assert isinstance(found, Stands)
        row = removal_from_json(found.record)
        assert row == Removal(text_of_id(link_id), "a.bin", '"abc"', 2, NOW_S + 3600)
        missing = await client.post("/v1/links", json={"key": "none", "delete_after": True})
        assert (missing.status_code, "has no object none" in missing.text) == (422, True)
        listed = await client.get("/v1/links")
        assert listed.json() == {"links": [], "next": None}

    talk(calls)


def test_where_no_object_is_removed_no_such_link_is_made(world: World, talk: Talk) -> None:
    """The gateway would refuse it; the answer names the setting."""
    world.store.put("a.bin")

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/links", json={"key": "a.bin", "delete_after": True})
        assert answer.status_code == 422
        assert "[links] delete_after" in answer.text

    talk(calls)
