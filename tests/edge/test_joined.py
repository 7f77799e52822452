"""The joined file: it is what its sources say, small, of Python's own library alone, and in the wheel."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys

import pytest
from edge_world import JOINED, load_function, whole_text

ROOT = pathlib.Path(__file__).parents[2]
JOINED_MAX_BYTES = 113_000
SLOW_IMPORTS = {"asyncio", "dataclasses", "email", "http", "inspect", "logging", "typing_extensions", "urllib.request"}
"""Each costs a cold start 10 to 60 ms of processor, at 7 % of one."""


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="the file is written by Python 3.11, whose ast.unparse it shows"
)
def test_the_joined_file_is_what_its_sources_say() -> None:
    """What is deployed must be what is tested and read; after a change: python tools/join_edge.py."""
    subprocess.run([sys.executable, str(ROOT / "tools" / "join_edge.py"), "--check"], check=True, timeout=60)


def test_the_joined_file_is_small() -> None:
    """A cold start compiles all of it; much of a larger one would be what nothing reaches."""
    assert JOINED.stat().st_size <= JOINED_MAX_BYTES


def test_the_joined_file_imports_pythons_own_library_alone() -> None:
    """Lambda@Edge has no layers, and nothing else is sent."""
    names = set()
    for node in ast.walk(ast.parse(JOINED.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    assert names
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    assert not names & SLOW_IMPORTS


def test_an_instance_loads_nothing_slow() -> None:
    """A library that is quick to import may import a slow one."""
    text = whole_text().removesuffix("start()\n") + "import sys; print(*sorted(sys.modules))\n"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) & SLOW_IMPORTS == set()


def test_a_deployment_without_its_configuration_does_not_start() -> None:
    """A function that guessed its table would find every link unused."""
    text = JOINED.read_text()
    assert "CONFIGURATION =" not in text
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=60)
    assert "NameError: name 'CONFIGURATION' is not defined" in done.stderr


def test_the_classes_that_are_written_out_behave_as_dataclasses_do() -> None:
    """Equal by their fields, usable as keys, copied with changes; and checked when they are made."""
    function = load_function(homes={})
    one, same = (function.SigningScope(region="r", service="s") for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert function.replace(one, region="other").region == "other"
    assert function.Done("1") != function.Done("2")
    assert function.Gone() == function.Gone() != function.Swept()
