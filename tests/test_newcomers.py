"""A newcomer with the wheel, with the image's steps, and with a clone: share, open, refused, in under five commands.

The commands are those of docs/index.md, as they stand there; only ports are others.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Mapping

import httpx
import pytest

import image
from oncegate.testing.installation import START_MAX_S, free_port

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "index.md"
UV = ROOT / ".parts" / "uv" / "bin" / "uv"
LETTER = b"Only for you.\n"
COMMANDS_MAX = 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800), pytest.mark.xdist_group("newcomers")]


def commands_of(title: str) -> list[str]:
    """The commands below a heading of the page, continued lines joined."""
    section = PAGE.read_text().partition(f"### {title}\n")[2].partition("\n#")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    found = [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    assert len(found) <= COMMANDS_MAX
    return found


@pytest.fixture
def ports() -> Mapping[str, str]:
    """Variables that put both listeners where nothing else is."""
    viewer = free_port()
    return {
        "ONCEGATE_VIEWER__LISTEN": f"127.0.0.1:{viewer}",
        "ONCEGATE_VIEWER__PUBLIC_URL": f"http://127.0.0.1:{viewer}",
        "ONCEGATE_CONTROL__LISTEN": "127.0.0.1:0",
    }


def opens_once(url: str, has_ended: Callable[[], bool]) -> None:
    """The letter, and then nothing of it."""
    deadline = time.monotonic() + START_MAX_S
    while True:
        with contextlib.suppress(httpx.ConnectError):
            first = httpx.get(url)
            break
        assert not has_ended()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (first.status_code, first.content) == (200, LETTER)
    second = httpx.get(url)
    assert second.status_code == 403
    assert LETTER.strip() not in second.content


class Shell:
    """A bash of a newcomer, whose background jobs end with it."""

    def __init__(self, folder: pathlib.Path, environ: Mapping[str, str]) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("ONCEGATE_", "PYTHON", "UV_"))
        }
        kept |= {"HOME": str(folder), **environ}
        self._folder, self._environ = folder, kept
        self._process: subprocess.Popen[str] | None = None

    def run(self, commands: list[str]) -> str:
        """Run commands in order, until the first that fails; the last line that was printed."""
        (self._folder / "letter.txt").write_bytes(LETTER)
        script = "\n".join(["set -eu", *commands, "exec 1>&-", "wait"])
        with (self._folder / "said").open("wb") as said:
            self._process = subprocess.Popen(
                ["bash", "--norc", "-c", script],
                cwd=self._folder,
                env=self._environ,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout
        url = ""
        for line in self._process.stdout:
            if line.startswith("http://"):
                url = line.strip()
                break
        assert url, (self._folder / "said").read_text()[-3_000:]
        return url

    def has_ended(self) -> bool:
        """Whether it ended, with what ran in it."""
        return self._process is None or self._process.poll() is not None

    def end(self) -> None:
        """End it and all that it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(90)
            if self._process.stdout:
                self._process.stdout.close()


@pytest.fixture
def shell(tmp_path: pathlib.Path, ports: Mapping[str, str]) -> Generator[Shell]:
    """A shell in an empty folder."""
    made = Shell(tmp_path, ports)
    try:
        yield made
    finally:
        made.end()


def test_with_the_wheel_alone(shell: Shell, tmp_path: pathlib.Path) -> None:
    """No clone, no server, no configuration: a file of the release, and a package index for what it needs."""
    if not UV.exists():
        pytest.skip("uv is not there: run scripts/prepare first")
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT], check=True)
    opens_once(shell.run(commands_of("With the wheel")), shell.has_ended)


def test_with_a_clone(shell: Shell, tmp_path: pathlib.Path) -> None:
    """What is committed is enough: nothing that lies about here may be needed."""
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, tmp_path / "oncegate"], check=True)
    (tmp_path / "oncegate" / "letter.txt").write_bytes(LETTER)
    opens_once(shell.run(["cd oncegate", *commands_of("With a clone")]), shell.has_ended)


def test_with_the_steps_of_the_image(tmp_path: pathlib.Path, ports: Mapping[str, str]) -> None:
    """As the user of the image, with a root that cannot be written; a stop ends it in good order."""
    build, *lines = commands_of("With the image")
    assert build == "docker build --tag oncegate:0.1.0 ."
    made = image.build(tmp_path, ROOT / ".parts")
    docker = image.Docker(made, tmp_path)
    try:
        printed = ""
        for line in lines:
            words, _, given = line.partition(" < ")
            printed = docker.run(words, replaced=ports, given=LETTER if given else b"")
        opens_once(printed.strip(), docker.has_ended)
        seen = docker.run("docker exec oncegate sh -c 'id -u; touch /x 2>&1 || true'", replaced=ports)
        assert re.fullmatch(r"10001\n.*Read-only file system\n", seen)
    finally:
        statuses = docker.stop()
        for stage in ("build", "last"):
            shutil.rmtree(tmp_path / stage)
    assert statuses == [0]
