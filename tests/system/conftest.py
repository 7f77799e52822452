"""What tests of several files in this folder stand on."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Generator

import pytest

import fleets


@pytest.fixture(scope="module", params=list(fleets.PROXIES))
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[[str], str]
) -> Generator[fleets.Fleet]:
    """Three gateways on one ledger, and a proxy before them."""
    name: str = request.param
    folder: pathlib.Path = tmp_path_factory.mktemp(name)
    with fleets.running(name, folder, require_tool, request.getfixturevalue("until")) as running:
        yield running
