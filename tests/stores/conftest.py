"""Real and wrong S3 servers, as fixtures."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import sys
from types import ModuleType

import pytest

from oncegate.testing.object_servers import MinistackServer, MotoServer

ROOT = pathlib.Path(__file__).parents[2]


def _load(path: pathlib.Path) -> ModuleType:
    """Load a file of tests; importlib mode puts no folder on the path."""
    name = path.stem
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def _started(kind, folder):
    try:
        return kind(folder, parts=ROOT / ".parts")
    except RuntimeError as error:
        if os.environ.get("REQUIRE_ALL_TOOLS") == "1":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def ministack(tmp_path_factory):
    """A ministack for the tests of one module."""
    with _started(MinistackServer, tmp_path_factory.mktemp("ministack")) as server:
        yield server


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    """A moto server for the tests of one module."""
    with _started(MotoServer, tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def wrong_s3():
    """Start a wrong S3 server: ``wrong_s3("whole-to-range")``."""
    opened = []

    def start(*faults):
        server = _load(ROOT / "tests" / "wrong_s3.py").WrongS3(*faults)
        opened.append(server)
        return server.__enter__()

    yield start
    for server in opened:
        server.__exit__()
