"""What oncegate is installed with: each package's licence, and why it is there; a part of tools/gen_reference.py.

Which packages: uv.lock, with every extra, on Linux and CPython. Licences: the metadata of what is installed here. Why:
the comments of pyproject.toml, so that nothing is said twice. A licence that nobody has judged ends the tool.
"""

from __future__ import annotations

import importlib.metadata
import pathlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from packaging.markers import Marker

ROOT = pathlib.Path(__file__).resolve().parents[1]
# the same packages for every Python from 3.11.3 on
_ENVIRONMENT = {
    "python_version": "3.11",
    "python_full_version": "3.11.9",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "os_name": "posix",
}
JUDGED = frozenset(
    {
        *("MIT", "MIT-0", "MIT License", "Apache-2.0", "Apache Software License", "PSF-2.0"),
        *("BSD-2-Clause", "BSD-3-Clause", "BSD License"),
        *("MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)"),
    }
)
"""All may be used and shipped with a program of any licence; MPL-2.0 asks that changes of its own files are given out."""
_VAGUE = frozenset({"Dual License"})


def table() -> str:
    """Write a row for each package, those that oncegate names first."""
    lock = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    reasons = _reasons()
    needed = _needed_by(lock)
    rows = ["| Package | Licence | Installed by | Why |", "|---|---|---|---|"]
    for name in sorted(needed, key=lambda name: (name not in reasons, name)):
        extras = sorted(_extras_naming(lock, name)) if name in reasons else []
        by = ", ".join(f"`oncegate[{extra}]`" for extra in extras) or ("`oncegate`" if name in reasons else "")
        why = reasons.get(name) or "needed by " + ", ".join(f"`{other}`" for other in sorted(needed[name]))
        rows.append(f"| `{name}` | {licence_of(name)} | {by} | {why} |")
    return "\n".join(rows)


def licence_of(name: str) -> str:
    """Say which licence the metadata of an installed package names.

    Args:
        name: of the package.

    Raises:
        SystemExit: it names none, or one that is not in ``JUDGED``.
    """
    metadata = importlib.metadata.metadata(name)
    text = metadata.get("License-Expression") or metadata.get("License") or ""
    classifiers = [entry.rpartition(" :: ")[2] for entry in metadata.get_all("Classifier", ()) if "License ::" in entry]
    said = [text] if text and len(text) < 60 and text not in _VAGUE else classifiers
    parts = [part for entry in said for part in re.split(r" (?:AND|OR) ", entry)]
    if not parts or not JUDGED.issuperset(parts):
        raise SystemExit(f"{name}: look at its licence ({said}), then at JUDGED in tools/dependencies.py")
    return ", ".join(said)


def _reasons() -> Mapping[str, str]:
    """Read the comments of the dependencies and extras in pyproject.toml; the first of a package counts."""
    text = (ROOT / "pyproject.toml").read_text()
    parts = text[text.index("\ndependencies = [") : text.index("\n[project.scripts]")]
    found: dict[str, str] = {}
    for line in parts.splitlines():
        code, _, why = line.partition("  # ")
        for name in re.findall(r'"([a-z][a-z0-9-]*)', code):
            if name != "oncegate" and not code.startswith("dependencies"):
                found.setdefault(name, why.strip())
    return found


def _needed_by(lock: Mapping[str, Any]) -> Mapping[str, set[str]]:
    """Find every package of the locked set, and which others name it."""
    found: dict[str, set[str]] = {}
    waiting = [("oncegate", tuple(lock["oncegate"]["optional-dependencies"]))]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for entry in _named_by(lock[name], extras):
            if entry["name"] != "oncegate":
                found.setdefault(entry["name"], set()).add(name)
                waiting.append((entry["name"], tuple(entry.get("extra", ()))))
    return found


def _named_by(package: Mapping[str, Any], extras: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    named = list(package.get("dependencies", ()))
    for extra in extras:
        named += package.get("optional-dependencies", {}).get(extra, ())
    return (entry for entry in named if "marker" not in entry or Marker(entry["marker"]).evaluate(_ENVIRONMENT))


def _extras_naming(lock: Mapping[str, Any], name: str) -> set[str]:
    """Name the extras that list a package themselves; none where oncegate always needs it."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    always = any(entry["name"] == name for entry in lock["oncegate"]["dependencies"])
    if always:
        return set()
    return {extra for extra, entries in extras.items() if any(re.match(rf"{name}\b(?!-)", entry) for entry in entries)}
