"""From ``[ledger] url`` to a ledger: what is known is opened, what is not is named."""

import asyncio
import importlib
import pathlib
import subprocess
import sys

import pytest

from oncegate.ledgers import opening
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.opening import BACKENDS, create_ledger, open_ledger
from oncegate.ledgers.protocol import LedgerUnfit
from oncegate.ledgers.sqlite.ledger import SqliteLedger


@pytest.mark.parametrize("scheme", BACKENDS)
def test_each_backend_has_what_opening_needs(scheme):
    """The table is typed by a cast, which checks nothing: each module must really have all three names."""
    module = importlib.import_module(BACKENDS[scheme])
    assert isinstance(module.WEAKER_PROMISES, frozenset)
    assert callable(module.open_from_url)
    assert callable(module.create_from_url)


def test_memory_is_opened(tmp_path):
    """``memory:`` needs no file; creating it is nothing, and harmless."""
    create_ledger("memory:", folder=tmp_path)
    assert isinstance(open_ledger("memory:", folder=tmp_path), MemoryLedger)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["sqlite:./l.db", "sqlite:l.db", "sqlite:a%20b ?#é.db"])
def test_relative_paths_are_relative_to_the_folder(url, tmp_path, monkeypatch):
    """The configuration file says where, not the folder in which the program was started; taken literally."""
    monkeypatch.chdir("/")
    create_ledger(url, folder=tmp_path)
    path = tmp_path / url.removeprefix("sqlite:")
    assert path.stat().st_size > 0

    async def born_ms() -> int:
        ledger = open_ledger(url, folder=tmp_path)
        assert isinstance(ledger, SqliteLedger)
        facts = await ledger.probe()
        await ledger.aclose()
        return facts.born_ms

    assert asyncio.run(born_ms()) == asyncio.run(born_ms())
    assert {found.name for found in tmp_path.iterdir()} == {path.name, f"{path.name}-lock"}


def test_absolute_paths_are_taken_as_they_are(tmp_path):
    """An absolute path is not looked for under the folder."""
    create_ledger(f"sqlite:{tmp_path}/l.db", folder=pathlib.Path("/nowhere"))
    assert (tmp_path / "l.db").exists()


def test_opening_touches_nothing(tmp_path):
    """``oncegate link`` opens no ledger by reading the configuration, and ``init`` alone decides what is made."""
    open_ledger("sqlite:./l.db", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_ledger_is_created_once(tmp_path):
    """``init`` in a folder that has a ledger must not begin a new one: every used link would open again."""
    create_ledger("sqlite:./l.db", folder=tmp_path)
    before = (tmp_path / "l.db").read_bytes()
    with pytest.raises(LedgerUnfit, match="a ledger is made once"):
        create_ledger("sqlite:./l.db", folder=tmp_path)
    assert (tmp_path / "l.db").read_bytes() == before


@pytest.mark.parametrize("url", ["mysql://root:secret@host/db", "ledger.db", "", "Sqlite:./l.db", "sqlite"])
def test_an_unknown_scheme_names_what_is_known(url, tmp_path):
    """The operator is told what would work; what follows the scheme may hold a password and is not repeated."""
    with pytest.raises(LedgerUnfit, match="it knows memory:, sqlite:") as refusal:
        open_ledger(url, folder=tmp_path)
    assert "secret" not in str(refusal.value)
    with pytest.raises(LedgerUnfit):
        create_ledger(url, folder=tmp_path)


@pytest.mark.parametrize("address", ["", "///l.db", "//l.db", ":memory:", "folder/", "a\0b"])
def test_an_address_that_is_no_file_is_refused(address, tmp_path):
    """What other programs read in different ways, or as a ledger that forgets, is not guessed at."""
    with pytest.raises(LedgerUnfit, match="sqlite:"):
        open_ledger(f"sqlite:{address}", folder=tmp_path)


@pytest.mark.parametrize("url", ["memory:", "sqlite:./l.db"])
def test_an_unknown_weaker_promise_is_refused(url, tmp_path):
    """A misspelt name in ``accept``, or one of another backend, must not look as if it had been accepted."""
    with pytest.raises(
        LedgerUnfit,
        match=r'"redis-failover" is no weaker promise of a (memory|sqlite): ledger: .* names that may stand there: ',
    ):
        open_ledger(url, folder=tmp_path, accept=("redis-failover",))


def test_a_known_weaker_promise_is_taken(tmp_path):
    """The one name that sqlite knows passes."""
    open_ledger("sqlite:./l.db", folder=tmp_path, accept=("sqlite-network-file-system",))


def test_a_missing_driver_names_its_extra(tmp_path, monkeypatch):
    """Drivers are extras: who asks for a ledger without its driver is told what to install."""
    schemes = ("postgresql", "postgres")
    monkeypatch.setattr(opening, "BACKENDS", dict.fromkeys(schemes, "oncegate_no_such_driver"))
    for scheme in schemes:
        with pytest.raises(LedgerUnfit, match=r"needs oncegate_no_such_driver.*pip install 'oncegate\[postgresql\]'"):
            open_ledger(f"{scheme}:x", folder=tmp_path)


def test_a_backend_is_imported_when_asked_for():
    """Nobody waits for a driver that is not used: opening memory: imports no sqlite3."""
    program = (
        "import sys, pathlib; from oncegate.ledgers.opening import open_ledger;"
        "open_ledger('memory:', folder=pathlib.Path('.')); assert 'sqlite3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
