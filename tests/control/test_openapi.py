"""The OpenAPI document: its examples are true, and so is every answer to whatever schemathesis thinks of."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from control_world import World, make_world
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks, positive_data_acceptance
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from oncegate.control.app import control_app, openapi_document
from oncegate.control.bodies.making import LinkOrder

Talk = Callable[..., None]
DOCUMENT = openapi_document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


@pytest.mark.parametrize("name", sorted(name for name in SCHEMAS if SCHEMAS[name].get("examples")))
def test_examples_are_of_their_schemas(name: str) -> None:
    """Whoever copies one gets what it shows."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    for example in SCHEMAS[name]["examples"]:
        validator.validate(example)


def test_every_body_has_an_example() -> None:
    """What is sent and what comes back, on every call that has JSON."""
    referred = {
        content["schema"]["$ref"].rpartition("/")[2]
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
        for holder in (operation.get("requestBody", {}), *operation["responses"].values())
        for content in holder.get("content", {}).values()
        if "$ref" in content["schema"]
    }
    pages = {"LinkPage", "ObjectPage", "EventPage", "Health"}  # lists of what has one; a constant
    assert {name for name in referred - pages if not SCHEMAS[name].get("examples")} == set()


def test_the_fields_of_an_order_are_those_of_the_contract() -> None:
    """Callers were told these names; a rename would be refused as unknown."""
    names = "key operation expires_in expires_at not_before uses source_ip filename inline max_bytes content_type"
    fields = [field.alias or name for name, field in LinkOrder.model_fields.items()]
    assert " ".join(fields) == f"{names} overwrite confirm from note scheme label"


def test_the_document_is_served_as_it_is_published(talk: Talk) -> None:
    """The one in the documentation is made without a server."""

    async def calls(client: httpx.AsyncClient) -> None:
        del client.headers["Authorization"]
        assert (await client.get("/openapi.json")).json() == DOCUMENT

    talk(calls)


@pytest.fixture(scope="module")
def played_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world with some objects, and its application, for many calls."""
    made = make_world(pathlib.Path(tmp_path_factory.mktemp("world")))
    for number in range(3):
        made.store.put(f"folder/{number}.txt")
    PLAYED.app = control_app(made.parts)
    return made


@pytest.fixture(scope="module")
def token(played_world: World) -> str:
    """One for everything; a module's worth of calls share it."""
    return played_world.token()


async def _document(request: Request) -> JSONResponse:
    return JSONResponse(DOCUMENT)


class _Played:
    """The application that schemathesis plays with; until there is one, the document alone."""

    app: ASGIApp = Starlette(routes=[Route("/openapi.json", _document)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


PLAYED = _Played()
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", PLAYED)
SCHEMA.config.generation.update(with_security_parameters=False)  # each call here has a token; test_access.py has none
load_all_checks()


@SCHEMA.parametrize()
@settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_as_the_document_says(case: schemathesis.Case, token: str) -> None:
    """Nothing breaks it, status, type, headers and body are documented, and what the schema forbids is refused.

    What the schema allows may still be refused: that an end lies in the future, or a key has no '..', no schema says.
    """
    case.call_and_validate(
        headers={"Authorization": f"Bearer {token}"}, excluded_checks=[positive_data_acceptance], timeout=10
    )
