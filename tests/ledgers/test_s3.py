"""The ledger in a bucket: the conformance suite on two emulators and on Ceph, servers that must be refused, and a bad network."""

import asyncio
import contextlib
import functools
import json
import pathlib
import time
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Gone, LedgerUnfit, Repair, Stands, Swept, Unknown
from oncegate.ledgers.s3 import ledger as s3
from oncegate.ledgers.s3.bucket import open_bucket
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.ledger_suite import LedgerSuite

# One worker: it shares its servers.
pytestmark = [pytest.mark.xdist_group("s3-ledger"), pytest.mark.usefixtures("aws_environment")]

CHECKS = [name for name in LedgerSuite.CHECKS if "events" not in name]  # it keeps none
# What takes 10 to 30 s there and shows nothing that ministack does not.
CHECKS_ON_MOTO = [name for name in CHECKS if not any(word in name for word in ("scan", "stall", "process", "killed"))]


def url_of(server_url, bucket="bucket"):
    """The URL of a ledger."""
    return f"s3://{bucket}/pre fix?region=us-east-1&allow_http=true&endpoint={server_url}"


@contextlib.asynccontextmanager
async def ledger_at(url: str) -> AsyncGenerator[Any]:
    """Open and probe a ledger, and close it when the block ends."""
    ledger = open_ledger(url, folder=pathlib.Path())
    try:
        await ledger.probe()
        yield ledger
    finally:
        await ledger.aclose()


def opened(url, work):
    """Run ``work(ledger)`` on a probed ledger, close it, and return what came of it."""

    async def run():
        async with ledger_at(url) as ledger:
            return await work(ledger)

    return asyncio.run(run())


async def _nothing(ledger):
    return ledger


@pytest.fixture(scope="module")
def suites(request):
    """The conformance suite, by server; its records stay, as in a bucket in use."""
    made = {}

    def get(name):
        if name not in made:
            server = request.getfixturevalue(name)
            url = url_of(server.url, server.make_bucket("suite"))
            rounds = {
                "ministack": {"rounds": 5, "callers": 32, "kills": 1},
                "moto": {"rounds": 2, "callers": 8},
                "ceph": {"rounds": 3, "callers": 32, "kills": 1},
            }[name]
            made[name] = LedgerSuite(functools.partial(open_ledger, url, folder=pathlib.Path()), **rounds)
        return made[name]

    return get


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("server", "check"),
    [
        *(("ministack", check) for check in CHECKS),
        *(("moto", check) for check in CHECKS_ON_MOTO),
        *(("ceph", check) for check in CHECKS),
    ],
)
async def test_it_passes_the_suite(suites, server, check) -> None:
    """All that every ledger must keep, on three servers that were written apart."""
    await suites(server).run(check)


# Servers that must be refused.


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("ignores-if-none-match", "If-None-Match"),
        ("ignores-if-match", "If-Match"),
        ("racy", "writers"),
        ("501-conditions", "501"),
        ("403", "credentials must be allowed"),
        ("503", "check endpoint"),
    ],
)
def test_a_server_that_lets_two_writers_win_is_refused(wrong_s3, fault, words):
    """What is ignored in silence, kept one after another but not at once, or not known at all; and what is not seen."""
    server = wrong_s3(fault)
    with pytest.raises(LedgerUnfit, match=words):
        opened(url_of(server.url), _nothing)
    assert not [key for key in server.objects if "probe" in key]


def test_a_server_that_is_not_there_is_unfit(wrong_s3):
    """The program must not start, and says what to look at."""
    with pytest.raises(LedgerUnfit, match="check endpoint"):
        opened(url_of("http://127.0.0.1:1"), _nothing)


def test_a_bucket_that_is_not_there_is_unfit(ministack):
    """Not free, not spent: no bucket."""
    with pytest.raises(LedgerUnfit):
        opened(url_of(ministack.url, "not-there-at-all"), _nothing)


@pytest.mark.anyio
async def test_a_versioned_bucket_is_tried_like_any_other(ministack) -> None:
    """Only the current version counts, and one that was deleted can be written again: where that holds it is fit."""
    bucket = ministack.make_bucket("versioned")
    ministack.version_bucket(bucket)

    async with ledger_at(url_of(ministack.url, bucket)) as ledger:
        link_id = fresh_link_id()
        first = await ledger.insert(link_id, b"1", FORGET_NEVER_S)
        second = await ledger.replace(link_id, first.version, b"2", FORGET_NEVER_S)
        assert await ledger.replace(link_id, first.version, b"3", FORGET_NEVER_S) == Stands(b"2", second.version)


def test_a_versioned_bucket_of_ceph_is_refused(ceph):
    """There Ceph 16 takes every conditional write, as if it were none, where it keeps them in other buckets."""
    bucket = ceph.make_bucket("versioned")
    ceph.version_bucket(bucket)
    with pytest.raises(LedgerUnfit, match="If-None-Match"):
        opened(url_of(ceph.url, bucket), _nothing)


@pytest.mark.anyio
@pytest.mark.parametrize("ahead_s", [-310, 310])
async def test_a_clock_that_is_off_is_refused(wrong_s3, ahead_s) -> None:
    """At the start, and when sweeping: a sweep by such a clock could forget what is still opened."""
    server = wrong_s3()

    async with ledger_at(url_of(server.url)) as ledger:
        server.clock_ahead_s = ahead_s
        with pytest.raises(LedgerUnfit, match="clock"):
            await ledger.sweep(int(time.time()), force=True)
        with pytest.raises(LedgerUnfit, match="clock"):
            await ledger.probe()


def test_of_many_first_probes_one_says_when_it_was_born(wrong_s3):
    """Gateways that start at once on an empty bucket agree."""
    url = url_of(wrong_s3().url)

    async def run():
        ledgers = [open_ledger(url, folder=pathlib.Path()) for _ in range(4)]
        facts = await asyncio.gather(*(ledger.probe() for ledger in ledgers))
        for ledger in ledgers:
            await ledger.aclose()
        return {fact.born_ms for fact in facts}

    assert len(asyncio.run(run())) == 1


# What S3 does to writes, and the order that makes a sweep safe.


@pytest.mark.anyio
async def test_a_write_that_was_told_500_knows_itself(wrong_s3) -> None:
    """The driver repeats it and is told that something stands: it is our own write, and must win, not lose."""
    server = wrong_s3()

    async with ledger_at(url_of(server.url)) as ledger:
        for link_id in (fresh_link_id(), fresh_link_id()):
            server.faults.add("500-put-done")
            done = await ledger.insert(link_id, b"1", FORGET_NEVER_S)
            assert isinstance(done, Done)
            server.faults.add("500-put-done")
            again = await ledger.replace(link_id, done.version, b"2", FORGET_NEVER_S)
            assert isinstance(again, Done)
            assert await ledger.read(link_id) == Stands(b"2", again.version)


@pytest.mark.anyio
async def test_equal_records_have_versions_of_their_own(wrong_s3) -> None:
    """The ETag is a hash of the bytes: without a nonce A, B, A would bring back the first version."""
    async with ledger_at(url_of(wrong_s3().url)) as ledger:
        link_id = fresh_link_id()
        versions = [(await ledger.insert(link_id, b"A", FORGET_NEVER_S)).version]
        for record in (b"B", b"A", b"A"):
            versions.append((await ledger.replace(link_id, versions[-1], record, FORGET_NEVER_S)).version)
        assert len(set(versions)) == 4


@pytest.mark.anyio
async def test_a_server_that_wants_etags_without_quotes_gets_them(wrong_s3) -> None:
    """Ceph 16 compares If-Match with the bare ETag, and would refuse every replace: also of a ledger never probed."""
    url = url_of(wrong_s3("bare-etags").url)

    ledger = open_ledger(url, folder=pathlib.Path())
    link_id = fresh_link_id()
    first = await ledger.insert(link_id, b"1", FORGET_NEVER_S)
    second = await ledger.replace(link_id, first.version, b"2", FORGET_NEVER_S)
    assert isinstance(second, Done)
    assert await ledger.replace(link_id, first.version, b"3", FORGET_NEVER_S) == Stands(b"2", second.version)
    await ledger.probe()
    await ledger.aclose()


@pytest.mark.anyio
async def test_a_server_that_knows_quotes_is_not_asked_without(wrong_s3) -> None:
    """It might pass over a condition that it cannot read, and overwrite: then a race would have two winners."""
    url = url_of(wrong_s3("ignores-bare-etags").url)

    async with ledger_at(url) as ledger:
        other = open_ledger(url, folder=pathlib.Path())  # one that has no success to learn from
        link_id = fresh_link_id()
        first = await ledger.insert(link_id, b"1", FORGET_NEVER_S)
        second = await ledger.replace(link_id, first.version, b"2", FORGET_NEVER_S)
        for each in (ledger, other):
            assert await each.replace(link_id, first.version, b"3", FORGET_NEVER_S) == Stands(b"2", second.version)
        await other.aclose()


@pytest.mark.anyio
async def test_an_insert_that_lands_after_a_sweep_is_not_admitted(wrong_s3) -> None:
    """The link's record was swept while the insert was on its way: the limit is read after the write, and says so."""
    server = wrong_s3()
    limit_s = int(time.time()) + 30

    async with ledger_at(url_of(server.url)) as ledger:
        other = open_ledger(url_of(server.url), folder=pathlib.Path())
        link_id = fresh_link_id()
        assert isinstance(await other.insert(link_id, b"spent", limit_s), Done)
        assert await other.sweep(limit_s, force=True) == 1
        # This one has not heard of the sweep: it writes, for nothing stands there.
        assert ledger._swept_until_s < limit_s
        assert await ledger.insert(link_id, b"again", limit_s) == Swept()
        # Whoever is shown what it left must not be admitted by it either.
        assert await ledger.insert(link_id, b"third", limit_s) == Swept()
        assert await other.insert(link_id, b"third", limit_s) == Swept()
        assert await other.sweep(limit_s, force=True) == 1
        await other.aclose()


@pytest.mark.anyio
async def test_many_inserts_share_one_read_of_the_limit(wrong_s3) -> None:
    """The read must begin after the write; for 50 that wait it need not be made 50 times."""
    server = wrong_s3()

    async with ledger_at(url_of(server.url)) as ledger:
        before = server.calls["GET"]
        await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S) for _ in range(50)))
        assert server.calls["GET"] - before < 40
        begun = server.calls["GET"]
        await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)
        assert server.calls["GET"] == begun + 1


def test_a_record_replaced_under_the_sweep_stays(wrong_s3, monkeypatch):
    """Between the read that found it due and its deletion it got a later time: the last look sees that."""
    server = wrong_s3()
    limit_s = int(time.time()) + 30

    async def work(ledger):
        link_id = fresh_link_id()
        done = await ledger.insert(link_id, b"1", limit_s)
        get = ledger._bucket.get

        async def get_then_replace(name):
            found = await get(name)
            if name.endswith(link_id.hex()):
                monkeypatch.setattr(ledger._bucket, "get", get)
                await ledger.replace(link_id, done.version, b"2", FORGET_NEVER_S)
            return found

        monkeypatch.setattr(ledger._bucket, "get", get_then_replace)
        assert await ledger.sweep(limit_s, force=True) == 0
        assert (await ledger.read(link_id)).record == b"2"

    opened(url_of(server.url), work)


@pytest.mark.anyio
async def test_it_lies_where_stores_do_not_look(wrong_s3) -> None:
    """Ledger and objects may share a bucket; nothing of the ledger has a key that a link could name."""
    server = wrong_s3()

    async with ledger_at(url_of(server.url)) as ledger:
        await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)
    assert server.objects
    assert all(key.startswith("pre fix/.oncegate/ledger/") for key in server.objects)


# A bad network.


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["black_hole", "refuse"])
async def test_without_an_answer_it_is_known_in_time(wrong_s3, fault_proxy, fault) -> None:
    """503 within five seconds needs an answer before; and service again by itself when the server is back."""
    proxy = fault_proxy(int(wrong_s3().url.rpartition(":")[2]))

    async with ledger_at(url_of(f"http://127.0.0.1:{proxy.port}")) as ledger:
        proxy.fault = fault
        begun_s = time.monotonic()
        said = await asyncio.gather(
            ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S),
            ledger.replace(fresh_link_id(), '"v"', b"{}", FORGET_NEVER_S),
            ledger.read(fresh_link_id()),
        )
        assert Counter(map(type, said)) == {Unknown: 3}
        assert time.monotonic() - begun_s < 4.5
        proxy.fault = "pass_on"
        assert isinstance(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Done)


@pytest.mark.anyio
async def test_answers_that_are_lost_leave_one_write(wrong_s3, fault_proxy) -> None:
    """The write arrives, its answer never: unknown at first; then what stands is shown, and it is that write."""
    proxy = fault_proxy(int(wrong_s3().url.rpartition(":")[2]))

    async with ledger_at(url_of(f"http://127.0.0.1:{proxy.port}")) as ledger:
        link_id = fresh_link_id()
        proxy.fault = "lose_replies"
        assert isinstance(await ledger.insert(link_id, b"1", FORGET_NEVER_S), Unknown)
        proxy.fault = "pass_on"
        said = await ledger.insert(link_id, b"2", FORGET_NEVER_S)
        assert isinstance(said, Stands)
        assert said.record == b"1"


# The address.


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("bucket", "names no bucket"),
        ("//", "names no bucket"),
        ("//?region=x", "names no bucket"),
        ("//b/a//b", "names no bucket"),
        ("//b?region", "cannot be read"),
        ("//b?regoin=x", "regoin"),
    ],
)
def test_an_address_that_means_nothing_is_refused(address, words):
    """Each wrong one is named before anything is asked of a server; making such a ledger too."""
    with pytest.raises(LedgerUnfit, match=words):
        open_bucket(address)
    with pytest.raises(LedgerUnfit, match=words):
        create_ledger(f"s3:{address}", folder=pathlib.Path())


@pytest.mark.anyio
async def test_what_is_no_record_is_unknown(wrong_s3) -> None:
    """An object that something else put there is neither free nor spent."""
    server = wrong_s3()

    async with ledger_at(url_of(server.url)) as ledger:
        link_id = fresh_link_id()
        await ledger._bucket.create(f"{s3.RECORDS}/{link_id.hex()}", b"rubbish")
        assert isinstance(await ledger.read(link_id), Unknown)
        assert isinstance(await ledger.insert(link_id, b"{}", FORGET_NEVER_S), Unknown)
        assert await ledger.read(fresh_link_id()) == Gone()


@pytest.mark.anyio
async def test_a_layout_that_is_not_known_is_refused(ministack: Any) -> None:
    """How records are named is in the birth: a gateway that looked for them elsewhere would open used links."""
    url = url_of(ministack.url, ministack.make_bucket(f"layout-{time.monotonic_ns()}"))
    async with ledger_at(url) as ledger:
        born = await ledger._bucket.get("born")
        assert json.loads(born.data)["layout"] == 1
        await ledger._bucket.overwrite("born", json.dumps({**json.loads(born.data), "layout": 2}).encode())
        with pytest.raises(LedgerUnfit, match="layout 2, this oncegate knows 1"):
            await ledger.probe()
        with pytest.raises(LedgerUnfit, match="layout 2"):
            await ledger.ask_again()


@pytest.mark.anyio
async def test_a_repair_lowers_the_limit_and_is_seen_at_the_next_start(ministack: Any) -> None:
    """Birth, repair and limit; a process that has it open notices that it is not the one that it began with."""
    url, now_s = url_of(ministack.url, ministack.make_bucket(f"repair-{time.monotonic_ns()}")), int(time.time())
    async with ledger_at(url) as ledger:
        await ledger.sweep(now_s + 200, force=True)
        await ledger.rebirth(5, Repair(5, now_s + 200), now_s)
        with pytest.raises(LedgerUnfit, match="another ledger"):
            await ledger.ask_again()
    async with ledger_at(url) as ledger:
        facts = await ledger.probe()
        assert (facts.born_ms, facts.repair, facts.swept_until_s) == (5, Repair(5, now_s + 200), now_s)
