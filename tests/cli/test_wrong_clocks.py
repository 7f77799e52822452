"""Gateways whose clock is wrong, as real processes under libfaketime: no good link is refused afterwards, none opens twice."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from oncegate.testing.raw_http import ask

PLACES = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime")
LIBRARY = "libfaketimeMT.so.1"


pytestmark = pytest.mark.slow


@pytest.fixture
def clock() -> Callable[[str], dict[str, str]]:
    """Give the environment in which a program's clock is wrong: ``clock("+26h")``. Intervals pass as they do."""
    found = [path for place in PLACES if (path := pathlib.Path(place) / LIBRARY).exists()]
    if not found:
        if os.environ.get("REQUIRE_ALL_TOOLS") == "1":
            pytest.fail("libfaketime is not installed")
        pytest.skip("libfaketime is not installed")

    def wrong_by(offset: str) -> dict[str, str]:
        return {"LD_PRELOAD": str(found[0]), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    return wrong_by


def tries_of(path: pathlib.Path) -> str:
    """What the ledger keeps of tries to sweep."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT tries FROM sweeping").fetchone()[0]


@pytest.mark.parametrize("offset", ["+26h", "+400d", "-30h"])
def test_a_gateway_that_starts_with_a_wrong_clock_refuses_no_link_for_good(
    home_with: Callable[..., Any], clock: Callable[[str], dict[str, str]], offset: str, until: Callable[..., Any]
) -> None:
    """It tries to sweep at its start. Then the clock is set, and links of an hour open, once."""
    home = home_with()
    with home.serve():
        used = home.fresh(b"x")
        assert ask("GET", used).status == 200
    with home.serve(environ=clock(offset)):
        until(lambda: tries_of(home.folder / "ledger.db"), "it tried to sweep at its start")
    with home.serve(environ=clock(offset)):
        pass  # it is started again: its try counts as the first
    with home.serve() as serving:
        assert ask("GET", used).status == 403
        fresh = home.fresh(b"y")
        assert ask("GET", fresh).status == 200
        assert ask("GET", fresh).status == 403
        assert ask("GET", f"{serving.control_url}/readyz").status == 200
    assert "swept by a clock" not in home.run("doctor").stdout


def test_a_sweep_by_hand_with_a_wrong_clock_moves_nothing(
    home_with: Callable[..., Any], clock: Callable[[str], dict[str, str]]
) -> None:
    """Beside a gateway whose clock is right, and again and again: one clock counts once."""
    home = home_with()
    with home.serve():
        for _ in range(5):
            swept = home.run("ledger", "sweep", environ=clock("+26h"))
            assert (swept.returncode, swept.stdout) == (0, "0\n")
        fresh = home.fresh(b"y")
        assert ask("GET", fresh).status == 200
        assert ask("GET", fresh).status == 403


def test_by_force_a_wrong_clock_is_followed_and_the_repair_needs_a_right_one(
    home_with: Callable[..., Any], clock: Callable[[str], dict[str, str]]
) -> None:
    """Somebody forces it; every diagnosis says so, and the way out revives nothing that was used."""
    home = home_with()
    with home.serve():
        used = home.fresh(b"x")
        assert ask("GET", used).status == 200
    assert home.run("ledger", "sweep", "--force", environ=clock("+400d")).returncode == 0
    with home.serve() as serving:
        assert ask("GET", home.fresh(b"y")).status == 403
        assert ask("GET", f"{serving.control_url}/readyz").status == 503
    assert home.run("ledger", "repair").returncode == 0
    with home.serve():
        assert ask("GET", used).status == 403
        assert ask("GET", home.fresh(b"z")).status == 200
