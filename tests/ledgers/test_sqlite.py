"""The ledger in a SQLite file: batches, size, sharing between processes; the conformance suite has the rest."""

import asyncio
import functools
import os
import pathlib
import sqlite3
import tempfile
from collections import Counter
from contextlib import asynccontextmanager, closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncegate.ledgers.opening import open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Gone, Insert, LedgerUnfit, Repair, Row, Stands, Unknown
from oncegate.ledgers.sqlite import file as sqlite_file
from oncegate.ledgers.sqlite import rows as sqlite_rows
from oncegate.ledgers.sqlite import threads as sqlite_threads
from oncegate.ledgers.sqlite.ledger import SqliteLedger
from oncegate.ledgers.sqlite.mount import Mount
from oncegate.ledgers.sqlite.rows import DUE_MAX, KEYS_MAX
from oncegate.ledgers.sqlite.threads import Writer
from oncegate.testing.ledger_processes import Job, fresh_link_id, run_together

SPENT_IPV4 = b'{"c":[["q1w2e3r4t5y6u7i8",1767290400,"203.0.113.178","x7Qa"]]}'
SPENT_IPV6 = b'{"c":[["q1w2e3r4t5y6u7i8",1767290400,"2001:db8:85a3:8d3::/64","x7Qa"]]}'
LINK, OTHER = bytes(range(16)), bytes(range(1, 17))


@pytest.fixture
def path(tmp_path) -> pathlib.Path:
    """Give a file that does not exist yet."""
    return tmp_path / "ledger.db"


@asynccontextmanager
async def opened(path, **settings):
    """Open a ledger, probed, and close it."""
    ledger = SqliteLedger(path, **settings)
    await ledger.probe()
    try:
        yield ledger
    finally:
        await ledger.aclose()


@pytest.fixture
def batches(monkeypatch) -> list[int]:
    """Remember how many writes each transaction had."""
    sizes: list[int] = []
    do = sqlite_threads.Writer.do

    def remember(self, asks):
        sizes.append(len(asks))
        return do(self, asks)

    monkeypatch.setattr(sqlite_threads.Writer, "do", remember)
    return sizes


@pytest.mark.anyio
async def test_all_that_wait_share_a_transaction(path: pathlib.Path, batches) -> None:
    """One forced write for 64 claims is what makes the ledger fast; a first one alone would double the cost."""
    async with opened(path) as ledger:
        outcomes = await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S) for _ in range(64)))
        assert Counter(map(type, outcomes)) == {Done: 64}
    assert batches == [64]


@pytest.mark.anyio
async def test_a_transaction_has_its_limit(path: pathlib.Path, batches) -> None:
    """The 129th waits for the next: a transaction must not grow with the load."""
    async with opened(path) as ledger:
        await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S) for _ in range(KEYS_MAX + 1)))
    assert batches == [KEYS_MAX, 1]


@pytest.mark.parametrize("batch_max", [0, KEYS_MAX + 1])
def test_a_batch_that_sqlite_cannot_bind_is_refused(path, batch_max):
    """Older builds of SQLite stop at 999 parameters; better told when made than at the first rush."""
    with pytest.raises(ValueError, match="batch_max"):
        SqliteLedger(path, batch_max=batch_max)


@pytest.mark.anyio
async def test_one_key_many_times_in_a_batch_is_decided_in_turn(path: pathlib.Path, batches) -> None:
    """Insert, insert, replace, replace of one key in one transaction: each sees what the one before did."""
    async with opened(path) as ledger:
        outcomes = await asyncio.gather(
            ledger.insert(LINK, b"1", FORGET_NEVER_S),
            ledger.insert(LINK, b"2", FORGET_NEVER_S),
            ledger.replace(LINK, 1, b"3", FORGET_NEVER_S),
            ledger.replace(LINK, 1, b"4", FORGET_NEVER_S),
            ledger.replace(OTHER, 1, b"5", FORGET_NEVER_S),
        )
        assert outcomes == [Done(1), Stands(b"1", 1), Done(2), Stands(b"3", 2), Gone()]
        assert await ledger.read(LINK) == Stands(b"3", 2)
    assert batches[0] == 5


@pytest.mark.anyio
@pytest.mark.parametrize("count", [1, 2, 3, 5, 127, 128])
async def test_padding_changes_nothing(path: pathlib.Path, count) -> None:
    """Statements are filled up by repeating the last row; every count must store each record once, as it is."""
    rows = [Row(bytes([n]) * 16, b"%d" % n, n + 1, n) for n in range(count)]

    async with opened(path) as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            sqlite_rows.put_rows(connection, rows)
            standing = sqlite_rows.find_standing(connection, [row.link_id for row in rows])
        assert standing.records == {row.link_id: (row.version, row.record) for row in rows}
        assert await ledger.scan(b"", 1000) == rows


@pytest.mark.anyio
async def test_a_version_of_another_ledger_is_refused(path: pathlib.Path) -> None:
    """Versions are opaque: an ETag from a bucket names nothing here, and must not raise."""
    async with opened(path) as ledger:
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        assert await ledger.replace(LINK, '"1"', b"{}", FORGET_NEVER_S) == Stands(b"{}", 1)


@pytest.mark.anyio
@pytest.mark.parametrize("record", [SPENT_IPV4, SPENT_IPV6])
async def test_a_spent_record_takes_at_most_120_bytes(path: pathlib.Path, record) -> None:
    """The budget, at 50,000 records whose ids rise with time, as tickets' do; an index more would break it."""
    async with opened(path) as ledger:
        for start in range(0, 50_000, 1000):
            ids = ((start + n).to_bytes(6, "big") + os.urandom(10) for n in range(1000))
            await asyncio.gather(*(ledger.insert(key, record, 1_767_376_800) for key in ids))
    assert path.stat().st_size / 50_000 <= 120


@pytest.mark.anyio
async def test_refusing_writes_nothing(path: pathlib.Path) -> None:
    """A spent link that is opened again and again must cost no write: neither a page nor a forced one."""
    async with opened(path) as ledger:
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        log = path.with_name("ledger.db-wal")
        before = log.stat().st_size, log.stat().st_mtime_ns
        for _ in range(100):
            assert isinstance(await ledger.insert(LINK, b"{}", FORGET_NEVER_S), Stands)
            assert isinstance(await ledger.replace(LINK, 99, b"{}", FORGET_NEVER_S), Stands)
            assert isinstance(await ledger.replace(OTHER, 1, b"{}", FORGET_NEVER_S), Gone)
        assert (log.stat().st_size, log.stat().st_mtime_ns) == before


@pytest.mark.anyio
async def test_the_log_does_not_grow_without_bound(path: pathlib.Path) -> None:
    """Under a steady load, and beside steady readers, SQLite must get to empty its log."""
    sizes: list[int] = []

    async with opened(path) as ledger:
        log = path.with_name("ledger.db-wal")

        async def read_on() -> None:
            while True:
                await ledger.scan(b"", 100)
                await ledger.read(LINK)

        readers = [asyncio.ensure_future(read_on()) for _ in range(4)]
        for _ in range(100):
            # Ids at random touch a page each: the worst load for the log.
            await asyncio.gather(*(ledger.insert(os.urandom(16), SPENT_IPV4, FORGET_NEVER_S) for _ in range(128)))
            sizes.append(log.stat().st_size)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    assert max(sizes) < 16 * 2**20


@pytest.mark.anyio
async def test_every_commit_is_forced_to_the_disk(path: pathlib.Path) -> None:
    """What is answered must outlive a loss of power: both settings, on the connection that writes."""
    async with opened(path):
        opened_file = sqlite_threads.sqlite_file.connect(path)
        with closing(opened_file.connection) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_three_processes_win_each_link_once(path):
    """Raced at 600 links in the same order: 600 wins in all, and twice as many refusals."""
    open_it = functools.partial(open_ledger, f"sqlite:{path}", folder=path.parent)
    keys = tuple(fresh_link_id() for _ in range(600))
    said = run_together([Job(open_it, "insert", name, link_ids=keys) for name in "abc"])
    told = [Counter(line[1] for line in lines) for lines in said]
    assert sum(count["Done"] for count in told) == 600
    assert sum(count["Stands"] for count in told) == 1200


@pytest.mark.anyio
async def test_a_sweep_works_in_small_steps_beside_claims(path: pathlib.Path, batches) -> None:
    """Each step deletes a bounded span, and shares its transaction with the claims that wait, instead of delaying them."""
    async with opened(path) as ledger:
        for _ in range(3000 // 100):
            await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", 100) for _ in range(100)))
        batches.clear()
        sweeping = asyncio.ensure_future(ledger.sweep(100, force=True))
        claims = 0
        while not sweeping.done():
            await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S) for _ in range(8)))
            claims += 8
        assert await sweeping == 3000
        assert claims >= 3000 // DUE_MAX
    assert len(batches) >= 3000 // DUE_MAX
    assert max(batches) <= 9  # eight claims and one step


@pytest.mark.anyio
async def test_reads_and_lists_are_not_behind_writes(path: pathlib.Path) -> None:
    """While another program holds the write lock, claims wait; reads and lists are answered all the same."""
    async with opened(path, busy_s=0.2) as ledger:
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            claim = asyncio.ensure_future(ledger.insert(OTHER, b"{}", FORGET_NEVER_S))
            assert await ledger.read(LINK) == Stands(b"{}", 1)
            assert [row.link_id for row in await ledger.scan(b"", 10)] == [LINK]
            assert not claim.done()
            assert isinstance(await claim, Unknown)
        assert await ledger.insert(OTHER, b"{}", FORGET_NEVER_S) == Done(1)


@pytest.mark.anyio
async def test_files_are_their_owners(path: pathlib.Path) -> None:
    """Records hold addresses of viewers; nobody else on the machine may read them."""
    async with opened(path) as ledger:
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        await ledger.append_events([{"at": 1, "event": "complete"}])
        modes = {found.name: found.stat().st_mode & 0o777 for found in path.parent.iterdir()}
        assert set(modes.values()) == {0o600}, modes
    assert {found.name for found in path.parent.iterdir()} == {"ledger.db", "ledger.db-lock", "ledger-events.db"}


@pytest.mark.anyio
async def test_events_leave_the_ledgers_file_alone(path: pathlib.Path) -> None:
    """A claim must not wait for events: they go to another file, and force nothing."""
    async with opened(path) as ledger:
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        log = path.with_name("ledger.db-wal")
        before = log.stat().st_size, log.stat().st_mtime_ns
        for at_s in range(20):
            await ledger.append_events([{"at": at_s, "event": "complete", "link_id": "x"}])
        assert (log.stat().st_size, log.stat().st_mtime_ns) == before
        assert len(await ledger.read_events(0, 100, link_id="x")) == 20


@pytest.mark.anyio
async def test_without_a_probe_nothing_is_made(path: pathlib.Path) -> None:
    """A program that claims before it probed gets no new ledger, which would open used links again."""
    ledger = SqliteLedger(path)
    outcome = await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
    assert isinstance(outcome, Unknown)
    assert "does not exist" in outcome.why
    with pytest.raises(OSError, match="does not exist"):
        await ledger.scan(b"", 1)
    with pytest.raises(OSError, match="does not exist"):
        await ledger.sweep(1, force=True)
    await ledger.aclose()
    assert not path.exists()


@pytest.mark.anyio
async def test_a_link_to_the_file_is_followed(path: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Two names by symbolic links are one ledger with one log: what one claims the other sees."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(path)

    async with opened(path) as one, opened(link) as other:
        assert await one.insert(LINK, b"1", FORGET_NEVER_S) == Done(1)
        assert await other.insert(LINK, b"2", FORGET_NEVER_S) == Stands(b"1", 1)
        await other.append_events([{"at": 1, "event": "complete"}])
        assert len(await one.read_events(0, 10)) == 1
    assert [found.name for found in link.parent.iterdir()] == ["link.db"]


def test_a_network_file_system_is_refused_or_accepted_by_name(path):
    """SQLite's log does not work where two machines share the file; who knows better says so, and it is reported."""
    nfs = Mount(path.parent, "nfs4")

    async def probe(accept=()):
        async with opened(path, accept=accept, find_mount=lambda _: nfs) as ledger:
            return await ledger.probe()

    with pytest.raises(LedgerUnfit, match=r"kind nfs4.*sqlite-network-file-system"):
        asyncio.run(probe())
    assert not path.exists()
    facts = asyncio.run(probe(["sqlite-network-file-system"]))
    assert facts.accepted == ("sqlite-network-file-system",)


def test_a_file_system_that_cannot_be_seen_is_refused(path):
    """What cannot be seen counts as unfit, with the way to say that it is local."""

    async def probe(accept=()):
        async with opened(path, accept=accept, find_mount=lambda _: None) as ledger:
            return await ledger.probe()

    with pytest.raises(LedgerUnfit, match="cannot be seen"):
        asyncio.run(probe())
    assert asyncio.run(probe(["sqlite-network-file-system"])).accepted == ("sqlite-network-file-system",)


def test_a_local_file_system_needs_no_acceptance(path):
    """An accepted promise that was not needed is not reported as if it had been."""

    async def probe():
        local = Mount(path.parent, "ext4")
        async with opened(path, accept=["sqlite-network-file-system"], find_mount=lambda _: local) as ledger:
            return await ledger.probe()

    assert asyncio.run(probe()).accepted == ()


def test_a_file_mounted_by_itself_is_refused(path):
    """Two containers with the one file mounted have two logs, and each its own half of the claims."""

    async def probe() -> None:
        async with opened(path, find_mount=lambda where: Mount(where, "ext4")):
            pass

    with pytest.raises(LedgerUnfit, match="mount its folder instead"):
        asyncio.run(probe())


@pytest.mark.anyio
async def test_a_sweep_where_nothing_is_due_walks_nothing(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest time of all records is remembered: hourly sweeps of a large ledger cost one look."""
    looked: list[bytes] = []
    look = sqlite_rows.look_at_page

    def counted(connection: sqlite3.Connection, *, after: bytes, upto: bytes, limit_s: int) -> sqlite_rows.Page:
        looked.append(after)
        return look(connection, after=after, upto=upto, limit_s=limit_s)

    monkeypatch.setattr(sqlite_rows, "look_at_page", counted)
    async with opened(path) as ledger:
        for forget_after_s in (1000, 2000, 3000):
            await ledger.insert(fresh_link_id(), b"{}", forget_after_s)
        assert await ledger.sweep(999, force=True) == 0
        first = len(looked)
        assert await ledger.sweep(999, force=True) == 0
        assert len(looked) == first, "nothing is due: there is nothing to look at"
        await ledger.insert(fresh_link_id(), b"{}", 1500)
        assert await ledger.sweep(1500, force=True) == 2
        assert await ledger.sweep(1999, force=True) == 0
        before = len(looked)
        assert await ledger.sweep(1999, force=True) == 0
        assert len(looked) == before
        assert await ledger.sweep(3000, force=True) == 2


@pytest.mark.anyio
async def test_a_file_of_an_earlier_version_is_taken_over_as_it_is(path: pathlib.Path) -> None:
    """It lacks the table of sweeps: the first probe makes it, and nothing else changes; what is due is found."""
    async with opened(path) as ledger:
        await ledger.insert(LINK, b"{}", 1000)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE sweeping")
    async with opened(path) as ledger:
        assert isinstance(await ledger.read(LINK), Stands)
        assert await ledger.sweep(1000, force=True) == 1


@pytest.mark.anyio
async def test_a_repair_before_the_first_claim_is_noticed(path: pathlib.Path) -> None:
    """A gateway whose probe is older than the repair does not know which tickets are refused since."""
    gateway, repairing = SqliteLedger(path), SqliteLedger(path)
    facts = await gateway.probe()
    await repairing.probe()
    await repairing.rebirth(facts.born_ms + 1, Repair(refused_before_ms=facts.born_ms + 1), -1)
    for told in (await gateway.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), await gateway.read(fresh_link_id())):
        assert isinstance(told, Unknown)
        assert told.kind == "exchanged"
    await gateway.aclose()
    await repairing.aclose()


def rows_of(path: pathlib.Path) -> list[tuple[object, ...]]:
    """Every record of a file, and what is kept of the smallest ``forget_after_s``."""
    with closing(sqlite3.connect(path)) as connection:
        records = connection.execute("SELECT * FROM records ORDER BY link_id").fetchall()
        return [*records, *connection.execute("SELECT least_new FROM sweeping").fetchall()]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0, 100])), min_size=1, max_size=9), max_size=5))
def test_a_batch_of_inserts_is_answered_as_if_each_were_alone(batches: list[list[tuple[int, int]]]) -> None:
    """Batches whose inserts all win take a shorter way; a key in it twice, one that stands or one swept must not."""
    with tempfile.TemporaryDirectory() as name:
        writers = []
        for kind in ("together", "alone"):
            path = pathlib.Path(name) / kind
            sqlite_file.create(path)
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("UPDATE ledger SET swept_until = 50, version_floor = 7")
                connection.commit()
            writers.append(Writer(path))
        together, alone = writers
        for number, batch in enumerate(batches):
            asks = [
                Insert(bytes(15) + bytes([key]), b"%d %d" % (number, place), forget_s)
                for place, (key, forget_s) in enumerate(batch)
            ]
            assert together.do(asks) == [alone.do([ask])[0] for ask in asks]
        for writer in writers:
            writer.close()
        assert rows_of(pathlib.Path(name) / "together") == rows_of(pathlib.Path(name) / "alone")
