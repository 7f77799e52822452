"""Real servers and the fault proxy, as fixtures. Each module of tests has a server of its own; files share none."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from types import ModuleType

import pytest

from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.redis import RedisServer


def _load(name: str) -> ModuleType:
    """Load a file beside this one; importlib mode puts no folder on the path."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, pathlib.Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    """A PostgreSQL for the tests of one module."""
    with PostgresqlServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    """A Redis for the tests of one module, as it must be set."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def fault_proxy():
    """Put a fault proxy before a port: ``fault_proxy(port)``."""
    opened = []

    def before(port):
        proxy = _load("fault_proxy").FaultProxy(port)
        opened.append(proxy)
        return proxy.__enter__()

    yield before
    for proxy in opened:
        proxy.__exit__()


@pytest.fixture(scope="module")
def outages():
    """Give the module of checks that the backends behind a server share."""
    return _load("outages")
