"""``/readyz`` of a running gateway: it answers 503 where viewers do, and says why without telling anybody's secrets."""

import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
from collections.abc import Generator

import pytest

from oncegate.ledgers.opening import create_ledger
from oncegate.testing.raw_http import ask
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.redis import RedisServer

GONE = "is gone, or another stands in its place: see oncegate doctor, then restart this gateway"


def ledger_of(serving):
    """Whether the ledger is ready, and the words; nothing else may be wrong."""
    answer = ask("GET", f"{serving.control_url}/readyz")
    parts = {part["name"]: part for part in json.loads(answer.body)["parts"]}
    assert parts["store"]["ready"]
    assert parts["keys"]["ready"]
    assert (answer.status == 200) == parts["ledger"]["ready"]
    return parts["ledger"]["ready"], parts["ledger"]["words"]


@pytest.mark.slow
def test_a_ledger_that_takes_no_writes_is_not_ready(home_with, until):
    """Another program holds SQLite's lock: reads go on, and every viewer gets 503."""
    home = home_with()
    with home.serve() as serving:
        assert ledger_of(serving) == (True, "")
        other = sqlite3.connect(home.folder / "ledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert ledger_of(serving) == (False, "does not answer")
        other.execute("ROLLBACK")
        other.close()
        until(lambda: ledger_of(serving) == (True, ""), "it is ready again by itself")


def test_being_asked_writes_nothing(home_with):
    """A load balancer asks every second, for years: no record, and not a byte in the log of the database."""
    home = home_with()
    with home.serve() as serving:
        assert ask("GET", home.fresh(b"x")).status == 200
        log = home.folder / "ledger.db-wal"
        before = log.stat().st_size, log.stat().st_mtime_ns
        for _ in range(5):
            assert ledger_of(serving) == (True, "")
        assert (log.stat().st_size, log.stat().st_mtime_ns) == before


def test_a_file_that_was_exchanged_is_told(home_with):
    """A ledger that was restored from somewhere else, or deleted, under a gateway that runs."""
    home = home_with()
    path = home.folder / "ledger.db"
    with home.serve() as serving:
        assert ask("GET", home.fresh(b"x")).status == 200
        path.rename(path.with_name("old.db"))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).rename(path.with_name("old.db" + suffix))
        assert ledger_of(serving) == (False, GONE)
        create_ledger("sqlite:./ledger.db", folder=home.folder)
        assert ledger_of(serving) == (False, GONE)


@pytest.fixture(params=["redis", "postgresql"])
def server(request, tmp_path):
    """A server, and what makes its ledger go away."""
    if request.param == "redis":
        with RedisServer(tmp_path / "server") as started:
            yield started, lambda: started.cli("FLUSHALL")
    else:
        with PostgresqlServer(tmp_path / "server") as started:
            yield (
                started,
                lambda: started.sql(
                    "DROP TABLE oncegate_meta, oncegate_records, oncegate_events; DROP SEQUENCE oncegate_swept_until"
                ),
            )


def test_a_ledger_that_is_gone_is_told_and_so_is_another(home_with, server, until):
    """To say that it does not answer sends people to the network; it answers, and the gateway must be started again."""
    started, forget = server
    home = home_with(ledger={"url": started.url})
    with home.serve() as serving:
        assert ledger_of(serving) == (True, "")
        forget()
        until(lambda: ledger_of(serving) == (False, GONE), "it is said")
        create_ledger(started.url, folder=home.folder)
        until(lambda: ledger_of(serving) == (False, GONE), "another in its place is told too")
    with home.serve() as serving:
        assert ledger_of(serving) == (True, "")


def test_a_server_that_is_away_does_not_answer(home_with, tmp_path):
    """What the driver says names host and port, which nobody without a token is told."""
    with RedisServer(tmp_path / "server") as started:
        home = home_with(ledger={"url": started.url})
        with home.serve() as serving:
            started.kill()
            assert ledger_of(serving) == (False, "does not answer")
            started.start()


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Generator[pathlib.Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_is_told_until_it_has_room(home_with, small_disk: pathlib.Path, until) -> None:
    """Reads go on and a write that changes nothing succeeds, but no claim can be stored: readiness knows the last one."""
    home = home_with(ledger={"url": f"sqlite:{small_disk}/ledger.db"})
    with home.serve() as serving:
        assert ask("GET", home.fresh(b"x")).status == 200
        ballast = small_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

        until(lambda: ask("GET", home.fresh(b"y")).status == 503, "a claim finds no room")
        assert ledger_of(serving) == (False, "takes no writes")
        ballast.unlink()
        until(lambda: ledger_of(serving) == (True, ""), "it is ready again by itself")
        assert ask("GET", home.fresh(b"z")).status == 200
