"""The ledger in older versions of PostgreSQL: 16, which the wheel has beside 18, and one that a package installed."""

from __future__ import annotations

import functools

import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.testing.ledger_suite import LedgerSuite
from oncegate.testing.servers.postgresql import PostgresqlServer


@pytest.fixture(scope="module")
def older(request, tmp_path_factory):
    """Give the suite over an older server."""
    version = request.getfixturevalue("packaged_postgresql") if request.param == "packaged" else request.param
    folder = tmp_path_factory.mktemp("older")
    with PostgresqlServer(folder / "server", version=version) as server:
        create_ledger(server.url, folder=folder)
        assert server.sql("SHOW server_version").split(".")[0] == version
        yield LedgerSuite(functools.partial(open_ledger, server.url, folder=folder), rounds=5, kills=2)


@pytest.mark.anyio
@pytest.mark.parametrize("older", ["16", "packaged"], indirect=True)
@pytest.mark.parametrize("name", LedgerSuite.CHECKS)
async def test_an_older_postgresql_passes(name: str, older) -> None:
    """Older versions plan and lock in other ways than the newest; the promises are the same."""
    await older.run(name)
