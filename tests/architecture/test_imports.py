"""What a command has imported: ``oncegate link`` answers in 0.3 s because almost nothing was."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

HEAVY = (
    "pydantic",
    "fastapi",
    "httptools",
    "obstore",
    "asyncio",
    "rich",
    "httpx",
    "boto3",
    "botocore",
    "sqlite3",
    "segno",
)

SCRIPT = """
import sys
from oncegate.cli.main import cli
sys.argv[1:] = {arguments!r}
try:
    cli.main(prog_name="oncegate")
except SystemExit as end:
    assert end.code == 0, end.code
print("imported:", *(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
"""


def heavy_after(arguments: list[str], folder: pathlib.Path) -> list[str]:
    """Run a command in a fresh interpreter; which heavy modules it has imported."""
    script = SCRIPT.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    # before it stands what the command itself has to say
    return done.stderr.rpartition("imported:")[2].split()


@pytest.mark.parametrize(
    "arguments",
    [
        ["link", "a.txt"],
        ["link", "a.txt", "--json", "--put", "--max-size", "1MB", "--type", "image/png", "--ip", "10.0.0.0/8"],
        ["ticket"],
        ["--help"],
        ["link", "--help"],
        ["get", "--help"],
    ],
    ids=" ".join,
)
def test_an_offline_command_imports_nothing_heavy(arguments: list[str], tmp_path: pathlib.Path) -> None:
    """Time itself is no test; what takes the time is. Each of these costs between 20 and 400 ms."""
    subprocess.run([sys.executable, "-m", "oncegate", "init", "."], cwd=tmp_path, capture_output=True, check=True)
    assert heavy_after(arguments, tmp_path) == []
