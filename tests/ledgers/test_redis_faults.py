"""The ledger in Redis when server or network fail: Unknown in time, back by itself, and nothing won twice."""

import asyncio

import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, LedgerUnfit, Unknown
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.servers.redis import RedisServer

pytestmark = pytest.mark.faults


def test_a_restart_without_memory_takes_nothing(tmp_path):
    """No append-only file, accepted by name: after a restart nothing is free, it is Unknown, and it stays so."""
    with RedisServer(tmp_path, settings={"appendonly": "no"}) as server:
        create_ledger(server.url, folder=tmp_path)

        async def run():
            ledger = open_ledger(server.url, folder=tmp_path, accept=("redis-no-aof",))
            await ledger.probe()
            link_id = fresh_link_id()
            assert isinstance(await ledger.insert(link_id, b"{}", FORGET_NEVER_S), Done)
            server.kill()
            server.start()
            for _ in range(3):
                assert isinstance(await ledger.insert(link_id, b"{}", FORGET_NEVER_S), Unknown)
                assert isinstance(await ledger.read(link_id), Unknown)
            with pytest.raises(LedgerUnfit, match="the ledger is gone"):
                await ledger.probe()
            await ledger.aclose()

        asyncio.run(run())
        assert server.cli("DBSIZE") == "0"
