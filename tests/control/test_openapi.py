"""The OpenAPI document: its examples are true, and so is every answer to whatever schemathesis thinks of."""

from __future__ import annotations

import json
import pathlib
import subprocess
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
from oncegate.testing.installation import Installation
from oncegate.testing.servers.object_stores import environment

Talk = Callable[..., None]
PARTS = pathlib.Path(__file__).parents[2] / ".parts"
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
    assert " ".join(fields) == f"{names} overwrite confirm from note delete_after scheme label"


def test_the_document_is_served_as_it_is_published(talk: Talk) -> None:
    """The one in the documentation is made without a server."""

    async def calls(client: httpx.AsyncClient) -> None:
        del client.headers["Authorization"]
        assert (await client.get("/openapi.json")).json() == DOCUMENT

    talk(calls)


def test_calls_have_names_that_a_program_can_use() -> None:
    """A generated client has a method or a file of each name: once published, none changes."""
    names = [call["operationId"] for calls in DOCUMENT["paths"].values() for call in calls.values()]
    assert sorted(names) == sorted(
        [
            "make_link",
            "list_links",
            "show_link",
            "revoke_link",
            "explain_link",
            "list_objects",
            "list_events",
            "tell_metrics",
            "tell_health",
            "tell_readiness",
            "get_url",
            "url",
            "urls",
            "urls_v1",
            "s3objects",
            "s3objects_v1",
        ]
    )


@pytest.mark.slow
@pytest.mark.xdist_group("openapi")
def test_a_generated_client_makes_a_link_and_looks_at_it(tmp_path: pathlib.Path) -> None:
    """Other languages' clients are generated too; this generator is strict, and its code runs here."""
    python = environment(PARTS / "openapi" / "venv", "openapi-python-client==0.29.1")
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(DOCUMENT))
    made = tmp_path / "generated"
    generator = python.with_name("openapi-python-client")
    options = ["--path", document, "--output-path", made, "--meta", "none"]
    done = subprocess.run([generator, "generate", *options], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Unable to" not in done.stdout
    (tmp_path / "home").mkdir()
    home = Installation(tmp_path / "home")
    home.put("a.txt", b"x")
    token = home.run("tokens", "new", "generated", "--scope", "links:write", "--scope", "links:read").stdout.strip()
    with home.serve() as serving:
        code = _USE_OF_THE_GENERATED.format(url=serving.control_url, token=token)
        used = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert used.stdout == "issued\n", used.stderr


_USE_OF_THE_GENERATED = """
from generated import AuthenticatedClient
from generated.api.links import make_link, show_link
from generated.models import LinkOrder

client = AuthenticatedClient(base_url="{url}", token="{token}")
made = make_link.sync(client=client, body=LinkOrder(key="a.txt", label="generated"))
print(show_link.sync(made.id, client=client).state.value)
"""


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
