"""A gateway that is opened from a configuration is kept in order, and let go of whole."""

import asyncio
import pathlib

import pytest

from oncegate.gateway import opening
from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import new_key_pair
from oncegate.ledgers.sqlite import SqliteLedger
from oncegate.settings import load
from oncegate.stores.protocol import StoreUnfit
from oncegate.testing.installation import Installation


def test_keys_are_followed_whatever_went_wrong_once(tmp_path: pathlib.Path, monkeypatch):
    """A task that dies of one surprise trusts a retired key, and leaves stalled transfers, for ever."""
    made = Installation(tmp_path)
    true_refresh, faults = KeyFolder.refresh, [RuntimeError("a surprise"), OSError("another")]

    def refresh(self):
        if faults:
            raise faults.pop()
        return true_refresh(self)

    monkeypatch.setattr(KeyFolder, "refresh", refresh)
    monkeypatch.setattr(opening, "TICK_S", 0.01)

    async def run():
        async with opening.open_gateway(load(made.folder / "oncegate.toml", {})) as opened:
            (made.folder / "keys" / "KNEW.pem").write_bytes(new_key_pair("ecdsa")[1])
            async with asyncio.timeout(10):
                while "KNEW" not in opened.parts.trust().keys:
                    await asyncio.sleep(0.01)
        assert not faults

    asyncio.run(run())


def test_a_ledger_is_closed_again_where_the_store_is_unfit(tmp_path: pathlib.Path, monkeypatch):
    """A site that tries again would else gather connections and locks with every try."""
    made = Installation(tmp_path)
    settings = load(made.folder / "oncegate.toml", {"ONCEGATE_STORE__URL": "file:./nowhere"})
    closed, true_aclose = [], SqliteLedger.aclose

    async def aclose(self):
        closed.append(self)
        await true_aclose(self)

    monkeypatch.setattr(SqliteLedger, "aclose", aclose)

    async def run():
        with pytest.raises(StoreUnfit, match="nowhere"):
            async with opening.open_gateway(settings):
                pass

    asyncio.run(run())
    assert len(closed) == 1
