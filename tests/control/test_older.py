"""The calls of the published one-time designs: their exact shapes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from control_world import NOW_S, World, change

from oncegate.control import older
from oncegate.settings.tables import LinksSettings

Talk = Callable[..., None]


def test_get_url_answers_a_link_for_five_minutes(talk: Talk) -> None:
    """F0.1: 200 and one member."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.get("/get-url", params={"key": "a b.txt"})
        assert (answer.status_code, list(answer.json())) == (200, ["url"])
        assert answer.json()["url"].startswith("https://files.example.com/a%20b.txt?once=g.")
        assert f"Expires={NOW_S + 300}&" in answer.json()["url"]

    talk(calls)


@pytest.mark.parametrize("path", ["/get-url", "/get-url?key=", "/get-url?other=1"])
def test_get_url_without_a_key_is_a_bad_request_in_text(talk: Talk, path: str) -> None:
    """F0.2: the words and the type that its callers compare with."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.get(path)
        assert (answer.status_code, answer.text) == (400, "Bad request")
        assert answer.headers["content-type"].startswith("text/plain")

    talk(calls)


@pytest.mark.parametrize("key", ["../a", "a//b", "a\x00", "/a", "x" * 1025])
def test_a_key_that_no_link_can_hold_is_refused(talk: Talk, key: str) -> None:
    """F0.15, F3.8: the models sign anything."""

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await client.get("/get-url", params={"key": key})).status_code == 422
        assert (await client.post("/urls", json={"file": key})).status_code == 422

    talk(calls)


def test_two_links_for_one_key_in_one_second_differ(talk: Talk) -> None:
    """F0.15: the model gives both callers the same URL, so one of them gets nothing."""

    async def calls(client: httpx.AsyncClient) -> None:
        first, second = [(await client.get("/get-url?key=a")).json()["url"] for _ in range(2)]
        assert first.partition("&")[0] != second.partition("&")[0]

    talk(calls)


def test_url_answers_an_upload_link_as_text(talk: Talk) -> None:
    """F1.1, F1.2: the body is the URL and nothing else; a fresh key; a quarter of an hour."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.get("/url")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        uuid4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
        assert re.fullmatch(
            rf"https://files\.example\.com/uploads/{uuid4}\?once=p\.[\w-]{{22}}&Expires={NOW_S + 900}&\S+", answer.text
        )
        assert answer.text.partition("?")[0] != (await client.get("/url")).text.partition("?")[0]

    talk(calls)


def test_urls_answers_a_link_for_twelve_hours(talk: Talk) -> None:
    """F3.2: 201 and one member; other members of the body were never looked at."""

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.post("/urls", json={"file": "a#b?.txt", "other": 1})
        assert (answer.status_code, list(answer.json())) == (201, ["signedUrl"])
        assert answer.json()["signedUrl"].startswith("https://files.example.com/a%23b%3F.txt?once=g.")
        assert f"Expires={NOW_S + 12 * 3600}&" in answer.json()["signedUrl"]

    talk(calls)


def test_no_lifetime_is_above_the_limit(world: World, talk: Talk) -> None:
    """Retiring a key waits for max_lifetime: no call may go beyond it, and these cannot ask for less."""
    change(world, settings=replace(world.parts.settings, links=LinksSettings(max_lifetime_s=100)))

    async def calls(client: httpx.AsyncClient) -> None:
        answers = [
            (await client.get("/get-url?key=a")).text,
            (await client.get("/url")).text,
            (await client.post("/urls", json={"file": "a"})).text,
            (await client.post("/v1/links", json={"key": "a"})).text,
        ]
        assert all(f"Expires={NOW_S + 100}&" in answer for answer in answers)

    talk(calls)


def test_s3objects_answers_contents_of_all_objects(world: World, talk: Talk) -> None:
    """F3.1, F3.7: an array, also when it is empty, and beyond the first thousand."""

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await client.get("/s3objects")).json() == []
        for number in range(2_001):
            world.store.put(f"{number:04}")
        answer = await client.get("/s3objects")
        assert (answer.status_code, len(answer.json())) == (200, 2_001)
        assert answer.json()[-1] == {
            "Key": "2000",
            "LastModified": "2026-01-01T00:00:00.000Z",
            "ETag": '"abc"',
            "Size": 5,
            "StorageClass": "STANDARD",
        }
        assert older.TRUNCATED_HEADER not in answer.headers

    talk(calls)


@pytest.mark.parametrize(("objects", "is_cut"), [(4, False), (5, False), (6, True)])
def test_a_list_that_was_cut_says_so(
    world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch, objects: int, is_cut: bool
) -> None:
    """Both sides of the limit."""
    monkeypatch.setattr(older, "OBJECTS_MAX", 5)
    monkeypatch.setattr(older, "_PAGE", 2)
    for number in range(objects):
        world.store.put(str(number))

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.get("/s3objects")
        assert len(answer.json()) == min(objects, 5)
        assert answer.headers.get(older.TRUNCATED_HEADER) == ("5" if is_cut else None)

    talk(calls)


def test_the_calls_with_a_stage_before_their_paths_are_the_same(talk: Talk) -> None:
    """The published URLs lead through the stage v1 of an API Gateway."""

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/s3objects")).json() == (await client.get("/s3objects")).json()
        made = await client.post("/v1/urls", json={"file": "a"})
        assert (made.status_code, list(made.json())) == (201, ["signedUrl"])
        for path in ("/v1/s3objects", "/v1/urls"):
            answer = await client.request("GET", path, headers={"Authorization": "Bearer wrong"})
            assert answer.status_code in (401, 405)

    talk(calls)


ORIGIN = "https://app.example.com"


def with_origins(world: World, *origins: str) -> None:
    """Let pages of these origins call."""
    control = replace(world.parts.settings.control, cors_origins=origins)
    change(world, settings=replace(world.parts.settings, control=control))


def test_a_page_of_a_named_origin_may_call(world: World, talk: Talk) -> None:
    """The published designs are called by a page: its browser asks first, without a token, and reads the answer."""
    with_origins(world, ORIGIN)

    async def calls(client: httpx.AsyncClient) -> None:
        wants = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        asked = await client.options("/urls", headers={"Origin": ORIGIN, **wants, "Authorization": ""})
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == ORIGIN
        assert {"POST", "DELETE"} <= set(asked.headers["access-control-allow-methods"].split(", "))
        assert "authorization" in asked.headers["access-control-allow-headers"].lower()
        made = await client.post("/urls", json={"file": "a"}, headers={"Origin": ORIGIN})
        assert (made.status_code, made.headers["access-control-allow-origin"]) == (201, ORIGIN)
        assert "access-control-allow-credentials" not in made.headers
        refused = await client.post(
            "/urls", json={"file": "a"}, headers={"Origin": ORIGIN, "Authorization": "Bearer x"}
        )
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)

    talk(calls)


@pytest.mark.parametrize("origins", [(), (ORIGIN,)])
def test_a_page_of_another_origin_may_not(world: World, talk: Talk, origins: tuple[str, ...]) -> None:
    """A page anywhere could otherwise try tokens on a listener that only its reader's browser reaches."""
    with_origins(world, *origins)

    async def calls(client: httpx.AsyncClient) -> None:
        headers = {"Origin": "https://other.example.com", "Access-Control-Request-Method": "POST"}
        asked = await client.options("/urls", headers=headers)
        assert asked.status_code in (400, 405)
        assert "access-control-allow-origin" not in asked.headers
        made = await client.post("/urls", json={"file": "a"}, headers={"Origin": "https://other.example.com"})
        assert "access-control-allow-origin" not in made.headers

    talk(calls)
