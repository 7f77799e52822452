"""'oncegate aws deploy' killed after each call that changes something, and run again: it ends whole.

The list of calls is that of a proxy which records a whole run; the process is killed by SIGKILL when the call has been
carried out, and never hears of it.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.aws import test_deployed_api
from tests.aws.aws_proxy import AwsProxy

from oncegate.testing.servers.aws import AwsEmulator

bundle = test_deployed_api.bundle
"""The fixture: the API's code."""
REGION = "eu-central-1"
CALLS_MIN = 12
"""A whole deployment makes 15: three stacks and a policy by two each, files laid and removed, the birth and its trial."""

pytestmark = pytest.mark.timeout(1_200)


@pytest.fixture(scope="module")
def proxy(aws: AwsEmulator) -> Iterator[AwsProxy]:
    """What stands between the command and AWS."""
    with AwsProxy(aws.url) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", made.url)
        yield made


def deploy(name: str, folder: Path, bundle: Path, *more: str) -> list[str]:
    """The command."""
    options = ("--home", REGION, "--bucket", f"{name}-objects", "--bundle", str(bundle), "--folder-here", str(folder))
    return [sys.executable, "-m", "oncegate", "aws", "deploy", name, *options, *(more or ("--yes",))]


def run(command: list[str]) -> str:
    """Run a command to its end; return all that it wrote."""
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def kill_after(count: int, command: list[str], proxy: AwsProxy) -> None:
    """Start the command, and kill it when so many of its calls have changed something."""
    started: queue.Queue[subprocess.Popen[bytes]] = queue.Queue()
    proxy.after(count, lambda: started.get(timeout=60).kill())
    process = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started.put(process)
    assert process.wait(timeout=300) == -9, f"it ended before its call number {count}"


def test_a_run_that_was_killed_anywhere_is_made_whole_by_the_next(
    proxy: AwsProxy, bundle: Path, tmp_path: Path
) -> None:
    """A laptop that is closed, a job that is ended: nothing is left that only a console mends, and nothing twice."""
    proxy.calls.clear()
    run(deploy("whole", tmp_path / "whole", bundle))
    listed = [f"{call.service}:{call.operation}" for call in proxy.changes]
    assert len(listed) >= CALLS_MIN, listed
    for count in range(1, len(listed) + 1):
        name, folder = f"killed{count}", tmp_path / f"killed{count}"
        kill_after(count, deploy(name, folder, bundle), proxy)
        where = f"killed after {listed[count - 1]}, call {count} of {len(listed)}"
        run(deploy(name, folder, bundle))
        said = run([sys.executable, "-m", "oncegate", "aws", "status", name])
        assert "WRONG" not in said, f"{where}: {said}"
        assert "nothing to change" in run(deploy(name, folder, bundle, "--dry-run")), where
        s3: Any = boto3.client("s3", region_name=REGION)
        assert "Contents" not in s3.list_objects_v2(Bucket=f"{name}-objects"), f"{where}: a template was left"
        assert (folder / "oncegate.toml").read_text().count(name) >= 3, where
