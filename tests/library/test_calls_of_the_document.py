"""``Client`` and ``AsyncClient`` beside the OpenAPI document: every call has a method, or is left out for a reason."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from oncegate.control.app import openapi_document
from oncegate.library import async_client, calls, client
from oncegate.library.calls import Call, LinkOrder

AT = datetime(2026, 1, 1, tzinfo=UTC)
ID = "AZtHgdIAcACAAAAAAAAAAA"
DOCUMENT = openapi_document()
CALLS: Mapping[str, tuple[Call[Any], str]] = {
    "make_link": (calls.make_link(LinkOrder(key="a"), "again"), "Links.make"),
    "list_links": (calls.list_links("x"), "Links.list"),
    "show_link": (calls.get_link(ID), "Links.get"),
    "revoke_link": (calls.revoke_link(ID, AT), "Links.revoke"),
    "explain_link": (
        calls.explain_link("https://a.example/", method="GET", address="192.0.2.1", headers={}, at=AT),
        "Client.explain",
    ),
    "list_objects": (calls.list_objects("p/", "x"), "Objects.list"),
    "list_events": (calls.list_events(ID, 1), "Events.list"),
}
"""Each with everything that can be given, by the name of its operation."""
OF_THE_OLDER_DESIGNS = "what programs written for the published designs ask; links.make and objects.list do the same"
LEFT_OUT = {
    "tell_metrics": "Prometheus' own format, for its scraper",
    "tell_health": "for probes, which have an HTTP client of their own",
    "tell_readiness": "for probes, which have an HTTP client of their own",
    **dict.fromkeys(("get_url", "url", "urls", "urls_v1", "s3objects", "s3objects_v1"), OF_THE_OLDER_DESIGNS),
}


def operations() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Name, method, path and description of each call of the document."""
    for path, methods in DOCUMENT["paths"].items():
        for method, described in methods.items():
            yield described["operationId"], method.upper(), path, described


def test_every_call_has_a_method_or_is_left_out_for_a_reason() -> None:
    """A new call of the API is decided on here, one way or the other."""
    names = {name for name, *_ in operations()}
    assert names == CALLS.keys() | LEFT_OUT.keys()
    assert not CALLS.keys() & LEFT_OUT.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_method_sends_what_the_document_takes(name: str) -> None:
    """The same method, path, parameters and members: none is missing, and none is the client's alone."""
    call, _ = CALLS[name]
    ((_, method, path, described),) = (found for found in operations() if found[0] == name)
    assert (call.method, call.path) == (method, path.replace("{id}", ID))
    taken = {(row["in"], row["name"]) for row in described.get("parameters", ())}
    given = {("query", part) for part in call.query} | {("header", part.lower()) for part in call.headers}
    assert given == {row for row in taken if row[0] != "path"}
    assert (call.body is not None) == ("requestBody" in described)
    if name != "make_link" and call.body is not None:  # of an order, test_client.py compares the members
        schema = described["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        assert call.body.keys() == DOCUMENT["components"]["schemas"][schema]["properties"].keys()


def method_of(module: Any, prefix: str, name: str) -> Callable[..., Any]:
    """A method by its class and name."""
    owner, _, attribute = name.partition(".")
    found: Callable[..., Any] = getattr(getattr(module, prefix + owner), attribute)
    return found


@pytest.mark.parametrize("name", [method for _, method in CALLS.values()])
def test_both_clients_have_the_method_with_the_same_arguments(name: str) -> None:
    """Whoever moves from one to the other writes ``await``, and changes nothing else."""
    here, there = method_of(client, "", name), method_of(async_client, "Async", name)
    assert inspect.signature(here).parameters == inspect.signature(there).parameters
