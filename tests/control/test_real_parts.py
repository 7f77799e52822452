"""The same calls over the default ledger and store: SQLite and a folder."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import httpx
import pytest
from control_world import World, change

from oncegate.ledgers.runner import LedgerRunner
from oncegate.ledgers.sqlite import SqliteLedger
from oncegate.stores.directory import DirectoryStore

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
