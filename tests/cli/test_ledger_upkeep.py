"""A clock that was wrong: what doctor, readiness, explain and status say of it, and the way out that revives nothing."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from oncegate.ledgers.sqlite.ledger import SqliteLedger
from oncegate.links.cloudfront import sign_url
from oncegate.testing.raw_http import ask

AHEAD_S = 400 * 86_400


def sweep_ahead(path: pathlib.Path) -> None:
    """Sweep by a clock that is 400 days ahead, as one that was followed for a day would."""

    async def run() -> None:
        ledger = SqliteLedger(path)
        await ledger.probe()
        await ledger.sweep(int(time.time()) + AHEAD_S, force=True)
        await ledger.aclose()

    asyncio.run(run())


@pytest.mark.slow
def test_a_limit_ahead_of_now_is_told_by_doctor_explain_and_readiness(home_with: Callable[..., Any]) -> None:
    """Every link is refused for a year: no diagnosis may say that all is well."""
    home = home_with()
    with home.serve():
        url = home.fresh(b"x")
    sweep_ahead(home.folder / "ledger.db")
    with home.serve() as serving:
        assert ask("GET", url).status == 403
        readiness = ask("GET", f"{serving.control_url}/readyz")
        assert readiness.status == 503
        assert "swept by a clock that was ahead" in readiness.body.decode()
        explained = home.run("explain", url)
        assert explained.returncode == 1
        assert "swept past the end of this link" in explained.stdout
        assert "see 'oncegate ledger repair'" in explained.stderr
        doctor = json.loads(home.run("doctor", "--json").stdout)
        found = [check for check in doctor["checks"] if check["name"] == "ledger" and check["state"] == "failed"]
        assert "swept by a clock that was ahead" in found[0]["words"]
        assert "oncegate ledger repair" in found[0]["remedy"]


def test_a_repair_opens_new_links_and_revives_no_used_one(home_with: Callable[..., Any]) -> None:
    """The record of the used link is gone with the others: its ticket is older than the repair, and is refused."""
    home = home_with()
    with home.serve():
        used, unused = home.fresh(b"x"), home.fresh(b"y")
        assert ask("GET", used).status == 200
    sweep_ahead(home.folder / "ledger.db")
    time.sleep(0.002)  # the milliseconds of a ticket: those before the repair are older
    repaired = home.run("ledger", "repair")
    assert repaired.returncode == 0, repaired.stderr
    with home.serve() as serving:
        assert ask("GET", used).status == 403
        assert ask("GET", unused).status == 403
        fresh = home.fresh(b"z")
        assert ask("GET", fresh).status == 200
        assert ask("GET", fresh).status == 403
        assert ask("GET", f"{serving.control_url}/readyz").status == 200
    again = home.run("ledger", "repair")
    assert again.returncode == 1
    assert "nothing to repair" in again.stderr


def test_an_earlier_accept_from_does_not_undo_a_repair(home_with: Callable[..., Any]) -> None:
    """The later of the two counts: a setting that was left from a restore must not open what was used."""
    home = home_with(ledger={"accept_from": "2020-01-01T00:00:00Z"})
    with home.serve():
        used = home.fresh(b"x")
        assert ask("GET", used).status == 200
    sweep_ahead(home.folder / "ledger.db")
    time.sleep(0.002)
    assert home.run("ledger", "repair").returncode == 0
    with home.serve():
        assert ask("GET", used).status == 403
        assert ask("GET", home.fresh(b"z")).status == 200


@pytest.mark.slow
def test_a_gateway_that_runs_during_a_repair_answers_nothing(home_with: Callable[..., Any]) -> None:
    """It knows nothing of the instant before which tickets are refused, so it must not trust the lowered limit."""
    home = home_with()
    sweep_ahead(home.folder / "ledger.db")
    with home.serve() as serving:
        assert home.run("ledger", "repair").returncode == 0
        assert ask("GET", home.fresh(b"z")).status == 503
        assert ask("GET", f"{serving.control_url}/readyz").status == 503


def test_a_plain_link_from_before_the_repair_stays_refused(home_with: Callable[..., Any]) -> None:
    """It carries no time of making: by its end alone it is told from links whose records cannot be gone."""
    home = home_with()
    with home.serve():
        home.put("plain", b"x")
        used = sign_url(f"{home.public_url}/plain", key=home.signer, expires_s=int(time.time()) + 3600)
        assert ask("GET", used).status == 200
    sweep_ahead(home.folder / "ledger.db")
    assert home.run("ledger", "repair").returncode == 0
    with home.serve():
        assert ask("GET", used).status == 403


@pytest.mark.slow
def test_the_log_of_the_ledger_deleted_under_a_gateway_is_noticed(home_with: Callable[..., Any]) -> None:
    """What was claimed last is in the log alone: nothing may be served, and a kill then must not open used links."""
    home = home_with()
    with home.serve() as serving:
        used = home.fresh(b"x")
        assert ask("GET", used).status == 200
        os.unlink(home.folder / "ledger.db-wal")
        assert ask("GET", home.fresh(b"y")).status == 503
        readiness = ask("GET", f"{serving.control_url}/readyz")
        assert readiness.status == 503
        assert "is gone, or another stands in its place" in readiness.body.decode()
        serving.kill()
    with home.serve():
        assert ask("GET", used).status == 403
        assert ask("GET", home.fresh(b"z")).status == 200


def test_a_sweep_by_hand_says_how_far_it_went(invoke: Callable[..., Any], folder: pathlib.Path) -> None:
    """One try of 24 forgets nothing, and says why; by force it goes to now."""
    first = invoke("ledger", "sweep")
    assert (first.exit_code, first.stdout) == (0, "0\n")
    assert "1 of the 24 tries are known" in first.stderr
    assert "within the last half hour" in invoke("ledger", "sweep").stderr
    forced = invoke("ledger", "sweep", "--force")
    assert (forced.exit_code, forced.stdout) == (0, "0\n")
    assert "swept until 20" in forced.stderr
    assert (folder / "ledger.db").exists()


@pytest.mark.parametrize("command", ["status", "links", "explain"])
def test_commands_that_ask_the_ledger_warn_of_it(
    invoke: Callable[..., Any], folder: pathlib.Path, command: str
) -> None:
    """Whoever looks for why a link is refused meets it first."""
    sweep_ahead(folder / "ledger.db")
    arguments = {"status": ("AZTb0mXJdU-kq3xkS8pB1g",), "links": (), "explain": ("http://127.0.0.1:8080/x?once=g.x",)}
    assert "swept by a clock that was ahead" in invoke(command, *arguments[command]).stderr
