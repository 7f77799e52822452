"""The same calls over the default ledger and store: SQLite and a folder."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import Callable

import httpx
import pytest
from control_world import World, change
from prometheus_client.parser import text_string_to_metric_families

from oncegate.aws_requests.credentials import GivenCredentials
from oncegate.aws_requests.signature import AwsCredentials
from oncegate.ledgers.dynamodb.address import parse_address
from oncegate.ledgers.dynamodb.ledger import DynamodbLedger
from oncegate.ledgers.dynamodb.requests import ATTEMPTS_MAX
from oncegate.ledgers.protocol import FORGET_NEVER_S, Unknown
from oncegate.ledgers.runner import LedgerRunner
from oncegate.ledgers.sqlite.ledger import SqliteLedger
from oncegate.stores.directory.store import DirectoryStore
from oncegate.testing.installation import free_port

KEYS = ["a b.txt", "a/1.txt", "a/2.txt", "ä.txt"]


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Some files."""
    for key in KEYS:
        file = tmp_path / "objects" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"hello")
    return tmp_path


def test_a_link_from_its_making_to_its_end(world: World, talk: Callable[..., None], folder: pathlib.Path) -> None:
    """Listed, found, made, explained, shown, revoked, explained again, and told by the events."""
    ledger, store = SqliteLedger(folder / "ledger.db"), DirectoryStore(folder / "objects")
    journal = world.parts.journal
    change(world, ledger=ledger, runner=LedgerRunner(ledger), store=store)

    async def calls(client: httpx.AsyncClient) -> None:
        await ledger.probe()
        objects = (await client.get("/v1/objects", params={"limit": 3})).json()
        assert [found["key"] for found in objects["objects"]] == KEYS[:3]
        rest = (await client.get("/v1/objects", params={"after": objects["next"]})).json()
        assert ([found["key"] for found in rest["objects"]], rest["next"]) == (KEYS[3:], None)
        assert [found["Key"] for found in (await client.get("/s3objects")).json()] == KEYS
        made = (await client.post("/v1/links", json={"key": "a b.txt", "label": "for Ada"})).json()
        assert (await client.post("/v1/explain", json={"url": made["url"]})).json()["admitted"]
        assert (await client.get("/v1/links")).json()["links"][0]["state"] == "issued"
        assert (await client.delete(f"/v1/links/{made['id']}")).json()["state"] == "revoked"
        assert not (await client.post("/v1/explain", json={"url": made["url"]})).json()["admitted"]
        await journal.aclose()
        await ledger.append_events(world.events)
        told = (await client.get("/v1/events", params={"link": made["id"]})).json()["events"]
        assert [event["event"] for event in told] == ["issued", "revoked"]
        await ledger.aclose()
        await store.aclose()

    talk(calls)


def test_batches_are_told_by_size(world: World, talk: Callable[..., None], folder: pathlib.Path) -> None:
    """64 claims in one transaction are one batch under ``le="64"``: Prometheus' own parser reads the histogram."""
    ledger = SqliteLedger(folder / "ledger.db")
    change(world, ledger=ledger, runner=LedgerRunner(ledger))

    async def calls(client: httpx.AsyncClient) -> None:
        await ledger.probe()
        await asyncio.gather(*(ledger.insert(bytes([n] * 16), b"{}", FORGET_NEVER_S) for n in range(64)))
        await ledger.insert(b"x" * 16, b"{}", FORGET_NEVER_S)
        families = text_string_to_metric_families((await client.get("/metrics")).text)
        (family,) = (family for family in families if family.name == "oncegate_ledger_batch_size")
        writes = [sample for sample in family.samples if sample.labels["call"] == "write"]
        buckets = {sample.labels["le"]: sample.value for sample in writes if "le" in sample.labels}
        assert family.type == "histogram"
        assert (buckets["1.0"], buckets["32.0"], buckets["64.0"], buckets["+Inf"]) == (1, 1, 2, 2)
        assert [sample.value for sample in writes if sample.name.endswith(("_sum", "_count"))] == [2, 65]
        await ledger.aclose()

    talk(calls)


def test_what_a_ledger_repeats_by_itself_is_told(world: World, talk: Callable[..., None]) -> None:
    """``dynamodb:`` asks again before it says unknown, so lost answers showed nowhere until all tries were spent."""
    address = parse_address(f"//links?region=us-east-1&endpoint=http://127.0.0.1:{free_port()}", {})
    credentials = GivenCredentials(AwsCredentials(access_key_id="AKIDEXAMPLE", secret="of nobody"))
    ledger = DynamodbLedger(address, credentials=credentials)
    change(world, ledger=ledger, runner=LedgerRunner(ledger))
    world.meters.ledger_retry()
    world.meters.ledger_retry()

    async def calls(client: httpx.AsyncClient) -> None:
        assert isinstance(await ledger.read(b"x" * 16), Unknown)
        lines = (await client.get("/metrics")).text.splitlines()
        assert f"oncegate_ledger_retries_total {2.0 + ATTEMPTS_MAX - 1}" in lines
        await ledger.aclose()

    talk(calls)


def test_a_ledger_without_batches_tells_none(world: World, talk: Callable[..., None]) -> None:
    """A row of zeros would look like a ledger that nobody asks."""

    async def calls(client: httpx.AsyncClient) -> None:
        assert "batch_size" not in (await client.get("/metrics")).text

    talk(calls)
