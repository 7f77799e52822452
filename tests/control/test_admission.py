"""Who may call the function of a deployment: what the authorizer in front of it found, in place of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import httpx
import pytest
from control_world import FunctionTransport, World, change

from oncegate.control.admission import AuthorizedCallers, AuthorizerKind
from oncegate.control.app import control_app

CALLS = [
    ("POST", "/v1/links", "links:write"),
    ("GET", "/v1/links", "links:read"),
    ("GET", "/v1/objects", "objects:read"),
    ("GET", "/v1/events", "events:read"),
    ("GET", "/get-url?key=a", "links:write"),
    ("POST", "/v1/urls", "links:write"),
    ("GET", "/v1/s3objects", "objects:read"),
]
SCOPES = sorted({scope for _, _, scope in CALLS})
ADA = {"iam": {"callerId": "AROAEXAMPLE:ada", "userArn": "arn:aws:sts::111122223333:assumed-role/app/ada"}}


def jwt(scope: str, **claims: str) -> Mapping[str, Any]:
    """What the authorizer of a JWT finds: every claim is text."""
    return {
        "jwt": {"claims": {"iss": "https://issuer.example", "sub": "ada", "scope": scope, **claims}, "scopes": None}
    }


def ask(
    world: World, kind: AuthorizerKind, authorizer: Mapping[str, Any] | None, method: str, path: str, **more: Any
) -> httpx.Response:
    """Make one call that the authorizer let through."""
    change(world, callers=AuthorizedCallers(kind, b"drawn at deploy"))
    answers: list[httpx.Response] = []

    async def main() -> None:
        transport = FunctionTransport(control_app(world.parts), authorizer)
        async with httpx.AsyncClient(transport=transport, base_url="https://api") as client:
            answers.append(await client.request(method, path, **{"json": {}, **more}))
        await world.parts.journal.aclose()

    anyio.run(main)
    return answers[0]


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_by_iam_the_route_decides(world: World, method: str, path: str, scope: str) -> None:
    """Whoever may invoke the route may make its call: rights are granted in one place, not in two."""
    assert ask(world, "iam", ADA, method, path).status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
@pytest.mark.parametrize("before", ["", "oncegate/"])
def test_by_jwt_the_claim_names_the_scope(world: World, method: str, path: str, scope: str, before: str) -> None:
    """As the issuer writes it, or behind the resource server's name, which Cognito always puts there."""
    answer = ask(world, "jwt", jwt(f"openid {before}{scope}"), method, path)
    assert answer.status_code not in (401, 403)


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_other_scopes_do_not_make_up_for_the_one(world: World, method: str, path: str, scope: str) -> None:
    """All others together, none, and one that only looks like it."""
    others = " ".join(other for other in SCOPES if other != scope)
    for claim in (others, "", f"x/{scope}", f"{scope}s", "openid"):
        answer = ask(world, "jwt", jwt(claim), method, path)
        assert answer.status_code == 403
        assert f'scope="{scope}"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("kind", ["iam", "jwt"])
@pytest.mark.parametrize(
    "authorizer",
    [
        None,
        {},
        {"lambda": {"scope": "*"}},
        {"iam": None, "jwt": None},
        {"iam": {}, "jwt": {}},
        {"iam": {"callerId": ""}, "jwt": {"claims": {"scope": "*"}}},
    ],
)
def test_who_is_not_known_makes_no_call(world: World, kind: AuthorizerKind, authorizer: Any) -> None:
    """A route that lost its authorizer must not open the API."""
    assert ask(world, kind, authorizer, "GET", "/v1/objects").status_code == 403


def test_the_other_authorizer_does_not_count(world: World) -> None:
    """Which one is in force is decided at deploy, never by what comes with a request."""
    assert ask(world, "jwt", ADA, "GET", "/v1/objects").status_code == 403
    assert ask(world, "iam", jwt("*"), "GET", "/v1/objects").status_code == 403


def test_no_header_makes_a_caller(world: World) -> None:
    """A token of the listener's, and headers named like what the adapter hands over."""
    headers = {"Authorization": f"Bearer {world.token()}", "oncegate.authorizer": "iam", "x-oncegate-authorizer": "iam"}
    assert ask(world, "iam", None, "GET", "/v1/objects", headers=headers).status_code == 403


def test_a_caller_that_asks_twice_gets_the_same_link(world: World) -> None:
    """The key of idempotency belongs to its caller: another one with the same key gets another link."""
    ids: list[str] = []
    order = {"json": {"key": "a", "label": "x"}, "headers": {"Idempotency-Key": "order-1"}}
    for authorizer in (ADA, ADA, {"iam": {"callerId": "AROAEXAMPLE:bob"}}):
        ids.append(ask(world, "iam", authorizer, "POST", "/v1/links", **order).json()["id"])
    assert ids[0] == ids[1] != ids[2]


def test_a_role_with_a_long_name_makes_calls(world: World) -> None:
    """Names of tokens are short, ARNs and issuers are not."""
    answer = ask(world, "iam", {"iam": {"callerId": "A" * 500 + ":\n"}}, "GET", "/get-url?key=a")
    assert answer.status_code == 200


def test_the_openapi_document_is_the_listeners(world: World, talk: Callable[..., None]) -> None:
    """Clients are generated from one document, whoever serves it."""
    listened: list[Any] = []

    async def calls(client: httpx.AsyncClient) -> None:
        listened.append((await client.get("/openapi.json")).json())

    talk(calls)
    assert ask(world, "iam", ADA, "GET", "/openapi.json").json() == listened[0]
