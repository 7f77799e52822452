"""The rules of a use, as written, in thousands of random histories; and proof that the histories can tell.

A fault prints its seed: ``simulate_downloads(seed)`` lives through the same history again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import pairwise
from types import ModuleType

import pytest

from oncegate.ledgers import claiming
from oncegate.ledgers.protocol import Unknown
from oncegate.uses import edge_use, use
from oncegate.uses import upload as use_upload
from oncegate.uses.record import Record

CHUNKS = 8
RUNS, RUNS_NIGHTLY = 2_000, 50_000
UPLOAD_RUNS, UPLOAD_RUNS_NIGHTLY = 1_000, 50_000
MUTANT_SEEDS_MAX = 1_500


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Cut the seeds into chunks that several workers can share."""
    is_nightly = metafunc.config.getoption("--nightly")
    for name, short, long in (
        ("download_seeds", RUNS, RUNS_NIGHTLY),
        ("upload_seeds", UPLOAD_RUNS, UPLOAD_RUNS_NIGHTLY),
    ):
        if name in metafunc.fixturenames:
            runs = long if is_nightly else short
            edges = [runs * i // CHUNKS for i in range(CHUNKS + 1)]
            chunks = [range(start, end) for start, end in pairwise(edges)]
            metafunc.parametrize(name, chunks, ids=[f"{chunk.start}-{chunk.stop - 1}" for chunk in chunks])


@pytest.mark.timeout(900)
def test_no_history_of_downloads_breaks_the_promise(downloads: ModuleType, download_seeds: range) -> None:
    """At most ``uses`` holders and size + slack bytes each; nothing lost without a crash; all come to rest.

    Lost and late answers, crashes, clocks that differ and viewers who overlap, leave and come back could each break it.
    """
    crashes = holders = 0
    for seed in download_seeds:
        world = downloads.simulate_downloads(seed)
        assert not world.faults, f"seed {seed}: {world.faults}"
        crashes += world.crashes
        holders += len(world.holders)
    assert crashes > len(download_seeds) / 50  # else the world has become too kind to show anything
    assert holders > len(download_seeds)


@pytest.mark.timeout(900)
def test_no_history_of_uploads_breaks_the_promise(uploads: ModuleType, upload_seeds: range) -> None:
    """Never stored more often than allowed, never spent without an object, and the link works again after the lease.

    Leases run out while their uploads go on, and the store's answers are lost as well as the ledger's.
    """
    crashes = stored = 0
    for seed in upload_seeds:
        world = uploads.simulate_uploads(seed)
        assert not world.faults, f"seed {seed}: {world.faults}"
        crashes += world.crashes
        stored += len(world.stored)
    assert crashes > 0
    assert stored > len(upload_seeds) / 2


def test_a_download_that_goes_well_writes_once(downloads: ModuleType) -> None:
    """The design's price of a download; a receipt or a lease would make it two."""
    world = downloads.DownloadWorld(1)
    world.size = 1000
    world.become_fair()
    viewer = downloads.Viewer("192.0.2.9", keeps_cookies=True)
    world.spawn(world.gateways[0], world.download(world.gateways[0], viewer, None, leaves_after=None, fails=False))
    assert world.rest()
    assert (viewer.got, world.ledger.writes) == (1000, 1)


def test_without_marks_the_simulation_finds_faults(downloads: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A charge or a give-back whose answer was lost is then done twice: marks are what tells."""
    monkeypatch.setattr(use, "with_mark", lambda record, mark: record.marks)
    assert _seeds_until(downloads.simulate_downloads, {"record", "bytes", "holders"})


def test_deciding_unknown_by_a_read_loses_uses(downloads: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost write may still land after the read that did not see it."""

    def read_back(write: claiming.Insert | claiming.Replace) -> Generator[claiming.Step, claiming.Outcome, object]:
        answer = yield write
        while isinstance(answer, Unknown):
            answer = yield claiming.Read(write.link_id)
        return answer

    monkeypatch.setattr(claiming, "_until_known", read_back)
    assert _seeds_until(downloads.simulate_downloads, {"lost"})


def test_without_undo_an_abandoned_claim_is_a_lost_use(downloads: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer got 503 and nobody gave back what was won for him later."""
    go_on = downloads.go_on

    def nothing(_admission: use.Admission) -> Generator[claiming.Step, claiming.Outcome, bool]:
        return False
        yield

    monkeypatch.setattr(downloads, "go_on", lambda talk, turns, mine, _undo: go_on(talk, turns, mine, nothing))
    assert _seeds_until(downloads.simulate_downloads, {"lost"})


def test_without_the_budget_one_use_gives_more_than_size_and_slack(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Viewers who take all but the last byte, again and again, are among the histories."""
    monkeypatch.setattr(use, "slack_bytes", lambda size_bytes: 10 * size_bytes)
    assert _seeds_until(downloads.simulate_downloads, {"bytes"})


def test_taking_the_end_of_a_transfer_that_is_being_settled_gives_it_back_twice(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ended gives back all of his rest; a Range of the same holder must not give back the same bytes."""
    monkeypatch.setattr(downloads, "may_lose_its_end", lambda _transfer: True)
    assert _seeds_until(downloads.simulate_downloads, {"bytes", "record"})


def test_an_edge_that_remembers_the_claim_of_an_earlier_run_serves_two(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier run of the event passed its request on; whoever is remembered for it next would be a second viewer."""
    monkeypatch.setattr(edge_use.EdgeAsk, "has_run_before", lambda _ask, _record: False)
    assert _seeds_until(downloads.simulate_downloads, {"holders"})


def test_without_the_mark_of_its_give_back_an_event_takes_a_use_again(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CloudFront runs it once more, and nobody gives back what nobody went by."""
    draws = iter(range(10**9))
    monkeypatch.setattr(edge_use, "_back_mark", lambda _claim_id: f"-{next(draws)}")
    assert _seeds_until(downloads.simulate_downloads, {"edge"})


def test_without_the_stores_condition_an_upload_link_stores_twice(
    uploads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease alone does not make an upload once: it runs out."""
    monkeypatch.setattr(uploads.Store, "allows", lambda _store, _replaces: True)
    assert _seeds_until(uploads.simulate_uploads, {"stored"})


def test_a_link_to_many_keys_that_stores_first_stores_twice(
    uploads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The condition of a store knows its key, and the holder chooses another while the lease has run out."""
    monkeypatch.setattr(uploads, "spends_first", lambda _world: False)
    assert _seeds_until(uploads.simulate_uploads, {"stored"})


def test_giving_back_an_unknown_upload_too_soon_stores_twice(
    uploads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request to the store may still land after somebody looked and found nothing."""
    monkeypatch.setattr(use_upload, "UNKNOWN_FOR_S", 0)
    assert _seeds_until(uploads.simulate_uploads, {"stored"})


def test_a_lease_of_a_wrong_clock_that_is_believed_blocks_a_link(
    uploads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One gateway of three is nine hours ahead; its lease must not hold that long at the others."""
    monkeypatch.setattr(use_upload, "AHEAD_MAX_S", 10**9)
    assert _seeds_until(uploads.simulate_uploads, {"lost"})


def test_a_revocation_that_is_overwritten_is_seen(downloads: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's watch over revoked records must be able to bark."""
    admit = use.admit_download

    def forgetful(record: Record | None, ask: use.DownloadAsk, now_s: int, rules: use.Rules) -> use.Admission:
        return admit(None if record and record.is_revoked else record, ask, now_s, rules)

    monkeypatch.setattr(use, "admit_download", forgetful)
    wanted = {"a write after revocation promised something", "a request that began after revocation was admitted"}
    assert _seeds_until(downloads.simulate_downloads, wanted)


def _seeds_until(simulate: Callable[[int], object], wanted: set[str]) -> int:
    """How many histories it takes until every wanted kind of fault was seen."""
    missing = set(wanted)
    for seed in range(MUTANT_SEEDS_MAX):
        missing -= {fault.partition(":")[0] for fault in simulate(seed).faults}
        if not missing:
            return seed + 1
    raise AssertionError(f"{MUTANT_SEEDS_MAX} histories show no {', '.join(missing)}: this test cannot fail")
