"""What tests of several files in this folder stand on."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Generator

import pytest
from _pytest.runner import runtestprotocol

import fleets
from fronts import FRONTS, Front, Until


@pytest.fixture(scope="module", params=list(fleets.PROXIES))
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]
) -> Generator[fleets.Fleet]:
    """Three gateways on one ledger, and a proxy before them."""
    name: str = request.param
    folder: pathlib.Path = tmp_path_factory.mktemp(name)
    with fleets.running(name, folder, require_tool, request.getfixturevalue("until")) as running:
        yield running


@pytest.fixture(scope="module", params=FRONTS)
def front(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    until: Until,
    require_tool: Callable[[str], str],
) -> Generator[Front]:
    """A gateway and a proxy that sends in its place."""
    name: str = request.param
    with Front(tmp_path_factory.mktemp(name.replace(" ", "-")), name).running(until, require_tool) as front:
        yield front


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test once more whose proxy tells by datagrams what it sent: one may be lost, and its use is spent then.

    That is what is promised of such a line; a test that fails twice fails.
    """
    if item.get_closest_marker("told_by_datagrams") is None:
        return None
    where = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**where)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if any(report.failed for report in reports):
        item._initrequest()  # type: ignore[attr-defined]  # its fixtures are made anew
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**where)
    return True
