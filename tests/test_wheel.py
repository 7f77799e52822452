"""What is built is what works: a wheel in an empty environment, without the repository beside it."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
UV = ROOT / ".parts" / "uv" / "bin" / "uv"
CI_PYTHONS = ("3.11", "3.12", "3.13")
"""What ``.ci/run`` runs the tests with."""

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("wheel")]


def run(folder: pathlib.Path, *command: object) -> str:
    """Run a program with nothing of this environment; what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ONCEGATE_", "PYTHON"))}
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(folder: pathlib.Path, wheel: object) -> pathlib.Path:
    """Install a wheel into a new environment; the folder of its programs."""
    run(folder, UV, "venv", "--quiet", "--python", sys.executable, folder / "empty")
    run(folder, UV, "pip", "install", "--quiet", "--python", folder / "empty" / "bin" / "python", wheel)
    return folder / "empty" / "bin"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A source distribution, and a wheel that was built from it."""
    if not UV.exists():
        pytest.skip("uv is not there: run scripts/prepare first")
    folder = tmp_path_factory.mktemp("dist")
    run(folder, UV, "build", "--out-dir", folder, ROOT)  # not --quiet: it hides why a build failed
    return folder


def test_a_wheel_runs_the_demo_in_an_empty_environment(built: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A file that the wheel lacks, or a dependency that only tests install, would not be missed anywhere else."""
    (wheel,) = built.glob("oncegate-*.whl")
    table = run(tmp_path, installed(tmp_path, wheel) / "oncegate", "demo", "--exit")
    assert table.count("\nok ") == 6
    assert "NO" not in table


def test_the_edge_function_is_in_the_wheel(built: pathlib.Path) -> None:
    """It is written by a tool, and sent from where oncegate is installed; the tool is not."""
    (wheel,) = built.glob("oncegate-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        sent = packed.read("oncegate/aws/generated/edge.py")
    assert sent == (ROOT / "src" / "oncegate" / "aws" / "generated" / "edge.py").read_bytes()


def test_what_docs_loads_is_in_the_wheel_with_its_licences(built: pathlib.Path) -> None:
    """Both are files that no import misses; and whoever ships the code of others ships their terms."""
    (wheel,) = built.glob("oncegate-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        (texts,) = {name.partition("/licenses/")[0] for name in names if "/licenses/" in name}
    shipped = "oncegate/control/swagger_ui"
    assert {f"{shipped}/swagger-ui-bundle.js", f"{shipped}/swagger-ui.css"} <= names
    own = f"{texts}/licenses"
    assert {f"{own}/LICENSE", f"{own}/src/{shipped}/LICENSE", f"{own}/src/{shipped}/NOTICE"} <= names


def test_what_an_index_shows_has_no_link_that_leads_nowhere(built: pathlib.Path) -> None:
    """There are no files beside it; and as long as the project has no public address, no link can be absolute."""
    (wheel,) = built.glob("oncegate-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        _, _, shown = packed.read(name).decode().partition("\n\n")
    assert shown.startswith("# oncegate\n")
    assert "## What it promises" in shown
    assert [link for link in re.findall(r"\]\(([^)]*)\)", shown) if not link.startswith("https://")] == []
    assert not re.findall(r"<img|<!--", shown)


@pytest.mark.slow
def test_all_extras_install_together_and_work(built: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """``oncegate[all]`` is what images install: every backend's driver must be there, in versions that agree."""
    (wheel,) = built.glob("oncegate-*.whl")
    programs = installed(tmp_path, f"oncegate[all] @ {wheel.as_uri()}")
    assert re.fullmatch(r"oncegate, version [\d.]+\n", run(tmp_path, programs / "oncegate", "--version"))
    assert run(tmp_path, programs / "oncegate", "demo", "--exit").count("\nok ") == 6
    names = ("postgresql", "redis", "dynamodb", "s3")
    opened = ", ".join(
        [*(f"oncegate.ledgers.{name}.ledger" for name in names), "oncegate.stores.bucket.store", "botocore"]
    )
    run(tmp_path, programs / "python", "-c", f"import {opened}")


def test_a_source_distribution_ships_no_tests(built: pathlib.Path) -> None:
    """They read files of the repository that it does not hold, and would fail for whoever builds a package from it."""
    (archive,) = built.glob("oncegate-*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2].partition("/")[0] for name in opened.getnames()}
    assert {"src", "docs", "LICENSE", "pyproject.toml"} <= names
    assert not names & {"tests", "tools", "scripts", "benchmarks"}


def test_classifiers_name_the_versions_that_ci_runs() -> None:
    """A version that nobody tried is a promise that nobody made."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    named = {found[1] for text in classifiers if (found := re.search(r"Python :: (3\.\d+)$", text))}
    assert named == {*CI_PYTHONS}
    assert f"for version in {' '.join(CI_PYTHONS[1:])}; do" in (ROOT / ".ci" / "run").read_text()
