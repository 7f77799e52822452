"""``oncegate init``: all or nothing, and never over anything."""

from __future__ import annotations

import asyncio
import pathlib
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import pytest

from oncegate.cli.commands import init
from oncegate.cli.commands.init import NAMES, make_installation
from oncegate.cli.main import Misuse
from oncegate.control.tokens import TokenFile, read_operator_token
from oncegate.ledgers.opening import open_ledger
from oncegate.settings import Settings, load
from oncegate.settings import tables as settings


def mode_of(path: pathlib.Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_it_makes_a_folder_from_which_links_are_made_and_served(run, tmp_path: pathlib.Path) -> None:
    """Everything that the contract names is there; words are on stderr, for stdout is data and there is none."""
    made = run("init", str(tmp_path / "a" / "b"))
    assert (made.returncode, made.stdout) == (0, "")
    assert "serve" in made.stderr
    folder = tmp_path / "a" / "b"
    (key,) = (folder / "keys").iterdir()
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == [
        "control.token",
        "keys",
        "ledger.db",
        "ledger.db-lock",
        "objects",
        "oncegate.toml",
        "private",
        "tokens.json",
    ]
    linked = run("--config", str(folder / "oncegate.toml"), "link", "a.txt")
    assert f"Key-Pair-Id={key.stem}" in linked.stdout


def test_secrets_are_their_owners_alone(folder: pathlib.Path) -> None:
    """A umask of 0 or 022 must not open them."""
    (private,) = (folder / "private").glob("*.pem")
    for path in (private, folder / "control.token", folder / "tokens.json", folder / "oncegate.toml"):
        assert mode_of(path) == 0o600, path
    assert mode_of(folder / "private") == 0o700
    assert mode_of(folder / "ledger.db") & 0o077 == 0


def test_the_configuration_says_every_setting_and_changes_none(folder: pathlib.Path) -> None:
    """What stands in the file is the default of the code, or the file would lie about it."""
    made, default = load(folder / "oncegate.toml", {}), Settings()
    for table in ("viewer", "links", "control", "store", "ledger", "log"):
        assert getattr(made, table) == getattr(default, table), table
    assert made.keys.group == default.keys.group


def test_every_key_of_the_configuration_is_in_the_file(folder: pathlib.Path) -> None:
    """A setting that nobody sees is a setting that nobody uses."""
    text = (folder / "oncegate.toml").read_text()
    for table in (settings.ViewerSettings, settings.LinksSettings, settings.LedgerSettings, settings.KeysSettings):
        for entry in fields(table):
            assert f"{entry.metadata['key'].name} = " in text, entry.name


def test_the_ledger_is_born_now(folder: pathlib.Path) -> None:
    """A ledger that the first start made would refuse the links that were signed before it."""

    async def born_ms() -> int:
        ledger = open_ledger("sqlite:./ledger.db", folder=folder)
        try:
            return (await ledger.probe()).born_ms
        finally:
            await ledger.aclose()

    assert (folder / "ledger.db").exists()
    assert 0 <= time.time() * 1000 - asyncio.run(born_ms()) < 60_000


def test_the_control_token_opens_everything(folder: pathlib.Path) -> None:
    """It is in plain text in one file only, and known by its hash."""
    token = read_operator_token(folder / "control.token")
    known = TokenFile(folder / "tokens.json").check(token, int(time.time()))
    assert known is not None
    assert known.allows("links:write")
    assert token not in (folder / "tokens.json").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_overwritten(run, tmp_path: pathlib.Path, name: str) -> None:
    """A second init would make every link of the first worthless; so it touches nothing at all."""
    (tmp_path / name).write_text("mine")
    refused = run("init", str(tmp_path))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{name} exists" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_to_nowhere_stands_too(tmp_path: pathlib.Path) -> None:
    """Writing through it would make a file elsewhere."""
    (tmp_path / "control.token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misuse, match=r"control\.token exists"):
        make_installation(tmp_path)


def test_objects_that_lie_there_are_kept(tmp_path: pathlib.Path) -> None:
    """Who begins with the files that he wants to share has overwritten nothing."""
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "a.txt").write_text("mine")
    make_installation(tmp_path)
    assert (tmp_path / "objects" / "a.txt").read_text() == "mine"


def test_one_that_fails_leaves_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk after the keys would else make every further init refuse."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "oncegate.toml")

    monkeypatch.setattr(init, "create_file", fail)
    with pytest.raises(Misuse, match=r"oncegate\.toml: cannot be written: No space left"):
        make_installation(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_of_two_at_once_one_makes_it_and_the_other_harms_nothing(tmp_path: pathlib.Path) -> None:
    """The one that loses must not clean up after the one that won."""

    def attempt(_: int) -> str:
        try:
            return make_installation(tmp_path / "new")
        except Misuse:
            return ""

    with ThreadPoolExecutor(4) as pool:
        (key_id,) = filter(None, pool.map(attempt, range(4)))
    assert (tmp_path / "new" / "keys" / f"{key_id}.pem").exists()
    assert load(tmp_path / "new" / "oncegate.toml", {}).keys.signing == f"./private/{key_id}.pem"


def test_an_rsa_key_can_be_asked_for(invoke, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verifiers that know no ECDSA exist."""
    monkeypatch.chdir(tmp_path)
    assert invoke("init", "--rsa").exit_code == 0
    assert "  rsa    signs new links" in invoke("keys", "list").stdout
    (private,) = (tmp_path / "private").glob("*.pem")
    assert private.read_text().startswith("-----BEGIN RSA PRIVATE KEY-----"), "version 1 of aws cli reads nothing else"
