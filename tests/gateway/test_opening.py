"""A gateway that is opened from a configuration is kept in order, and let go of whole."""

import asyncio
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import new_key_pair
from oncegate.ledgers.sqlite.ledger import SqliteLedger
from oncegate.links.grant import Operation
from oncegate.service import gateway as opening
from oncegate.settings import load
from oncegate.stores.directory.store import DirectoryStore
from oncegate.stores.protocol import StoreBusy, StoreFault, StoreRefused, StoreUnfit
from oncegate.testing.installation import Installation
from oncegate.testing.raw_http import ask
from oncegate.testing.servers.object_stores import store_options


@pytest.mark.anyio
async def test_keys_are_followed_whatever_went_wrong_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that dies of one surprise trusts a retired key, and leaves stalled transfers, for ever."""
    made = Installation(tmp_path)
    true_refresh, faults = KeyFolder.refresh, [RuntimeError("a surprise"), OSError("another")]

    def refresh(self: KeyFolder) -> bool:
        if faults:
            raise faults.pop()
        return true_refresh(self)

    monkeypatch.setattr(KeyFolder, "refresh", refresh)
    monkeypatch.setattr(opening, "TICK_S", 0.01)
    async with opening.open_gateway(load(made.folder / "oncegate.toml", {})) as opened:
        (made.folder / "keys" / "KNEW.pem").write_bytes(new_key_pair("ecdsa")[1])
        async with asyncio.timeout(60):
            while "KNEW" not in opened.parts.trust().keys:
                await asyncio.sleep(0.01)
    assert not faults


@pytest.mark.anyio
async def test_a_ledger_is_closed_again_where_the_store_is_unfit(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that tries again would else gather connections and locks with every try."""
    made = Installation(tmp_path)
    settings = load(made.folder / "oncegate.toml", {"ONCEGATE_STORE__URL": "file:./nowhere"})
    closed: list[SqliteLedger] = []
    true_aclose = SqliteLedger.aclose

    async def aclose(self: SqliteLedger) -> None:
        closed.append(self)
        await true_aclose(self)

    monkeypatch.setattr(SqliteLedger, "aclose", aclose)
    with pytest.raises(StoreUnfit, match="nowhere"):
        async with opening.open_gateway(settings):
            pass
    assert len(closed) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [StoreFault, StoreBusy, StoreRefused])
async def test_a_store_that_fails_at_the_start_is_unfit(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    """Whoever opens a gateway is told by one kind of error: a fault of the store would be a traceback and status 1."""
    made = Installation(tmp_path)

    async def probe(self: DirectoryStore) -> None:
        raise fault("what it said")

    monkeypatch.setattr(DirectoryStore, "probe", probe)
    with pytest.raises(StoreUnfit, match="what it said"):
        async with opening.open_gateway(load(made.folder / "oncegate.toml", {})):
            pass


def test_a_server_without_multipart_uploads_is_served(tmp_path: pathlib.Path, wrong_s3: Callable[..., Any]) -> None:
    """It answers 501 to them: small uploads and large ones of a known length work, and the gateway starts."""
    server = wrong_s3("501-multipart")
    made = Installation(tmp_path, tables={"store": {"url": "s3://bucket"}, "store.options": store_options(server.url)})
    with made.serve():
        for size_bytes in (1000, 9 << 20):
            url = made.link(f"{size_bytes}.bin", operation=Operation.PUT)
            assert ask("PUT", url, body=bytes(size_bytes)).status == 200
            assert len(server.objects[f"{size_bytes}.bin"]["data"]) == size_bytes


def test_a_server_that_fails_while_it_is_tried_ends_serve_with_words(
    tmp_path: pathlib.Path, wrong_s3: Callable[..., Any]
) -> None:
    """Status 2 and no traceback: the log of a service is read by who set it up, not by who wrote it."""
    server = wrong_s3("503-multipart")
    made = Installation(tmp_path, tables={"store": {"url": "s3://bucket"}, "store.options": store_options(server.url)})
    done = made.run("serve")
    assert done.returncode == 2
    assert "store.url: the store can be read, and failed" in done.stderr
    assert "Traceback" not in done.stderr
