"""Who may call what."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from control_world import NOW_S, World

CALLS = [
    ("POST", "/v1/links", "links:write"),
    ("GET", "/v1/links", "links:read"),
    ("GET", "/v1/links/AZtHgdIAcACAAAAAAAAAAA", "links:read"),
    ("DELETE", "/v1/links/AZtHgdIAcACAAAAAAAAAAA", "links:write"),
    ("POST", "/v1/explain", "links:read"),
    ("GET", "/v1/objects", "objects:read"),
    ("GET", "/v1/events", "events:read"),
    ("GET", "/metrics", "metrics:read"),
    ("GET", "/get-url?key=a", "links:write"),
    ("GET", "/url", "links:write"),
    ("POST", "/urls", "links:write"),
    ("POST", "/v1/urls", "links:write"),
    ("GET", "/s3objects", "objects:read"),
    ("GET", "/v1/s3objects", "objects:read"),
]
"""Every call that needs a token; a test below holds it against the OpenAPI document."""


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_nobody_calls_without_a_token(talk: Callable[..., None], method: str, path: str, scope: str) -> None:
    """Not even with a body that cannot be read: what strangers may find out is this one answer."""

    async def calls(client: httpx.AsyncClient) -> None:
        del client.headers["Authorization"]
        answer = await client.request(method, path, content=b"{", headers={"Content-Type": "application/json"})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert answer.headers["content-type"] == "application/problem+json"

    talk(calls)


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_a_token_opens_what_its_scope_says(
    world: World, talk: Callable[..., None], method: str, path: str, scope: str
) -> None:
    """All other scopes together do not make up for the one."""
    others = [other for _, _, other in CALLS if other != scope]

    async def calls(client: httpx.AsyncClient) -> None:
        client.headers["Authorization"] = f"Bearer {world.token(*others)}"
        refused = await client.request(method, path, json={})
        assert refused.status_code == 403
        assert f'scope="{scope}"' in refused.headers["www-authenticate"]
        client.headers["Authorization"] = f"bearer {world.token(scope)}"
        admitted = await client.request(method, path, json={})
        assert admitted.status_code not in (401, 403)

    talk(calls)


def test_every_call_with_a_token_is_in_this_list(talk: Callable[..., None]) -> None:
    """A call that is added without a scope would be open."""

    async def calls(client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        needed: set[tuple[str, str, str]] = set()
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                scopes = operation.get("security", [{}])[0].get("HTTPBearer")
                if path not in ("/healthz", "/readyz"):
                    needed.add((method.upper(), path, scopes[0]))
        listed = {
            (method, path.partition("?")[0].replace("AZtHgdIAcACAAAAAAAAAAA", "{id}"), scope)
            for method, path, scope in CALLS
        }
        assert needed == listed

    talk(calls)


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer ", "Basic b2c6b2c=", "Bearer og_00000000_" + "A" * 43, "Bearer " + "x" * 20_000]
)
def test_what_is_no_token_opens_nothing(talk: Callable[..., None], shown: str) -> None:
    """Other schemes, nothing, an unknown token, something long."""

    async def calls(client: httpx.AsyncClient) -> None:
        client.headers["Authorization"] = shown
        assert (await client.get("/v1/objects")).status_code == 401

    talk(calls)


def test_two_tokens_at_once_open_nothing(world: World, talk: Callable[..., None]) -> None:
    """A proxy that adds its own must not decide which one counts."""

    async def calls(client: httpx.AsyncClient) -> None:
        good = client.headers.pop("Authorization")
        answer = await client.get("/v1/objects", headers=[("Authorization", good), ("Authorization", good)])
        assert answer.status_code == 401

    talk(calls)


def test_a_token_ends_when_it_expires_or_is_revoked(world: World, talk: Callable[..., None]) -> None:
    """From the next call on, both sides of the second."""
    text, token = world.tokens.new("short", ["*"], now_s=NOW_S, expires_s=NOW_S + 10)

    async def calls(client: httpx.AsyncClient) -> None:
        client.headers["Authorization"] = f"Bearer {text}"
        world.now_s = NOW_S + 9.9
        assert (await client.get("/v1/objects")).status_code == 200
        world.now_s = NOW_S + 10
        assert (await client.get("/v1/objects")).status_code == 401
        world.now_s = NOW_S
        assert (await client.get("/v1/objects")).status_code == 200
        world.tokens.revoke(token.id)
        assert (await client.get("/v1/objects")).status_code == 401

    talk(calls)


def test_a_damaged_token_file_lets_nobody_in(world: World, talk: Callable[..., None]) -> None:
    """Fail closed, and say whose fault it is without naming the file."""

    async def calls(client: httpx.AsyncClient) -> None:
        world.tokens.path.write_bytes(b"{")
        answer = await client.get("/v1/objects")
        assert answer.status_code == 503
        assert world.tokens.path.name not in answer.text

    talk(calls)
