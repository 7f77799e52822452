"""Every page in every state in a browser: no finding of axe-core, nothing against the policy, nothing too wide."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_gallery_is_without_a_finding(tmp_path: pathlib.Path, require_tool: Callable[[str], str]) -> None:
    """English and Arabic, light and dark, at 390 px; a picture of every state is taken on the way."""
    for tool in ("chromium", "chromedriver", "npm"):
        require_tool(tool)
    done = subprocess.run(
        [sys.executable, "tools/gallery.py", "--axe", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("*.png"))) > 400
