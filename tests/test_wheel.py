"""What is built is what works: a wheel in an empty environment, without the repository beside it."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
UV = ROOT / ".parts" / "uv" / "bin" / "uv"


@pytest.mark.timeout(180)
def test_a_wheel_runs_the_demo_in_an_empty_environment(tmp_path: pathlib.Path) -> None:
    """A file that the wheel lacks, or a dependency that only tests install, would not be missed anywhere else."""
    if not UV.exists():
        pytest.skip("uv is not there: run scripts/prepare first")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ONCEGATE_", "PYTHON"))}

    def run(*command: object) -> str:
        done = subprocess.run(
            [str(part) for part in command], cwd=tmp_path, env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("oncegate-*.whl")
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "empty")
    run(UV, "pip", "install", "--quiet", "--python", tmp_path / "empty" / "bin" / "python", wheel)
    table = run(tmp_path / "empty" / "bin" / "oncegate", "demo", "--exit")
    assert table.count("\nok ") == 6
    assert "NO" not in table
