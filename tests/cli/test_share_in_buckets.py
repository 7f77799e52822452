"""``share`` and ``request`` over a folder and over a bucket: links that work, and what a kill between the steps leaves."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from homes import Home
from oncegate.stores.bucket.abilities import CHUNK_BYTES
from oncegate.testing.raw_http import ask
from shelves import ALLOWED, in_bucket, stands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(params=["file", "s3"])
def home(request: pytest.FixtureRequest, home_with: Callable[..., Home], wrong_s3: Callable[..., Any]) -> Home:
    """An installation, its objects in a folder and in a bucket."""
    return home_with(**(ALLOWED if request.param == "file" else in_bucket(wrong_s3().url)))


@pytest.mark.parametrize("size_bytes", [0, 1000, CHUNK_BYTES + 1])
def test_what_is_shared_is_what_its_link_gives_once(home: Home, size_bytes: int) -> None:
    """Empty, small, and so large that a bucket takes it in parts."""
    data = secrets.token_bytes(size_bytes)
    file = home.folder / "report.bin"
    file.write_bytes(data)
    shared = home.run("share", str(file))
    assert shared.returncode == 0, shared.stderr
    with home.serve():
        assert ask("GET", shared.stdout.strip()).body == data
        assert ask("GET", shared.stdout.strip()).status == 403


def test_nothing_is_written_over(home: Home) -> None:
    """The second one is told, prints no link, and leaves what stands."""
    file = home.folder / "report.bin"
    file.write_bytes(b"first")
    assert home.run("share", str(file), "--as", "a/r.bin").returncode == 0
    file.write_bytes(b"second")
    again = home.run("share", str(file), "--as", "a/r.bin")
    assert (again.returncode, again.stdout) == (1, "")
    assert "nothing is written over" in again.stderr


def test_a_request_takes_its_files_and_no_more(home: Home) -> None:
    """Each under its own name; one of the same name is refused and costs no use."""
    url = home.run("request", "--uses", "2").stdout.strip()
    with home.serve():
        for name, status in (("a.txt", 200), ("a.txt", 412), ("b.txt", 200), ("c.txt", 403)):
            assert ask("PUT", url.replace("?", f"{name}?", 1), body=b"sent").status == status, name
    assert [stands(home, f"inbox/{name}.txt") for name in "abc"] == [True, True, False]


@pytest.mark.parametrize("size_bytes", [1000, CHUNK_BYTES + 1_000_000])
def test_killed_while_it_reads_share_leaves_no_object(home: Home, size_bytes: int) -> None:
    """Half of a file is none, however much of it the bucket has; the key is free for the next try."""
    command = [sys.executable, "-m", "oncegate", "--config", str(home.folder / "oncegate.toml")]
    with subprocess.Popen(
        [*command, "share", "-", "--as", "a.bin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdin is not None
        run.stdin.write(bytes(size_bytes))  # a pipe holds 64 KiB: more than that was taken once this returns
        run.stdin.flush()
        run.send_signal(signal.SIGKILL)
        assert run.stdout is not None
        assert run.stdout.read() == b""
    assert not stands(home, "a.bin")
    file = home.folder / "again.bin"
    file.write_bytes(b"again")
    assert home.run("share", str(file), "--as", "a.bin").returncode == 0


def test_links_are_copied_by_the_program_that_is_there(home_with: Callable[..., Home]) -> None:
    """What is printed is what is copied, several links as several lines; without a program it is said, and printed."""
    home = home_with()
    programs = home.folder / "programs"
    programs.mkdir()
    clipboard = programs / "xclip"
    clipboard.write_text(f'#!/bin/sh\n[ "$*" = "-selection clipboard" ] && /bin/cat > {home.folder}/copied\n')
    clipboard.chmod(0o755)
    for name in ("a.txt", "b.txt"):
        (home.folder / name).write_text(name)
    only_here = {"PATH": str(programs)}
    shared = home.run("share", "a.txt", "b.txt", "--copy", environ=only_here)
    assert shared.returncode == 0, shared.stderr
    assert (home.folder / "copied").read_text().split() == shared.stdout.split()
    assert len(shared.stdout.split()) == 2
    clipboard.unlink()
    without = home.run("share", "a.txt", "--copy", environ={**only_here, "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8")})
    assert without.returncode == 0
    assert "not copied" in without.stderr
    assert without.stdout.startswith(home.public_url)
