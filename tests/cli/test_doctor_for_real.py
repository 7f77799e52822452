"""``oncegate doctor`` before real servers, well and broken: what is the matter, what to do, and soon."""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Callable, Generator

import pytest

from oncegate.cli.checkup.remedies import remedy_for, remedy_of
from oncegate.ledgers.opening import create_ledger
from oncegate.ledgers.protocol import LedgerUnfit
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.redis import RedisServer

SOON_S = 12.0
STATES = ("ok", "warning", "failed")
WELL = {"configuration", "keys", "tokens", "ledger", "clock", "store", "public URL"}


@pytest.fixture
def look(
    invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, tuple[str, str, str]]]:
    """Run the command with settings; by name of the part the state, the words and the remedy of the worst finding."""

    def run(*, status: int = 1, **settings: object) -> dict[str, tuple[str, str, str]]:
        for name in list(os.environ):
            if name.startswith("ONCEGATE_"):
                monkeypatch.delenv(name)
        for name, value in {"VIEWER__PUBLIC_URL": "http://127.0.0.1:1", **settings}.items():
            monkeypatch.setenv(f"ONCEGATE_{name}", value if isinstance(value, str) else json.dumps(value))
        begun_s = time.monotonic()
        done = invoke("doctor", "--json")
        assert time.monotonic() - begun_s < SOON_S
        worst: dict[str, tuple[str, str, str]] = {}
        for check in json.loads(done.stdout)["checks"]:
            found = (check["state"], check["words"], check["remedy"])
            worst[check["name"]] = max(worst.get(check["name"], found), found, key=lambda one: STATES.index(one[0]))
        assert worst.keys() == WELL, "a fault must not hide another part"
        assert done.exit_code == status, worst
        assert all(remedy for state, _, remedy in worst.values() if state == "failed")
        return worst

    return run


def assert_failed(finding: tuple[str, str, str], words: str, remedy: str) -> None:
    """It is said what, and what to do, and no secret."""
    assert finding[0] == "failed"
    assert words in finding[1]
    assert remedy in finding[2]
    assert "secret" not in finding[1] + finding[2]


# PostgreSQL.


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Generator[PostgresqlServer]:
    """A server with a ledger, and a user who needs a password and has no rights."""
    folder = tmp_path_factory.mktemp("postgresql")
    access = ["host all gate 127.0.0.1/32 scram-sha-256"]
    with PostgresqlServer(folder / "server", access=access) as server:
        server.sql("CREATE ROLE gate LOGIN PASSWORD 'secret'", "CREATE DATABASE empty")
        create_ledger(server.url, folder=folder)
        yield server


def test_a_postgresql_that_is_well(look, postgresql: PostgresqlServer) -> None:
    """Nothing to do but start the gateway."""
    found = look(status=0, LEDGER__URL=postgresql.url)
    assert found["ledger"][0] == found["clock"][0] == found["store"][0] == "ok"


@pytest.mark.parametrize(
    ("address", "words", "remedy"),
    [
        ("gate:secret-guess@127.0.0.1:{}/postgres", "password authentication failed", "correct user and password"),
        ("gate:secret@127.0.0.1:{}/postgres", "permission denied", "grant its user"),
        ("oncegate@127.0.0.1:{}/nothing", 'database "nothing" does not exist', "make it, or correct its name"),
        ("oncegate@127.0.0.1:{}/empty", "no ledger", "oncegate ledger migrate"),
        ("oncegate@127.0.0.1:{}/postgres?sslmode=require", "rejected SSL upgrade", "options for TLS in [ledger] url"),
        ("oncegate:secret@127.0.0.1:1/postgres", "Connect call failed", "start the server"),
    ],
    ids=["password", "rights", "database", "ledger", "TLS", "stopped"],
)
def test_a_postgresql_that_cannot_be_used(look, postgresql: PostgresqlServer, address, words, remedy) -> None:
    """Each of these is met by everybody who sets it up, once."""
    found = look(LEDGER__URL=f"postgresql://{address.format(postgresql.port)}")
    assert_failed(found["ledger"], words, remedy)
    assert found["store"][0] == "ok"


def test_a_postgresql_that_hangs(look, postgresql: PostgresqlServer) -> None:
    """It takes connections and says nothing; that is told within seconds."""
    postgresql.freeze()
    try:
        assert_failed(look(LEDGER__URL=postgresql.url)["ledger"], "no answer in time", "start the server")
    finally:
        postgresql.thaw()


# Redis.


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    """A server with a ledger under the usual prefix."""
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder) as server:
        create_ledger(server.url, folder=folder)
        yield server


def test_a_redis_that_is_well(look, redis: RedisServer) -> None:
    """Nothing to do but start the gateway."""
    assert look(status=0, LEDGER__URL=redis.url)["ledger"][0] == "ok"


@pytest.mark.parametrize(
    ("address", "words", "remedy"),
    [
        ("redis://gate:secret@127.0.0.1:{}/0", "invalid username-password", "correct user and password"),
        ("redis://:secret@127.0.0.1:1/0", "Connect call failed", "start the server"),
        ("rediss://127.0.0.1:{}/0", "no answer in time", "TLS in [ledger] url"),
    ],
    ids=["password", "stopped", "TLS"],
)
def test_a_redis_that_cannot_be_used(look, redis: RedisServer, address, words, remedy) -> None:
    """Each of these is met by everybody who sets it up, once."""
    assert_failed(look(LEDGER__URL=address.format(redis.port))["ledger"], words, remedy)


def test_sentinels_that_are_away(look) -> None:
    """What the driver says of it names its own inside, which helps nobody."""
    url = "redis+sentinel://:secret@127.0.0.1:1,127.0.0.1:2/links/0"
    found = look(LEDGER__URL=url, LEDGER__ACCEPT=["redis-failover"])["ledger"]
    assert_failed(found, "No master found for 'links'", "start the server")
    assert "redis.asyncio" not in found[1]


def test_a_redis_that_forgets(look, tmp_path: pathlib.Path) -> None:
    """Without an append-only file it fails, by name; accepted by name it is a warning, each time."""
    with RedisServer(tmp_path, settings={"appendonly": "no"}) as server:
        create_ledger(server.url, folder=tmp_path)
        found = look(LEDGER__URL=server.url)["ledger"]
        assert_failed(found, "no append-only file", "set appendonly yes; or accept it")
        accepted = look(status=0, LEDGER__URL=server.url, LEDGER__ACCEPT=["redis-no-aof"])["ledger"]
        assert accepted[0] == "warning"
        assert "redis-no-aof" in accepted[1]


# Files, and a bucket.


@pytest.mark.parametrize(
    ("settings", "part", "words", "remedy"),
    [
        ({"LEDGER__URL": "sqlite:./nowhere/ledger.db"}, "ledger", "nowhere is no folder", "make it, or correct"),
        ({"LEDGER__URL": "sqlite:./objects"}, "ledger", "no regular file", "[ledger] url"),
        (
            {"LEDGER__ACCEPT": ["postgresql-async-standby"]},
            "ledger",
            '"postgresql-async-standby" is no weaker promise',
            "correct [ledger] accept, or take it out; names that may stand there: sqlite-network-file-system",
        ),
        ({"LEDGER__URL": "redis://h/?password=x"}, "ledger", '"password" is no option', "correct [ledger] url"),
        ({"LEDGER__URL": "postgresql://h/d?user_name=x"}, "ledger", '"user_name" is no option', "correct [ledger] url"),
        ({"LEDGER__URL": "mysql://x"}, "ledger", "knows memory:, sqlite:", "correct [ledger] url"),
        ({"STORE__URL": "file:./gone"}, "store", "gone cannot be opened as a folder", "make it first"),
        ({"STORE__URL": "file:./oncegate.toml"}, "store", "Not a directory", "make it first"),
        ({"STORE__URL": "ftp://x"}, "store", "ftp: is no store", "write file:./objects"),
    ],
)
def test_files_that_cannot_be_used(look, settings, part, words, remedy) -> None:
    """A path is the commonest thing to write wrong."""
    assert_failed(look(**settings)[part], words, remedy)


def store_at(url: str) -> dict[str, object]:
    """Settings of a store there."""
    options = {"aws_endpoint": url, "aws_allow_http": "true", "aws_region": "us-east-1"}
    options |= {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    return {"STORE__URL": "s3://bucket", "STORE__OPTIONS": options}


def test_a_bucket_whose_uploads_would_overwrite_is_a_warning(look, wrong_s3) -> None:
    """A refused upload says "see doctor": so it must be here, and not that all can be written."""
    found = look(status=0, **store_at(wrong_s3("ignores-if-none-match").url))["store"]
    assert found[0] == "warning"
    assert "uploads are refused" in found[1]
    assert look(status=0, **store_at(wrong_s3().url))["store"][0] == "ok"


def test_a_bucket_without_multipart_uploads_is_a_warning(look, wrong_s3) -> None:
    """A small server has none, and says 501: large uploads then need their length, and nothing is broken."""
    found = look(status=0, **store_at(wrong_s3("501-multipart").url))["store"]
    assert found[0] == "warning"
    assert "need an announced length" in found[1]


def test_a_bucket_that_fails_while_it_is_tried(look, wrong_s3) -> None:
    """It answers, so neither its address nor its credentials are wrong: the remedy must not send anybody there."""
    found = look(**store_at(wrong_s3("503-multipart").url))["store"]
    assert_failed(found, "503", "look at the log of the server in [store]")


def test_a_bucket_that_is_out_of_reach(look) -> None:
    """A driver repeats for minutes; here somebody waits."""
    assert_failed(
        look(**store_at("http://127.0.0.1:1"))["store"],
        "does not answer",
        "check aws_endpoint, aws_allow_http and the network",
    )


def test_secrets_from_variables_are_not_looked_for_in_the_file(look, folder: pathlib.Path) -> None:
    """A file without secrets may be read by all; a warning that is wrong teaches to pass over warnings."""
    (folder / "oncegate.toml").chmod(0o644)
    url = "redis://:secret@127.0.0.1:1/0"
    assert look(LEDGER__URL=url)["configuration"][0] == "ok"
    text = (folder / "oncegate.toml").read_text()
    (folder / "oncegate.toml").write_text(text.replace('url = "sqlite:./ledger.db"', f'url = "{url}"'))
    found = look()["configuration"]
    assert found[0] == "warning"
    assert "others may read it" in found[1]


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (
            "redis: cannot be used: ConnectionError: Error -2 connecting to h:1. Name or service not known.",
            "the host in X",
        ),
        ("store.url: x: after 2 retries, retry_timeout: 5s - Server returned non-2xx status code: 503", "overloaded"),
        ("what nobody has heard of", "change what it names"),
    ],
)
def test_what_is_hard_to_bring_about_has_its_remedy_too(words: str, remedy: str) -> None:
    """Words are searched in an order: what is said exactly must not be taken for what is said of everything."""
    assert remedy in remedy_for(words, "X")


@pytest.mark.parametrize(
    ("unfit", "remedy"),
    [
        (LedgerUnfit("x: no answer", remedy="add pgbouncer=1"), "add pgbouncer=1"),
        (LedgerUnfit("x: no answer", where="[ledger] url"), "start the server"),
        (LedgerUnfit("a host is missing", where="[ledger] url"), "correct [ledger] url"),
        (LedgerUnfit("what nobody has heard of"), "change what it names"),
    ],
    ids=["its own", "known words", "the setting", "nothing"],
)
def test_a_remedy_that_an_error_brings_goes_before_what_its_words_are_known_for(
    unfit: LedgerUnfit, remedy: str
) -> None:
    """Whoever refused knows best; a table of other programs' words must not send the operator elsewhere."""
    assert remedy in remedy_of(unfit, "X")
