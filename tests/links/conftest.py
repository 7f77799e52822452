"""The simulations are modules beside their tests; pytest's importlib mode puts no folder on the path, so they are here."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from types import ModuleType

import pytest


def _module(name: str) -> ModuleType:
    if name not in sys.modules:
        path = pathlib.Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # before it runs: dataclasses look there
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def downloads() -> ModuleType:
    """The simulated world, and downloads in it."""
    return _module("use_simulation")


@pytest.fixture(scope="session")
def uploads(downloads: ModuleType) -> ModuleType:
    """Uploads in the simulated world."""
    assert downloads
    return _module("upload_simulation")
