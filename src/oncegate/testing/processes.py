"""Several processes at once, for checks that one process cannot make: races between them, and kills.

Each process is this interpreter. It reads its job from stdin, says ``ready``, waits for the starting shot, and writes
what happened as lines of JSON. A job is pickled, so functions in it are of a module that the process can import.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Generator, Sequence
from typing import IO, cast

ENDS_WITHIN_S = 60.0

Line = list[str | int]


def run_together(program: str, jobs: Sequence[object]) -> list[list[Line]]:
    """Run one process for each job, let all go at once, and return the lines of each. Blocks.

    Args:
        program: Python; calls ``job`` first and ``ready`` when its work can begin.
        jobs: one for each process.

    Raises:
        RuntimeError: a process failed; what it said on stderr is in the message.
    """
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(_started(program, each)) for each in jobs]
        for process in running:
            _await_ready(process)
        for process in running:
            _let_go(process)
        return [_lines_of(process) for process in running]


def run_and_kill(program: str, job: object, *, after_lines: int) -> list[Line]:
    """Run one process, kill it (SIGKILL) when it has said that many lines, and return all that it said. Blocks."""
    with _started(program, job) as process:
        _await_ready(process)
        _let_go(process)
        said = [_out(process).readline() for _ in range(after_lines)]
        process.kill()
        said += _out(process).readlines()
        complaints = process.stderr.read().decode() if process.stderr else ""
    if not said[0]:
        raise RuntimeError(f"a process failed: {complaints}")
    # The last line may be cut off in the middle; it is then as if it had never been said.
    return [cast("Line", json.loads(line)) for line in said if line.endswith(b"\n")]


# In the process.


def job() -> object:
    """Return the job of this process."""
    return cast("object", pickle.load(sys.stdin.buffer))  # noqa: S301  from the parent, which started this program for it


def ready() -> None:
    """Say that the work can begin, and wait until it may."""
    os.write(1, b"ready\n")
    sys.stdin.buffer.readline()


def say(*line: str | int) -> None:
    """Tell the parent what happened, in one write."""
    os.write(1, json.dumps(line).encode() + b"\n")


# Of the parent.


@contextlib.contextmanager
def _started(program: str, job: object) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    try:
        _in(process).write(pickle.dumps(job))
        _in(process).flush()
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _await_ready(process: subprocess.Popen[bytes]) -> None:
    if _out(process).readline() != b"ready\n":
        raise RuntimeError(f"a process did not get ready: {process.communicate()[1].decode()}")


def _let_go(process: subprocess.Popen[bytes]) -> None:
    _in(process).write(b"go\n")
    _in(process).flush()


def _lines_of(process: subprocess.Popen[bytes]) -> list[Line]:
    said, complaints = process.communicate(timeout=ENDS_WITHIN_S)
    if process.returncode:
        raise RuntimeError(f"a process failed: {complaints.decode()}")
    return [cast("Line", json.loads(line)) for line in said.splitlines()]


def _in(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdin is None:
        raise RuntimeError("started without stdin")
    return process.stdin


def _out(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise RuntimeError("started without stdout")
    return process.stdout
