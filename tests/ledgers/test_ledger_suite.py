"""The conformance suite passes the ledgers that are right, and finds those that are wrong on purpose."""

import asyncio
import functools
import importlib
import pathlib
import re

import pytest

from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.opening import open_ledger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Gone, Ledger, Stands, Unknown
from oncegate.testing.faulty_ledger import FaultyLedger
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.ledger_suite import CheckFailed, CheckSkipped, LedgerSuite

LINK = bytes(range(16))
NEEDS_SHARING = {
    "check_opposite_orders_do_not_block_each_other",
    "check_of_many_processes_one_wins",
    "check_of_many_processes_each_replace_counts",
    "check_what_was_answered_survives_a_reopening",
    "check_a_killed_writer_loses_nothing",
}
OPTIONAL = {name for name in LedgerSuite.CHECKS if re.search("swe[ep]|scan|event|tries", name)}


@pytest.fixture
def wrong_ledgers(monkeypatch):
    """Give the module of wrong ledgers, importable for other processes too."""
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent))
    return importlib.import_module("wrong_ledgers")


@pytest.mark.anyio
@pytest.mark.parametrize("name", LedgerSuite.CHECKS)
async def test_sqlite_passes(name: str, tmp_path: pathlib.Path) -> None:
    """The default ledger keeps every promise; nothing is skipped."""
    suite = LedgerSuite(functools.partial(open_ledger, "sqlite:./ledger.db", folder=tmp_path))
    await suite.run(name)


@pytest.mark.anyio
@pytest.mark.parametrize("name", LedgerSuite.CHECKS)
async def test_memory_passes(name: str) -> None:
    """The ledger of tests keeps the same promises, but for those about several processes."""
    suite = LedgerSuite(MemoryLedger, is_shared=False)
    if name in NEEDS_SHARING:
        with pytest.raises(CheckSkipped, match="records of its own"):
            await suite.run(name)
    else:
        await suite.run(name)


@pytest.mark.anyio
async def test_reading_then_writing_fails(wrong_ledgers) -> None:
    """A look followed by a write lets many win; the suite must say so of one process already."""
    suite = LedgerSuite(wrong_ledgers.ReadsThenWrites, is_shared=False)
    with pytest.raises(CheckFailed, match="one must win, 64 did"):
        await suite.run("check_of_many_inserts_one_wins")


@pytest.mark.anyio
async def test_a_key_won_twice_in_a_batch_fails(wrong_ledgers) -> None:
    """A set of won keys tells two callers of one key that both won: a double use inside one process."""
    suite = LedgerSuite(wrong_ledgers.TellsAWonKeyTwice, is_shared=False)
    with pytest.raises(CheckFailed, match="one must win, 8 did"):
        await suite.run("check_a_key_twice_in_one_batch_has_one_winner")


@pytest.mark.anyio
async def test_a_lock_of_one_process_fails(wrong_ledgers, tmp_path: pathlib.Path) -> None:
    """A lock inside the process passes every race in it; only the races between processes can find it."""
    suite = LedgerSuite(functools.partial(wrong_ledgers.LocksOneProcessOnly, tmp_path), rounds=10)
    for name in ("check_of_many_inserts_one_wins", "check_of_many_replaces_one_wins"):
        await suite.run(name)
    with pytest.raises(CheckFailed, match="was won by"):
        await suite.run("check_of_many_processes_one_wins")
    with pytest.raises(CheckFailed, match="writes were answered done, the number is"):
        await suite.run("check_of_many_processes_each_replace_counts")


@pytest.mark.anyio
async def test_optional_interfaces_are_skipped_with_a_reason(wrong_ledgers, tmp_path: pathlib.Path) -> None:
    """A ledger without lists, sweeping and events is no worse a ledger: those checks are skipped and say why."""
    suite = LedgerSuite(functools.partial(wrong_ledgers.LocksOneProcessOnly, tmp_path), rounds=1, processes=1, kills=1)
    verdicts = await suite.run_all()
    assert list(verdicts) == list(LedgerSuite.CHECKS)
    assert {name for name, verdict in verdicts.items() if verdict.startswith("skipped: the ledger is no ")} == OPTIONAL
    assert {verdict for name, verdict in verdicts.items() if name not in OPTIONAL} == {"passed"}


@pytest.mark.anyio
async def test_run_all_reports_failures(wrong_ledgers) -> None:
    """One failing check does not hide the others, and its words are in the report."""
    verdicts = await LedgerSuite(wrong_ledgers.TellsAWonKeyTwice, is_shared=False, rounds=1).run_all()
    assert verdicts["check_a_key_twice_in_one_batch_has_one_winner"].startswith("failed: ")
    assert verdicts["check_of_many_replaces_one_wins"] == "passed"


def test_a_ledger_that_never_answers_fails():
    """A hanging backend must end in a failed check, not in a suite that never ends."""

    class NeverAnswers(MemoryLedger):
        async def insert(self, link_id, record, forget_after_s):
            return await asyncio.get_running_loop().create_future()

    suite = LedgerSuite(NeverAnswers, is_shared=False, ends_within_s=0.05)
    with pytest.raises(CheckFailed, match="never answered"):
        asyncio.run(suite.run("check_of_many_inserts_one_wins"))


@pytest.mark.anyio
async def test_an_unknown_check_is_refused() -> None:
    """A misspelt name must not pass for a check that was run."""
    with pytest.raises(ValueError, match="no check is called run_all"):
        await LedgerSuite(MemoryLedger, is_shared=False).run("run_all")


async def faults_of(seed: int) -> tuple[list[str], dict[str, int]]:
    """Run the same 200 inserts through a faulty ledger; say what each was told, and which faults struck."""
    ledger = FaultyLedger(MemoryLedger(), seed=seed, lost_before=0.2, lost_after=0.2, lost_late=0.2)
    told = [
        type(await ledger.insert(number.to_bytes(16, "big"), b"{}", FORGET_NEVER_S)).__name__ for number in range(200)
    ]
    return told, dict(ledger.counts)


@pytest.mark.anyio
async def test_faults_repeat_with_their_seed() -> None:
    """A failing run must be repeatable; and another seed must be another run."""
    assert await faults_of(1) == await faults_of(1)
    assert (await faults_of(1))[0] != (await faults_of(2))[0]
    assert set((await faults_of(1))[1]) == {"before", "after", "late", "landed"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "stands"), [("lost_before", Gone()), ("lost_after", Stands(b"{}", 1)), ("lost_late", Gone())]
)
async def test_each_fault_does_what_it_says(fault, stands) -> None:
    """Lost before: nothing stands. Lost after: it stands. Late: nothing stands yet."""
    behind = MemoryLedger()
    shares = {"lost_before": 0.0, "lost_after": 0.0, "lost_late": 0.0, fault: 1.0}
    ledger = FaultyLedger(behind, seed=0, lost_reads=0, **shares)
    assert isinstance(await ledger.insert(LINK, b"{}", FORGET_NEVER_S), Unknown)
    assert await behind.read(LINK) == stands


@pytest.mark.anyio
async def test_a_late_write_lands_after_its_caller_was_told() -> None:
    """The write that nobody waits for any more wins: a read that said "nothing there" decided nothing."""
    behind: Ledger = MemoryLedger()
    ledger = FaultyLedger(behind, seed=0, lost_before=0, lost_after=0, lost_late=1.0, lost_reads=0)
    assert isinstance(await ledger.insert(LINK, b'{"by":"late"}', FORGET_NEVER_S), Unknown)
    assert await behind.read(LINK) == Gone()
    assert await ledger.land() == 1
    assert await behind.insert(LINK, b"{}", FORGET_NEVER_S) == Stands(b'{"by":"late"}', 1)


@pytest.mark.anyio
async def test_without_faults_all_calls_pass_through() -> None:
    """A share of nothing loses nothing."""
    ledger = FaultyLedger(MemoryLedger(born_ms=7), seed=0, lost_before=0, lost_after=0, lost_late=0, lost_reads=0)
    assert (await ledger.probe()).born_ms == 7
    assert await ledger.insert(LINK, b"1", FORGET_NEVER_S) == Done(1)
    assert await ledger.replace(LINK, 1, b"2", FORGET_NEVER_S) == Done(2)
    assert await ledger.read(LINK) == Stands(b"2", 2)
    await ledger.aclose()
    assert isinstance(await ledger.read(LINK), Unknown)


@pytest.mark.parametrize("shares", [{"lost_before": 1.1}, {"lost_late": -0.1}])
def test_shares_that_are_none_are_refused(shares):
    """More than all writes cannot be lost, nor less than none."""
    with pytest.raises(ValueError, match="at most 1"):
        FaultyLedger(MemoryLedger(), seed=0, **shares)


def test_fresh_link_ids_are_tickets_nonces():
    """The suite's ids must look like the real ones: UUIDv7, so that measurements of order hold."""
    drawn = fresh_link_id()
    assert (drawn[6] >> 4, drawn[8] >> 6, len(drawn)) == (7, 2, 16)
