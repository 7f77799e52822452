"""The files of an open ledger are watched through their folder: what is noticed, and what a quiet look costs."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import pytest

from oncegate.ledgers.sqlite import watch
from oncegate.ledgers.sqlite.watch import Identity, Watch, identity_of


@pytest.fixture
def files(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """A database and its log, in a folder of their own."""
    found = tmp_path / "ledger" / "ledger.db", tmp_path / "ledger" / "ledger.db-wal"
    found[0].parent.mkdir()
    for path in found:
        path.write_bytes(b"x")
    return found


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[pathlib.Path]:
    """Every file that is looked at."""
    found: list[pathlib.Path] = []

    def identity(path: pathlib.Path) -> Identity:
        found.append(path)
        return identity_of(path)

    monkeypatch.setattr(watch, "identity_of", identity)
    return found


def settled(files: tuple[pathlib.Path, pathlib.Path], monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A watch that looks at the folder alone from now on, as a moment after the last change in it."""
    monkeypatch.setattr(watch, "COARSE_NS", 0)
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 1e9)
    watching = Watch(*((path, identity_of(path)) for path in files))
    assert watching.missing() is None
    monkeypatch.setattr(watch, "COARSE_NS", 50_000_000)
    return watching


def renamed_away(path: pathlib.Path) -> None:
    """As ``mv ledger.db old.db``."""
    path.rename(path.with_name("old.db"))


def replaced(path: pathlib.Path) -> None:
    """As a backup that is put in its place."""
    other = path.with_name("backup")
    other.write_bytes(b"x")
    other.rename(path)


def replaced_keeping_times(path: pathlib.Path) -> None:
    """As ``rsync -a`` does, which sets the folder's times to what they were."""
    before = path.parent.stat()
    replaced(path)
    os.utime(path.parent, ns=(before.st_atime_ns, before.st_mtime_ns))


def folder_moved(path: pathlib.Path) -> None:
    """The folder is renamed as a whole."""
    path.parent.rename(path.parent.with_name("elsewhere"))


CHANGES: list[Callable[[pathlib.Path], None]] = [
    pathlib.Path.unlink,
    renamed_away,
    replaced,
    replaced_keeping_times,
    folder_moved,
]


@pytest.mark.parametrize("which", [0, 1], ids=["database", "log"])
@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__ for change in CHANGES])
def test_a_file_that_is_gone_or_exchanged_is_noticed_at_once(
    files: tuple[pathlib.Path, pathlib.Path],
    monkeypatch: pytest.MonkeyPatch,
    which: int,
    change: Callable[[pathlib.Path], None],
) -> None:
    """Claims would go on into a file that nobody else sees, though the watch looks at the folder alone."""
    watching = settled(files, monkeypatch)
    change(files[which])
    assert watching.missing() == (files[0] if change is folder_moved else files[which])


def test_a_quiet_folder_is_all_that_is_looked_at(
    files: tuple[pathlib.Path, pathlib.Path], looks: list[pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To ask for the log's times makes its next write dearer: 20 us a claim."""
    watching = settled(files, monkeypatch)
    looks.clear()
    for _ in range(10):
        files[1].write_bytes(b"written on")
        assert watching.missing() is None
    assert looks == []


@pytest.mark.parametrize(("name", "value"), [("COARSE_NS", 10**18), ("LOOK_EVERY_S", 0.0)])
def test_the_files_are_looked_at_where_the_folder_cannot_tell(
    files: tuple[pathlib.Path, pathlib.Path],
    looks: list[pathlib.Path],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: float,
) -> None:
    """A change in the same tick as the last one leaves one ctime; what is mounted over a file leaves none at all."""
    watching = Watch(*((path, identity_of(path)) for path in files))
    monkeypatch.setattr(watch, "COARSE_NS", 0)
    monkeypatch.setattr(watch, name, value)
    for _ in range(3):
        assert watching.missing() is None
    assert looks == [*files] * 3


def test_another_file_in_the_folder_is_no_loss(
    files: tuple[pathlib.Path, pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens, keys and events of an installation lie beside its ledger."""
    watching = settled(files, monkeypatch)
    files[0].with_name("tokens.json").write_bytes(b"{}")
    assert watching.missing() is None
