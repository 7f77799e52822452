"""``oncegate doctor``: each thing that can be wrong is found, and said with a remedy."""

from __future__ import annotations

import json
import pathlib
from email.utils import formatdate
from time import time

import pytest
from bad_server import Answer

MISSING_KEY = b"<Error><Code>MissingKey</Code><Message>Missing Key-Pair-Id</Message></Error>"


def findings(invoke) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """Exit status, and by name of the part (state, words and remedy)."""
    done = invoke("doctor", "--json")
    found: dict[str, list[tuple[str, str]]] = {}
    for check in json.loads(done.stdout)["checks"]:
        found.setdefault(check["name"], []).append((check["state"], f"{check['words']} {check['remedy']}"))
    return done.exit_code, found


@pytest.fixture
def gateway(serve, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    """Let public_url lead to a server that answers so, and to the signed probe as a gateway of ours."""

    def start(answer: Answer, probed: int = 404) -> None:
        monkeypatch.setenv("ONCEGATE_VIEWER__PUBLIC_URL", serve(answer, head=Answer(status=probed)).url)

    return start


def test_a_fresh_installation_is_well(invoke, folder: pathlib.Path, gateway) -> None:
    """Every part is looked at; a line each."""
    gateway(Answer(status=403, body=MISSING_KEY))
    status, found = findings(invoke)
    assert status == 0
    assert {name: [state for state, _ in rows] for name, rows in found.items()} == {
        "configuration": ["ok"],
        "keys": ["ok"],
        "tokens": ["ok"],
        "ledger": ["ok"],
        "clock": ["ok"],
        "store": ["ok"],
        "public URL": ["ok"],
    }
    assert len(invoke("doctor").stdout.splitlines()) == 7


def test_nothing_that_serves_is_a_warning(invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first start that is as it should be."""
    monkeypatch.setenv("ONCEGATE_VIEWER__PUBLIC_URL", "http://127.0.0.1:1")
    status, found = findings(invoke)
    ((state, words),) = found["public URL"]
    assert (status, state) == (0, "warning")
    assert "oncegate serve" in words


@pytest.mark.parametrize(
    "answer", [Answer(body=b"hello"), Answer(status=403, body=b"no"), Answer(status=301, headers={"Location": "/"})]
)
def test_something_else_that_serves_is_a_fault(invoke, gateway, answer: Answer) -> None:
    """Links would lead there."""
    gateway(answer)
    status, found = findings(invoke)
    assert (status, found["public URL"][0][0]) == (1, "failed")


@pytest.mark.parametrize(("ahead_s", "state"), [(-2, "ok"), (20, "warning"), (-20, "warning"), (900, "failed")])
def test_clocks_are_compared(invoke, gateway, ahead_s: int, state: str) -> None:
    """Links live and die by them."""
    date = formatdate(time() + ahead_s, usegmt=True)
    gateway(Answer(status=403, body=MISSING_KEY, headers={"Date": date}))
    status, found = findings(invoke)
    assert found["clock"][0][0] == state, found
    assert status == (1 if state == "failed" else 0)


def break_key(folder: pathlib.Path) -> None:
    """The group holds no public half any more."""
    for path in (folder / "keys").iterdir():
        path.unlink()


def open_key(folder: pathlib.Path) -> None:
    """Anybody may read the private key."""
    for path in (folder / "private").glob("*.pem"):
        path.chmod(0o644)


def break_ledger(folder: pathlib.Path) -> None:
    """It is no database."""
    (folder / "ledger.db").write_bytes(b"x" * 5000)


def break_store(folder: pathlib.Path) -> None:
    """The folder is gone."""
    (folder / "objects").rmdir()


def break_tokens(folder: pathlib.Path) -> None:
    """It is no list of tokens."""
    (folder / "tokens.json").write_text("{")


def open_token(folder: pathlib.Path) -> None:
    """Anybody may read the token for everything."""
    (folder / "control.token").chmod(0o644)


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (break_key, "keys"),
        (open_key, "keys"),
        (break_ledger, "ledger"),
        (break_store, "store"),
        (break_tokens, "tokens"),
        (open_token, "tokens"),
    ],
)
def test_what_is_broken_is_found_and_the_rest_is_still_looked_at(
    invoke, folder: pathlib.Path, damage, name: str
) -> None:
    """One fault must not hide the next."""
    damage(folder)
    status, found = findings(invoke)
    assert status == 1
    assert [part for part, rows in found.items() if "failed" in [state for state, _ in rows]] == [name]
    assert len(found) == 7


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"VIEWER__PUBLIC_URL": "http://files.example:1"}, "travel in the clear"),
        ({"CONTROL__LISTEN": "0.0.0.0:8081"}, "not on this machine alone"),
        ({"KEYS__SIGNING": ""}, "no CloudFront link is signed here"),
        ({"LEDGER__URL": "memory:"}, "forgets every use at a restart"),
    ],
)
def test_what_is_risky_is_a_warning(
    invoke, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    """It may be meant; it is said."""
    for name, value in {"VIEWER__PUBLIC_URL": "http://127.0.0.1:1", **variables}.items():
        monkeypatch.setenv(f"ONCEGATE_{name}", value)
    status, found = findings(invoke)
    assert status == 0
    assert [said for rows in found.values() for state, said in rows if state == "warning" and words in said]


def test_a_private_key_that_nobody_trusts_is_mentioned(invoke, folder: pathlib.Path) -> None:
    """What it signs is refused everywhere."""
    key = invoke("keys", "new").stdout.strip()
    (folder / "keys" / f"{key}.pem").unlink()
    _, found = findings(invoke)
    assert any(state == "warning" and key in words for state, words in found["keys"])


def test_a_configuration_that_cannot_be_read_is_a_finding(invoke, folder: pathlib.Path) -> None:
    """In JSON too: a monitor reads it. Its exit status is that of every command which cannot begin."""
    (folder / "oncegate.toml").write_text("[viewer]\nlisten = 5\n")
    status, found = findings(invoke)
    assert status == 2
    assert "oncegate.toml: [viewer] listen" in found["configuration"][0][1]


def test_secrets_that_others_may_read_are_mentioned_and_not_shown(invoke, folder: pathlib.Path) -> None:
    """A finding may be pasted into an issue."""
    with (folder / "oncegate.toml").open("a") as file:
        file.write('AKIDEXAMPLE = "very-secret"\n')
    (folder / "oncegate.toml").chmod(0o644)
    done = invoke("doctor")
    assert "chmod 600" in done.stdout
    assert "very-secret" not in done.stdout


def test_a_remedy_is_the_one_of_the_error(invoke, folder: pathlib.Path) -> None:
    """It stood in the words, and beside it "correct it" or "see the help", which says nothing."""
    config = folder / "oncegate.toml"
    config.write_text("[viewer]\nlistn = 1\n")
    (check,) = json.loads(invoke("doctor", "--json").stdout)["checks"]
    assert check["words"].endswith("[viewer] listn: unknown key")
    assert check["remedy"] == "did you mean listen?"
