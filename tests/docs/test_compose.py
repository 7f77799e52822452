"""The compose file, without a container engine: its commands run with its environments, as processes.

What the images of others do is done by a PostgreSQL, an emulator of S3 and an nginx of the tests; the addresses that
Docker gives are exchanged for theirs, and nothing else is.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import httpx
import pytest
import yaml

from oncegate.testing.installation import START_MAX_S, STOP_MAX_S, free_port
from oncegate.testing.servers.object_stores import MinistackServer
from oncegate.testing.servers.postgresql import PostgresqlServer

ROOT = pathlib.Path(__file__).parents[2]
PARTS = ROOT / ".parts"
PROGRAMS = pathlib.Path(sys.executable).parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("compose")]


class Compose:
    """The services of the file that are oncegate, as processes of this machine."""

    def __init__(self, folder: pathlib.Path, addresses: Mapping[str, str]) -> None:
        text = (ROOT / "deploy" / "compose.yaml").read_text()
        text = re.sub(r"(?<!\$)\$\{\w+:\?[^}]*\}", "a-secret", text).replace("$$", "$")
        for name, address in addresses.items():
            assert name in text, f"the file no longer has {name}"
            text = text.replace(name, address)
        self.services: dict[str, Any] = yaml.safe_load(text)["services"]
        self.front: str = yaml.safe_load(text)["configs"]["front"]["content"]
        self._folder = folder

    def run(self, service: str, *command: str, given: bytes = b"") -> str:
        """Run a service's own command to its end, or another in it; what it printed."""
        done = subprocess.run(
            self._command(service, command), env=self._environment(service), cwd=self._folder,
            input=given, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    @contextlib.contextmanager
    def running(self, service: str, **environ: str) -> Iterator[None]:
        """Run a service until the block ends; it begins when its health check is content."""
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self._command(service, ()), env=self._environment(service) | environ, cwd=self._folder, stderr=log
            )
        try:
            port = environ["ONCEGATE_CONTROL__LISTEN"].rpartition(":")[2]
            deadline = time.monotonic() + START_MAX_S
            while not self._is_healthy(service, port):
                assert process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < deadline, (self._folder / "log").read_text()
            yield
        finally:
            process.terminate()
            assert process.wait(STOP_MAX_S) == 0

    def _is_healthy(self, service: str, port: str) -> bool:
        kind, *command = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        asked = [part.replace("127.0.0.1:8081", f"127.0.0.1:{port}") for part in command]
        return subprocess.run(asked, env=self._environment(service), capture_output=True, check=False).returncode == 0

    def _command(self, service: str, command: tuple[str, ...]) -> list[str]:
        found = self.services[service]
        return [*found.get("entrypoint", ["oncegate"]), *(command or found.get("command", ()))]

    def _environment(self, service: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ONCEGATE_", "AWS_"))}
        return {**kept, "PATH": f"{PROGRAMS}:{kept['PATH']}", **self.services[service]["environment"]}


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Generator[Compose]:
    """The file, with servers in place of those of its images, and its bucket."""
    folder = tmp_path_factory.mktemp("compose")
    with PostgresqlServer(folder) as postgres, MinistackServer(folder, parts=PARTS) as store:
        postgres.sql("CREATE DATABASE oncegate")
        store.make_bucket("objects")
        yield Compose(
            folder,
            {
                "/gate": str(folder / "gate"),
                "chown -R 10001": f"chown -R {os.getuid()}",
                "http://127.0.0.1:8080": f"http://127.0.0.1:{free_port()}",
                "172.16.0.0/12": "127.0.0.1",
                "postgres:5432": f"127.0.0.1:{postgres.port}",
                "http://minio:9000": store.url,
            },
        )


@pytest.fixture(scope="module")
def set_up(compose: Compose) -> Compose:
    """What runs once: the volume's files, and the tables."""
    compose.run("init")
    compose.run("migrate")
    return compose


def test_what_runs_once_may_run_again(set_up: Compose) -> None:
    """``docker compose up`` starts both at every change of the file; new keys would end every link."""
    gate = pathlib.Path(set_up.services["gateway"]["environment"]["ONCEGATE_CONFIG"]).parent
    before = {path: path.read_bytes() for path in gate.rglob("*") if path.is_file()}
    set_up.run("init")
    set_up.run("migrate")
    assert {path: path.read_bytes() for path in gate.rglob("*") if path.is_file()} == before


def test_a_file_gets_into_the_bucket_and_its_link_opens_once_behind_the_front(
    set_up: Compose, tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """As the guide has it: share through one gateway, open through nginx, which asks any of the three."""
    nginx = require_tool("nginx")
    guide = (ROOT / "docs" / "guides" / "several-gateways.md").read_text()
    (line,) = re.findall(r"^docker compose exec -T gateway (oncegate share .*) < report\.pdf$", guide, re.MULTILINE)
    command = shlex.split(line)[1:]
    ports = [(free_port(), free_port()) for _ in range(set_up.services["gateway"]["deploy"]["replicas"])]
    with contextlib.ExitStack() as running:
        for viewer, control in ports:
            listen = {"ONCEGATE_VIEWER__LISTEN": f"127.0.0.1:{viewer}"}
            running.enter_context(set_up.running("gateway", **listen, ONCEGATE_CONTROL__LISTEN=f"127.0.0.1:{control}"))
        url = set_up.run("gateway", *command, given=b"figures")
        running.enter_context(_front(nginx, set_up, tmp_path, [viewer for viewer, _ in ports]))
        opened = [httpx.get(url) for _ in range(4)]
        assert [answer.status_code for answer in opened] == [200, 403, 403, 403]
        assert opened[0].content == b"figures"
        upload = set_up.run("gateway", "link", "more.txt", "--put")
        assert [httpx.put(upload, content=b"x").status_code for _ in range(2)] == [200, 403]


@contextlib.contextmanager
def _front(nginx: str, compose: Compose, folder: pathlib.Path, viewers: list[int]) -> Iterator[None]:
    """Run nginx with the file's configuration; the name that Docker resolves to all gateways is an upstream here."""
    public = compose.services["gateway"]["environment"]["ONCEGATE_VIEWER__PUBLIC_URL"].rpartition(":")[2]
    content = compose.front.replace("listen 8080;", f"listen 127.0.0.1:{public};")
    content = re.sub(r"resolver .*;\n", "", content).replace("set $gateway gateway:8080;", "set $gateway gateways;")
    upstream = "".join(f"server 127.0.0.1:{port}; " for port in viewers)
    (folder / "nginx.conf").write_text(
        f"pid nginx.pid; events {{}} http {{ upstream gateways {{ {upstream} }} {content} }}"
    )
    command = [nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "nginx.log", "-g", "daemon off;"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_MAX_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{public}/")
                break
            assert process.poll() is None, (folder / "nginx.log").read_text()
            assert time.monotonic() < deadline
        yield
    finally:
        process.terminate()
        process.wait(STOP_MAX_S)
