"""S3 and DynamoDB servers for tests, each in an environment of its own made with pip when first asked for.

    with MinistackServer(tmp_path, parts=repository / ".parts") as server:
        server.make_bucket("objects")
        open_store("s3://objects", folder=tmp_path, options=server.store_options)

They are two independent emulators, in one process each, on loopback; what they keep is in memory. An environment of
their own, because they hold back the packages that oncegate itself is tested with. Neither checks signatures; the tests
of the signer do, and those against Ceph (``oncegate.testing.servers.ceph``).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal
from xml.etree import ElementTree

import httpx

from oncegate.aws_requests.signature import AwsCredentials, SigningScope, signed_headers
from oncegate.testing.servers.process import Server

ACCESS_KEY_ID, SECRET = "testing", "testing-secret"
REGION = "us-east-1"


class S3Server(Server):
    """A server that speaks S3, and a few requests as another program would make them.

    Args:
        folder: where its files go.
        name: how its folder begins.
    """

    def __init__(self, folder: pathlib.Path, *, name: str) -> None:
        super().__init__()
        self._home = folder / f"{name}-{self.port}"
        self._home.mkdir(parents=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store_options(self) -> dict[str, str]:
        """The table ``[store.options]`` that leads here."""
        return store_options(self.url)

    def make_bucket(self, name: str) -> str:
        """Make a bucket, and return its name."""
        self.request("PUT", name).raise_for_status()
        return name

    def version_bucket(self, name: str, *, status: Literal["Enabled", "Suspended"] = "Enabled") -> None:
        """Let a bucket keep versions, or no longer."""
        body = (
            '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Status>{status}</Status></VersioningConfiguration>"
        )
        self.request("PUT", name, query="versioning=", content=body.encode()).raise_for_status()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Make a signed request; nothing is repeated.

        Args:
            method: in upper case.
            path: bucket, and key after a slash, percent-encoded.
            query: as it is signed: sorted, each name with ``=``.
            content: the body.
            headers: names in lower case.
        """
        signed = signed_headers(
            method,
            path=f"/{path}",
            query=query,
            headers={**(headers or {}), "host": f"127.0.0.1:{self.port}"},
            payload_sha256=hashlib.sha256(content).hexdigest(),
            credentials=AwsCredentials(access_key_id=ACCESS_KEY_ID, secret=SECRET),
            scope=SigningScope(region=REGION, service="s3"),
            now_s=int(time.time()),
        )
        url = f"{self.url}/{path}{'?' if query else ''}{query}"
        return httpx.request(method, url, content=content, headers=signed, timeout=30.0)

    def uploads_under_way(self, bucket: str) -> Sequence[str]:
        """List the keys of unfinished multipart uploads, with one entry for each."""
        listed = self.request("GET", bucket, query="uploads=").raise_for_status()
        return [
            key.text or ""
            for upload in ElementTree.fromstring(listed.content).iter()  # noqa: S314  from a server of our own
            if upload.tag.rpartition("}")[2] == "Upload"
            for key in upload
            if key.tag.rpartition("}")[2] == "Key"
        ]

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}{self._health()}", timeout=1.0).status_code < 500
        except httpx.HTTPError:
            return False

    def _health(self) -> str:
        return "/"


class AwsServer(S3Server):
    """An emulator of AWS.

    Args:
        folder: where its log goes.
        parts: where environments are made, once for all.
    """

    NAME = ""
    REQUIREMENT = ""

    def __init__(self, folder: pathlib.Path, *, parts: pathlib.Path) -> None:
        super().__init__(folder, name=self.NAME)
        self._log = self._home / "log"
        self._python = environment(parts / self.NAME / "venv", self.REQUIREMENT)

    def said(self) -> str:
        """Return what it logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as sink:
            return subprocess.Popen(
                [self._python, *self._arguments()],
                cwd=self._home,
                env={**os.environ, **self._environ()},
                stdout=sink,
                stderr=sink,
            )

    @abstractmethod
    def _arguments(self) -> Sequence[str]: ...

    def _environ(self) -> Mapping[str, str]:
        return {}


class MinistackServer(AwsServer):
    """ministack, served by hypercorn: its own launcher would listen on every address."""

    NAME = "ministack"
    REQUIREMENT = "ministack>=1.5"

    def _arguments(self) -> Sequence[str]:
        return ["-m", "hypercorn", "-b", f"127.0.0.1:{self.port}", "ministack.app:app"]

    def _environ(self) -> Mapping[str, str]:
        return {"GATEWAY_PORT": str(self.port), "IOT_MTLS_ENABLED": "0"}  # else it opens a broker on every address

    def _health(self) -> str:
        return "/_localstack/health"


_MOTO = """
import sys
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
run_simple("127.0.0.1", int(sys.argv[1]), DomainDispatcherApplication(create_backend_app), threaded=False)
"""


class MotoServer(AwsServer):
    """moto's server, one request at a time: it looks first and writes later, so at once it lets two writers win."""

    NAME = "moto"
    REQUIREMENT = "moto[server]>=5.2"

    def _arguments(self) -> Sequence[str]:
        return ["-c", _MOTO, str(self.port)]

    def _health(self) -> str:
        return "/moto-api/"


def store_options(url: str) -> dict[str, str]:
    """Write ``[store.options]`` for an S3 server on loopback."""
    return {
        "aws_endpoint": url,
        "aws_access_key_id": ACCESS_KEY_ID,
        "aws_secret_access_key": SECRET,
        "aws_region": REGION,
        "aws_allow_http": "true",
    }


def environment(folder: pathlib.Path, requirement: str) -> pathlib.Path:
    """Make an environment with what is required where there is none, and return its Python.

    Raises:
        RuntimeError: it cannot be made, as without a package index.
    """
    python = folder / "bin" / "python"
    made = folder / "oncegate-made"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:  # several workers may come here at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            for command in (
                [sys.executable, "-m", "venv", str(folder)],
                [str(python), "-m", "pip", "install", "-q", *requirement.split()],
            ):
                done = subprocess.run(command, capture_output=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{requirement} cannot be installed: {done.stderr.decode(errors='replace')}")
            made.touch()
    return python.absolute()
