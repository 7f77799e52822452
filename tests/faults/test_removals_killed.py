"""Kills between the steps of a removal, and of share: the next gateway finishes, or nothing was lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from homes import Home
from oncegate.testing.raw_http import RawConnection, ask, target_of
from oncegate.uses.removal import SPARE_S, Stage
from shelves import ALLOWED, WINDOW_S, in_bucket, lay, remove_as_of, rows_of, stands

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]
OVER_S = WINDOW_S + SPARE_S + 2
DAY_S = 86_400
MIB = 1024 * 1024
REMOVER = """
import asyncio, os, pathlib, signal, sys
from dataclasses import replace
from oncegate.gateway.removals import remove_due
from oncegate.service.gateway import open_gateway
from oncegate.settings import load

folder, step, ahead_s = sys.argv[1], sys.argv[2], int(sys.argv[3])

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Dying:
    def __init__(self, store):
        self.store = store
    async def remove(self, key, etag):
        if step == "begun":
            die()
        await self.store.remove(key, etag)
        die()

async def main():
    async with open_gateway(load(pathlib.Path(folder, "oncegate.toml"), {})) as opened:
        clock = opened.parts.clock
        parts = replace(opened.parts, clock=lambda: clock() + ahead_s, store=Dying(opened.parts.store))
        await remove_due(parts, opened.ledger)

asyncio.run(main())
"""


@pytest.fixture(params=["file", "s3"])
def home(request: pytest.FixtureRequest, home_with: Callable[..., Home], wrong_s3: Callable[..., Any]) -> Home:
    """An installation that may remove objects, from a folder and from a bucket."""
    return home_with(**(ALLOWED if request.param == "file" else in_bucket(wrong_s3().url)))


def kill_while_removing(home: Home, step: str) -> None:
    """Run a gateway that removes what is due, and is killed at a step."""
    done = subprocess.run(
        [sys.executable, "-c", REMOVER, str(home.folder), step, str(OVER_S)],
        env={**os.environ}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


def download(home: Home, key: str = "a/b.bin") -> str:
    """Lay an object, and fetch it through a link after which it goes; the gateway is killed when all has arrived."""
    lay(home, key, b"x" * 1000)
    url = home.link(key, delete_after=True)
    with home.serve() as serving:
        assert ask("GET", url, {"Range": "bytes=0-"}).body == b"x" * 1000
        serving.kill()
    return url


def test_killed_after_the_delivery_the_object_goes_later(home: Home) -> None:
    """Nobody but the ledger knows of it by then: whoever sweeps finds it there."""
    download(home)
    remove_as_of(home, WINDOW_S)
    assert stands(home, "a/b.bin")
    remove_as_of(home, OVER_S)
    assert not stands(home, "a/b.bin")


@pytest.mark.parametrize("step", ["begun", "removed"])
def test_killed_while_it_removes_the_next_gateway_finishes(home: Home, step: str) -> None:
    """Whether or not the object was gone by then, nobody gets it any more, and its row is closed."""
    url = download(home)
    kill_while_removing(home, step)
    assert stands(home, "a/b.bin") is (step == "begun")
    assert [row.stage for row in rows_of(home)] == [Stage.REMOVING]
    with home.serve():
        assert ask("GET", url).status == 403
    remove_as_of(home, OVER_S)
    assert not stands(home, "a/b.bin")
    assert [row.stage for row in rows_of(home)] == [Stage.DONE]


def test_an_object_that_took_its_place_meanwhile_stays(home: Home) -> None:
    """Killed when it was gone; somebody stored another under the key: the one who finishes does not take that."""
    download(home)
    kill_while_removing(home, "removed")
    lay(home, "a/b.bin", b"another")
    remove_as_of(home, OVER_S)
    assert stands(home, "a/b.bin")
    assert [row.stage for row in rows_of(home)] == [Stage.DONE]


def test_killed_midway_the_object_stays_until_its_holder_cannot_resume(home: Home) -> None:
    """The rest is still the holder's after a restart, and only afterwards the object goes."""
    lay(home, "big.bin", bytes(8 * MIB))
    url = home.link("big.bin", delete_after=True, expires_in_s=DAY_S)
    with home.serve() as serving:
        part = ask("GET", url, {"Range": f"bytes=0-{MIB - 1}"}, keep=False)
        with RawConnection(url, receive_buffer_bytes=65_536) as connection:
            headers = {"Range": f"bytes={MIB}-{2 * MIB - 1}", "Cookie": part.cookie}
            connection.send_request("GET", target_of(url), host=home.public_url[7:], headers=headers)
            assert connection.read_head().status == 206
            serving.kill()
    remove_as_of(home, WINDOW_S)
    with home.serve():
        rest = ask("GET", url, {"Range": f"bytes={2 * MIB}-", "Cookie": part.cookie}, keep=False)
        assert (rest.status, rest.body_bytes) == (206, 6 * MIB)
    remove_as_of(home, WINDOW_S)
    assert stands(home, "big.bin")
    remove_as_of(home, OVER_S)
    assert not stands(home, "big.bin")


SHARER = """
import os, signal, sys
from oncegate.cli import removals
from oncegate.cli.commands import share
from oncegate.cli.main import cli

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

step = sys.argv.pop(1)
if step == "stored":
    removals.record = die
elif step == "recorded":
    record = removals.record
    removals.record = lambda *told: die(record(*told))
cli(prog_name="oncegate")
"""


@pytest.mark.parametrize("step", ["stored", "recorded"])
def test_a_share_that_is_killed_has_printed_no_link(home: Home, step: str) -> None:
    """Before it is recorded the file is an object like any other; then it goes when the link that nobody has ends."""
    file = home.folder / "report.txt"
    file.write_bytes(b"report")
    command = ["--config", str(home.folder / "oncegate.toml"), "share", str(file), "--as", "r.txt", "--delete-after"]
    done = subprocess.run(
        [sys.executable, "-c", SHARER, step, *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    assert stands(home, "r.txt")
    remove_as_of(home, DAY_S)
    assert stands(home, "r.txt") is (step == "stored")
