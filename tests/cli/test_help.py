"""Help texts, exit statuses and the shell's completion: of every command that there is."""

from __future__ import annotations

import json
import pathlib
import shutil

import click
import pytest

from oncegate.cli.main import COMMANDS, cli

WRITTEN_ELSEWHERE = {"serve", "demo"}  # their help texts are their own


def commands() -> list[tuple[str, ...]]:
    """Every command and subcommand."""
    context = click.Context(cli)
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.commands]
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself(invoke, path: tuple[str, ...]) -> None:
    """-h works everywhere, and there is an example to copy."""
    short, long = invoke(*path, "-h"), invoke(*path, "--help")
    assert (short.exit_code, short.stdout) == (0, long.stdout)
    if path[0] not in WRITTEN_ELSEWHERE:
        assert f"oncegate {path[0]}" in short.stdout.partition("Examples:")[2]


def test_the_list_of_commands_imports_none(invoke) -> None:
    """Each has a line in the table of main.py."""
    listed = invoke("--help").stdout
    assert all(name in listed for name in COMMANDS)


def test_a_wrong_option_is_usage(invoke) -> None:
    """Exit 2, as click and every shell tool have it."""
    assert invoke("link", "--wrong").exit_code == 2
    assert invoke("wrong").exit_code == 2


def complete(run, words: str) -> list[str]:
    """What the shell would offer after these words."""
    position = str(len(words.split(" ")) - 1)
    environ = {"_ONCEGATE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": position}
    done = run(environ=environ)
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_the_shell_gets_its_script(run) -> None:
    """As the documentation says: _ONCEGATE_COMPLETE=bash_source oncegate."""
    for shell in ("bash", "zsh", "fish"):
        if shell == "bash" and shutil.which("bash") is None:
            continue
        done = run(environ={"_ONCEGATE_COMPLETE": f"{shell}_source"})
        assert "_ONCEGATE_COMPLETE" in done.stdout, done.stderr


def test_commands_options_and_keys_are_completed(run, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys come from the store, where it is a folder."""
    (folder / "objects" / "reports").mkdir()
    (folder / "objects" / "reports" / "2026.pdf").touch()
    (folder / "objects" / "other").touch()
    assert {"link", "links"} == set(complete(run, "oncegate lin"))
    assert "--expires" in complete(run, "oncegate link --ex")
    assert complete(run, "oncegate link rep") == ["reports/2026.pdf"]
    named = f"oncegate --config {folder}/oncegate.toml link rep"
    monkeypatch.chdir("/")
    assert complete(run, named) == ["reports/2026.pdf"]


def test_completion_without_a_configuration_is_silent(run, tmp_path: pathlib.Path, monkeypatch) -> None:
    """A message in the middle of a command line would be worse than nothing."""
    monkeypatch.chdir(tmp_path)
    assert complete(run, "oncegate link rep") == []


def test_ids_of_keys_and_tokens_are_completed(run, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody types them; a token is found by its name too."""
    monkeypatch.chdir(folder)
    (key,) = [row["id"] for row in json.loads(run("keys", "list", "--json").stdout)]
    run("tokens", "new", "shop")
    (token,) = [row for row in json.loads(run("tokens", "list", "--json").stdout) if row["name"] == "shop"]
    assert complete(run, "oncegate keys retire K") == [key]
    assert complete(run, f"oncegate tokens revoke {token['id'][:3]}") == [token["id"]]


def test_a_misspelt_command_is_answered_by_the_one_that_was_meant(run) -> None:
    """A list of seventeen is no help."""
    said = run("lnik").stderr
    assert "Did you mean 'link'?" in said
    assert "Did you mean" not in run("xyzzy").stderr
