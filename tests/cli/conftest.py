"""The command line as these tests use it: in this process where only words matter, as a process where more does."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

from oncegate.cli.commands.init import make_installation
from oncegate.cli.main import cli

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _load(name: str) -> ModuleType:
    """Load a file beside this one under its own name; importlib mode puts no folder on the path."""
    spec = importlib.util.spec_from_file_location(name, pathlib.Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_BAD_SERVER = _load("bad_server")


@pytest.fixture
def serve() -> Iterator[Callable[..., Any]]:
    """Start a server that gives these answers, the last again and again."""
    with ExitStack() as stack:
        yield lambda *answers, head=None: stack.enter_context(_BAD_SERVER.BadServer(answers, head).running())


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of whoever runs the tests reaches the commands."""
    for name in list(os.environ):
        if name.startswith(("ONCEGATE_", "_ONCEGATE")):
            monkeypatch.delenv(name)


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    """A folder that ``oncegate init`` made, and the current one."""
    home = tmp_path / "home"
    make_installation(home)
    monkeypatch.chdir(home)
    yield home


@pytest.fixture
def invoke() -> Callable[..., Result]:
    """Run a command in this process; stdout and stderr apart."""

    def run(*arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(cli, list(arguments), input=stdin, prog_name="oncegate")

    return run


@pytest.fixture
def run() -> Run:
    """Run the real command as a process, where it stands."""

    def call(
        *arguments: str, stdin: bytes | None = None, environ: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "oncegate", *arguments],
            input=None if stdin is None else stdin.decode(),
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            env={**os.environ, **(environ or {})},
        )

    return call
