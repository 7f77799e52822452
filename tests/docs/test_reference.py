"""Everything that can be set, called, refused, logged or lost is documented (docs/reference/), and stays so."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import urllib.request

import click
import pytest

from oncegate import events
from oncegate.cli.commands.init import TEMPLATE
from oncegate.cli.main import COMMANDS, cli
from oncegate.control.app import openapi_document
from oncegate.ledgers import opening
from oncegate.links.refusal import Reason
from oncegate.settings import tables as settings
from oncegate.settings.table import keys_of
from oncegate.stores import opening as stores
from oncegate.testing.installation import Installation

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    """A page of docs/ as text."""
    return (DOCS / name).read_text()


def test_the_generated_parts_are_as_the_code_says() -> None:
    """A page that was right once is trusted longest."""
    found = subprocess.run(
        [sys.executable, "tools/gen_reference.py", "--check"], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_check_tells_a_page_that_is_wrong(tmp_path: pathlib.Path) -> None:
    """A check that never fails checks nothing."""
    for folder in ("tools", "docs/reference"):
        (tmp_path / folder).mkdir(parents=True)
        for path in (ROOT / folder).iterdir():
            if path.is_file():
                (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    for name in ("pyproject.toml", "uv.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    wrong = tmp_path / "docs/reference/events.md"
    wrong.write_text(wrong.read_text().replace("| `draining` |", "| `drowning` |"))
    found = subprocess.run(
        [sys.executable, "tools/gen_reference.py", "--check"], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert "-| `drowning`" in found.stdout


def test_every_setting_is_documented() -> None:
    """One that is only in the code is found by accident; ``oncegate init`` writes all of them too."""
    text = page("reference/settings.md")
    for name, table in settings.TABLES.items():
        assert f"## `[{name}]`" in text
        assert f"[{name}]" in TEMPLATE
        for _, key in keys_of(table):
            if name != "s3_credentials":
                assert f"| `{key.name}` |" in text


def test_every_setting_is_in_the_changelog_of_the_version_that_brought_it() -> None:
    """Whoever upgrades reads there what is new and what was renamed; one that is gone is in no table but its own."""
    rows = re.findall(r"^\| `\[(\w+)\]` \| ([^|]*) \|", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    named = {(table, name) for table, keys in rows for name in re.findall(r"`(\w+)`", keys)}
    there = {(name, key.name) for name, table in settings.TABLES.items() for _, key in keys_of(table)}
    assert {pair for pair in there if pair[0] != "s3_credentials"} <= named


def _paths(path: list[str], command: click.Command) -> list[tuple[list[str], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            found += _paths([*path, name], inner)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    """Help texts are for who knows the command's name; the page is for who looks for it."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    text = page("reference/cli.md")
    for path, each in _paths(["oncegate", name], command):
        section = re.search(rf"^#+ `{' '.join(path)}`\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
        assert section, f"{' '.join(path)} has no section"
        for option in each.params:
            if isinstance(option, click.Option):
                assert all(f"`{spelled}`" in section[1] for spelled in option.opts)


def test_every_reason_and_event_and_call_is_documented() -> None:
    """Whoever meets one in a log or an answer looks for it by its name."""
    assert all(f"| `{reason.value}` |" in page("reference/errors.md") for reason in Reason)
    assert all(f"| `{name}` |" in page("reference/events.md") for name in events.ROWS)
    for path, calls in openapi_document()["paths"].items():
        assert all(f"### `{method.upper()} {path}`" in page("reference/http.md") for method in calls)


@pytest.mark.parametrize("scheme", opening.BACKENDS)
def test_every_ledger_is_documented(scheme: str) -> None:
    """What it promises, what a fail-over loses, how to choose it, and each weaker promise by name."""
    assert f"| `{scheme}:` |" in page("promises.md")
    assert f"| `{scheme}:` |" in page("guides/choosing-a-ledger.md")
    assert f"## `{scheme}:`" in page("reference/accept.md")
    module = opening._backend(scheme)
    for name in module.WEAKER_PROMISES:
        assert f"- `{name}`: " in page("reference/accept.md")
        assert f"`{name}`" in page("promises.md")


@pytest.mark.parametrize("scheme", ["file", *sorted(stores.BUCKET_SCHEMES)])
def test_every_store_is_documented(scheme: str) -> None:
    """How its URL is written, and why an upload replaces nobody's object there."""
    assert f"`{scheme}:`" in page("reference/stores.md")
    assert f"| `{scheme}:` |" in page("promises.md")


def test_every_metric_is_documented(tmp_path: pathlib.Path) -> None:
    """A name on the page that no gateway exposes, or the other way, makes a dashboard that stays empty."""
    made = Installation(tmp_path)
    made.put("a.txt", b"a")
    token = made.run("tokens", "new", "scrape", "--scope", "metrics:read").stdout.strip()
    with made.serve() as gateway:
        preview = urllib.request.Request(made.link("a.txt"), headers={"User-Agent": "Slackbot 1.0"})
        for request in (preview, urllib.request.Request(made.link("a.txt"))):
            with urllib.request.urlopen(request) as answer:
                answer.read()
        asked = urllib.request.Request(f"{gateway.control_url}/metrics", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(asked) as answer:
            exposed = set(re.findall(r"^(oncegate_\w+)", answer.read().decode(), re.MULTILINE))
    exposed = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exposed}
    documented = set(re.findall(r"\| `(oncegate_\w+)` \|", page("reference/metrics.md")))
    assert {"oncegate_transfers", "oncegate_build_info"} <= exposed
    assert exposed <= documented, f"not documented: {exposed - documented}"
