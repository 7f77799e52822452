"""``oncegate serve`` as other programs start and end it: standard streams of every kind, and signals."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator

import pytest

from oncegate.testing.installation import START_MAX_S, Installation
from oncegate.testing.raw_http import ask

BODY = b"object"


@pytest.fixture
def made(tmp_path: pathlib.Path) -> Installation:
    """Give an installation with one object."""
    home = Installation(tmp_path)
    home.put("a.bin", BODY)
    return home


@contextlib.contextmanager
def served(
    home: Installation, redirections: str = "", *, stderr: int | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Start it through a shell that opens and closes descriptors, and wait until it serves a link."""
    command = [sys.executable, "-m", "oncegate", "--config", str(home.folder / "oncegate.toml"), "serve"]
    process = subprocess.Popen(["sh", "-c", f'exec "$@" {redirections}', "sh", *command], stderr=stderr)
    try:
        _until_it_serves(home, process)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _until_it_serves(home: Installation, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_MAX_S
    while True:
        with contextlib.suppress(OSError):
            if ask("GET", home.link("a.bin")).body == BODY:
                return
        assert process.poll() is None, f"it ended with {process.returncode}"
        assert time.monotonic() < deadline, "it serves nothing"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "redirections",
    ["2>/dev/full", "2>&-", "<&-", "<&- >&- 2>&-", ">&- 2>/dev/full"],
    ids=["full", "no stderr", "no stdin", "none of them", "full and no stdout"],
)
def test_streams_of_every_kind_are_served_beside(made: Installation, redirections: str) -> None:
    """A full disk behind stderr ended it with 1, and closed descriptors with SIGABRT, before the first link."""
    with served(made, redirections) as process:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.parametrize("has_reader", [False, True], ids=["closed", "full"])
def test_a_pipe_that_nobody_reads_stops_nothing(made: Installation, has_reader: bool) -> None:
    """A supervisor that died, or sleeps: the words about readiness must wait for nobody."""
    reader, writer = os.pipe()
    if has_reader:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 512)
        os.set_blocking(writer, True)
    else:
        os.close(reader)
    try:
        with served(made, stderr=writer) as process:
            process.terminate()
            assert process.wait(30) == 0
    finally:
        os.close(writer)
        if has_reader:
            os.close(reader)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_each_signal_to_end_lets_it_settle(made: Installation, number: signal.Signals) -> None:
    """SIGHUP, when a terminal is closed, killed it: what was not delivered was not given back."""
    log = made.folder / "serve.log"
    with log.open("wb") as sink, served(made, stderr=sink.fileno()) as process:
        process.send_signal(number)
        assert process.wait(30) == 0
    assert '"event":"stopped"' in log.read_text()


def test_under_nohup_it_goes_on(made: Installation) -> None:
    """Whoever starts it with SIGHUP ignored wants it to outlive the terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with served(made, "2>/dev/null") as process:
            process.send_signal(signal.SIGHUP)
            assert ask("GET", made.link("a.bin")).status == 200
            process.terminate()
            assert process.wait(30) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("listener", ["viewer", "control"])
def test_a_taken_port_names_its_setting(made: Installation, listener: str) -> None:
    """Two listeners and two ports: whoever reads "127.0.0.1:8081 is taken" must not guess which to change."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        environ = {**os.environ, f"ONCEGATE_{listener.upper()}__LISTEN": f"127.0.0.1:{port}"}
        command = [sys.executable, "-m", "oncegate", "--config", str(made.folder / "oncegate.toml"), "serve"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=START_MAX_S, check=False)
    assert done.returncode == 2
    assert f"[{listener}] listen: 127.0.0.1:{port} is taken" in done.stderr


def test_a_terminal_is_given_lines_for_a_person(made: Installation) -> None:
    """JSON is for programs; whoever starts a gateway by hand reads it."""
    ours, theirs = pty.openpty()
    try:
        with served(made, stderr=theirs):
            said = b""
            deadline = time.monotonic() + START_MAX_S
            while b"request" not in said:
                assert time.monotonic() < deadline, said
                said += os.read(ours, 65_536)
    finally:
        os.close(theirs)
        os.close(ours)
    assert b"status=200" in said
    assert b'{"time"' not in said
