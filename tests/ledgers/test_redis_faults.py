"""The ledger in Redis when server or network fail: Unknown in time, back by itself, and nothing won twice."""

import asyncio
import functools

import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, LedgerUnfit, Unknown
from oncegate.ledgers.redis import connection as redis_connection
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.redis_server import RedisServer

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def url(redis_server, tmp_path_factory):
    """Give the URL of the ledger of this module."""
    create_ledger(redis_server.url, folder=tmp_path_factory.mktemp("made"))
    return redis_server.url


@pytest.fixture
def outage(outages, redis_server, url, tmp_path):
    """Give the server without a proxy."""

    def connections():
        return len(redis_server.cli("CLIENT", "LIST", "TYPE", "NORMAL").splitlines()) - 1  # but for the one that asks

    yield outages.Outage(redis_server, functools.partial(open_ledger, url, folder=tmp_path), connections=connections)
    redis_server.thaw()


@pytest.fixture
def proxied(outage, redis_server, fault_proxy, tmp_path):
    """Give the server behind a proxy."""
    outage.proxy = fault_proxy(redis_server.port)
    outage.open = functools.partial(open_ledger, f"redis://127.0.0.1:{outage.proxy.port}/0", folder=tmp_path)
    return outage


def test_a_frozen_server_is_unknown_and_comes_back(outages, outage):
    """SIGSTOP: the kernel still takes connections, and nobody answers."""
    asyncio.run(outages.outlives(outage, outage.server.freeze, outage.server.thaw, rounds=1))


def test_a_killed_server_is_unknown_and_comes_back(outages, outage):
    """Kill -9 and a start on the same data and port; it knows no script any more."""
    asyncio.run(outages.outlives(outage, outage.server.kill, outage.server.start))


@pytest.mark.parametrize("fault", ["refuse", "black_hole"])
def test_an_unreachable_server_is_unknown_and_comes_back(fault, outages, proxied):
    """Connections are reset, or vanish without a word."""
    proxy = proxied.proxy
    if fault == "black_hole":
        proxied.connections = None  # the server does not learn that we are gone
    asyncio.run(outages.outlives(proxied, lambda: setattr(proxy, "fault", fault), proxy.mend, rounds=1))


def test_a_lost_answer_costs_no_use(outages, proxied):
    """The commonest fault of all, and the one that a read cannot settle."""
    asyncio.run(outages.a_lost_answer_costs_no_use(proxied))


def test_a_write_that_lands_late_wins_nothing_twice(outages, proxied):
    """Repeated over a new connection while the first is still under way."""
    asyncio.run(outages.a_write_that_lands_late_wins_nothing_twice(proxied))


def test_a_claim_that_lands_after_503_is_given_back(outages, proxied):
    """Else a link is spent that nobody opened."""
    asyncio.run(outages.a_claim_that_lands_after_503_is_given_back(proxied))


@pytest.mark.timeout(300)  # a server that recovers on a busy machine takes its time
def test_kills_under_load_lose_nothing(outages, outage, request):
    """Every answered claim stands after each kill."""
    asyncio.run(outages.kills_lose_nothing(outage, 10 if request.config.getoption("--nightly") else 5))


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


def test_a_connection_that_was_idle_for_long_is_made_anew(outages, proxied, monkeypatch):
    """A firewall may have dropped it without a word; the first claim after a quiet night must not pay for that."""
    monkeypatch.setattr(redis_connection, "IDLE_MAX_S", 0.05)

    async def run():
        async with outages.probed(proxied) as ledger:
            before = proxied.proxy.connections
            await asyncio.sleep(0.1)
            assert isinstance(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Done)
            assert proxied.proxy.connections == before + 1

    asyncio.run(run())
