"""Health, readiness and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx
import pytest
from control_world import World, change
from prometheus_client.parser import text_string_to_metric_families

from oncegate.control import observing
from oncegate.control.parts import PartState

Talk = Callable[..., None]


def test_readiness_names_every_part(world: World, talk: Talk) -> None:
    """Without a token: who asks is a load balancer."""

    async def calls(client: httpx.AsyncClient) -> None:
        del client.headers["Authorization"]
        answer = await client.get("/readyz")
        assert answer.status_code == 200
        assert answer.json() == {"ready": True, "parts": [{"name": "ledger", "ready": True, "words": ""}]}
        assert (await client.head("/readyz")).status_code == 200
        assert (await client.head("/healthz")).status_code == 200

    talk(calls)


def test_the_part_that_is_not_ready_is_named(world: World, talk: Talk) -> None:
    """503 as a problem, with the words of each part."""
    world.states.append(PartState(name="store", is_ready=False, words="does not answer"))

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == "Not ready: store."
        assert answer.json()["parts"][1] == {"name": "store", "ready": False, "words": "does not answer"}

    talk(calls)


def test_a_part_that_never_answers_is_not_ready(world: World, talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that hangs is worse than one that fails."""
    monkeypatch.setattr(observing, "READY_MAX_S", 0.01)

    async def hang() -> Sequence[PartState]:
        await asyncio.Event().wait()
        return ()

    change(world, readiness=hang)

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).status_code == 503

    talk(calls)


def test_metrics_are_what_the_gateway_counted(world: World, talk: Talk) -> None:
    """Prometheus' own parser reads them: names, labels, types, and text that needs escaping."""
    for decision in ("admit", "admit", "admit", "refuse"):
        world.meters.claim(decision)
    world.meters.preview('a "b"\n\\')
    world.meters.request("GET", 200, received_bytes=0, sent_bytes=7, seconds=0.5, first_byte_seconds=0.002)
    world.meters.ledger_call("insert", "done", 0.0005)
    world.gauges["transfers"] = 4

    async def calls(client: httpx.AsyncClient) -> None:
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        found = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families.values()
            for sample in family.samples
        }
        assert found["oncegate_claims_total", ("decision", "admit")] == 3
        assert found["oncegate_claims_total", ("decision", "refuse")] == 1
        assert found["oncegate_previews_total", ("why", 'a "b"\n\\')] == 1
        assert found["oncegate_bytes_total", ("direction", "out")] == 7
        assert found["oncegate_requests_total", ("method", "GET"), ("status", "200")] == 1
        assert found["oncegate_transfers",] == 4
        assert families["oncegate_claims"].type == "counter"
        get = (("answer", "2xx"), ("method", "GET"))
        assert found["oncegate_request_seconds_bucket", get[0], ("le", "0.25"), get[1]] == 0
        assert found["oncegate_request_seconds_bucket", get[0], ("le", "0.5"), get[1]] == 1
        assert found["oncegate_first_byte_seconds_bucket", get[0], ("le", "+Inf"), get[1]] == 1
        assert found["oncegate_first_byte_seconds_sum", *get] == 0.002
        assert found["oncegate_ledger_seconds_count", ("call", "insert")] == 1
        assert found["oncegate_ledger_seconds_bucket", ("call", "insert"), ("le", "0.0005")] == 1
        assert families["oncegate_ledger_seconds"].type == "histogram"
        assert not any(name.startswith(("python_", "process_")) for name in families)

    talk(calls)


def test_a_count_without_labels_is_there_from_the_start(world: World, talk: Talk) -> None:
    """Prometheus sees a rise only between two values: a first retry that brings its row with it would alarm nobody."""

    async def calls(client: httpx.AsyncClient) -> None:
        assert "\noncegate_ledger_retries_total 0.0\n" in (await client.get("/metrics")).text
        world.meters.ledger_retry()
        assert "\noncegate_ledger_retries_total 1.0\n" in (await client.get("/metrics")).text

    talk(calls)


def test_metrics_can_be_read_again_and_again(world: World, talk: Talk) -> None:
    """Nothing is registered for good: two applications in one process do not meet."""

    async def calls(client: httpx.AsyncClient) -> None:
        for count in (1, 2):
            world.meters.claim("admit")
            assert f'oncegate_claims_total{{decision="admit"}} {count}.0' in (await client.get("/metrics")).text

    talk(calls)


def test_probes_are_not_in_the_log(world: World, talk: Talk) -> None:
    """They come every few seconds; other calls have one line each, without query or id."""

    async def calls(client: httpx.AsyncClient) -> None:
        for path in ("/healthz", "/readyz", "/metrics", "/v1/objects?prefix=secret", "/nowhere/secret"):
            await client.get(path)

    talk(calls)
    assert [(line["outcome"], line["status"]) for line in world.log()] == [
        ("control /v1/objects", 200),
        ("control no route", 404),
    ]
    assert "secret" not in str(world.log())
