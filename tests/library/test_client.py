"""``Client`` and ``AsyncClient`` against a running gateway: every call of the control API, and its errors."""

from __future__ import annotations

import dataclasses
import json
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

import oncegate
from oncegate.library import answers
from oncegate.library.calls import LinkOrder
from oncegate.testing.installation import Installation, free_port


class Running(NamedTuple):
    """An installation that serves, and a token for its control API."""

    made: Installation
    control_url: str
    token: str


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gateway for all tests of this file."""
    made = Installation(tmp_path_factory.mktemp("gateway"))
    for key in ("a.txt", "b c.txt", "films/ä.bin"):
        made.put(key, b"hello")
    token = made.run("tokens", "new", "all", "--scope", "*").stdout.strip()
    with made.serve() as gateway:
        yield Running(made, gateway.control_url, token)


@pytest.fixture
def client(running: Running) -> Iterator[oncegate.Client]:
    """A client with every right."""
    with oncegate.Client(running.control_url, running.token) as made:
        yield made


def test_a_link_lives_from_making_to_revocation(client: oncegate.Client) -> None:
    """Each answer is a value whose instants are aware datetimes, so that a program need not parse anything."""
    began = datetime.now(UTC).replace(microsecond=0)
    link = client.links.make(key="a.txt", expires_in=timedelta(minutes=15), label="for Ada", filename="A.txt")
    assert (link.key, link.operation, link.uses, link.label, link.listed) == ("a.txt", "get", 1, "for Ada", True)
    assert began + timedelta(minutes=15) <= link.expires_at <= datetime.now(UTC) + timedelta(minutes=15)
    assert str(link) == link.url
    assert client.links.get(link.id).state == "issued"
    assert client.explain(link.url, headers={"Accept": "text/html"}).admitted
    assert urllib.request.urlopen(link.url).read() == b"hello"
    seen = client.links.get(link.id)
    assert (seen.state, seen.uses_taken, len(seen.claims)) == ("claimed", 1, 1)
    assert client.links.revoke(link.url).revoked
    explained = client.explain(link.url)
    assert not explained.admitted
    assert any(step.passed is False and step.reason for step in explained.steps)


def test_lists_go_over_all_pages(client: oncegate.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of one page would be taken for the whole."""
    monkeypatch.setattr("oncegate.library.calls.PAGE", 2)
    made = {client.links.make(key="a.txt", label=f"number {number}").id for number in range(5)}
    assert made <= {row.id for row in client.links.list()}
    assert [row.key for row in client.objects.list()] == ["a.txt", "b c.txt", "films/ä.bin"]
    assert [row.key for row in client.objects.list("films/")] == ["films/ä.bin"]


def test_events_come_from_where_the_caller_left_off(client: oncegate.Client) -> None:
    """They are written in batches after the answer, so this one waits for its own."""
    link = client.links.make(key="a.txt", label="told")
    deadline = time.monotonic() + 60
    while not (issued := [event for event in client.events.list(link=link.id) if event.event == "issued"]):
        assert time.monotonic() < deadline, "the event was never written"
    assert issued[0].members["key"] == "a.txt"
    last = max(event.number for event in client.events.list())
    assert all(event.number > last for event in client.events.list(after=last))


def test_a_plain_link_is_revoked_by_its_url(running: Running, client: oncegate.Client) -> None:
    """Its id is a hash over what its signature covers, which only the gateway can compute."""
    url = running.made.link("a.txt").replace("once=", "unknown=")
    with pytest.raises(oncegate.BadRequest, match="does not verify"):
        client.links.revoke(url)
    with pytest.raises(oncegate.BadRequest, match="22 characters"):
        client.links.revoke("a.txt")


def test_a_repeated_make_with_one_idempotency_key_makes_one_link(client: oncegate.Client) -> None:
    """A program that lost the answer asks again."""
    first, second = (client.links.make(key="a.txt", label="once", idempotency_key="order-1") for _ in range(2))
    assert (first.id, first.expires_at) == (second.id, second.expires_at)


def test_an_error_is_an_api_error_with_its_words(running: Running, client: oncegate.Client) -> None:
    """Status, title, detail and the members at fault are what a program decides and logs by."""
    with pytest.raises(oncegate.ApiError) as found:
        client.links.make(key="a.txt", uses=0)
    assert found.value.status == 422
    assert [row["where"] for row in found.value.errors] == ["body.uses"]
    with pytest.raises(oncegate.ApiError) as found:
        client.links.get("AZtHgdIAcACAAAAAAAAAAA")
    assert found.value.status == 404
    with (
        oncegate.Client(running.control_url, "og_00000000_" + "x" * 43) as stranger,
        pytest.raises(oncegate.ApiError) as found,
    ):
        list(stranger.objects.list())
    assert found.value.status == 401
    assert isinstance(found.value, oncegate.OncegateError)


def test_no_answer_is_an_api_error_of_status_0(running: Running) -> None:
    """A program catches one class; httpx's own errors are how this client is built, which may change."""
    with (
        oncegate.Client(f"http://127.0.0.1:{free_port()}", running.token, timeout=5) as client,
        pytest.raises(oncegate.ApiError) as found,
    ):
        client.explain("http://127.0.0.1/a")
    assert found.value.status == 0


def test_the_viewer_is_no_control_api(running: Running) -> None:
    """A client with the wrong port must hear so, and not make a value of a page."""
    with (
        oncegate.Client(running.made.public_url, running.token) as client,
        pytest.raises(oncegate.ApiError, match="control listener"),
    ):
        client.links.get("AZtHgdIAcACAAAAAAAAAAA")


def test_a_naive_datetime_is_refused(client: oncegate.Client) -> None:
    """It would be read in the zone of whichever machine runs the program."""
    with pytest.raises(oncegate.BadRequest, match="expires_at"):
        client.links.make(key="a.txt", expires_at=datetime(2099, 1, 1))  # noqa: DTZ001  what is refused


@pytest.mark.anyio
async def test_the_async_client_does_the_same(running: Running) -> None:
    """Both carry the same calls; this one in an event loop."""
    async with oncegate.AsyncClient(running.control_url, running.token) as client:
        link = await client.links.make(key="b c.txt", label="async")
        assert (await client.explain(link.url)).admitted
        assert link.id in {row.id async for row in client.links.list()}
        assert [row.key async for row in client.objects.list("b")] == ["b c.txt"]
        assert (await client.links.revoke(link.id)).revoked
        assert (await client.links.get(link.id)).state == "revoked"
        assert {event.members["link_id"] async for event in client.events.list(link=link.id)} <= {link.id}
        with pytest.raises(oncegate.ApiError):
            await client.links.make(key="")


def test_a_link_for_a_person_says_so(client: oncegate.Client) -> None:
    """Whether a person is asked, and what the page says, are sent and shown under the names of the API."""
    link = client.links.make(key="a.txt", confirm="always", from_="Ada", note="The figures of May")
    assert (link.confirm, link.from_, link.note) == ("always", "Ada", "The figures of May")
    explained = client.explain(link.url)
    assert (explained.admitted, explained.confirm) == (True, "always")
    assert client.links.make(key="a.txt").confirm is None


def test_the_values_have_the_members_of_the_api_document(running: Running) -> None:
    """A member that the API adds must come to programs too."""
    with urllib.request.urlopen(f"{running.control_url}/openapi.json") as answer:
        schemas = json.load(answer)["components"]["schemas"]
    pairs = {
        "LinkMade": answers.MadeLink,
        "LinkShown": answers.LinkStatus,
        "ClaimShown": answers.ClaimOfLink,
        "TransferShown": answers.TransferOfLink,
        "ObjectShown": answers.StoredObject,
        "Explained": answers.Explanation,
        "StepShown": answers.Step,
    }
    for name, kind in pairs.items():
        # from is a word of Python, so there it has an underline
        found = {entry.name.removesuffix("_") for entry in dataclasses.fields(kind)}
        assert set(schemas[name]["properties"]) == found, name
    assert set(schemas["LinkOrder"]["properties"]) == {name.removesuffix("_") for name in LinkOrder.__annotations__}
