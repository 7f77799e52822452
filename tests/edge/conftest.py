"""The joined edge function over a server of two calls, of which faults are asked; and the modules that tests share.

``edge_world`` and ``two_calls`` lie beside the tests; pytest's importlib mode puts no folder on the path.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest


def _load(name: str, path: pathlib.Path | None = None) -> ModuleType:
    if name not in sys.modules:
        path = path or pathlib.Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


_load("edge_world")
_load("two_calls")

from edge_world import TABLE, EdgeWorld  # noqa: E402  - after it was loaded
from two_calls import TwoCalls  # noqa: E402


@pytest.fixture(scope="session")
def vectors() -> ModuleType:
    """The module that runs the vectors: what it says of a request is said once."""
    return _load("test_vectors", pathlib.Path(__file__).parents[1] / "test_vectors.py")


@pytest.fixture(scope="session")
def fault_proxy() -> type:
    """The proxy that loses answers."""
    path = pathlib.Path(__file__).parents[1] / "ledgers" / "fault_proxy.py"
    proxy: type = _load("fault_proxy", path).FaultProxy
    return proxy


@pytest.fixture
def table() -> Iterator[TwoCalls]:
    """A table that was born an hour ago."""
    with TwoCalls() as calls:
        calls.born(TABLE, int(time.time() - 3600) * 1000)
        yield calls


@pytest.fixture
def world_with(table: TwoCalls, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., EdgeWorld]]:
    """Deploy the function; arguments are members of its configuration."""
    with contextlib.ExitStack() as stack:

        def deploy(**changes: object) -> EdgeWorld:
            world = EdgeWorld(table.url, monkeypatch, **changes)
            stack.callback(world.close)
            return world

        yield deploy


@pytest.fixture
def world(world_with: Callable[..., EdgeWorld]) -> EdgeWorld:
    """The function as it is usually deployed."""
    return world_with()
