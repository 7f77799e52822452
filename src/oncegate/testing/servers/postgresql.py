"""PostgreSQL 18 and 16 for tests of ledgers, and pgbouncer before it."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from oncegate.testing.servers.postgresql_programs import hand_over, may_enter, nobody, postgresql_programs
from oncegate.testing.servers.process import Server, program_path


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
        if not may_enter(folder):
            self._temporary = folder = pathlib.Path(tempfile.mkdtemp(prefix="oncegate-postgresql-"))
            folder.chmod(0o755)
        self._home = folder / f"postgresql-{self.port}"
        self._home.mkdir(parents=True)
        hand_over(self._home)
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
            return subprocess.Popen(command, cwd="/", stdout=sink, stderr=sink, user=nobody(), group=nobody())

    def _lay(self, name: str, data: bytes) -> pathlib.Path:
        """Write a file that the server alone may read."""
        path = self._home / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        hand_over(path)
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
            user=nobody(),
            group=nobody(),
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
        hand_over(self._home, *self._home.iterdir())

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
                [program_path("pgbouncer"), self._home / "pgbouncer.ini"],
                cwd="/",
                stdout=sink,
                stderr=sink,
                user=nobody(),
                group=nobody(),
            )

    def _answers(self) -> bool:
        try:
            self._base.sql("SELECT 1", port=self.port)
        except RuntimeError:
            return False
        return True
