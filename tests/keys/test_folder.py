"""The key group's folder: what it trusts, and what changes in it do."""

import logging
import os
from pathlib import Path

import pytest

from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import KeyUnfit, load_public_key, new_key_pair
from oncegate.links.key_group import KEYS_MAX, KeyGroup, is_equal

PAIRS = [new_key_pair("ecdsa") for _ in range(3)]
DIGESTS = [load_public_key(public).spki_sha256 for _, public in PAIRS]


def digests(folder: KeyFolder) -> dict[str, bytes]:
    """Say which key goes by which id."""
    return {key_id: key.spki_sha256 for key_id, key in folder.group.items()}


def put(path: Path, content: bytes) -> None:
    """Replace a file so that a change is seen however coarse the file system's clock is."""
    hidden = path.with_name(".new")
    hidden.write_bytes(content)
    hidden.replace(path)


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    """Give a folder with the key K0."""
    put(tmp_path / "K0.pem", PAIRS[0][1])
    return KeyFolder(tmp_path)


def test_the_group_is_the_pem_files_of_the_folder(tmp_path: Path) -> None:
    """Editors' leftovers, notes and retired keys lie there too and must not be trusted."""
    (tmp_path / "retired.pem").mkdir()
    for name in ("K0.pem", ".K1.pem", "K2.pem.bak", "README"):
        (tmp_path / name).write_bytes(PAIRS[0][1])
    (tmp_path / "K3.pem").symlink_to("nowhere")
    (tmp_path / "K4.pem").symlink_to("K0.pem")
    assert digests(KeyFolder(tmp_path)) == {"K0": DIGESTS[0], "K4": DIGESTS[0]}


def test_keys_that_come_change_and_go_are_seen(folder: KeyFolder) -> None:
    """A rotation must need no restart, and a key that was taken away must not stay trusted."""
    assert not folder.refresh()
    put(folder.path / "K1.pem", PAIRS[1][1])
    assert folder.refresh()
    assert digests(folder) == {"K0": DIGESTS[0], "K1": DIGESTS[1]}
    put(folder.path / "K0.pem", PAIRS[2][1])
    assert folder.refresh()
    assert digests(folder) == {"K0": DIGESTS[2], "K1": DIGESTS[1]}
    (folder.path / "K0.pem").unlink()
    assert folder.refresh()
    assert digests(folder) == {"K1": DIGESTS[1]}
    assert not folder.refresh()


def test_a_file_that_was_only_touched_is_the_same_group(folder: KeyFolder) -> None:
    """Configuration management touches files at every run."""
    os.utime(folder.path / "K0.pem", ns=(1, 1))
    assert not folder.refresh()
    assert digests(folder) == {"K0": DIGESTS[0]}


def test_a_group_that_was_handed_out_never_changes(folder: KeyFolder) -> None:
    """A request is verified against one group, whatever happens meanwhile."""
    group = folder.group
    (folder.path / "K0.pem").unlink()
    folder.refresh()
    assert "K0" in group
    assert len(folder.group) == 0


def test_a_broken_file_keeps_the_key_it_held_and_is_logged_once(
    folder: KeyFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """A file is read while it is written; every two seconds a line would fill the disk."""
    put(folder.path / "K0.pem", PAIRS[0][1][:50])
    for _ in range(3):
        assert not folder.refresh()
    assert digests(folder) == {"K0": DIGESTS[0]}
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert f"{folder.path}/K0.pem: this cannot be read as a public key" in errors[0]
    put(folder.path / "K0.pem", PAIRS[1][1])
    assert folder.refresh()
    assert digests(folder) == {"K0": DIGESTS[1]}


def test_beside_a_broken_file_other_changes_take_effect(folder: KeyFolder, caplog: pytest.LogCaptureFixture) -> None:
    """Else a stray file would keep a leaked key trusted for as long as nobody reads the log."""
    put(folder.path / "K1.pem", PAIRS[1][1])
    folder.refresh()
    put(folder.path / "K2.pem", PAIRS[2][0])
    (folder.path / "K0.pem").unlink()
    assert folder.refresh()
    assert digests(folder) == {"K1": DIGESTS[1]}
    assert "K2.pem: this is a private key" in caplog.text
    assert PAIRS[2][0].splitlines()[1].decode() not in caplog.text


def test_a_folder_that_vanishes_keeps_the_group_and_is_logged_once(
    folder: KeyFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """A network mount goes away for a moment; links must go on."""
    away = folder.path.with_name("away")
    folder.path.rename(away)
    for _ in range(3):
        assert not folder.refresh()
    assert digests(folder) == {"K0": DIGESTS[0]}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    away.rename(folder.path)
    put(folder.path / "K1.pem", PAIRS[1][1])
    assert folder.refresh()


def test_too_many_keys_keep_the_group(folder: KeyFolder, caplog: pytest.LogCaptureFixture) -> None:
    """The limit holds while running as at start."""
    for number in range(KEYS_MAX):
        (folder.path / f"L{number}.pem").symlink_to("K0.pem")
    assert not folder.refresh()
    assert list(folder.group) == ["K0"]
    assert f"at most {KEYS_MAX} keys" in caplog.text
    with pytest.raises(KeyUnfit, match=f"at most {KEYS_MAX} keys, not {KEYS_MAX + 1}"):
        KeyFolder(folder.path)
    (folder.path / "L0.pem").unlink()
    assert folder.refresh()
    assert len(folder.group) == KEYS_MAX


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("K1.pem", b"", "K1.pem: this cannot be read as a public key in PEM"),
        ("K1.pem", PAIRS[0][0], "K1.pem: this is a private key: it must not lie in the key group"),
        ("my key.pem", PAIRS[0][1], "'my key' is no key id"),
    ],
)
def test_at_start_every_fault_is_an_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """The operator is there and looks; later nobody does."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(KeyUnfit) as caught:
        KeyFolder(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    """Missing, or a file: the message names it and the setting."""
    with pytest.raises(KeyUnfit, match=r"none: no such folder: 'oncegate init' makes one, \[keys\] group names it"):
        KeyFolder(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyUnfit, match="file: the key group cannot be listed: Not a directory"):
        KeyFolder(tmp_path / "file")


def test_a_key_group_is_a_frozen_mapping() -> None:
    """It copies what it is made of, and its repr names ids alone."""
    keys = {"K1": load_public_key(PAIRS[0][1])}
    group = KeyGroup(keys)
    keys.clear()
    assert list(group) == ["K1"]
    assert group.get("K1") is not None
    assert group.get("K2") is None
    assert repr(group) == "KeyGroup(K1)"
    for key_id in ("", "a b", "ä", "K" * 129, "a/b", "K1\n"):
        with pytest.raises(ValueError, match="is no key id"):
            KeyGroup({key_id: load_public_key(PAIRS[0][1])})


def test_secrets_are_equal_only_when_all_bytes_are() -> None:
    """The one comparison of secrets, both ways and across lengths."""
    assert is_equal(b"abc", b"abc")
    assert not is_equal(b"abc", b"abd")
    assert not is_equal(b"abc", b"ab")
