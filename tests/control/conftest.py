"""The world of these tests, as fixtures."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    """Load a file beside this one under its own name; importlib mode puts no folder on the path."""
    spec = importlib.util.spec_from_file_location(name, pathlib.Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_WORLD = _load("control_world")


@pytest.fixture
def world(tmp_path: pathlib.Path) -> Any:
    """A control API over a memory ledger and a dictionary."""
    return _WORLD.make_world(tmp_path)


@pytest.fixture(params=["listener", pytest.param("function", marks=pytest.mark.slow)])
def talk(request: pytest.FixtureRequest, world: Any) -> Callable[..., None]:
    """Run a test's calls in one loop, with a token for everything: at the listener, and as the function gets them."""
    return _WORLD.talker(world, is_function=request.param == "function")
