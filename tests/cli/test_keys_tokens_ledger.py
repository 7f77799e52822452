"""``keys``, ``tokens``, ``ledger``: rotation, who may call, what is forgotten."""

from __future__ import annotations

import json
import pathlib
import time

import pytest

from oncegate.cli.commands import tokens as command_tokens
from oncegate.control.tokens import SCOPES, TokenFile


def test_a_key_is_added_switched_to_and_retired(invoke, folder: pathlib.Path) -> None:
    """The whole rotation; links of the new key verify, and those of the old one die only when it is forced."""
    (old,) = [path.stem for path in (folder / "keys").iterdir()]
    new = invoke("keys", "new").stdout.strip()
    assert f"Key-Pair-Id={old}" in invoke("link", "a").stdout
    assert invoke("keys", "switch", new).exit_code == 0
    assert f"Key-Pair-Id={new}" in invoke("link", "a").stdout
    early = invoke("keys", "retire", old)
    assert (early.exit_code, "may live until" in early.stderr) == (1, True)
    assert invoke("keys", "retire", old, "--force").exit_code == 0
    assert [line.split()[0] for line in invoke("keys", "list").stdout.splitlines()] == [new]


def test_the_key_that_signs_is_never_retired(invoke, folder: pathlib.Path) -> None:
    """Not even by force: new links would be refused."""
    (key,) = [path.stem for path in (folder / "keys").iterdir()]
    refused = invoke("keys", "retire", key, "--force")
    assert (refused.exit_code, "signs new links" in refused.stderr) == (1, True)


def test_new_can_switch_at_once(invoke, folder: pathlib.Path) -> None:
    """One step, and running gateways follow it."""
    made = invoke("keys", "new", "--sign", "--rsa")
    assert f"Key-Pair-Id={made.stdout.strip()}" in invoke("link", "a").stdout
    assert "running gateways follow within two seconds" in made.stderr


def test_keys_are_listed_as_json(invoke, folder: pathlib.Path) -> None:
    """For scripts that rotate."""
    new = invoke("keys", "new").stdout.strip()
    rows = {row["id"]: row for row in json.loads(invoke("keys", "list", "--json").stdout)}
    assert (rows[new]["signing"], rows[new]["private"], rows[new]["kind"]) == (False, True, "ecdsa")
    assert sum(row["signing"] for row in rows.values()) == 1


@pytest.mark.parametrize("key_id", ["../private/x", "a/b", "", "k" * 129])
def test_an_id_that_would_name_another_file_is_usage(invoke, folder: pathlib.Path, key_id: str) -> None:
    """An id becomes a file's name."""
    assert invoke("keys", "retire", "--force", "--", key_id).exit_code == 2
    assert invoke("keys", "switch", "--", key_id).exit_code == 2


def test_a_token_is_shown_once_and_revoked(invoke, folder: pathlib.Path) -> None:
    """On stdout alone, for a script to keep; the list never shows it."""
    made = invoke("tokens", "new", "shop", "--scope", "links:write", "--expires", "90d")
    token = made.stdout.strip()
    known = TokenFile(folder / "tokens.json").check(token, int(time.time()))
    assert known is not None
    assert (known.name, known.scopes) == ("shop", ("links:write",))
    listed = invoke("tokens", "list").stdout + invoke("tokens", "list", "--json").stdout
    assert known.id in listed
    assert token not in listed + made.stderr
    assert invoke("tokens", "revoke", known.id).exit_code == 0
    assert TokenFile(folder / "tokens.json").check(token, int(time.time())) is None
    assert invoke("tokens", "revoke", known.id).exit_code == 1


def test_a_token_is_not_for_everything_unless_asked(invoke, folder: pathlib.Path) -> None:
    """The least that makes links, by default."""
    token = invoke("tokens", "new").stdout.strip()
    known = TokenFile(folder / "tokens.json").check(token, int(time.time()))
    assert known is not None
    assert not known.allows("objects:read")
    assert invoke("tokens", "new", "x", "--scope", "everything").exit_code == 2


def test_the_scopes_of_the_help_text_are_those_of_the_tokens() -> None:
    """They stand twice, so that a help text imports nothing."""
    assert command_tokens.SCOPES == SCOPES


def test_migrate_makes_the_ledger_and_never_harms_one(invoke, folder: pathlib.Path) -> None:
    """Before the first start, and again after it."""
    (folder / "ledger.db").unlink()
    assert invoke("ledger", "migrate").exit_code == 0
    made = (folder / "ledger.db").stat().st_ino
    again = invoke("ledger", "migrate")
    assert (again.exit_code, again.stdout) == (0, "")
    assert "born" in again.stderr
    assert (folder / "ledger.db").stat().st_ino == made


def test_migrate_says_what_is_the_matter_with_a_damaged_ledger(invoke, folder: pathlib.Path) -> None:
    """And leaves it alone: a new one would open used links again."""
    (folder / "ledger.db").write_bytes(b"not a database" * 100)
    refused = invoke("ledger", "migrate")
    assert refused.exit_code == 2
    assert "ledger.db" in refused.stderr
    assert (folder / "ledger.db").read_bytes().startswith(b"not a database")


def test_sweep_forgets_what_is_over_and_counts_it(invoke, folder: pathlib.Path) -> None:
    """The number is data."""
    invoke("revoke", "AZTb0mXJdU-kq3xkS8pB1g", "--expires", "2020-01-01T00:00:00Z")
    invoke("revoke", "AZTb0mXJdU-kq3xkS8pB1Q")
    swept = invoke("ledger", "sweep", "--force")
    assert (swept.exit_code, swept.stdout) == (0, "1\n")
    assert invoke("ledger", "sweep", "--force").stdout == "0\n"
    assert len(invoke("links").stdout.splitlines()) == 1


def test_a_switch_that_a_variable_overrides_changes_nothing(
    invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be believed, and the old key retired while it still signs."""
    before = (folder / "oncegate.toml").read_bytes()
    key_id = invoke("keys", "new").stdout.strip()
    (signing,) = (path for path in (folder / "private").glob("K*.pem") if path.stem != key_id)
    monkeypatch.setenv("ONCEGATE_KEYS__SIGNING", str(signing))
    refused = invoke("keys", "switch", key_id)
    assert refused.exit_code == 1
    assert "ONCEGATE_KEYS__SIGNING names the signing key" in refused.stderr
    assert "nothing was changed" in refused.stderr
    assert (folder / "oncegate.toml").read_bytes() == before
