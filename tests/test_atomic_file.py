"""Small files are written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from oncegate.atomic_file import create_file, replace_file


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    """Whatever the umask is, and whatever stood there."""
    path = tmp_path / "file"
    path.write_text("a longer text that stood there")
    replace_file(path, b"new", mode=0o640)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_stands_is_not_created_again(tmp_path: Path) -> None:
    """A private key must never be lost to a second run."""
    path = tmp_path / "file"
    create_file(path, b"first", mode=0o600)
    with pytest.raises(FileExistsError):
        create_file(path, b"second", mode=0o600)
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault comes after some bytes were written, when the file is made durable."""

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"new", mode=0o600)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
