"""A complete installation in a folder, for tests of programs that use links: real keys, files and processes.

    with Installation(tmp_path) as gateway_folder, gateway_folder.serve() as gateway:
        url = gateway_folder.link("report.pdf")
        httpx.get(url)

Everything listens on 127.0.0.1, on free ports.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from oncegate.keys.pem import KeyKind, PemSigningKey, load_public_key, load_signing_key, new_key_pair
from oncegate.ledgers.opening import create_ledger
from oncegate.links.grant import Operation, Scheme
from oncegate.links.issue import S3Issuer, Wish, make_link
from oncegate.links.key_group import KeyGroup
from oncegate.links.link_id import uuid7
from oncegate.links.ticket import Ticket

START_MAX_S = STOP_MAX_S = COMMAND_MAX_S = 120.0
"""Limits of waiting for a process. Generous, for machines that do other work too; a wait stops when the process ends."""
Value = str | int | bool | list[str]
Tables = Mapping[str, Mapping[str, Value]]
_FIRST_PORT = 10_000 + secrets.randbelow(22_000)
_ports = itertools.cycle((*range(_FIRST_PORT, 32_000), *range(10_000, _FIRST_PORT)))
"""Below those that Linux gives to connections going out (from 32,768 on): a connection of any program could take such a
port between the look and the server's start. Each process begins elsewhere, so that two rarely look at the same one."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens, another one each time."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Serving:
    """A running ``oncegate serve``: its process, its log file, and the URLs of its two listeners."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, viewer_url: str, control_url: str) -> None:
        self.process = process
        self.log = log
        self.viewer_url = viewer_url
        self.control_url = control_url

    def kill(self) -> None:
        """End the process by SIGKILL, so that it settles nothing."""
        self.process.kill()
        self.process.wait()

    def terminate(self, patience_s: float = STOP_MAX_S) -> int:
        """Send SIGTERM, wait for the process, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience_s)

    def rss_bytes(self) -> int:
        """Return the resident memory of the process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak_bytes(self) -> int:
        """Return the highest resident memory that the process has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def log_lines(self) -> list[dict[str, object]]:
        """Return the lines of its log that are JSON, decoded."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


class Installation:
    """A folder with a configuration, keys, a ledger and objects.

    Args:
        folder: an empty folder; relative paths of the configuration begin there.
        key: the kind of the signing key.
        tables: settings that replace the defaults, by table: ``{"links": {"resume_by": "cookie"}}``.
        credentials: secrets by access key id; S3 links that are signed with them are accepted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        key: KeyKind = "ecdsa",
        tables: Tables | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.objects: Path = folder / "objects"
        self.port: int = free_port()
        self.public_url: str = f"http://127.0.0.1:{self.port}"
        self.credentials: dict[str, str] = dict(credentials or {})
        self.key_id: str = f"KTEST{secrets.token_hex(4).upper()}"
        private, public = new_key_pair(key)
        for name in ("objects", "keys", "private"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "keys" / f"{self.key_id}.pem").write_bytes(public)
        (folder / "private" / f"{self.key_id}.pem").write_bytes(private)
        self.signer: PemSigningKey = load_signing_key(private).named(self.key_id)
        self.keys: KeyGroup = KeyGroup({self.key_id: load_public_key(public)})
        self._tables = {name: dict(values) for name, values in (tables or {}).items()}
        ledger = self._tables.setdefault("ledger", {})
        ledger.setdefault("url", "sqlite:./ledger.db")
        self._tables.setdefault("keys", {}).update(group="./keys", signing=f"./private/{self.key_id}.pem")
        create_ledger(str(ledger["url"]), folder=folder)
        self.write_config()

    def write_config(
        self, name: str = "oncegate.toml", *, port: int | None = None, **more: Mapping[str, Value]
    ) -> Path:
        """Write the configuration and return its path.

        Args:
            name: of the file.
            port: of the viewer's listener, where the configuration is that of a further gateway.
            more: settings for this gateway alone, by table.
        """
        tables = {table: dict(values) for table, values in self._tables.items()}
        for table, values in more.items():
            tables.setdefault(table, {}).update(values)
        tables.setdefault("viewer", {}).setdefault("public_url", self.public_url)
        tables["viewer"]["listen"] = f"127.0.0.1:{port or self.port}"
        tables.setdefault("control", {}).setdefault("listen", "127.0.0.1:0")
        if self.credentials:
            tables["s3_credentials"] = dict(self.credentials)
        lines = [
            f"[{table}]\n" + "".join(f"{json.dumps(k)} = {json.dumps(v)}\n" for k, v in values.items())
            for table, values in tables.items()
        ]
        path = self.folder / name
        path.write_text("\n".join(lines))
        return path

    def put(self, key: str, data: bytes) -> Path:
        """Write an object into the store, and return the path of its file."""
        path = self.objects / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def link(
        self, key: str, *, operation: Operation = Operation.GET, uses: int = 1, expires_in_s: int = 3600, **wish: object
    ) -> str:
        """Sign a link and return its URL; further arguments are those of ``oncegate.links.issue.Wish``."""
        now_ms = time.time_ns() // 1_000_000
        ticket = Ticket(operation=operation, uses=uses, nonce=uuid7(now_ms, secrets.token_bytes(10)))
        full = Wish(object_key=key, ticket=ticket, expires_s=now_ms // 1000 + expires_in_s, **wish)  # type: ignore[arg-type]
        s3 = None
        for access_key_id, secret in self.credentials.items():
            s3 = S3Issuer(access_key_id=access_key_id, secret=secret, region="us-east-1")
        signer = None if full.scheme is Scheme.S3 else self.signer
        return make_link(full, public_url=self.public_url, key=signer, s3=s3, now_s=now_ms // 1000)

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of ``oncegate`` with this configuration to its end."""
        return subprocess.run(
            self._command(self.folder / "oncegate.toml", arguments),
            cwd=self.folder,
            env={**os.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=COMMAND_MAX_S,
            check=False,
        )

    @contextlib.contextmanager
    def serve(self, config: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Generator[Serving]:
        """Run ``oncegate serve`` until the block ends.

        Raises:
            RuntimeError: it ended before it was ready, or was not ready in time; the message holds its log.
        """
        config = config or self.folder / "oncegate.toml"
        log = config.with_suffix(".log")
        with log.open("wb") as sink:
            process = subprocess.Popen(
                self._command(config, ["serve"]),
                cwd=self.folder,
                env={**os.environ, **(environ or {})},
                stderr=sink,
                stdout=subprocess.DEVNULL,
            )
        try:
            urls = _wait_until_ready(process, log)
            yield Serving(process, log, urls["viewer"], urls["control"])
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_MAX_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _command(self, config: Path, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, "-m", "oncegate", "--config", str(config), *arguments]


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """Return the URLs of both listeners, once the process says that they answer."""
    deadline = time.monotonic() + START_MAX_S
    while True:
        has_ended = process.poll() is not None  # asked before its last words are read
        said = log.read_text(errors="replace")
        lines = (line.split() for line in said.splitlines())
        urls = {words[0]: words[2] for words in lines if len(words) == 3 and words[1] == "ready"}
        if {"viewer", "control"} <= urls.keys():
            return urls
        if has_ended:
            raise RuntimeError(f"oncegate serve ended with status {process.returncode} before it was ready: {said}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"oncegate serve was not ready after {START_MAX_S:.0f} s: {said}")
        time.sleep(0.02)
