"""The ledger in PostgreSQL behind pgbouncer and over TLS, both real."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import pathlib
import secrets
from collections.abc import AsyncGenerator
from typing import Any

import asyncpg
import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, LedgerUnfit, Stands
from oncegate.testing.certificates import make_authority
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.ledger_suite import LedgerSuite
from oncegate.testing.servers.postgresql import PgbouncerServer, PostgresqlServer

LINK = bytes(range(16))


@contextlib.asynccontextmanager
async def ledger_at(url: str, tmp_path: pathlib.Path, **settings: Any) -> AsyncGenerator[Any]:
    """Open and probe a ledger, and close it when the block ends."""
    ledger = open_ledger(url, folder=tmp_path, **settings)
    try:
        await ledger.probe()
        yield ledger
    finally:
        await ledger.aclose()


def opened(url, tmp_path, test, **settings):
    """Run ``test(ledger)`` on a probed ledger, close it, and return what came of it."""

    async def run():
        async with ledger_at(url, tmp_path, **settings) as ledger:
            return await test(ledger)

    return asyncio.run(run())


async def claim(ledger):
    """Take a link."""
    return await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)


# pgbouncer.


@pytest.fixture(scope="module")
def pooled(postgresql, require_tool):
    """Give pgbouncer before the server, in transaction mode, with fewer sessions than there are clients."""
    require_tool("pgbouncer")
    with PgbouncerServer(postgresql) as server:
        yield server


@pytest.fixture
def pooled_url(postgresql, pooled, tmp_path):
    """Give the URL of an empty ledger through pgbouncer, made through it."""
    name = f"test_{secrets.token_hex(6)}"
    postgresql.sql(f"CREATE DATABASE {name}")
    made = pooled.url_of(database=name)
    create_ledger(made, folder=tmp_path)
    return made


@pytest.fixture(scope="module")
def pooled_suite(postgresql, pooled, tmp_path_factory):
    """Give the conformance suite through pgbouncer."""
    folder = tmp_path_factory.mktemp("pooled")
    postgresql.sql("CREATE DATABASE pooled")
    made = pooled.url_of(database="pooled")
    create_ledger(made, folder=folder)
    return LedgerSuite(functools.partial(open_ledger, made, folder=folder), rounds=5, kills=2)


@pytest.mark.anyio
@pytest.mark.parametrize("name", LedgerSuite.CHECKS)
async def test_it_passes_behind_pgbouncer(name: str, pooled_suite) -> None:
    """Each transaction may run in another session, where no statement of ours is prepared and no setting of ours holds."""
    await pooled_suite.run(name)


def test_behind_pgbouncer_commits_are_forced_to_the_disk_whatever_others_set(tmp_path, require_tool):
    """A setting of the session would be lost: a kill of the server loses what trusted the default, and no claim."""
    require_tool("pgbouncer")
    settings = {"synchronous_commit": "off", "wal_writer_delay": "10s", "autovacuum": "off"}
    with PostgresqlServer(tmp_path / "server", settings=settings) as server, PgbouncerServer(server) as pooler:
        url = pooler.url_of()
        create_ledger(url, folder=tmp_path)
        link_ids = [fresh_link_id() for _ in range(5)]

        async def work(ledger):
            for link_id in link_ids:
                done = await ledger.insert(link_id, b"1", FORGET_NEVER_S)
                assert isinstance(await ledger.replace(link_id, done.version, b"2", FORGET_NEVER_S), Done)
            trusting = await asyncpg.connect(server.url)
            await trusting.execute("INSERT INTO oncegate_records VALUES (1, 2, $1, '3')", LINK)
            await asyncio.to_thread(server.kill)
            trusting.terminate()

        async def look():
            ledger = open_ledger(server.url, folder=tmp_path)
            found = [await ledger.read(link_id) for link_id in (*link_ids, LINK)]
            await ledger.aclose()
            return found

        opened(url, tmp_path, work)
        server.start()
        *claimed, trusted = asyncio.run(look())
        assert [what.record for what in claimed] == [b"2"] * 5
        assert not isinstance(trusted, Stands), "the kill lost nothing at all: this test proves nothing"


@pytest.mark.anyio
async def test_sessions_of_pgbouncer_are_left_as_they_were(pooled, pooled_url, tmp_path: pathlib.Path) -> None:
    """What stays behind in a shared session meets other programs: settings, statements, locks."""
    async with ledger_at(pooled_url, tmp_path) as ledger:
        await asyncio.gather(*(claim(ledger) for _ in range(64)))
        shared = await asyncpg.connect(pooled_url.partition("?")[0], statement_cache_size=0)
        try:
            for _ in range(8):
                seen = await shared.fetchrow(
                    "SELECT current_setting('enable_seqscan') AS plans, current_setting('statement_timeout') AS limit,"
                    " current_setting('synchronous_commit') AS durable,"
                    " (SELECT count(*) FROM pg_prepared_statements WHERE name <> '') AS kept,"
                    " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks"
                )
                assert tuple(seen) == ("on", "0", "on", 0, 0)
        finally:
            await shared.close()


def test_pgbouncer_that_nobody_told_of_is_refused_at_the_start(pooled_url, tmp_path):
    """Without ``pgbouncer=1`` settings of a session are asked for, which it has not: said at once, not under load."""
    with pytest.raises(LedgerUnfit, match="pgbouncer=1"):
        opened(pooled_url.partition("?")[0], tmp_path, claim)


@pytest.mark.anyio
async def test_a_pgbouncer_that_is_killed_is_unknown_and_comes_back(
    pooled, pooled_url, tmp_path: pathlib.Path, outages
) -> None:
    """Its clients are cut; the ledger says so in time and goes on by itself with the next."""
    outage = outages.Outage(server=pooled, open=functools.partial(open_ledger, pooled_url, folder=tmp_path))
    await outages.outlives(outage, pooled.kill, pooled.start, rounds=1)


# TLS.


@pytest.fixture(scope="module")
def secured(packaged_postgresql, tmp_path_factory):
    """Give a server that takes its users over TLS alone, with a certificate of our own authority."""
    folder = tmp_path_factory.mktemp("secured")
    authority = make_authority()
    (folder / "ca.pem").write_bytes(authority.certificate)
    (folder / "other.pem").write_bytes(make_authority().certificate)
    with PostgresqlServer(
        folder / "server",
        version=packaged_postgresql,
        tls=authority.issue("127.0.0.1"),
        access=["hostssl all gate 127.0.0.1/32 scram-sha-256"],
    ) as server:
        server.sql("CREATE ROLE gate LOGIN PASSWORD 'secret'", "GRANT ALL ON SCHEMA public TO gate")
        place = f"postgresql://gate:secret@127.0.0.1:{server.port}/postgres"
        create_ledger(f"{place}?sslmode=verify-full&sslrootcert={folder}/ca.pem", folder=folder)
        server.sql("GRANT pg_monitor TO gate")
        yield folder, place


def test_tls_is_spoken_and_the_certificate_checked(secured, tmp_path):
    """``verify-full`` with the authority's certificate: claims are taken."""
    folder, place = secured
    assert isinstance(opened(f"{place}?sslmode=verify-full&sslrootcert={folder}/ca.pem", tmp_path, claim), Done)


@pytest.mark.parametrize(
    ("query", "host", "words"),
    [
        ("sslmode=verify-full&sslrootcert={}/other.pem", "127.0.0.1", "certificate"),
        ("sslmode=verify-full&sslrootcert={}/ca.pem", "localhost", "certificate|[Hh]ostname"),
        ("sslmode=disable", "127.0.0.1", "no encryption"),
    ],
    ids=["another authority", "another name", "no TLS"],
)
def test_without_the_right_certificate_nothing_is_said(query, host, words, secured, tmp_path):
    """Whoever stands in between would read every claim, and the password first; the refusal does not repeat it."""
    folder, place = secured
    with pytest.raises(LedgerUnfit, match=words) as refusal:
        opened(f"{place.replace('127.0.0.1', host)}?{query.format(folder)}", tmp_path, claim)
    assert "secret" not in str(refusal.value)


def test_a_wrong_password_is_said_without_it(secured, tmp_path):
    """What to look at is told, and nothing that could be tried."""
    folder, place = secured
    wrong = place.replace("secret", "guessed-wrong")
    with pytest.raises(LedgerUnfit, match="password authentication failed") as refusal:
        opened(f"{wrong}?sslmode=verify-full&sslrootcert={folder}/ca.pem", tmp_path, claim)
    assert "guessed-wrong" not in str(refusal.value)
