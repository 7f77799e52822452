"""What the tests of stores share: a module that child processes import too."""

from __future__ import annotations

import importlib
import pathlib
from types import ModuleType

import pytest


@pytest.fixture
def wrong_stores(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the module of stores for tests, importable for other processes too."""
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent))
    return importlib.import_module("wrong_stores")
