"""The ledger in Redis: the conformance suite, forms, loss of memory, rights, and servers that must be refused."""

import asyncio
import contextlib
import datetime
import functools
import ipaddress
import itertools
import pathlib
import random
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import (
    FORGET_NEVER_S,
    NO_REPAIR,
    Done,
    Event,
    Gone,
    LedgerFacts,
    LedgerUnfit,
    Row,
    Stands,
    Swept,
    Unknown,
)
from oncegate.ledgers.redis import ledger as redis_ledger
from oncegate.ledgers.redis.address import RedisAddress, parse_url
from oncegate.ledgers.redis.connection import Command, Reply, SaidNo
from oncegate.ledgers.redis.fitness import Meta, check_fitness
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.ledger_suite import LedgerSuite
from oncegate.testing.servers.redis import RedisServer

LINK, OTHER = bytes(range(16)), bytes(range(1, 17))
PREFIXES = (f"test{number}:" for number in itertools.count())


@pytest.fixture
def url(redis_server, tmp_path):
    """Give the URL of an empty ledger under a prefix of its own."""
    made = f"{redis_server.url}?prefix={next(PREFIXES)}"
    create_ledger(made, folder=tmp_path)
    return made


@pytest.fixture(scope="module")
def suite(redis_server, tmp_path_factory):
    """Give the conformance suite over one ledger; as on a server in use, checks find the records of others."""
    folder = tmp_path_factory.mktemp("suite")
    create_ledger(redis_server.url, folder=folder)
    return LedgerSuite(functools.partial(open_ledger, redis_server.url, folder=folder))


@pytest.fixture
def another(tmp_path):
    """Start another Redis, set in another way: ``another(appendfsync="everysec")``; its ledger is made."""
    started = []

    def start(*, make=True, port=0, **settings):
        settings = {name.replace("_", "-"): value for name, value in settings.items()}
        server = RedisServer(tmp_path, settings=settings, port=port)
        started.append(server)
        server.start()
        if make:
            with ThreadPoolExecutor(1) as pool:  # also of tests that run in an event loop
                pool.submit(create_ledger, server.url, folder=tmp_path).result()
        return server

    yield start
    for server in started:
        server.stop()


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


def probe(url, tmp_path, *accept):
    """Probe the ledger, and return what was found out."""

    async def nothing(ledger):
        return await ledger.probe()

    return opened(url, tmp_path, nothing, accept=accept)


def must_accept(url, tmp_path, *names):
    """Check that each name is asked for, none is enough without the others, and all together are enough."""
    for count in range(len(names)):
        with pytest.raises(LedgerUnfit, match=rf'accept = \["{names[count]}"\]'):
            probe(url, tmp_path, *names[:count])
    assert probe(url, tmp_path, *names).accepted == names


@pytest.mark.anyio
@pytest.mark.parametrize("name", LedgerSuite.CHECKS)
async def test_redis_passes(name: str, suite: LedgerSuite) -> None:
    """Every promise, within a process and between processes; nothing is skipped."""
    await suite.run(name)


@pytest.mark.anyio
async def test_all_that_wait_share_a_call(url: str, tmp_path: pathlib.Path, redis_server: RedisServer) -> None:
    """Sixty-four claims are one script: that is the whole speed."""

    def calls():
        stats = dict(line.split(":", 1) for line in redis_server.cli("INFO", "commandstats").split() if ":" in line)
        return sum(
            int(stats.get(f"cmdstat_{name}", "calls=0").split(",")[0].split("=")[1]) for name in ("eval", "evalsha")
        )

    async with ledger_at(url, tmp_path) as ledger:
        await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)
        before = calls()
        told = await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S) for _ in range(64)))
        assert {type(what) for what in told} == {Done}
        assert calls() - before == 1
        writes = ledger.batch_sizes["write"]
        assert (writes.sum, writes.up_to_each()[-1]) == (65, 2)


@pytest.mark.anyio
async def test_a_batch_of_fresh_links_is_one_write(url: str, tmp_path: pathlib.Path, redis_server: RedisServer) -> None:
    """A command for each record takes the server half as long again; only a batch with a loser in it may pay that."""

    def calls(name):
        stats = dict(line.split(":", 1) for line in redis_server.cli("INFO", "commandstats").split() if ":" in line)
        return int(stats.get(f"cmdstat_{name}", "calls=0").split(",")[0].split("=")[1])

    async with ledger_at(url, tmp_path) as ledger:
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        for taken, each in ((0, 0), (1, 64), (0, 0)):
            before = calls("msetnx"), calls("set")
            links = [LINK] * taken + [fresh_link_id() for _ in range(64 - taken)]
            told = await asyncio.gather(*(ledger.insert(link, b"{}", FORGET_NEVER_S) for link in links))
            assert [type(what) for what in told] == [Stands] * taken + [Done] * (64 - taken)
            assert (calls("msetnx") - before[0], calls("set") - before[1]) == (1, each)


@pytest.mark.anyio
async def test_a_mixed_batch_tells_each_its_own(url: str, tmp_path: pathlib.Path) -> None:
    """Won, lost, swept, replaced, gone: all in one script."""
    async with ledger_at(url, tmp_path) as ledger:
        limit_s = int(time.time())
        await ledger.sweep(limit_s, force=True)
        first = await ledger.insert(LINK, b"1", FORGET_NEVER_S)
        second = await ledger.insert(OTHER, b"2", limit_s + 1)
        told = await asyncio.gather(
            ledger.insert(LINK, b"3", FORGET_NEVER_S),
            ledger.replace(OTHER, second.version, b"4", limit_s + 9),
            ledger.insert(fresh_link_id(), b"5", limit_s),
            ledger.insert(third := fresh_link_id(), b"6", limit_s + 1),
            ledger.replace(fresh_link_id(), first.version, b"7", FORGET_NEVER_S),
        )
        assert told[0] == Stands(b"1", first.version)
        assert isinstance(told[1], Done)
        assert told[2] == Swept()
        assert isinstance(told[3], Done)
        assert told[4] == Gone()
        assert sorted(await ledger.scan(b"", 9), key=lambda row: row.link_id) == [
            Row(LINK, b"1", first.version, FORGET_NEVER_S),
            Row(OTHER, b"4", told[1].version, limit_s + 9),
            Row(third, b"6", told[3].version, limit_s + 1),
        ]


@pytest.mark.anyio
async def test_versions_of_others_are_refused_with_what_stands(url: str, tmp_path: pathlib.Path) -> None:
    """A number, an ETag, nothing at all: never a version of this ledger, and never the one that stands."""
    async with ledger_at(url, tmp_path) as ledger:
        version = (await ledger.insert(LINK, b"{}", FORGET_NEVER_S)).version
        for strange in ("", "etag", 0, 7, str(version)[:15], f"{version}0"):
            assert await ledger.replace(LINK, strange, b"1", FORGET_NEVER_S) == Stands(b"{}", version)
            assert await ledger.replace(OTHER, strange, b"1", FORGET_NEVER_S) == Gone()


@pytest.mark.anyio
async def test_a_record_has_no_time_to_live(url: str, tmp_path: pathlib.Path, redis_server: RedisServer) -> None:
    """The server's clock must not forget by itself: a day ahead and back again would open used links."""
    async with ledger_at(url, tmp_path) as ledger:
        await ledger.insert(LINK, b"{}", int(time.time()) + 5)
    prefix = url.rpartition("=")[2]
    assert (
        redis_server.cli(
            "--raw", "EVAL", "return redis.call('TTL', redis.call('KEYS', ARGV[1])[1])", "0", f"{prefix}r:*"
        )
        == "-1"
    )


@pytest.mark.anyio
async def test_scripts_are_sent_again_when_the_server_forgot_them(
    url: str, tmp_path: pathlib.Path, redis_server: RedisServer
) -> None:
    """After a restart it knows none of them: NOSCRIPT means certainly not done, so it is asked again at once."""
    async with ledger_at(url, tmp_path) as ledger:
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        redis_server.cli("SCRIPT", "FLUSH")
        assert isinstance(await ledger.insert(OTHER, b"{}", FORGET_NEVER_S), Done)
        assert isinstance(await ledger.read(OTHER), Stands)


@pytest.mark.anyio
async def test_events_of_one_link_are_found_among_many(url: str, tmp_path: pathlib.Path) -> None:
    """More than a page of others lies between; numbers go on rising."""
    async with ledger_at(url, tmp_path) as ledger:
        link_id = LINK.hex()
        for start in range(3):
            await ledger.append_events([{"at": start, "event": "refused"}] * 800)
            await ledger.append_events([{"at": start, "event": "complete", "link_id": link_id}])
        found = await ledger.read_events(0, 10, link_id=link_id)
        assert [(number, event["at"]) for number, event in found] == [(801, 0), (1602, 1), (2403, 2)]
        assert [number for number, _ in await ledger.read_events(801, 2)] == [802, 803]
        assert len(await ledger.read_events(801, 2, link_id=link_id)) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(("count", "is_whole"), [(999, True), (1_000, False)])
async def test_a_stream_is_not_read_for_ever(url: str, tmp_path: pathlib.Path, count: int, is_whole: bool) -> None:
    """It cannot count by itself: from a thousand events of one link on, it says that there may be more."""
    async with ledger_at(url, tmp_path) as ledger:
        await ledger.append_events([{"at": 1, "event": "preview", "link_id": "a"}] * count)
        found = await ledger.events_of_link("a", 3)
        assert (found.counts, found.is_whole, len(found.newest)) == ({"preview": count}, is_whole, 3)


# Memory.


@pytest.mark.anyio
async def test_receipts_are_the_last_to_be_forgotten(
    url: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One used link that is asked for all day must not push everybody's receipts out; together they keep their limit."""
    monkeypatch.setattr("oncegate.ledgers.redis.upkeep.EVENTS_KEPT", 1_000)
    async with ledger_at(url, tmp_path) as ledger:
        receipts: list[Event] = [{"event": "download", "at": n, "link_id": "L"} for n in range(300)]
        refusals: list[Event] = [{"event": "refused", "at": n, "link_id": "L"} for n in range(5_000)]
        await ledger.append_events(receipts[:200])
        for start in range(0, 5_000, 500):
            await ledger.append_events(refusals[start : start + 500])
        await ledger.append_events(receipts[200:])
        found = await ledger.read_events(0, 10_000)
        assert [number for number, _ in found] == sorted(number for number, _ in found)
        assert [event for _, event in found if event["event"] == "download"] == receipts
        others = [event for _, event in found if event["event"] == "refused"]
        assert 700 <= len(others) <= 800  # a stream is cut by whole nodes, of a hundred
        assert others == refusals[-len(others) :]
        newest = (await ledger.events_of_link("L", 5)).newest
        assert [event for event in newest if event["event"] == "download"] == receipts[-5:]
        await ledger.append_events([{"event": "upload", "at": n} for n in range(1_500)])
        kept = [event["event"] for _, event in await ledger.read_events(0, 10_000)]
        assert kept.count("refused") < 100
        assert 1_000 <= len(kept) <= 1_200


@pytest.mark.anyio
async def test_events_of_an_earlier_version_are_read_too(
    url: str, tmp_path: pathlib.Path, redis_server: RedisServer
) -> None:
    """It wrote receipts among the others; a gateway of it may run beside this one."""
    prefix = parse_url(url, folder=tmp_path).prefix
    async with ledger_at(url, tmp_path) as ledger:
        await ledger.append_events([{"event": "download", "at": 1}, {"event": "refused", "at": 2}])
        number = redis_server.cli("HINCRBY", f"{prefix}meta", "events", "1").strip()
        redis_server.cli("XADD", f"{prefix}events", f"{number}-0", "l", "", "e", '{"event":"download","at":3}')
        await ledger.append_events([{"event": "upload", "at": 4}])
        assert [(number, event["at"]) for number, event in await ledger.read_events(0, 9)] == [
            (n, n) for n in (1, 2, 3, 4)
        ]
        assert [event["at"] for _, event in await ledger.read_events(2, 1)] == [3]


def test_a_ledger_is_made_once(url, tmp_path):
    """``init`` where a ledger stands must not begin a new one; ``migrate`` finds nothing to do."""
    born_ms = probe(url, tmp_path).born_ms
    with pytest.raises(LedgerUnfit, match="made once"):
        create_ledger(url, folder=tmp_path)
    assert redis_ledger.migrate_from_url(url, folder=tmp_path) is False
    assert probe(url, tmp_path).born_ms == born_ms


def test_a_ledger_is_born_at_the_start(redis_server, tmp_path, caplog):
    """Where none stood one is made, once for all gateways that start together; the log says so, in case one was there."""
    url, before_ms = f"{redis_server.url}?prefix={next(PREFIXES)}", time.time_ns() // 1_000_000

    async def start():
        ledgers = [open_ledger(url, folder=tmp_path) for _ in range(8)]
        facts = await asyncio.gather(*(ledger.probe() for ledger in ledgers))
        await asyncio.gather(*(ledger.aclose() for ledger in ledgers))
        return {fact.born_ms for fact in facts}

    (born_ms,) = asyncio.run(start())
    assert before_ms <= born_ms <= time.time_ns() // 1_000_000
    assert caplog.text.count("made an empty one") == 1


@pytest.mark.anyio
async def test_no_ledger_is_made_in_passing(redis_server: RedisServer, tmp_path: pathlib.Path) -> None:
    """An empty server where a ledger was would open every used link again: no call but the probe makes one."""
    prefix = next(PREFIXES)

    ledger = open_ledger(f"{redis_server.url}?prefix={prefix}", folder=tmp_path)
    assert isinstance(await ledger.insert(LINK, b"{}", FORGET_NEVER_S), Unknown)
    assert isinstance(await ledger.read(LINK), Unknown)
    await ledger.aclose()
    assert redis_server.cli("KEYS", f"{prefix}*") == ""


def test_records_without_their_birth_are_not_taken_for_a_new_ledger(url, tmp_path, redis_server):
    """Half a ledger is a damaged one."""

    async def test(ledger):
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)

    opened(url, tmp_path, test)
    redis_server.cli("DEL", f"{url.rpartition('=')[2]}meta")
    with pytest.raises(LedgerUnfit, match="lost its memory"):
        create_ledger(url, folder=tmp_path)


def test_a_newer_schema_is_refused(url, tmp_path, redis_server):
    """An older oncegate must not write into what it does not know."""
    redis_server.cli("HSET", f"{url.rpartition('=')[2]}meta", "schema", "2")
    for attempt in (lambda: probe(url, tmp_path), lambda: create_ledger(url, folder=tmp_path)):
        with pytest.raises(LedgerUnfit, match="newer oncegate"):
            attempt()


@pytest.mark.anyio
@pytest.mark.parametrize("is_made_again", [False, True])
async def test_a_flushed_ledger_takes_nothing(is_made_again, another, tmp_path: pathlib.Path) -> None:
    """FLUSHALL under a running gateway: every used link would open again. Unknown until a restart, made anew or not."""
    server = another()

    async with ledger_at(server.url, tmp_path) as ledger:
        version = (await ledger.insert(LINK, b"{}", FORGET_NEVER_S)).version
        server.cli("FLUSHALL")
        if is_made_again:
            await asyncio.to_thread(create_ledger, server.url, folder=tmp_path)
        for _ in range(2):  # on the connection that was open, and on a new one
            for what in (
                await ledger.insert(LINK, b"{}", FORGET_NEVER_S),
                await ledger.replace(LINK, version, b"{}", FORGET_NEVER_S),
                await ledger.read(LINK),
            ):
                assert isinstance(what, Unknown)
        with pytest.raises(OSError, match="does not answer"):
            await ledger.scan(b"", 1)
        with pytest.raises(LedgerUnfit):
            await ledger.probe()
    assert server.cli("KEYS", "*r:*") == ""


@pytest.mark.anyio
async def test_a_sweep_by_a_wrong_clock_is_refused(url: str, tmp_path: pathlib.Path) -> None:
    """A clock days ahead would forget the records of living links; both sides of the boundary."""
    async with ledger_at(url, tmp_path) as ledger:
        now_s = int(time.time())
        for wrong_s in (now_s + 310, now_s - 310):
            with pytest.raises(LedgerUnfit, match="clock"):
                await ledger.sweep(wrong_s, force=True)
        await ledger.sweep(now_s + 290, force=True)


# Servers that must be refused, each by a name of its own.


def test_without_an_append_only_file_it_is_refused(another, tmp_path):
    """Everything would be gone with a restart."""
    must_accept(another(appendonly="no").url, tmp_path, "redis-no-aof")


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"appendfsync": "everysec"}, "redis-everysec"),
        ({"appendfsync": "no"}, "redis-no-fsync"),
        ({"no_appendfsync_on_rewrite": "yes"}, "redis-no-fsync-on-rewrite"),
        ({"maxmemory": "100mb", "maxmemory_policy": "allkeys-lru"}, "redis-eviction"),
        ({"maxmemory": "100mb", "maxmemory_policy": "volatile-ttl"}, "redis-eviction"),
        ({"maxmemory": "0", "maxmemory_policy": "allkeys-lru"}, "redis-eviction"),
        ({"maxmemory_policy": "volatile-lru"}, "redis-eviction"),
    ],
)
def test_each_weakness_has_a_name(settings, name, another, tmp_path):
    """One setting is weaker, and it is that one which is named."""
    must_accept(another(**settings).url, tmp_path, name)


def test_several_weaknesses_are_accepted_one_by_one(another, tmp_path):
    """Who accepts one has not accepted the others."""
    server = another(
        appendfsync="everysec", no_appendfsync_on_rewrite="yes", maxmemory="1gb", maxmemory_policy="allkeys-lfu"
    )
    must_accept(server.url, tmp_path, "redis-everysec", "redis-no-fsync-on-rewrite", "redis-eviction")


MEMORYDB = {
    "redis_version": "7.2.6",
    "os": "Amazon MemoryDB",
    "role": "master",
    "loading": "0",
    "aof_enabled": "0",
    "cluster_enabled": "1",
    "connected_slaves": "1",
    "maxmemory": "2471559168",
    "maxmemory_policy": "noeviction",
}
"""What its INFO shows of what is looked at. No real one can be had here."""


async def fitness(info: Mapping[str, str], accept: Sequence[str] = ()) -> LedgerFacts:
    """Look at a server that tells this of itself, and refuses CONFIG."""

    async def call(commands: Sequence[Command]) -> Sequence[Reply | SaidNo]:
        match commands[0][0]:
            case "INFO":
                return ["\r\n".join(f"{name}:{value}" for name, value in info.items()).encode()]
            case "TIME":
                return [[b"%d" % time.time(), b"0"]]
            case _:
                return [SaidNo("ERR unknown command 'config'")] * len(commands)

    address = parse_url("rediss://clustercfg.x/0", folder=pathlib.Path())
    return await check_fitness(call, address, Meta(born_ms=1, swept_until_s=-1, repair=NO_REPAIR), accept=accept)


@pytest.mark.anyio
async def test_memorydb_is_taken_as_strong() -> None:
    """Its log in several zones has a write before it is answered; it has no append-only file, no CONFIG, and replicas."""
    assert (await fitness(MEMORYDB)).accepted == ()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "redis-eviction"),
        ({"role": "slave"}, "this server is a replica"),
        ({"os": "Amazon ElastiCache"}, "redis-no-aof"),
        ({"os": "Linux 5.10 x86_64"}, "redis-no-aof"),
    ],
)
async def test_memorydb_is_asked_the_rest_and_only_it_is_trusted(changed: Mapping[str, str], words: str) -> None:
    """ElastiCache answers writes that a fail-over loses; and MemoryDB evicts, too, if its parameters say so."""
    with pytest.raises(LedgerUnfit, match=words):
        await fitness({**MEMORYDB, **changed})


@pytest.mark.parametrize("limit", ["0", "100mb"])
def test_an_evicting_policy_is_refused_by_its_name(limit, another, tmp_path):
    """Without maxmemory it does nothing yet, but that is one CONFIG SET away, and a running gateway would not see it."""
    server = another(maxmemory=limit, maxmemory_policy="allkeys-random")
    with pytest.raises(LedgerUnfit, match=r'maxmemory-policy is "allkeys-random": .*set maxmemory-policy noeviction'):
        probe(server.url, tmp_path)
    with pytest.raises(LedgerUnfit, match="allkeys-random"):  # who accepted something else has not accepted this
        probe(server.url, tmp_path, "redis-failover", "redis-everysec")
    server.cli("CONFIG", "SET", "appendfsync", "everysec")
    must_accept(server.url, tmp_path, "redis-everysec", "redis-eviction")


def test_a_limit_that_never_evicts_is_fit(another, tmp_path):
    """Noeviction refuses writes when full, and forgets nothing."""
    assert probe(another(maxmemory="1gb", maxmemory_policy="noeviction").url, tmp_path).accepted == ()


@pytest.mark.anyio
async def test_a_full_server_is_unknown_and_keeps_what_it_has(another, tmp_path: pathlib.Path) -> None:
    """With noeviction a full memory refuses the whole batch, and serves again when there is room."""
    server = another(maxmemory="100mb", maxmemory_policy="noeviction")

    async with ledger_at(server.url, tmp_path) as ledger:
        assert isinstance(await ledger.insert(LINK, b"{}", FORGET_NEVER_S), Done)
        server.cli("CONFIG", "SET", "maxmemory", "1")
        what = await ledger.insert(OTHER, b"{}", FORGET_NEVER_S)
        assert isinstance(what, Unknown)
        assert "maxmemory" in what.why  # Redis 6.2 has OOM before it, Redis 7 has not
        server.cli("CONFIG", "SET", "maxmemory", "0")
        assert isinstance(await ledger.insert(LINK, b"{}", FORGET_NEVER_S), Stands)


def test_a_replica_makes_the_master_unfit_and_is_refused_itself(another, tmp_path):
    """A replica may take over without the last writes; what it shows is what was. ``wait=1`` asks for its copy."""
    master = another()
    replica = another(make=False, replicaof=f"127.0.0.1 {master.port}")
    replicated(master)
    must_accept(master.url, tmp_path, "redis-failover")
    with pytest.raises(LedgerUnfit, match="a replica is attached, and may take over"):
        probe(master.url, tmp_path)
    with pytest.raises(LedgerUnfit, match="name its master"):
        probe(replica.url, tmp_path, *redis_ledger.WEAKER_PROMISES)

    async def test(ledger):
        done = await ledger.insert(LINK, b"1", FORGET_NEVER_S)
        assert isinstance(done, Done)
        assert "r:" in replica.cli("KEYS", "*r:*")
        replica.freeze()
        what = await ledger.insert(OTHER, b"2", FORGET_NEVER_S)
        assert what == Unknown("only 0 of 1 replicas have it")
        assert isinstance(await ledger.insert(LINK, b"3", FORGET_NEVER_S), Unknown), "the loser's answer needs it too"
        replica.thaw()
        for _ in range(100):
            if isinstance(what := await ledger.insert(OTHER, b"4", FORGET_NEVER_S), Stands):
                break
        assert what.record == b"2"

    opened(f"{master.url}?wait=1", tmp_path, test, accept=("redis-failover",))


@pytest.mark.anyio
async def test_a_master_that_was_demoted_answers_nothing(another, tmp_path: pathlib.Path) -> None:
    """Its connections stay open, it refuses writes, and its reads would show what was: all is Unknown."""
    server = another()

    async with ledger_at(server.url, tmp_path) as ledger:
        await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
        await ledger.read(LINK)
        server.cli("REPLICAOF", "127.0.0.1", "1")
        for what in (await ledger.insert(OTHER, b"{}", FORGET_NEVER_S), await ledger.read(LINK)):
            assert isinstance(what, Unknown)
            assert "READONLY" in what.why
        server.cli("REPLICAOF", "NO", "ONE")
        assert isinstance(await ledger.insert(OTHER, b"{}", FORGET_NEVER_S), Done)


def test_sentinels_name_the_master(another, tmp_path):
    """Asked with every new connection, accepted by name only; a service that they do not know is refused."""
    master = another()
    lines = f"sentinel monitor links 127.0.0.1 {master.port} 1\n"
    with RedisServer(tmp_path, sentinel=lines) as watcher:
        place = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{watcher.port}"
        must_accept(f"{place}/links/0", tmp_path, "redis-failover")
        with pytest.raises(LedgerUnfit, match="cannot be used: MasterNotFoundError"):
            probe(f"{place}/others/0", tmp_path, "redis-failover")


def test_a_cluster_is_accepted_by_name_only(another, tmp_path):
    """All keys lie in one slot, by the braces of the default prefix; which node has it is for the operator to say."""
    server = another(make=False, port=low_port(), cluster_enabled="yes")
    server.cli("CLUSTER", "ADDSLOTS", *(str(slot) for slot in range(16_384)))
    deadline = time.monotonic() + 10
    while "cluster_state:ok" not in server.cli("CLUSTER", "INFO") and time.monotonic() < deadline:
        time.sleep(0.05)
    create_ledger(server.url, folder=tmp_path)
    must_accept(server.url, tmp_path, "redis-failover")

    async def test(ledger):
        told = await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S) for _ in range(8)))
        assert {type(what) for what in told} == {Done}

    opened(server.url, tmp_path, test, accept=("redis-failover",))


# Who may do what.


def user(server, name, *rules):
    """Make an ACL user with a password, and return his URL."""
    server.cli("ACL", "SETUSER", name, "reset", "on", ">p%40ss word", *rules)
    return f"redis://{name}:p%2540ss%20word@127.0.0.1:{server.port}/0"


RIGHTS = ("~{oncegate}:*", "+@read", "+@write", "+@scripting", "+info", "+time", "+ping")


def test_a_user_without_config_cannot_show_that_the_server_is_fit(another, tmp_path):
    """Managed servers refuse CONFIG: what cannot be seen counts as unfit, unless accepted; what INFO tells is believed."""
    server = another()
    blind = user(server, "blind", *RIGHTS)
    must_accept(blind, tmp_path, "redis-unseen-persistence")
    assert probe(user(server, "seeing", *RIGHTS, "+config|get"), tmp_path).accepted == ()
    server.cli("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    must_accept(blind, tmp_path, "redis-unseen-persistence", "redis-eviction")
    server.cli("CONFIG", "SET", "appendonly", "no")
    must_accept(blind, tmp_path, "redis-no-aof", "redis-eviction")


@pytest.mark.anyio
async def test_the_rights_that_are_named_are_enough(another, tmp_path: pathlib.Path) -> None:
    """Claims, lists, sweeps and events with the rights that the refusal names, and no others."""
    server = another()
    able = user(server, "able", *RIGHTS, "+config|get")

    async with ledger_at(able, tmp_path) as ledger:
        done = await ledger.insert(LINK, b"{}", int(time.time()))
        assert isinstance(await ledger.replace(LINK, done.version, b"{}", int(time.time())), Done)
        await ledger.append_events([{"at": 1, "event": "complete"}])
        assert len(await ledger.read_events(0, 10)) == len(await ledger.scan(b"", 10)) == 1
        assert await ledger.sweep(int(time.time()), force=True) == 1
    for rules, words in (
        ((*RIGHTS[:4], "+ping"), r"grant \+info"),
        (("~other:*", *RIGHTS[1:]), "NOPERM.*this user needs"),
    ):
        with pytest.raises(LedgerUnfit, match=words):
            async with ledger_at(user(server, "unable", *rules), tmp_path):
                pass


def test_a_password_is_never_told(another, tmp_path, caplog):
    """Not by a refusal, nor by an Unknown, nor by a representation."""
    server = another(make=False, requirepass="right")
    bad = f"redis://:hunter2secret@127.0.0.1:{server.port}/0"
    with pytest.raises(LedgerUnfit) as refusal:
        probe(bad, tmp_path)

    async def run():
        ledger = open_ledger(bad, folder=tmp_path)
        told = [await ledger.insert(LINK, b"{}", FORGET_NEVER_S), await ledger.read(LINK), repr(vars(ledger))]
        await ledger.append_events([{"at": 0, "event": "complete"}])
        await ledger.aclose()
        return repr(told)

    address = repr(parse_url(bad, folder=tmp_path))
    assert "hunter2" not in asyncio.run(run()) + str(refusal.value) + caplog.text + address


# TLS.


def test_tls_is_spoken_and_the_certificate_checked(another, tmp_path, certificate):
    """``rediss:`` believes only who shows a certificate that we trust."""
    server = another()
    with tls_front(server.port, *certificate) as port:
        probe(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs=./{certificate[0].name}", tmp_path)
        for untrusted in (f"rediss://127.0.0.1:{port}/0", f"redis://127.0.0.1:{port}/0"):
            with pytest.raises(LedgerUnfit, match="cannot be used"):
                probe(untrusted, tmp_path)


@pytest.fixture
def certificate(tmp_path):
    """Give a certificate for 127.0.0.1, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=1))
    signed = builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256())
    crt, pem = tmp_path / "redis.crt", tmp_path / "redis.pem"
    crt.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(key.private_bytes(*form))
    return crt, pem


class tls_front:  # noqa: N801  used as a function
    """A TLS listener before a port, in a thread; the Redis of the wheel speaks none."""

    def __init__(self, port, crt, pem):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(crt, pem)
        self._behind = port
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._ready.wait(5)
        return self._port

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        self._loop.close()

    def _run(self):
        self._loop.set_exception_handler(lambda *_: None)  # handshakes that clients break off are what is tested
        self._loop.run_until_complete(self._serve())

    async def _serve(self):
        server = await asyncio.start_server(self._one, "127.0.0.1", 0, ssl=self._context)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # what they let go of is closed in the next turn

    async def _one(self, reader, writer):
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        try:
            await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            to_writer.transport.abort()


async def pump(reader, writer):
    """Forward until the end."""
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


# The URL.


def test_a_url_is_read_whole(tmp_path):
    """Escapes, IPv6, Sentinels and files; what is not given has its default."""

    def parse(scheme, address):
        return parse_url(f"{scheme}:{address}", folder=tmp_path)

    assert parse("redis", "//h") == RedisAddress(hosts=[("h", 6379)])
    assert parse("redis", "//u%3A:p%40%2F@[::1]:7/3?prefix=a:&wait=2") == RedisAddress(
        hosts=[("::1", 7)], username="u:", password="p@/", database=3, prefix="a:", wait=2
    )
    assert parse("rediss", "//h/?ssl_ca_certs=ca.pem").tls_files == {"ssl_ca_certs": f"{tmp_path}/ca.pem"}
    assert parse("redis+sentinel", "//:p@a,b:7/links/2?sentinel_password=q&tls=1") == RedisAddress(
        hosts=[("a", 26379), ("b", 7)], service="links", database=2, password="p", sentinel_password="q", is_tls=True
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis:", "redis:h", "redis://", "redis:///0", "redis://h/x", "redis://h/0/1", "redis://h,i/0", "redis://h?wate=1",
        "redis://h?wait=10", "redis://h?wait=1&wait=2", "redis://h?prefix=", "redis://h?prefix=a%20b",
        "redis://h?ssl_ca_certs=x", "redis://:secret#1@h", "redis://h?tls=1", "redis+sentinel://h", "redis+sentinel://h/",
        "redis+sentinel://h/links?tls=yes", "redis://u:secret@h:port",
    ],
)  # fmt: skip
def test_a_url_that_means_nothing_is_refused(url, tmp_path):
    """Misspelt, an option is a promise that nobody keeps; the refusal never repeats the URL."""
    with pytest.raises(LedgerUnfit, match=r"\[ledger\] url") as refusal:
        open_ledger(url, folder=tmp_path)
    assert "secret" not in str(refusal.value)


def low_port():
    """Give a free port that leaves room for a cluster's second one, ten thousand above."""
    while True:
        port = random.randint(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port


def replicated(master):
    """Wait until the replica has all."""
    deadline = time.monotonic() + 20
    while "state=online" not in master.cli("INFO", "replication"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.anyio
async def test_what_an_earlier_version_wrote_is_swept_too(
    url: str, tmp_path: pathlib.Path, redis_server: RedisServer
) -> None:
    """It keeps no list of what is due; ids that are missing there are found by the counts, stale ones by their records."""
    prefix, now_s = url.partition("prefix=")[2], int(time.time())
    async with ledger_at(url, tmp_path) as ledger:
        due, later, moved = (fresh_link_id() for _ in range(3))
        for link_id, forget_after_s in ((due, now_s), (later, now_s + 1000), (moved, now_s)):
            assert isinstance(await ledger.insert(link_id, b"{}", forget_after_s), Done)
        stands = await ledger.read(moved)
        assert isinstance(await ledger.replace(moved, stands.version, b"{}", now_s + 1000), Done)
        redis_server.cli("DEL", f"{prefix}due")
        assert await ledger.sweep(now_s, force=True) == 1
        assert [row.link_id for row in await ledger.scan(b"", 10)] == sorted([later, moved])
        assert redis_server.cli("ZCARD", f"{prefix}due") == "2"


@pytest.mark.anyio
async def test_a_record_whose_end_was_moved_is_not_swept_by_the_old_one(url: str, tmp_path: pathlib.Path) -> None:
    """A replace with a later time goes into the list of what is due as well."""
    now_s = int(time.time())
    async with ledger_at(url, tmp_path) as ledger:
        link_id = fresh_link_id()
        done = await ledger.insert(link_id, b"{}", now_s)
        done = await ledger.replace(link_id, done.version, b"{}", now_s + 1000)
        assert await ledger.sweep(now_s, force=True) == 0
        assert await ledger.read(link_id) == Stands(b"{}", done.version)
