"""The ledger in PostgreSQL: the conformance suite, batches, rights, schema, and servers that must be refused."""

import asyncio
import contextlib
import functools
import pathlib
import re
import secrets
import time
from collections.abc import AsyncGenerator
from typing import Any

import asyncpg
import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.postgresql import address as postgresql_url
from oncegate.ledgers.postgresql import ledger as postgresql_ledger
from oncegate.ledgers.postgresql import schema as postgresql_schema
from oncegate.ledgers.postgresql.address import parse_address
from oncegate.ledgers.postgresql.batches import LOCK_CLASS
from oncegate.ledgers.postgresql.connection import PostgresqlConnection
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Gone, LedgerUnfit, Stands, Swept, Unknown
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.ledger_suite import LedgerSuite
from oncegate.testing.servers.postgresql import PostgresqlServer

LINK, OTHER = bytes(range(16)), bytes(range(1, 17))
GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "guides" / "choosing-a-ledger.md"


@pytest.fixture
def url(postgresql, tmp_path):
    """Give the URL of an empty ledger in a database of its own."""
    name = f"test_{secrets.token_hex(6)}"
    postgresql.sql(f"CREATE DATABASE {name}")
    made = postgresql.url_of("oncegate", database=name)
    create_ledger(made, folder=tmp_path)
    yield made
    postgresql.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def suite(postgresql, tmp_path_factory):
    """Give the conformance suite over one ledger; as on a server in use, checks find the records of others."""
    folder = tmp_path_factory.mktemp("suite")
    postgresql.sql("CREATE DATABASE suite")
    made = postgresql.url_of("oncegate", database="suite")
    create_ledger(made, folder=folder)
    return LedgerSuite(functools.partial(open_ledger, made, folder=folder))


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


def probe(url, tmp_path, **settings):
    """Probe the ledger, and return what was found out."""

    async def nothing(ledger):
        return await ledger.probe()

    return opened(url, tmp_path, nothing, **settings)


def sql(postgresql, url, text):
    """Run statements in the database of a URL."""
    return postgresql.sql(text, database=url.rpartition("/")[2])


@pytest.mark.anyio
@pytest.mark.parametrize("name", LedgerSuite.CHECKS)
async def test_postgresql_passes(name: str, suite: LedgerSuite) -> None:
    """Every promise, within a process and between processes; nothing is skipped."""
    await suite.run(name)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "name",
    [
        "check_of_many_inserts_one_wins",
        "check_of_many_replaces_one_wins",
        "check_opposite_orders_do_not_block_each_other",
        "check_a_killed_writer_loses_nothing",
        "check_a_sweep_does_not_stall_claims",
    ],
)
async def test_the_transactions_for_poolers_keep_the_promises(name: str, url: str, tmp_path: pathlib.Path) -> None:
    """With ``pgbouncer=1`` every call is a transaction with settings of its own and no kept statement; same promises."""
    suite = LedgerSuite(functools.partial(open_ledger, f"{url}?pgbouncer=1", folder=tmp_path), rounds=5)
    await suite.run(name)


@pytest.mark.anyio
async def test_nothing_outlives_a_transaction_for_poolers(
    url: str, tmp_path: pathlib.Path, postgresql: PostgresqlServer
) -> None:
    """Between calls a pooled session is as it began: no prepared statement, no setting, no lock."""
    async with ledger_at(f"{url}?pgbouncer=1", tmp_path) as ledger:
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        driver = ledger._inserting._driver
        assert not await driver.fetch("SELECT FROM pg_prepared_statements WHERE name <> ''")
        assert (await driver.fetch("SHOW enable_seqscan"))[0][0] == "on"
        assert (await driver.fetch("SHOW statement_timeout"))[0][0] == "0"
        assert not await driver.fetch("SELECT FROM pg_locks WHERE locktype = 'advisory'")


@pytest.mark.anyio
async def test_all_that_wait_share_a_statement(url: str, tmp_path: pathlib.Path) -> None:
    """Sixty-four claims are one transaction: that is the whole speed."""
    async with ledger_at(url, tmp_path) as ledger:
        told = await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S) for _ in range(64)))
        assert {type(what) for what in told} == {Done}
        writes = ledger.batch_sizes["write"]
        assert (writes.sum, writes.up_to_each()[-1]) == (64, 1)


@pytest.mark.anyio
async def test_rows_of_one_batch_share_a_transaction(
    url: str, tmp_path: pathlib.Path, postgresql: PostgresqlServer
) -> None:
    """Seen in the rows themselves: their ``xmin`` is one."""
    async with ledger_at(url, tmp_path) as ledger:
        await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S) for _ in range(64)))
    assert sql(postgresql, url, "SELECT count(*), count(DISTINCT xmin::text) FROM oncegate_records") == "64|1"


@pytest.mark.anyio
async def test_a_mixed_batch_tells_each_its_own(url: str, tmp_path: pathlib.Path) -> None:
    """Won, lost, swept, replaced, gone: all in statements shared with others."""
    async with ledger_at(url, tmp_path) as ledger:
        limit_s = int(time.time())
        await ledger.sweep(limit_s, force=True)
        first = await ledger.insert(LINK, b"1", FORGET_NEVER_S)
        told = await asyncio.gather(
            ledger.insert(LINK, b"2", FORGET_NEVER_S),
            ledger.insert(OTHER, b"3", limit_s + 1),
            ledger.insert(fresh_link_id(), b"4", limit_s),
            ledger.replace(LINK, first.version, b"5", FORGET_NEVER_S),
            ledger.replace(fresh_link_id(), first.version, b"6", FORGET_NEVER_S),
        )
        assert told[0] in (Stands(b"1", first.version), Stands(b"5", told[3].version))
        assert isinstance(told[1], Done)
        assert told[2] == Swept()
        assert isinstance(told[3], Done)
        assert told[4] == Gone()
        assert await ledger.read(LINK) == Stands(b"5", told[3].version)


@pytest.mark.anyio
async def test_a_row_committed_after_the_statement_began_is_read_again(url: str, tmp_path: pathlib.Path) -> None:
    """The insert waits for another's transaction: its snapshot shows nothing, the key is taken. It must be told by whom."""
    async with ledger_at(url, tmp_path) as ledger:
        other = await asyncpg.connect(url)
        await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)
        try:
            await other.execute("BEGIN")
            await other.execute("INSERT INTO oncegate_records VALUES (7, $1, $2, '\\x7b7d')", FORGET_NEVER_S, LINK)
            waiting = asyncio.ensure_future(ledger.insert(LINK, b'{"by":"us"}', FORGET_NEVER_S))
            await until(lambda: waits_for_lock(url))
            assert not waiting.done()
            await other.execute("COMMIT")
            assert await waiting == Stands(b"{}", 7)
            await other.execute("BEGIN")
            await other.execute("UPDATE oncegate_records SET version = 8 WHERE link_id = $1", LINK)
            waiting = asyncio.ensure_future(ledger.replace(LINK, 7, b'{"by":"us"}', FORGET_NEVER_S))
            await until(lambda: waits_for_lock(url))
            await other.execute("COMMIT")
            assert await waiting == Stands(b"{}", 8)
        finally:
            await other.close()


@pytest.mark.anyio
async def test_an_insert_that_waited_through_a_sweep_sees_its_limit(url: str, tmp_path: pathlib.Path) -> None:
    """A batch that began before the sweep must not put back what the sweep forgot: whatever the clocks say."""
    async with ledger_at(url, tmp_path) as ledger:
        now_s = int(time.time())
        await ledger.insert(LINK, b"{}", now_s)
        other = await asyncpg.connect(url)
        try:
            # As a sweep in another gateway: it holds the lock, raises the limit, deletes, and lets go at last.
            await other.execute("BEGIN")
            await other.fetch("SELECT pg_advisory_xact_lock($1, 'oncegate_records'::regclass::oid::int4)", LOCK_CLASS)
            waiting = asyncio.ensure_future(ledger.insert(LINK, b'{"again":1}', now_s))
            await until(lambda: waits_for_lock(url))
            await other.fetch("SELECT setval('oncegate_swept_until', $1, true)", now_s)
            await other.execute("DELETE FROM oncegate_records")
            await other.execute("COMMIT")
            assert not isinstance(await waiting, Done)
            assert await ledger.read(LINK) == Gone()
            assert await ledger.insert(LINK, b"{}", now_s) == Swept()
        finally:
            await other.close()


@pytest.mark.anyio
async def test_a_refused_replace_says_what_stands_for_any_version(url: str, tmp_path: pathlib.Path) -> None:
    """A version of another backend, or one that no bigint holds, must not fail the batch that it came in."""
    async with ledger_at(url, tmp_path) as ledger:
        version = (await ledger.insert(LINK, b"{}", FORGET_NEVER_S)).version
        for strange in ("etag", -1, 2**63):
            assert await ledger.replace(LINK, strange, b"1", FORGET_NEVER_S) == Stands(b"{}", version)
            assert await ledger.replace(OTHER, strange, b"1", FORGET_NEVER_S) == Gone()


def test_plans_use_the_key_from_the_first_batch_on(url, tmp_path, postgresql):
    """A plan that was made while the table was empty would read all of it for every claim once it is full."""

    async def test(ledger):
        for _ in range(8):  # beyond the first calls, for which PostgreSQL plans anew
            await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)
        what = await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        await ledger.replace(LINK, what.version, b"{}", FORGET_NEVER_S)
        await ledger.read(LINK)

    def scans():
        text = "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'oncegate_records'"
        return [int(count) for count in sql(postgresql, url, text).split("|")]

    sql(postgresql, url, "VACUUM ANALYZE oncegate_records")
    before = scans()
    opened(url, tmp_path, test)
    deadline = time.monotonic() + 5
    while (after := scans())[1] == before[1] and time.monotonic() < deadline:
        time.sleep(0.05)  # a session tells its counts when it ends
    assert after[0] == before[0]
    assert after[1] >= before[1] + 10


# Who may do what.


@pytest.fixture
def gateway_role(url, postgresql):
    """Give the URL of a role without rights, and the GRANT statements of the guide for it."""
    role = f"gateway_{secrets.token_hex(4)}"
    sql(postgresql, url, f"CREATE ROLE {role} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC")
    block = GUIDE.read_text().partition("```sql\n")[2].partition("```")[0]
    yield url.replace("oncegate@", f"{role}@"), block.replace(" TO gateway;", f" TO {role};").strip().splitlines()
    sql(postgresql, url, f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.anyio
async def test_the_rights_in_the_guide_are_enough(
    gateway_role, url: str, tmp_path: pathlib.Path, postgresql: PostgresqlServer
) -> None:
    """One role makes the ledger, another claims, lists, sweeps and keeps events, with those and no others."""
    theirs, grants = gateway_role
    sql(postgresql, url, "\n".join(grants))

    async with ledger_at(theirs, tmp_path) as ledger:
        done = await ledger.insert(LINK, b"{}", int(time.time()))
        assert isinstance(await ledger.replace(LINK, done.version, b"{}", int(time.time())), Done)
        await ledger.append_events([{"at": 1, "event": "complete"}])
        assert len(await ledger.read_events(0, 10)) == len(await ledger.scan(b"", 10)) == 1
        assert await ledger.sweep(int(time.time()), force=True) == 1
        assert await ledger.insert(LINK, b"{}", int(time.time()) - 1) == Swept()


def test_each_right_in_the_guide_is_needed(gateway_role, url, tmp_path, postgresql):
    """A list that asks for too much is not followed; and what is missing is noticed at the start, not at the first sweep."""
    theirs, grants = gateway_role
    with pytest.raises(LedgerUnfit, match="permission denied"):
        probe(theirs, tmp_path)
    sql(postgresql, url, "\n".join(grants))
    probe(theirs, tmp_path)
    rights = [
        (right.strip(), where.replace(" TO ", " FROM "))
        for what, _, where in (grant.removeprefix("GRANT ").partition(" ON ") for grant in grants)
        for right in what.split(",")
    ]
    assert len(rights) == 12
    for right, where in rights:
        sql(postgresql, url, f"REVOKE {right} ON {where}")
        with pytest.raises(
            LedgerUnfit,
            match=r"permission denied|GRANT SELECT, UPDATE \(tries\) ON oncegate_meta; SELECT, INSERT, UPDATE",
        ):
            probe(theirs, tmp_path)
        sql(postgresql, url, "\n".join(grants))


def test_tables_in_a_schema_of_their_own(url, tmp_path, postgresql):
    """``schema=`` keeps two installations apart in one database; the default is public, whatever search_path says."""
    sql(postgresql, url, "CREATE SCHEMA files; ALTER DATABASE " + url.rpartition("/")[2] + " SET search_path = files")
    create_ledger(f"{url}?schema=files", folder=tmp_path)

    async def test(ledger):
        return await ledger.insert(LINK, b"{}", FORGET_NEVER_S)

    assert isinstance(opened(f"{url}?schema=files", tmp_path, test), Done)
    assert isinstance(opened(url, tmp_path, test), Done)


def test_a_schema_that_is_not_there_is_made_by_who_may(url, tmp_path, postgresql):
    """It is named in the URL, so it is wanted; who may not make it is told what to run, and by whom."""
    role = f"maker_{secrets.token_hex(4)}"
    sql(postgresql, url, f"CREATE ROLE {role} LOGIN")
    theirs = url.replace("oncegate@", f"{role}@")
    with pytest.raises(LedgerUnfit, match=r"no schema other, and this role may not make it: .*CREATE SCHEMA other"):
        postgresql_migrate(f"{theirs}?schema=other", tmp_path)
    sql(postgresql, url, f"CREATE SCHEMA other AUTHORIZATION {role}")
    assert postgresql_migrate(f"{theirs}?schema=other", tmp_path) is True  # it need not be able to make one
    assert postgresql_migrate(f"{url}?schema=once", tmp_path) is True
    assert sql(postgresql, url, "SELECT count(*) FROM once.oncegate_meta") == "1"
    sql(postgresql, url, f"DROP OWNED BY {role}; DROP ROLE {role}")


# The schema.


def test_a_ledger_is_made_once(url, tmp_path):
    """``init`` where a ledger stands must not begin a new one; ``migrate`` finds nothing to do."""
    born_ms = probe(url, tmp_path).born_ms
    with pytest.raises(LedgerUnfit, match="made once"):
        create_ledger(url, folder=tmp_path)
    assert postgresql_ledger.migrate_from_url(url, folder=tmp_path) is False
    assert probe(url, tmp_path).born_ms == born_ms


def test_no_ledger_is_made_in_passing(url, tmp_path, postgresql):
    """An empty database where a ledger was would open every used link again: say so, and make nothing."""
    sql(postgresql, url, "DROP TABLE oncegate_meta, oncegate_records, oncegate_events")
    with pytest.raises(LedgerUnfit, match="oncegate ledger migrate"):
        probe(url, tmp_path)
    assert sql(postgresql, url, "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'oncegate%'") == "0"


def test_a_newer_schema_is_refused(url, tmp_path, postgresql):
    """An older oncegate must not write into what it does not know."""
    sql(postgresql, url, "UPDATE oncegate_meta SET schema_version = schema_version + 1")
    with pytest.raises(LedgerUnfit, match="newer oncegate"):
        probe(url, tmp_path)
    with pytest.raises(LedgerUnfit, match="newer oncegate"):
        postgresql_migrate(url, tmp_path)


def test_an_older_schema_is_migrated(url, tmp_path, monkeypatch):
    """A step is carried out once, keeps the records, and is asked for until then."""

    async def claim(ledger):
        return await ledger.insert(LINK, b"{}", FORGET_NEVER_S)

    async def read(ledger):
        return await ledger.read(LINK)

    done = opened(url, tmp_path, claim)
    step = "ALTER TABLE {schema}.oncegate_records ADD COLUMN colour text;"
    monkeypatch.setattr(postgresql_schema, "_STEPS", (*postgresql_schema._STEPS, step))
    with pytest.raises(LedgerUnfit, match="older schema 2: run `oncegate ledger migrate`"):
        probe(url, tmp_path)
    assert postgresql_migrate(url, tmp_path) is True
    assert postgresql_migrate(url, tmp_path) is False
    assert opened(url, tmp_path, read) == Stands(b"{}", done.version)


def test_a_step_that_fails_leaves_nothing(url, tmp_path, monkeypatch):
    """A migration is whole or not at all."""
    step = "CREATE TABLE {schema}.half (n int); SELECT 1 / 0;"
    monkeypatch.setattr(postgresql_schema, "_STEPS", (*postgresql_schema._STEPS, step))
    with pytest.raises(LedgerUnfit, match="division by zero"):
        postgresql_migrate(url, tmp_path)
    monkeypatch.undo()
    probe(url, tmp_path)


@pytest.mark.parametrize("schema", ["public", "once"])
def test_many_gateways_may_migrate_at_once(schema, postgresql, tmp_path):
    """Three containers start together: one makes the ledger, and its schema where it must; the others find it."""
    name = f"test_{secrets.token_hex(6)}"
    postgresql.sql(f"CREATE DATABASE {name}")
    address = parse_address(postgresql.url_of("oncegate", database=name).partition(":")[2])

    async def run():
        connections = [PostgresqlConnection(address) for _ in range(8)]
        try:
            return await asyncio.gather(
                *(postgresql_schema.migrate(connection, schema, may_stand=True) for connection in connections)
            )
        finally:
            await asyncio.gather(*(connection.aclose() for connection in connections))

    assert sorted(asyncio.run(run())) == [False] * 7 + [True]


# What must be refused.


def test_a_server_that_only_reads_is_refused(postgresql, tmp_path):
    """It takes no claim, and nothing in ``accept`` helps."""
    with (
        PostgresqlServer(tmp_path / "other", settings={"default_transaction_read_only": "on"}) as server,
        pytest.raises(LedgerUnfit, match="takes writes"),
    ):
        probe(server.url, tmp_path, accept=tuple(postgresql_ledger.WEAKER_PROMISES))


def test_a_server_that_forgets_is_accepted_by_name_only(tmp_path):
    """No fsync, no promise, unless the log is kept elsewhere: Neon has these settings, and a plain server can."""
    with PostgresqlServer(tmp_path / "other", settings={"fsync": "off", "full_page_writes": "off"}) as server:
        create_ledger(server.url, folder=tmp_path)
        names = ("postgresql-no-fsync", "postgresql-no-full-page-writes")
        for count, remedy in enumerate(("set fsync = on", "set full_page_writes = on")):
            with pytest.raises(LedgerUnfit, match=rf'{remedy}; or accept it: .*accept = \["{names[count]}"\]'):
                probe(server.url, tmp_path, accept=names[:count])
        assert probe(server.url, tmp_path, accept=names).accepted == names


def test_torn_pages_are_accepted_by_name_only(tmp_path):
    """full_page_writes is rightly off on storage that never tears a page: that is for the operator to know."""
    with PostgresqlServer(tmp_path / "other", settings={"full_page_writes": "off"}) as server:
        create_ledger(server.url, folder=tmp_path)
        with pytest.raises(LedgerUnfit, match=r'accept = \["postgresql-no-full-page-writes"\]'):
            probe(server.url, tmp_path)
        accepted = probe(server.url, tmp_path, accept=("postgresql-no-full-page-writes",)).accepted
        assert accepted == ("postgresql-no-full-page-writes",)


@pytest.mark.slow
def test_standbys_are_refused_and_reported(tmp_path):
    """A standby takes no claim. Its primary may lose the last ones to it: accepted by name, or the standby is synchronous."""
    with PostgresqlServer(tmp_path / "primary", settings={"wal_keep_size": "64MB"}) as primary:
        create_ledger(primary.url, folder=tmp_path)
        assert probe(primary.url, tmp_path).accepted == ()
        with PostgresqlServer(tmp_path / "standby", base=primary) as standby:
            for refused in (probe, postgresql_migrate):
                with pytest.raises(LedgerUnfit, match=r"^postgresql: no server of .* takes writes: it is a standby"):
                    refused(standby.url, tmp_path)
            with pytest.raises(
                LedgerUnfit, match=r"a standby follows.*synchronous_standby_names.*postgresql-async-standby"
            ):
                probe(primary.url, tmp_path)
            accepted = probe(primary.url, tmp_path, accept=("postgresql-async-standby",)).accepted
            assert accepted == ("postgresql-async-standby",)
            # Both in one URL: the one that takes writes is found.
            both = f"postgresql://oncegate@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/postgres"
            probe(both, tmp_path, accept=("postgresql-async-standby",))
            primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.sql("SELECT pg_reload_conf()")
            assert probe(primary.url, tmp_path).accepted == ()

            async def claim(ledger):
                standby.freeze()  # a synchronous commit waits for it: nothing is answered that it does not have
                return await ledger.insert(LINK, b"{}", FORGET_NEVER_S)

            assert isinstance(opened(primary.url, tmp_path, claim), Unknown)
            with pytest.raises(LedgerUnfit, match="did not answer while it was tried"):
                probe(primary.url, tmp_path)  # a gateway that starts now could answer no claim
            standby.thaw()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("ALTER TABLE oncegate_records SET UNLOGGED", "unlogged"),
        ("ALTER TABLE oncegate_records DROP CONSTRAINT oncegate_records_pkey", "no unique key"),
        ("DELETE FROM oncegate_meta", "lost its row"),
    ],
)
def test_a_damaged_ledger_is_refused(damage, words, url, tmp_path, postgresql):
    """Tables that somebody changed keep no promise, and are not repaired in passing."""
    sql(postgresql, url, damage)
    with pytest.raises(LedgerUnfit, match=words):
        probe(url, tmp_path)


@pytest.mark.anyio
async def test_a_ledger_exchanged_meanwhile_takes_nothing(
    url: str, tmp_path: pathlib.Path, postgresql: PostgresqlServer
) -> None:
    """Dropped and made anew under a running gateway: every used link would open again. Unknown until a restart."""
    async with ledger_at(url, tmp_path) as ledger:
        assert isinstance(await ledger.insert(LINK, b"{}", FORGET_NEVER_S), Done)
        sql(postgresql, url, "UPDATE oncegate_meta SET born_ms = born_ms + 1; TRUNCATE oncegate_records")
        for what in (
            await ledger.insert(LINK, b"{}", FORGET_NEVER_S),
            await ledger.replace(LINK, 1, b"{}", FORGET_NEVER_S),
            await ledger.read(LINK),
        ):
            assert isinstance(what, Unknown)
            assert "another ledger" in what.why
        with pytest.raises(LedgerUnfit, match="restart"):
            await ledger.probe()
    assert sql(postgresql, url, "SELECT count(*) FROM oncegate_records") == "0"


@pytest.mark.anyio
async def test_a_sweep_by_a_wrong_clock_is_refused(url: str, tmp_path: pathlib.Path) -> None:
    """A clock days ahead would forget the records of living links; both sides of the boundary."""
    async with ledger_at(url, tmp_path) as ledger:
        now_s = int(time.time())
        with pytest.raises(LedgerUnfit, match="clock"):
            await ledger.sweep(now_s + 310, force=True)
        with pytest.raises(LedgerUnfit, match="clock"):
            await ledger.sweep(now_s - 310, force=True)
        await ledger.sweep(now_s + 290, force=True)


@pytest.mark.anyio
async def test_old_events_go_with_the_sweep(url: str, tmp_path: pathlib.Path) -> None:
    """Ninety days of events are kept."""
    async with ledger_at(url, tmp_path) as ledger:
        now_s = int(time.time())
        ages_s = (91 * 86_400, 89 * 86_400, 0)
        await ledger.append_events([{"at": now_s - age_s, "event": "complete"} for age_s in ages_s])
        await ledger.sweep(now_s, force=True)
        assert [event["at"] for _, event in await ledger.read_events(0, 10)] == [now_s - age_s for age_s in ages_s[1:]]


# The URL.


@pytest.mark.parametrize(
    "address",
    [
        "postgresql:", "postgresql:/db", "postgresql://h/d?pgbounced=1", "postgresql://h/d?pgbouncer=yes",
        "postgresql://h/d?schema=a;drop", "postgresql://h/d?schema=a&schema=b", "postgresql://u:secret#1@h/d",
    ],
)  # fmt: skip
def test_a_url_that_means_nothing_is_refused(address, tmp_path):
    """Misspelt, an option is a promise that nobody keeps; the refusal never repeats the URL."""
    with pytest.raises(LedgerUnfit) as refusal:
        open_ledger(address, folder=tmp_path)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("keepalives=1", r'"keepalives" .*leave it out'),
        ("keepalives_idle=30", r'"keepalives_idle" .*leave it out'),
        ("options=-c%20fsync%3Doff", r'"options" .*ALTER ROLE'),
        ("channel_binding=require", r'"channel_binding" .*verify-full'),
        ("gssencmode=disable", r'"gssencmode" .*TLS alone'),
        ("direct_tls=1", r'"direct_tls" .*sslnegotiation'),
        ("aplication_name=x", r'"aplication_name" .*there are application_name, connect_timeout, '),
        ("application_name=" + "x" * 64, "1 to 63"),
        ("application_name=", "1 to 63"),
        ("application_name=a%00b", "printable"),
        ("connect_timeout=soon", "whole seconds"),
        ("target_session_attrs=standby", "a ledger is written"),
        ("target_session_attrs=prefer-standby", "a ledger is written"),
    ],
)
def test_what_may_not_stand_in_a_url_is_refused_by_its_name(query, words, tmp_path):
    """What works with psql is copied here: whoever does it must be told what to leave out, and why."""
    with pytest.raises(LedgerUnfit, match=words):
        open_ledger(f"postgresql://h/d?{query}", folder=tmp_path)


@pytest.mark.parametrize("target", ["any", "read-write", "primary"])
def test_what_libpqs_users_write_is_taken(target, url, tmp_path, postgresql):
    """Another spelling of the scheme, and options that change nothing: a URL that works elsewhere works here."""
    query = f"connect_timeout=10&target_session_attrs={target}&application_name=" + "y" * 63
    theirs = f"postgres{url.removeprefix('postgresql')}?{query}"

    async def test(ledger):
        assert isinstance(await ledger.insert(LINK, b"{}", FORGET_NEVER_S), Done)
        return postgresql.sql(
            "SELECT DISTINCT application_name FROM pg_stat_activity WHERE application_name LIKE 'yy%'"
        )

    assert opened(theirs, tmp_path, test) == "y" * 63
    assert postgresql_migrate(theirs, tmp_path) is False


def test_the_options_in_the_guide_are_those_that_are_known():
    """The guide said that all of libpq's may stand there, and half of them were refused."""
    section = GUIDE.read_text().partition("After the\nquestion mark may stand:")[2].partition("Anything else")[0]
    names = {
        name
        for words in re.findall(r"^- (.+?)(?::|\.$)", section, re.MULTILINE | re.DOTALL)
        for name in re.findall(r"`([a-z_]+)", words)
    } - {"primary", "any"}
    assert names == postgresql_url._OURS | postgresql_url._DRIVERS


def test_a_password_is_never_told(postgresql, tmp_path, caplog):
    """Not by a refusal, nor by an Unknown, nor by a representation."""
    bad = f"postgresql://nobody:hunter2secret@127.0.0.1:{postgresql.port}/none"
    with pytest.raises(LedgerUnfit) as refusal:
        probe(bad, tmp_path)

    async def run():
        ledger = open_ledger(bad, folder=tmp_path)
        told = [await ledger.insert(LINK, b"{}", FORGET_NEVER_S), await ledger.read(LINK), repr(vars(ledger))]
        await ledger.append_events([{"at": 0, "event": "complete"}])
        await ledger.aclose()
        return repr(told)

    assert "hunter2" not in asyncio.run(run()) + str(refusal.value) + caplog.text + repr(parse_address(bad[11:]))


def postgresql_migrate(url, tmp_path):
    """Migrate as the command does."""
    return postgresql_ledger.migrate_from_url(url, folder=tmp_path)


async def until(holds):
    """Wait until something holds that another process does."""
    async with asyncio.timeout(5):
        while not await holds():
            await asyncio.sleep(0.01)


async def waits_for_lock(url):
    """Say whether some session of this database waits for a lock."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    finally:
        await connection.close()
