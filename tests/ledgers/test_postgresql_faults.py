"""The ledger in PostgreSQL when server or network fail: Unknown in time, back by itself, and nothing won twice."""

import asyncio
import pathlib

import asyncpg
import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, LedgerUnfit, Stands, Unknown
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.servers.postgresql import PostgresqlServer

pytestmark = pytest.mark.faults
LINK = bytes(range(16))


@pytest.fixture(scope="module")
def url(postgresql, tmp_path_factory):
    """Give the URL of the ledger of this module."""
    create_ledger(postgresql.url, folder=tmp_path_factory.mktemp("made"))
    return postgresql.url


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


@pytest.mark.anyio
async def test_a_server_that_becomes_read_only_is_left(
    url: str, postgresql: PostgresqlServer, tmp_path: pathlib.Path
) -> None:
    """A primary that was demoted refuses writes on connections that are open: Unknown, and connected anew."""
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


@pytest.mark.anyio
async def test_one_hung_statement_does_not_hold_the_next(
    url: str, postgresql: PostgresqlServer, tmp_path: pathlib.Path
) -> None:
    """Somebody's transaction holds one key: its claim ends in Unknown, and a claim after it is not held up longer."""
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
