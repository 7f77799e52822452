"""The code of the API's function: this version's own files and what it requires, as wheels for Lambda.

Its name follows from what goes into it, so whether it is another one is known before anything is fetched. Versions are
those that are installed here. Fetched by pip, or by uv where there is no pip; nothing is built.

Source: Lambda Developer Guide, "Working with .zip file archives for Python Lambda functions"; pip's documentation,
"pip install --platform".
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from oncegate import __version__
from oncegate.aws.stacks.options import DeploymentUnfit

PYTHON = "3.13"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""The newest first: pip takes the first that a wheel has, and does not infer older ones from a newer one."""
UV_PLATFORM = "x86_64-manylinux_2_28"
EXTRA = "aws"
NOT_NEEDED = frozenset(("botocore", "click", "httptools", "rich", "segno", "uvloop"))
"""What the command line and the gateway's server have; and botocore, because Lambda gives its credentials by variables."""
UNPACKED_MAX_BYTES = 250 * 1024 * 1024
"""Lambda quotas: of a function's code, unzipped."""
FETCH_MAX_S = 600
_FIXED = (1980, 1, 1, 0, 0, 0)
_LEFT_OUT = frozenset(("__pycache__", ".lock", "INSTALLER", "RECORD", "REQUESTED", "direct_url.json"))
"""What installers note, of the day or of this machine; and scripts, in the folder ``bin``."""


class BundleUnfit(DeploymentUnfit):
    """The bundle cannot be made, or what was given is none."""


class Bundle(Protocol):
    """Code of the function, as it lies in the bucket."""

    @property
    def key(self) -> str:
        """Its name there: the same code has the same one."""
        ...

    def content(self) -> bytes:
        """The zip file.

        Raises:
            BundleUnfit: it cannot be made.
        """
        ...


class OwnBundle:
    """Made of the installed version.

    Args:
        python: version of Python that runs it.
    """

    def __init__(self, *, python: str = PYTHON) -> None:
        self._python = python
        self.key: str = self._name()

    def _name(self) -> str:
        """From the package's files and the versions of all it could require."""
        digest = hashlib.sha256(f"{self._python}\0{requirements()}\0{sorted(_pins().items())}".encode())
        for name, path in _own_files():
            digest.update(f"\0{name}\0".encode())
            digest.update(path.read_bytes())
        return f"oncegate-{__version__}-{digest.hexdigest()[:16]}.zip"

    def content(self) -> bytes:
        """Fetch, and pack; the same files give the same bytes."""
        with tempfile.TemporaryDirectory(prefix="oncegate-bundle-") as name:
            folder = Path(name)
            _fetch(folder / "code", folder, self._python)
            files = {path.relative_to(folder / "code").as_posix(): path for path in _files_of(folder / "code")}
            return _packed({**files, **dict(_own_files())}, folder / "bundle.zip")


class GivenBundle:
    """A file that ``oncegate aws bundle`` has made, here or elsewhere.

    Raises:
        BundleUnfit: it is none.
    """

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        try:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
        except (OSError, zipfile.BadZipFile):
            names = set[str]()
        if "oncegate/service/api_function.py" not in names:
            raise BundleUnfit(f"{path} is no bundle", remedy="'oncegate aws bundle FILE' makes one", where="--bundle")
        self.key: str = f"oncegate-given-{hashlib.sha256(self._content).hexdigest()[:16]}.zip"

    def content(self) -> bytes:
        """The file."""
        return self._content


def requirements() -> Sequence[str]:
    """What the installed version says that it requires for the function, without markers of extras."""
    found: list[str] = []
    for each in importlib.metadata.requires("oncegate") or ():
        requirement, _, marker = each.partition(";")
        wanted = "extra" not in marker or f"'{EXTRA}'" in marker.replace('"', "'")
        if wanted and _name_of(requirement) not in NOT_NEEDED:
            found.append(requirement.strip())
    return sorted(set(found))


def _name_of(requirement: str) -> str:
    name = requirement.strip()
    for sign in "<>=!~[ (":
        name = name.partition(sign)[0]
    return name.lower().replace("_", "-")


def _pins() -> Mapping[str, str]:
    """The versions that are installed here of what is required, and of what that requires in turn."""
    found: dict[str, str] = {}
    waiting = [_name_of(each) for each in requirements()]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform or an extra; the index decides its version
        requires = importlib.metadata.requires(name) or ()
        waiting += [_name_of(each.partition(";")[0]) for each in requires if "extra" not in each.partition(";")[2]]
    return found


def _own_files() -> Iterator[tuple[str, Path]]:
    package = Path(__file__).parents[2]
    for path in _files_of(package):
        yield f"oncegate/{path.relative_to(package).as_posix()}", path


def _files_of(folder: Path) -> list[Path]:
    found = ((path, path.relative_to(folder).parts) for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path, parts in found if not _LEFT_OUT & set(parts) and parts[0] != "bin"]


def _fetch(target: Path, folder: Path, python: str) -> None:
    pins = folder / "constraints.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in sorted(_pins().items())))
    command = [*_installer(python), "--target", str(target), "--constraint", str(pins), *requirements()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_MAX_S)  # noqa: S603  no shell
    if done.returncode:
        raise BundleUnfit(
            f"the wheels of the function could not be had: {done.stderr.strip()[-500:]}",
            remedy="give a bundle that was made elsewhere (--bundle FILE), or leave the API out (--api none)",
            where="--bundle",
        )


def _installer(python: str) -> Sequence[str]:
    if importlib.util.find_spec("pip"):
        platforms = [text for each in PLATFORMS for text in ("--platform", each)]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        return [*pip, "--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms]
    if uv := shutil.which("uv"):
        install = [uv, "pip", "install", "--quiet", "--only-binary=:all:"]
        return [*install, "--python-version", python, "--python-platform", UV_PLATFORM]
    raise BundleUnfit(
        "there is neither pip nor uv to fetch the function's wheels with",
        remedy="install one, give a bundle that was made elsewhere (--bundle FILE), or leave the API out (--api none)",
        where="--bundle",
    )


def _packed(files: Mapping[str, Path], path: Path) -> bytes:
    size_bytes = sum(each.stat().st_size for each in files.values())
    if size_bytes > UNPACKED_MAX_BYTES:
        raise BundleUnfit(f"the bundle has {size_bytes} bytes unpacked, Lambda takes {UNPACKED_MAX_BYTES}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, each in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _FIXED)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, each.read_bytes())
    return path.read_bytes()
