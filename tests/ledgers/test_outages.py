"""The ledgers on a server of their own when server or network fail: Unknown in time, back by itself, nothing won twice."""

from __future__ import annotations

import asyncio
import functools
import pathlib
from collections.abc import Generator
from types import ModuleType
from typing import Any

import pytest

from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.postgresql import connection as postgresql_connection
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done
from oncegate.ledgers.redis import connection as redis_connection
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.process import Server
from oncegate.testing.servers.redis import RedisServer

pytestmark = pytest.mark.faults
SERVERS = ("postgresql", "redis")
WAYS = ("postgresql", "postgresql pooled", "redis")
"""Ways to speak to a server through a proxy: PostgreSQL's, pgbouncer's, Redis's."""


class At:
    """A server that holds a ledger.

    Args:
        server: it runs.
        folder: of the configuration.
    """

    def __init__(self, server: PostgresqlServer | RedisServer, folder: pathlib.Path) -> None:
        self.server = server
        self._folder = folder

    def url_through(self, port: int, *, pooled: bool = False) -> str:
        """Of the ledger, through something that listens on another port."""
        if isinstance(self.server, RedisServer):
            return f"redis://127.0.0.1:{port}/0"
        return self.server.url_of("oncegate", port=port) + ("?pgbouncer=1" if pooled else "")

    def opens(self, url: str) -> functools.partial[Any]:
        """Make what opens the ledger at a URL."""
        return functools.partial(open_ledger, url, folder=self._folder)

    def connections(self) -> int:
        """How many connections the server has from ledgers."""
        if isinstance(self.server, RedisServer):
            return (
                len(self.server.cli("CLIENT", "LIST", "TYPE", "NORMAL").splitlines()) - 1
            )  # but for the one that asks
        return int(self.server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'oncegate'"))


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, At]:
    """Make a ledger on each server, once for the module."""
    folder = tmp_path_factory.mktemp("made")
    fixtures = {"postgresql": "postgresql", "redis": "redis_server"}
    servers = {name: request.getfixturevalue(fixture) for name, fixture in fixtures.items()}
    for server in servers.values():
        create_ledger(server.url, folder=folder)
    return {name: At(server, folder) for name, server in servers.items()}


def outage_at(outages: ModuleType, place: At) -> Any:
    """Make the outage of a server without a proxy."""
    return outages.Outage(place.server, place.opens(place.server.url), connections=place.connections)


@pytest.fixture(params=SERVERS)
def outage(request: pytest.FixtureRequest, outages: ModuleType, places: dict[str, At]) -> Generator[Any]:
    """Give the server without a proxy."""
    place = places[request.param]
    yield outage_at(outages, place)
    server: Server = place.server
    server.thaw()


@pytest.fixture(params=WAYS)
def proxied(request: pytest.FixtureRequest, outages: ModuleType, places: dict[str, At], fault_proxy: Any) -> Any:
    """Give the server behind a proxy, spoken to in every way."""
    name, _, pooled = request.param.partition(" ")
    place = places[name]
    made = outage_at(outages, place)
    made.proxy = fault_proxy(place.server.port)
    made.open = place.opens(place.url_through(made.proxy.port, pooled=bool(pooled)))
    return made


@pytest.mark.anyio
async def test_a_frozen_server_is_unknown_and_comes_back(outages: ModuleType, outage: Any) -> None:
    """SIGSTOP: the kernel still takes connections, and nobody answers."""
    await outages.outlives(outage, outage.server.freeze, outage.server.thaw, rounds=1)


@pytest.mark.anyio
async def test_a_killed_server_is_unknown_and_comes_back(outages: ModuleType, outage: Any) -> None:
    """Kill -9 and a start on the same data and port; a Redis then knows no script any more."""
    await outages.outlives(outage, outage.server.kill, outage.server.start)


@pytest.mark.anyio
@pytest.mark.parametrize("fault", ["refuse", "black_hole"])
@pytest.mark.parametrize("proxied", SERVERS, indirect=True)
async def test_an_unreachable_server_is_unknown_and_comes_back(fault: str, outages: ModuleType, proxied: Any) -> None:
    """Connections are reset, or vanish without a word."""
    proxy = proxied.proxy
    if fault == "black_hole":
        proxied.connections = None  # the server does not learn that we are gone
    await outages.outlives(proxied, lambda: setattr(proxy, "fault", fault), proxy.mend, rounds=1)


@pytest.mark.anyio
async def test_a_lost_answer_costs_no_use(outages: ModuleType, proxied: Any) -> None:
    """The commonest fault of all, and the one that a read cannot settle."""
    await outages.a_lost_answer_costs_no_use(proxied)


@pytest.mark.anyio
async def test_a_write_that_lands_late_wins_nothing_twice(outages: ModuleType, proxied: Any) -> None:
    """Repeated over a new connection while the first is still under way."""
    await outages.a_write_that_lands_late_wins_nothing_twice(proxied)


@pytest.mark.anyio
async def test_a_claim_that_lands_after_503_is_given_back(outages: ModuleType, proxied: Any) -> None:
    """Otherwise a link is spent that nobody opened."""
    await outages.a_claim_that_lands_after_503_is_given_back(proxied)


@pytest.mark.anyio
@pytest.mark.timeout(300)  # a server that recovers on a busy machine takes its time
async def test_kills_under_load_lose_nothing(outages: ModuleType, outage: Any, request: pytest.FixtureRequest) -> None:
    """Every answered claim is stored after each kill."""
    await outages.kills_lose_nothing(outage, 10 if request.config.getoption("--nightly") else 5)


@pytest.mark.anyio
async def test_a_connection_that_was_idle_for_long_is_made_anew(
    outages: ModuleType, proxied: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall may have dropped it without a word; the first claim after a quiet night must not pay for that."""
    for module in (postgresql_connection, redis_connection):
        monkeypatch.setattr(module, "IDLE_MAX_S", 0.05)
    async with outages.probed(proxied) as ledger:
        before = proxied.proxy.connections
        await asyncio.sleep(0.1)
        assert isinstance(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S), Done)
        assert proxied.proxy.connections == before + 1
