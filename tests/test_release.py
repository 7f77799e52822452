"""A release is made from a commit and nothing else, twice the same bytes, and says what it is of."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parents[1]
UV = ROOT / ".parts" / "uv" / "bin" / "uv"

pytestmark = [pytest.mark.xdist_group("release")]


def release(repository: pathlib.Path, *arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a repository."""
    command = [repository / "scripts" / "release", *(str(argument) for argument in arguments)]
    prepared = {**os.environ, "ALREADY_PREPARED": "1", **environ}
    return subprocess.run(command, env=prepared, capture_output=True, text=True, check=False, timeout=500)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A clone, for tags that the repository must not get."""
    folder = tmp_path_factory.mktemp("clone") / "oncegate"
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, folder], check=True)
    return folder


@pytest.mark.parametrize("tag", ["v9.9.9", "0.1.0", "v0.1"])
def test_a_tag_of_another_version_is_refused(clone: pathlib.Path, tmp_path: pathlib.Path, tag: str) -> None:
    """Its files would carry a name that their contents deny."""
    subprocess.run(["git", "tag", "--force", tag], cwd=clone, check=True, capture_output=True)
    done = release(clone, tag, tmp_path / "out")
    assert (done.returncode, done.stderr) == (2, f"the tag {tag} is not of the version 0.1.0\n")


def test_a_tag_without_a_section_of_the_changelog_is_refused(clone: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Whoever upgrades reads there what is new."""
    changelog = clone / "CHANGELOG.md"
    changelog.write_text(re.sub(r"^## \[\d.*$", "", changelog.read_text(), flags=re.MULTILINE))
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run([*git, "commit", "--allow-empty", "-qam", "none"], cwd=clone, check=True)
    subprocess.run(["git", "tag", "--force", "v0.1.0"], cwd=clone, check=True, capture_output=True)
    done = release(clone, "v0.1.0", tmp_path / "out")
    assert (done.returncode, done.stderr) == (2, "CHANGELOG.md has no section [0.1.0]\n")


def test_nothing_is_written_over(tmp_path: pathlib.Path) -> None:
    """The sums would be of files of two releases; and a name that is no commit says so."""
    (tmp_path / "old.whl").touch()
    assert release(ROOT, "HEAD", tmp_path).stderr == f"{tmp_path} is not empty\n"
    assert release(ROOT, "no-such-tag", tmp_path / "out").stderr == "no commit no-such-tag here\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(1_000)
def test_one_commit_gives_the_same_bytes_twice(tmp_path: pathlib.Path) -> None:
    """Times, time zones, the order of folders, and who builds it must not be in them."""
    if not UV.exists():
        pytest.skip("uv is not there: run scripts/prepare first")
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    commit = found.stdout.strip()  # a commit that is made meanwhile must not count
    first, second = tmp_path / "first", tmp_path / "second"
    for out, environ in ((first, {}), (second, {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"})):
        done = release(ROOT, commit, out, **environ)
        assert done.returncode == 0, done.stdout + done.stderr
    names = sorted(path.name for path in first.iterdir())
    assert [re.sub(r"\d+\.\d+\.\d+", "V", name) for name in names] == [
        "SHA256SUMS",
        "oncegate-V-py3-none-any.whl",
        "oncegate-V-site.tar.gz",
        "oncegate-V.cdx.json",
        "oncegate-V.tar.gz",
        "openapi.json",
    ]
    assert [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()] == []
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=first, check=True)
    _is_complete(json.loads(next(first.glob("*.cdx.json")).read_text()))


def _is_complete(document: dict[str, Any]) -> None:
    """The bill of materials has oncegate, every package of the lock file with its version, and Swagger UI."""
    assert document["metadata"]["component"]["purl"].startswith("pkg:pypi/oncegate@")
    command = [UV, "export", "--quiet", "--locked", "--no-dev", "--all-extras", "--no-emit-project", "--no-hashes"]
    exported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    locked = set(re.findall(r"^([\w.-]+)==([\w.]+)$", exported, re.MULTILINE))  # for every system and Python
    listed = {(part["name"].lower().replace("_", "-"), part["version"]) for part in document["components"]}
    assert len(locked) > 30
    assert locked <= listed
    assert "swagger-ui-dist" in {name for name, _ in listed}
