"""The other way round of test_reference.py: whatever a page names (setting, command, option, metric, error) exists."""

from __future__ import annotations

import pathlib
import re

import click
import pytest

from oncegate import events
from oncegate.cli.main import COMMANDS, cli
from oncegate.control.app import openapi_document
from oncegate.links.refusal import Reason
from oncegate.meters import HISTOGRAMS, TABLE
from oncegate.settings import tables
from oncegate.settings.table import keys_of

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(p for p in (ROOT / "deploy").rglob("*") if p.is_file())]
AS_AN_EXAMPLE = ("TABLE", "KEY")
"""``ONCEGATE_TABLE__KEY``, of the rule how variables are named."""
SETTINGS = {(name, key.name) for name, table in tables.TABLES.items() for _, key in keys_of(table)}
GAUGES = {"transfers"}
"""What ``service/listeners.py`` adds."""


def page(name: str) -> str:
    """A page of docs/reference as text."""
    return (ROOT / "docs" / "reference" / name).read_text()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_settings_that_are_named_exist(path: pathlib.Path) -> None:
    """A setting that was renamed is refused at the start, wherever it was copied from; here are its two spellings."""
    text = path.read_text()
    for table, key in re.findall(r"`\[(\w+)\] (\w+)", text):
        assert (table, key) in SETTINGS or table == "s3_credentials", f"[{table}] {key}"
    for table, key in re.findall(r"ONCEGATE_([A-Z0-9]+(?:_[A-Z0-9]+)*?)__([A-Z0-9_]+)", text):
        assert (table.lower(), key.lower()) in SETTINGS or (table, key) == AS_AN_EXAMPLE, f"ONCEGATE_{table}__{key}"


def found(words: list[str]) -> click.Command | None:
    """The command that words name; None: no such command. Words after a command are its arguments."""
    command: click.Command | None = cli.get_command(click.Context(cli), words[0])
    for word in words[1:]:
        if not isinstance(command, click.Group):
            break
        command = command.commands.get(word)
    return command


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_their_options_that_are_named_exist(path: pathlib.Path) -> None:
    """In words and in blocks: ``oncegate NAME ... --option``, up to what ends a command of the shell."""
    pieces = re.split(r"(?<![\w./\[-])oncegate ", path.read_text().replace("\\\n", " "))[1:]
    for piece in pieces:
        text = re.split(r"[`|;&)\n]|\$\(", piece)[0]
        words = re.match(r"[a-z]+(?: [a-z]+)*", text)
        if words is None or words[0].split()[0] not in COMMANDS:
            continue  # prose: "oncegate refuses"; a command that is gone is found by the next test
        command = found(words[0].split())
        if command is not None:
            options = {spelling for each in command.params for spelling in (*each.opts, *each.secondary_opts)}
            given = set(re.findall(r"(?<= )--[a-z][a-z-]*", text))
            assert given <= {*options, "--help"}, f"oncegate {text}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_that_begins_with_oncegate_names_a_command(path: pathlib.Path) -> None:
    """Between backticks and at the beginning of a line of a block it can be nothing else."""
    text = path.read_text()
    blocks = "\n".join(re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL))
    named = re.findall(r"`oncegate ([a-z]+)((?: [a-z]+)?)", text) + re.findall(
        r"(?:^|\$ |\$\()oncegate ([a-z]+)((?: [a-z]+)?)", blocks, re.MULTILINE
    )
    for name, inner in named:
        assert name in COMMANDS, f"oncegate {name}"
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group) and inner:
            assert inner.strip() in command.commands, f"oncegate {name}{inner}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_metrics_that_are_named_exist(path: pathlib.Path) -> None:
    """A panel or an alarm that was written from a page stays empty for ever."""
    counts = {f"oncegate_{name}_total" for name in TABLE} | {f"oncegate_{name}" for name in (*HISTOGRAMS, "build_info")}
    counts |= {f"oncegate_{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "count", "sum")}
    counts |= {f"oncegate_{name}" for name in GAUGES}
    in_words = r"\boncegate_[a-z_]+(?:_total|_size\w*|_seconds\w*|_info)\b|`(oncegate_[a-z_]+)`"
    named = set(re.findall(in_words, path.read_text()))
    assert {name for name in named if name and not name.startswith("oncegate_meta")} <= counts


def test_the_tables_of_the_reference_hold_nothing_else() -> None:
    """A row of what is gone sends people after it."""
    assert set(re.findall(r"^\| `([\w-]+)` \| \d{3} \|", page("errors.md"), re.MULTILINE)) == {r.value for r in Reason}
    levels = "info|warning|error"
    rows = re.findall(rf"^\| `([a-z-]+)` \| (?:{levels}) \|", page("events.md"), re.MULTILINE)
    assert set(rows) == set(events.ROWS)
    calls = {f"{m.upper()} {path}" for path, methods in openapi_document()["paths"].items() for m in methods}
    assert set(re.findall(r"^### `([A-Z]+ /[^`]*)`", page("http.md"), re.MULTILINE)) == calls
    assert set(re.findall(r"^## `\[(\w+)\]`", page("settings.md"), re.MULTILINE)) == set(tables.TABLES)
    rows = re.findall(r"^\| `\w+` \| .* \| `ONCEGATE_(\w+?)__(\w+)` \|", page("settings.md"), re.MULTILINE)
    own = {(t.lower(), k.lower()) for t, k in rows}
    assert own == {pair for pair in SETTINGS if pair[0] != "s3_credentials"}
    sections = re.findall(r"^#+ `oncegate ([a-z ]+)`$", page("cli.md"), re.MULTILINE)
    assert [words for words in sections if found(words.split()) is None] == []
