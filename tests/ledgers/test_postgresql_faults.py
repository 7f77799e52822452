"""The ledger in PostgreSQL when server or network fail: Unknown in time, back by itself, and nothing won twice."""

import asyncio
import functools

import asyncpg
import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.postgresql import connection as postgresql_connection
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, LedgerUnfit, Stands, Unknown
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.postgresql_server import PostgresqlServer

pytestmark = pytest.mark.faults
LINK = bytes(range(16))


@pytest.fixture(scope="module")
def url(postgresql, tmp_path_factory):
    """Give the URL of the ledger of this module."""
    create_ledger(postgresql.url, folder=tmp_path_factory.mktemp("made"))
    return postgresql.url


@pytest.fixture
def outage(outages, postgresql, url, tmp_path):
    """Give the server without a proxy."""

    def connections():
        return int(postgresql.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'oncegate'"))

    yield outages.Outage(postgresql, functools.partial(open_ledger, url, folder=tmp_path), connections=connections)
    postgresql.thaw()


@pytest.fixture(params=["", "?pgbouncer=1"], ids=["direct", "pooled"])
def proxied(request, outages, outage, postgresql, fault_proxy, tmp_path):
    """Give the server behind a proxy, spoken to in both ways."""
    outage.proxy = fault_proxy(postgresql.port)
    url = postgresql.url_of("oncegate", port=outage.proxy.port) + request.param
    outage.open = functools.partial(open_ledger, url, folder=tmp_path)
    return outage


def test_a_frozen_server_is_unknown_and_comes_back(outages, outage):
    """SIGSTOP: the kernel still takes connections, and nobody answers."""
    asyncio.run(outages.outlives(outage, outage.server.freeze, outage.server.thaw, rounds=1))


def test_a_killed_server_is_unknown_and_comes_back(outages, outage):
    """Kill -9 and a start on the same data and port."""
    asyncio.run(outages.outlives(outage, outage.server.kill, outage.server.start))


@pytest.mark.parametrize("fault", ["refuse", "black_hole"])
def test_an_unreachable_server_is_unknown_and_comes_back(fault, outages, outage, postgresql, fault_proxy, tmp_path):
    """Connections are reset, or vanish without a word."""
    proxy = outage.proxy = fault_proxy(postgresql.port)
    url = postgresql.url_of("oncegate", port=proxy.port)
    outage.open = functools.partial(open_ledger, url, folder=tmp_path)
    if fault == "black_hole":
        outage.connections = None  # the server does not learn that we are gone
    asyncio.run(outages.outlives(outage, lambda: setattr(proxy, "fault", fault), proxy.mend, rounds=1))


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


@pytest.mark.parametrize("option", ["", "?pgbouncer=1"])
def test_commits_are_forced_to_the_disk_whatever_others_set(option, tmp_path):
    """With synchronous_commit off for all, a kill loses what a client wrote that trusted the setting, and no claim."""
    settings = {"synchronous_commit": "off", "wal_writer_delay": "10s", "autovacuum": "off"}
    with PostgresqlServer(tmp_path, settings=settings) as server:
        create_ledger(server.url, folder=tmp_path)
        link_ids = [fresh_link_id() for _ in range(5)]

        async def claim():
            ledger = open_ledger(server.url + option, folder=tmp_path)
            await ledger.probe()
            for link_id in link_ids:
                done = await ledger.insert(link_id, b"1", FORGET_NEVER_S)
                assert isinstance(await ledger.replace(link_id, done.version, b"2", FORGET_NEVER_S), Done)
            trusting = await asyncpg.connect(server.url)
            await trusting.execute("INSERT INTO oncegate_records VALUES (1, 2, $1, '3')", LINK)
            await asyncio.to_thread(server.kill)
            trusting.terminate()
            await ledger.aclose()

        async def look():
            ledger = open_ledger(server.url + option, folder=tmp_path)
            found = [await ledger.read(link_id) for link_id in (*link_ids, LINK)]
            await ledger.aclose()
            return found

        asyncio.run(claim())
        server.start()
        *claimed, trusted = asyncio.run(look())
        assert [what.record for what in claimed] == [b"2"] * 5
        assert not isinstance(trusted, Stands), "the kill lost nothing at all: this test proves nothing"


def test_a_server_that_becomes_read_only_is_left(url, postgresql, tmp_path):
    """A primary that was demoted refuses writes on connections that are open: Unknown, and connected anew."""

    async def run():
        ledger = open_ledger(url, folder=tmp_path)
        await ledger.probe()
        assert isinstance(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Done)
        postgresql.sql("ALTER SYSTEM SET default_transaction_read_only = on")
        postgresql.sql("SELECT pg_reload_conf()")
        try:
            async with asyncio.timeout(5):
                while not isinstance(what := await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Unknown):
                    await asyncio.sleep(0.01)
            assert "ead-only" in what.why
            assert isinstance(await ledger.insert(LINK, b"{}", FORGET_NEVER_S), Unknown)
            with pytest.raises(LedgerUnfit, match="takes writes"):
                await ledger.probe()
        finally:
            postgresql.sql(
                "SET default_transaction_read_only = off",
                "ALTER SYSTEM RESET default_transaction_read_only",
                "SELECT pg_reload_conf()",
            )
        async with asyncio.timeout(5):
            while isinstance(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Unknown):
                await asyncio.sleep(0.05)
        await ledger.aclose()

    asyncio.run(run())


def test_one_hung_statement_does_not_hold_the_next(url, postgresql, tmp_path):
    """Somebody's transaction holds one key: its claim ends in Unknown, and a claim after it is not held up longer."""

    async def run():
        ledger = open_ledger(url, folder=tmp_path)
        await ledger.probe()
        other = await asyncpg.connect(url)
        held = fresh_link_id()
        await other.execute("BEGIN")
        await other.execute("INSERT INTO oncegate_records VALUES (1, 2, $1, '3')", held)
        begun_s = asyncio.get_running_loop().time()
        assert isinstance(await ledger.insert(held, b"{}", FORGET_NEVER_S), Unknown)
        assert isinstance(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Done)
        assert asyncio.get_running_loop().time() - begun_s < 4
        await other.execute("ROLLBACK")
        assert isinstance(await ledger.insert(held, b"{}", FORGET_NEVER_S), Done)
        await other.close()
        await ledger.aclose()

    asyncio.run(run())


def test_a_connection_that_was_idle_for_long_is_made_anew(outages, proxied, monkeypatch):
    """A firewall may have dropped it without a word; the first claim after a quiet night must not pay for that."""
    monkeypatch.setattr(postgresql_connection, "IDLE_MAX_S", 0.05)

    async def run():
        async with outages.probed(proxied) as ledger:
            before = proxied.proxy.connections
            await asyncio.sleep(0.1)
            assert isinstance(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Done)
            assert proxied.proxy.connections == before + 1

    asyncio.run(run())
