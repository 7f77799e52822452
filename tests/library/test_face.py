"""The public names of the package: complete, typed, documented, and free for whoever does not use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import oncegate
import oncegate.testing

ROOT = Path(__file__).parents[2]

IMPORTED = """
import json, sys
before = set(sys.modules)
import oncegate
{then}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def modules_after(then: str) -> set[str]:
    """The modules that a fresh interpreter has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED.format(then=then)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def is_foreign(module: str) -> bool:
    """Whether it is neither of the standard library nor of this package."""
    return module.partition(".")[0] not in {"oncegate", *sys.stdlib_module_names}


def test_importing_it_loads_nothing_but_itself() -> None:
    """A site that signs one link a day must not pay for a server at its start."""
    loaded = modules_after("dir(oncegate)")
    assert {module for module in loaded if is_foreign(module)} == set()
    assert {module for module in loaded if module.startswith("oncegate")} == {"oncegate"}


def test_a_signer_loads_no_server_and_no_framework() -> None:
    """Signing needs the key library and the standard library, nothing else."""
    heavy = {"fastapi", "httptools", "uvloop", "obstore", "httpx", "pydantic", "rich", "asyncio", "sqlite3", "click"}
    assert modules_after("oncegate.Signer, oncegate.verify, oncegate.ticket") & heavy == set()


@pytest.mark.parametrize("name", oncegate.__all__)
def test_each_name_is_there_and_documented(name: str) -> None:
    """A name that ``__all__`` promises and nobody can import is found by the first user."""
    value = getattr(oncegate, name)
    assert value.__doc__
    assert name in dir(oncegate)


@pytest.mark.parametrize("name", oncegate.testing.__all__)
def test_each_name_for_tests_is_there_and_documented(name: str) -> None:
    """What is promised to those who test their own ledger or store."""
    assert getattr(oncegate.testing, name).__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As for any module; ``hasattr`` depends on it."""
    assert not hasattr(oncegate, "nothing_of_this_name")


def test_every_type_is_known() -> None:
    """Whoever checks types gets all of them, without a stub of their own."""
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        [scripts / "pyright", "--verifytypes", "oncegate", "--ignoreexternal", "--outputjson"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},  # it asks the first python
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    found = json.loads(done.stdout)["typeCompleteness"]
    names = [symbol for symbol in found["symbols"] if symbol["isExported"]]
    assert len(names) > 1_000
    assert [symbol["name"] for symbol in names if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]] == []
    assert found["completenessScore"] == 1
