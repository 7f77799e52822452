"""The ledger in DynamoDB: the conformance suite on two emulators, its rules answer by answer, and a bad network."""

import asyncio
import contextlib
import functools
import json
import pathlib
import time
from collections import Counter
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oncegate.aws_requests import connections as dynamodb_connection
from oncegate.aws_requests.driving import drive
from oncegate.aws_requests.flow import HttpAnswer, NoAnswer, drive_blocking
from oncegate.ledgers.dynamodb import ledger as dynamodb_client
from oncegate.ledgers.dynamodb import requests as dynamodb
from oncegate.ledgers.dynamodb import table as dynamodb_table
from oncegate.ledgers.dynamodb.address import parse_address
from oncegate.ledgers.dynamodb.items import BORN_KEY
from oncegate.ledgers.dynamodb.ledger import DynamodbLedger
from oncegate.ledgers.dynamodb.requests import ATTEMPTS_MAX, DATE_SLACK_S, insert_talk, read_talk, replace_talk
from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import (
    CLOCK_SKEW_MAX_S,
    FORGET_NEVER_S,
    Done,
    Gone,
    LedgerUnfit,
    Repair,
    Stands,
    Swept,
    Unknown,
)
from oncegate.testing.installation import Installation
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.ledger_suite import LedgerSuite

# One worker: it shares its servers.
pytestmark = [pytest.mark.xdist_group("dynamodb"), pytest.mark.usefixtures("aws_environment")]

LINK = bytes(range(16))
NOW_S = 1_767_290_400
CHECKS = [name for name in LedgerSuite.CHECKS if "events" not in name]  # it keeps none
# What takes 10 to 30 s there and shows nothing that ministack does not: long lists, and processes.
CHECKS_ON_MOTO = [name for name in CHECKS if not any(word in name for word in ("scan", "stall", "process", "killed"))]


def url_of(server, table="links", port=None):
    """The URL of a ledger on an emulator, or through another port."""
    return f"dynamodb://{table}?region=us-east-1&endpoint=http://127.0.0.1:{port or server.port}"


@pytest.fixture(scope="module")
def suites(request, tmp_path_factory):
    """The conformance suite, by emulator; its records stay, as on a table in use."""
    made = {}

    def get(name):
        if name not in made:
            url, folder = url_of(request.getfixturevalue(name), "suite"), tmp_path_factory.mktemp("suite")
            with ThreadPoolExecutor(1) as pool:  # also of tests that run in an event loop
                pool.submit(create_ledger, url, folder=folder).result()
            rounds = {"rounds": 3, "callers": 16, "kills": 1} if name == "ministack" else {"rounds": 2, "callers": 8}
            made[name] = LedgerSuite(functools.partial(open_ledger, url, folder=folder), **rounds)
        return made[name]

    return get


@pytest.fixture
def url(ministack, tmp_path):
    """An empty ledger of this test's own."""
    made = url_of(ministack, f"t{tmp_path.name[-20:]}-{time.monotonic_ns()}")
    create_ledger(made, folder=tmp_path)
    return made


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


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("server", "check"),
    [*(("ministack", check) for check in CHECKS), *(("moto", check) for check in CHECKS_ON_MOTO)],
)
async def test_it_passes_the_suite(suites, server, check) -> None:
    """All that every ledger must keep, on two servers that were written apart."""
    await suites(server).run(check)


# The rules, answer by answer.


def item(version="v1", forget_after_s=FORGET_NEVER_S, record='{"n":1}'):
    """What stands there, as DynamoDB writes it."""
    return {"id": {"S": LINK.hex()}, "v": {"S": version}, "r": {"S": record}, "f": {"N": str(forget_after_s)}}


def ok(date_s=NOW_S, **document):
    """An answer that is done."""
    return HttpAnswer(200, json.dumps(document).encode(), date_s)


def failed(kind, date_s=NOW_S, status=400, **document):
    """An answer that is none."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{kind}", **document}
    return HttpAnswer(status, json.dumps(body).encode(), date_s)


def taken(date_s=NOW_S, **stands):
    """The condition did not hold, and this stands there."""
    return failed("ConditionalCheckFailedException", date_s, **({"Item": item(**stands)} if stands else {}))


def play(flow_of, *answers):
    """Drive a talk with these answers, by both drivers; return the outcome, what was asked, and how long it waited."""
    outcomes = []
    for is_blocking in (True, False):
        script, asked, waited = list(answers), [], []

        def send(request, script=script, asked=asked):
            asked.append((request.headers["x-amz-target"].partition(".")[2], json.loads(request.body)))
            answer = script.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        async def send_async(request, send=send):
            return send(request)

        if is_blocking:
            outcome = drive_blocking(flow_of(), send, waited.append)
        else:
            with pytest.MonkeyPatch.context() as patch:
                sleep = asyncio.sleep
                patch.setattr(asyncio, "sleep", lambda _, sleep=sleep: sleep(0))
                outcome = asyncio.run(drive(flow_of(), send_async))
        assert not script, f"never asked for {script}"
        outcomes.append((outcome, [name for name, _ in asked]))
    assert outcomes[0] == outcomes[1]
    return outcomes[0]


def insert(forget_after_s=FORGET_NEVER_S, **known):
    """A talk that inserts with the token ``mine``."""
    return lambda: insert_talk("t", LINK, b'{"n":2}', forget_after_s, token="mine", **known)


def replace():
    """A talk that replaces version ``v1`` with the token ``mine``."""
    return lambda: replace_talk("t", LINK, "v1", b'{"n":2}', FORGET_NEVER_S, token="mine")


def busy(kind="ThrottlingException"):
    """Try again."""
    return failed(kind)


@pytest.mark.parametrize(
    ("talk", "answers", "outcome", "asked"),
    [
        (insert(), [ok()], Done("mine"), 1),
        (insert(), [taken(version="v1")], Stands(b'{"n":1}', "v1"), 1),
        (insert(), [NoAnswer("lost"), taken(version="mine")], Done("mine"), 2),
        (insert(), [failed("InternalServerError", status=500), taken(version="mine")], Done("mine"), 2),
        (insert(), [NoAnswer("lost"), taken(version="v1")], Stands(b'{"n":1}', "v1"), 2),
        (insert(), [busy(), busy("ProvisionedThroughputExceededException"), ok()], Done("mine"), 3),
        (insert(), [HttpAnswer(429, b"", NOW_S), HttpAnswer(503, b"<html>", NOW_S), ok()], Done("mine"), 3),
        (insert(), [HttpAnswer(200, b"not json", NOW_S), taken(version="mine")], Done("mine"), 2),
        (insert(), [taken(), ok(Item=item())], Stands(b'{"n":1}', "v1"), 2),
        (insert(), [taken(), ok(), ok()], Done("mine"), 3),
        (replace(), [ok()], Done("mine"), 1),
        (replace(), [taken(version="v2")], Stands(b'{"n":1}', "v2"), 1),
        (replace(), [NoAnswer("lost"), taken(version="mine")], Done("mine"), 2),
        (replace(), [taken(), ok()], Gone(), 2),
        (lambda: read_talk("t", LINK), [ok(Item=item())], Stands(b'{"n":1}', "v1"), 1),
        (lambda: read_talk("t", LINK), [busy(), ok()], Gone(), 2),
    ],
)
def test_each_answer_means_one_thing(talk, answers, outcome, asked):
    """The same for the gateway's driver and the edge's: a repeat recognises its own write, a loser is shown what stands."""
    said, names = play(talk, *answers)
    assert (said, len(names)) == (outcome, asked)


@pytest.mark.parametrize("talk", [insert(), replace(), lambda: read_talk("t", LINK)])
@pytest.mark.parametrize("answer", [NoAnswer("lost"), busy(), failed("InternalServerError", status=500)])
def test_what_stays_unanswered_is_unknown(talk, answer):
    """It ends after a few tries, and is never taken for free or for spent."""
    said, names = play(talk, *[answer] * ATTEMPTS_MAX)
    assert isinstance(said, Unknown)
    assert len(names) == ATTEMPTS_MAX


@pytest.mark.parametrize("talk", [insert(), replace(), lambda: read_talk("t", LINK)])
@pytest.mark.parametrize("kind", ["AccessDeniedException", "ResourceNotFoundException", "ValidationException"])
def test_what_would_be_refused_again_is_asked_once(talk, kind):
    """Permissions and a missing table do not pass by waiting; the log says what it was."""
    said, names = play(talk, failed(kind, message="words"))
    assert isinstance(said, Unknown)
    assert kind in said.why
    assert len(names) == 1


NEAR_S = NOW_S + CLOCK_SKEW_MAX_S + DATE_SLACK_S


@pytest.mark.parametrize(
    ("forget_after_s", "limit_s", "outcome", "asked"),
    [
        (NEAR_S + 1, None, Done("mine"), ["PutItem"]),
        (NEAR_S, NEAR_S - 1, Done("mine"), ["PutItem", "GetItem"]),
        (NEAR_S, NEAR_S, Swept(), ["PutItem", "GetItem"]),
        (NOW_S + 1, -1, Done("mine"), ["PutItem", "GetItem"]),
        (NOW_S, -1, Swept(), ["PutItem", "GetItem"]),
    ],
)
def test_what_may_be_forgotten_is_asked_after_the_write(forget_after_s, limit_s, outcome, asked):
    """Both sides of each boundary: far from the server's clock one request; near it the limit is read, after the write."""
    answers = [ok()]
    if limit_s is not None:
        answers.append(ok(**({"Item": {"u": {"N": str(limit_s)}}} if limit_s >= 0 else {})))
    assert play(insert(forget_after_s), *answers) == (outcome, asked)


def test_a_late_write_does_not_bring_back_what_was_swept():
    """An insert that lands after the sweep makes a record again; whoever is then shown it must not be admitted by it."""
    said, _ = play(
        insert(NOW_S + 10), taken(version="late", forget_after_s=NOW_S + 10), ok(Item={"u": {"N": str(NOW_S + 10)}})
    )
    assert said == Swept()


def test_a_known_limit_spares_the_write():
    """What would be refused is not written; what stands beyond the limit is shown."""
    assert play(insert(10, swept_until_s=10), ok()) == (Swept(), ["GetItem"])
    assert play(insert(10, swept_until_s=10), ok(Item=item(forget_after_s=10))) == (Swept(), ["GetItem"])
    assert play(insert(10, swept_until_s=10), ok(Item=item(forget_after_s=11)))[0] == Stands(b'{"n":1}', "v1")


def test_without_the_servers_time_nothing_is_admitted():
    """DynamoDB forgets by its own clock; an answer without it says nothing of what is gone."""
    said, _ = play(insert(), ok(date_s=None))
    assert isinstance(said, Unknown)


def test_the_first_repeat_is_at_once():
    """A kept-alive connection that was closed is the usual reason, and no reason to wait; later pauses grow."""
    waited = []
    script = [NoAnswer("closed"), NoAnswer("closed"), busy(), ok()]

    def send(request):
        answer = script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    drive_blocking(insert()(), send, waited.append)
    assert waited == [0.05, 0.1]


def test_time_to_live_comes_after_the_day():
    """DynamoDB may delete an hour after ``forget_after_s``, and a record that lives for ever has none."""
    bodies = []
    for forget_after_s in (NOW_S + 86_400, FORGET_NEVER_S):
        request = next(insert_talk("t", LINK, b"{}", forget_after_s, token="x"))
        bodies.append(json.loads(request.body)["Item"].get("ttl"))
    assert bodies == [{"N": str(NOW_S + 86_400 + 3_600)}, None]


# A bad network, and servers that are away.


@pytest.mark.anyio
async def test_answers_that_are_lost_leave_one_write(url: str, ministack, fault_proxy) -> None:
    """The write arrives, its answer never: unknown at first; then its repeat finds it, and another is refused."""
    proxy = fault_proxy(ministack.port)
    through = url.replace(f":{ministack.port}", f":{proxy.port}")

    async with ledger_at(through) as ledger:
        link_id = fresh_link_id()
        before = ledger.repeats
        proxy.fault = "lose_replies"
        assert isinstance(await ledger.insert(link_id, b'{"by":1}', FORGET_NEVER_S), Unknown)
        assert ledger.repeats == before + ATTEMPTS_MAX - 1
        proxy.fault = "pass_on"
        said = await ledger.insert(link_id, b'{"by":2}', FORGET_NEVER_S)
        assert isinstance(said, Stands)
        assert said.record == b'{"by":1}'


@pytest.mark.anyio
async def test_a_write_that_lands_late_is_one_of_two(url: str, ministack, fault_proxy) -> None:
    """A held insert is delivered after another was answered: the one that was answered stands."""
    proxy = fault_proxy(ministack.port)
    through = url.replace(f":{ministack.port}", f":{proxy.port}")

    async with ledger_at(through) as ledger:
        link_id = fresh_link_id()
        direct = open_ledger(url, folder=pathlib.Path())
        proxy.fault = "hold_requests"
        late = asyncio.ensure_future(ledger.insert(link_id, b'{"by":"late"}', FORGET_NEVER_S))
        while not proxy.held_requests:
            await asyncio.sleep(0.01)
        first = await direct.insert(link_id, b'{"by":"first"}', FORGET_NEVER_S)
        assert isinstance(first, Done)
        proxy.release()
        proxy.fault = "pass_on"
        assert await late == Stands(b'{"by":"first"}', first.version)
        await direct.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["black_hole", "refuse"])
async def test_without_an_answer_it_is_known_in_time(url: str, ministack, fault_proxy, fault) -> None:
    """503 within five seconds needs an answer before; and service again by itself when the server is back."""
    proxy = fault_proxy(ministack.port)
    through = url.replace(f":{ministack.port}", f":{proxy.port}")

    async with ledger_at(through) as ledger:
        proxy.fault = fault
        begun_s = time.monotonic()
        said = await asyncio.gather(
            ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S),
            ledger.replace(fresh_link_id(), "v", b"{}", FORGET_NEVER_S),
            ledger.read(fresh_link_id()),
        )
        assert Counter(map(type, said)) == {Unknown: 3}
        assert time.monotonic() - begun_s < 4.5
        proxy.fault = "pass_on"
        assert isinstance(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Done)


@pytest.mark.anyio
async def test_a_connection_that_was_closed_is_replaced(url: str, ministack, fault_proxy) -> None:
    """Servers close idle connections at any moment, also under a request: nobody notices."""
    proxy = fault_proxy(ministack.port)
    through = url.replace(f":{ministack.port}", f":{proxy.port}")

    async with ledger_at(through) as ledger:
        for _ in range(5):
            proxy.cut()
            assert isinstance(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Done)
        before = proxy.connections
        for _ in range(5):
            await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)
        assert proxy.connections == before


@pytest.mark.anyio
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}xx",
        b"rubbish\r\n\r\n",
    ],
)
async def test_half_an_answer_is_none(raw) -> None:
    """What ends early, or is no HTTP, may stand for a write that happened: never believed."""
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    with pytest.raises((EOFError, ValueError)):
        await dynamodb_connection._read_answer(reader)


@pytest.mark.anyio
async def test_answers_in_chunks_are_read() -> None:
    """Some servers and proxies send no length."""
    reader = asyncio.StreamReader()
    reader.feed_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: Thu, 01 Jan 1970 00:00:09 GMT\r\n\r\n")
    reader.feed_data(b"1;x=y\r\n{\r\n1\r\n}\r\n0\r\n\r\n")
    assert await dynamodb_connection._read_answer(reader) == (HttpAnswer(200, b"{}", 9), True)


# The table, and the address.


def test_a_ledger_is_made_once(url, tmp_path):
    """Making it again would say that it was born later, and refuse every ticket."""
    with pytest.raises(LedgerUnfit, match="made once"):
        create_ledger(url, folder=tmp_path)


def test_migrating_makes_the_table_and_harms_none(ministack, tmp_path):
    """Run before every start by some: the first makes it, the others leave it and its birth alone."""
    url = url_of(ministack, f"migrated-{time.monotonic_ns()}")
    assert dynamodb_client.migrate_from_url(url, folder=tmp_path)

    async def born_ms(ledger):
        return (await ledger.probe()).born_ms

    before = opened(url, born_ms)
    assert not dynamodb_client.migrate_from_url(url, folder=tmp_path)
    assert opened(url, born_ms) == before


def test_many_may_migrate_at_once(ministack, tmp_path):
    """Four containers start together, as processes: one makes the table, the others wait, all find one birth."""
    url = url_of(ministack, f"at-once-{time.monotonic_ns()}")
    homes = []
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        homes.append(Installation(tmp_path / str(number)))
        file = homes[-1].folder / "oncegate.toml"
        file.write_text(file.read_text().replace("sqlite:./ledger.db", url))
    with ThreadPoolExecutor(len(homes)) as pool:
        said = list(pool.map(lambda home: home.run("ledger", "migrate"), homes))
    assert [done.returncode for done in said] == [0] * 4, said
    assert len({done.stderr for done in said}) == 1
    assert "the ledger is ready, born " in said[0].stderr


def migrated(*answers):
    """Run the migration on these answers; return what it says, and what was asked."""
    script, asked = list(answers), []

    def send(request):
        asked.append(request.headers["x-amz-target"].partition(".")[2])
        return script.pop(0)

    made = drive_blocking(dynamodb_table.migrate_talk("t"), send, lambda _: None)
    assert not script
    return made, asked


NOT_THERE, CREATING, ACTIVE = (
    failed("ResourceNotFoundException"), ok(Table={"TableStatus": "CREATING"}), ok(Table={"TableStatus": "ACTIVE"})
)  # fmt: skip


@pytest.mark.parametrize(
    "answers",
    [
        [ACTIVE, ACTIVE],
        [CREATING, CREATING, ACTIVE],
        [NOT_THERE, failed("ResourceInUseException"), CREATING, ACTIVE],
        [NOT_THERE, failed("ResourceInUseException"), NOT_THERE, CREATING, ACTIVE],
    ],
)
def test_a_table_that_another_makes_is_waited_for(answers):
    """AWS takes ten seconds for a table, and shows it late; emulators make it at once, so these are its answers."""
    made, asked = migrated(*answers)
    assert not made
    assert asked[-1] == "DescribeTable"
    assert "UpdateTimeToLive" not in asked  # twice at once is refused; it is the maker's


def test_a_table_is_used_when_it_is_ready():
    """A table that is asked for is not there yet: what is written to it then is refused."""
    made, asked = migrated(NOT_THERE, ok(), NOT_THERE, CREATING, ACTIVE, ok())
    assert made
    assert asked[-2:] == ["DescribeTable", "UpdateTimeToLive"]


def test_a_table_that_never_gets_ready_is_given_up():
    """Another's table may be stuck; the command ends, and says of which it speaks."""
    with pytest.raises(LedgerUnfit, match="table t is being made and is not ready"):
        migrated(*[CREATING] * (1 + dynamodb_table.READY_TRIES_MAX))


def test_a_table_that_was_given_is_born_at_its_first_probe(ministack, tmp_path):
    """A template makes the table and nothing in it; of many gateways that start at once one says when it was born."""
    url = url_of(ministack, f"given-{time.monotonic_ns()}")

    async def make():
        ledger = open_ledger(url, folder=tmp_path)
        assert isinstance(ledger, DynamodbLedger)
        await ledger._run_unlimited(dynamodb_table.create_talk(ledger._table))
        await ledger.aclose()

    asyncio.run(make())

    async def born(ledger):
        others = [open_ledger(url, folder=tmp_path) for _ in range(4)]
        facts = await asyncio.gather(*(other.probe() for other in (ledger, *others)))
        for other in others:
            await other.aclose()
        return {fact.born_ms for fact in facts}

    (born_ms,) = opened(url, born)
    assert abs(born_ms / 1000 - time.time()) < 60


def test_a_table_that_is_not_there_says_what_to_run(ministack):
    """The first thing that everybody forgets."""
    with pytest.raises(LedgerUnfit, match="oncegate ledger migrate"):
        opened(url_of(ministack, "not-there"), None)


TABLE = {"KeySchema": [{"AttributeName": "s", "KeyType": "HASH"}, {"AttributeName": "id", "KeyType": "RANGE"}]}


def check(*answers, accept=()):
    """Run the table's check on these answers."""
    script = list(answers)
    return drive_blocking(dynamodb_table.check_talk("t", accept), lambda _: script.pop(0), lambda _: None)


GOOD = (ok(), taken(version="x"), ok(Item=item()), ok())


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([ok(Table={"KeySchema": []}), ok()], "no ledger"),
        (
            [ok(Table=TABLE), ok(TimeToLiveDescription={"TimeToLiveStatus": "ENABLED", "AttributeName": "f"})],
            "time-to-live",
        ),
        ([ok(Table={**TABLE, "Replicas": [{"RegionName": "x"}]}), ok()], "the last writer wins"),
        ([ok(Table=TABLE), ok(), ok(), ok(), ok(Item=item()), ok()], "does not keep conditional writes"),
        ([failed("AccessDeniedException")], "dynamodb:DescribeTable"),
    ],
)
def test_a_table_that_cannot_keep_the_promise_is_refused(answers, words):
    """Other keys, a life by another attribute, replicas that overwrite each other, two winners, and what cannot be seen."""
    with pytest.raises(LedgerUnfit, match=words):
        check(*answers)


def test_replicas_are_taken_by_name_or_when_they_are_strong(monkeypatch):
    """A global table is a weaker promise, unless its Regions agree before they answer."""
    monkeypatch.setattr(dynamodb_table.secrets, "token_urlsafe", lambda _: "x")
    replicas = {**TABLE, "Replicas": [{"RegionName": "x"}]}
    second = Stands(b'{"n":1}', "x")

    def outcomes(*_args, **_kwargs):
        return (yield from iter(())) or next(script)

    for table, accept, accepted in (
        (replicas, [dynamodb_table.GLOBAL_TABLE], (dynamodb_table.GLOBAL_TABLE,)),
        ({**replicas, "MultiRegionConsistency": "STRONG"}, [], ()),
    ):
        script = iter([Done("x"), second])
        monkeypatch.setattr(dynamodb_table, "insert_talk", outcomes)
        assert check(ok(Table=table), ok(), ok(Item=item()), ok(), accept=accept) == accepted


@pytest.mark.anyio
async def test_a_clock_that_is_off_is_refused(url: str) -> None:
    """Five minutes either way; a sweep by such a clock could forget what is still opened."""
    for ahead_s in (-(CLOCK_SKEW_MAX_S + 10), CLOCK_SKEW_MAX_S + 10):
        address = parse_address(url.removeprefix("dynamodb:"), {})
        ledger = DynamodbLedger(address, clock=lambda ahead_s=ahead_s: time.time() + ahead_s)
        with pytest.raises(LedgerUnfit, match="clock"):
            await ledger.probe()
        with pytest.raises(LedgerUnfit, match="clock"):
            await ledger.sweep(int(time.time() + ahead_s), force=True)
        await ledger.aclose()


def test_without_credentials_it_is_unfit(url, monkeypatch, tmp_path):
    """Said at the start, with what to set."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(LedgerUnfit, match="AWS_ACCESS_KEY_ID"):
        opened(url, None)


def test_an_address_names_table_region_and_endpoint():
    """What is not named comes from the environment, or is AWS's own."""
    plain = parse_address("//links?region=eu-central-1", {"AWS_REGION": "us-east-1"})
    assert (plain.table, plain.region) == ("links", "eu-central-1")
    assert plain.endpoint == "https://dynamodb.eu-central-1.amazonaws.com"
    assert parse_address("//links", {"AWS_DEFAULT_REGION": "cn-north-1"}).endpoint.endswith(".amazonaws.com.cn")
    given = parse_address("//links?region=x&endpoint=http://127.0.0.1:8000/&profile=p", {})
    assert (given.endpoint, given.profile) == ("http://127.0.0.1:8000", "p")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("links?region=x", "two slashes are missing"),
        ("", "two slashes are missing"),
        ("//", "names no table"),
        ("//ab?region=x", "3 to 255 characters"),
        (f"//{'x' * 256}?region=x", "3 to 255 characters"),
        ("//li/nks?region=x", "nothing follows it"),
        ("//links", "no region"),
        ("//links?region=x&region=y", "each once"),
        ("//links?regoin=x", "may hold region"),
        ("//links?region=x&endpoint=ftp://h", "http:// or https://"),
        ("//links?region=x&endpoint=http://h/path", "no path"),
        ("//links?region=X!", "no region"),
    ],
)
def test_an_address_that_means_nothing_is_refused(address, words):
    """Each wrong one is named before anything is asked of AWS, by what is wrong with it."""
    with pytest.raises(LedgerUnfit, match=f"^dynamodb: .*{words}"):
        parse_address(address, {})


def test_names_of_tables_are_taken_at_both_ends():
    """Three characters and 255 are names; AWS's own limits."""
    for name in ("a.b", "x" * 255):
        assert parse_address(f"//{name}?region=x", {}).table == name


def test_the_talk_needs_nothing_but_python():
    """The edge function ships it: only the standard library, and no client."""
    source = pathlib.Path(dynamodb.__file__).read_text()
    assert "asyncio" not in source
    assert "botocore" not in source


@pytest.mark.anyio
async def test_a_layout_that_is_not_known_is_refused(url: str) -> None:
    """How records are named is in the birth: a gateway that looked for them elsewhere would open used links."""
    async with ledger_at(url) as ledger:
        item = {**BORN_KEY, "ms": {"N": "5"}, "layout": {"N": "2"}}
        await ledger._run(dynamodb.call_talk("PutItem", {"TableName": ledger._table, "Item": item}))
        with pytest.raises(LedgerUnfit, match="layout 2, this oncegate knows 1"):
            await ledger.probe()


@pytest.mark.anyio
async def test_a_repair_lowers_the_limit_and_is_seen_at_the_next_start(url: str) -> None:
    """Birth, repair and limit in one transaction; a process that has it open notices another birth."""
    now_s = int(time.time())
    async with ledger_at(url) as ledger:
        await ledger.sweep(now_s + 200, force=True)
        await ledger.rebirth(5, Repair(5, now_s + 200), now_s)
        with pytest.raises(LedgerUnfit, match="another ledger"):
            await ledger.ask_again()
    async with ledger_at(url) as ledger:
        facts = await ledger.probe()
        assert (facts.born_ms, facts.repair, facts.swept_until_s) == (5, Repair(5, now_s + 200), now_s)


@pytest.mark.anyio
async def test_an_hourly_try_moves_the_limit_and_deletes_nothing(url: str) -> None:
    """The table's own time-to-live deletes, at no cost: a gateway would read and write every item for it."""
    now_s = int(time.time())
    async with ledger_at(url) as ledger:
        assert isinstance(await ledger.insert(LINK, b"{}", now_s - 10), Done | Swept)
        before = await ledger.sweep_state()
        tries = tuple(now_s + 7_200 * number for number in range(1, 25))
        assert await ledger.keep_sweep(before, before._replace(tries_s=tries))
        assert await ledger.sweep(now_s) == 0
        assert (await ledger.sweep_state()).swept_until_s == now_s
