"""The rules of a use, as written, in thousands of random histories; and proof that the histories can tell.

A fault prints its seed: ``simulate_downloads(seed)`` lives through the same history again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from itertools import pairwise
from types import ModuleType

import pytest

from oncegate.ledgers import claiming
from oncegate.ledgers.protocol import Unknown
from oncegate.uses import delivered, edge_use, use
from oncegate.uses import record as records
from oncegate.uses import upload as use_upload
from oncegate.uses.record import Record

CHUNKS = 8
RUNS, RUNS_SLOW, RUNS_NIGHTLY = 1_600, 20_000, 50_000
MIXED_RUNS = 400
UPLOAD_RUNS, UPLOAD_RUNS_NIGHTLY = 1_000, 50_000
MUTANT_SEEDS_MAX = 1_500


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Cut the seeds into chunks that several workers can share."""
    how_long = 2 if metafunc.config.getoption("--nightly") else 1 if metafunc.config.getoption("--slow") else 0
    for name, *counts in (
        ("download_seeds", RUNS, RUNS_SLOW, RUNS_NIGHTLY),
        ("mixed_seeds", MIXED_RUNS, RUNS_SLOW, RUNS_NIGHTLY),
        ("upload_seeds", UPLOAD_RUNS, UPLOAD_RUNS, UPLOAD_RUNS_NIGHTLY),
    ):
        if name in metafunc.fixturenames:
            runs = counts[how_long]
            edges = [runs * i // CHUNKS for i in range(CHUNKS + 1)]
            chunks = [range(start, end) for start, end in pairwise(edges)]
            metafunc.parametrize(name, chunks, ids=[f"{chunk.start}-{chunk.stop - 1}" for chunk in chunks])


@pytest.mark.timeout(900)
def test_no_history_of_downloads_breaks_the_promise(downloads: ModuleType, download_seeds: range) -> None:
    """At most ``uses`` holders and size + slack bytes each; nothing lost without a crash; all come to rest.

    Lost and late answers, crashes, clocks that differ, viewers who overlap, leave, come back and lie, and networks that
    die could each break it.
    """
    crashes = holders = again = given_up = 0
    for seed in download_seeds:
        world = downloads.simulate_downloads(seed)
        assert not world.faults, f"seed {seed}: {world.faults}"
        crashes += world.crashes
        given_up += world.given_up
        holders += len(world.holders)
        again += sum(world.sent[claim_id] > world.sizes[claim_id] > 0 for claim_id in world.doubted)
    assert given_up <= len(download_seeds) / 500  # the price of keeping eight marks, and no more
    assert again > len(download_seeds) / 50  # holders who were sent more than the size, for their end was in doubt
    assert crashes > len(download_seeds) / 50  # else the world has become too kind to show anything
    assert holders > len(download_seeds)


def test_a_give_back_that_meets_eight_new_marks_gives_nothing(downloads: ModuleType) -> None:
    """Its own mark may have been among those that were pushed out, so 6 bytes stay spent: the one loss without a crash in 100,000 histories."""
    world = downloads.simulate_downloads(64_538)
    assert not world.faults
    assert world.given_up == 1


@pytest.mark.timeout(900)
def test_gateways_of_two_versions_keep_the_promise(downloads: ModuleType, mixed_seeds: range) -> None:
    """While versions are mixed, what one writes must not open more at the other; it may give less."""
    for seed in mixed_seeds:
        world = downloads.simulate_downloads(seed, has_old=True)
        assert not world.faults, f"seed {seed}: {world.faults}"


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
    viewer = downloads.Viewer("192.0.2.9", keeps_cookies=True, has_luck=True)
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
    monkeypatch.setattr(use, "slack_bytes", lambda size_bytes, is_in_doubt: 10 * size_bytes)
    assert _seeds_until(downloads.simulate_downloads, {"bytes"})


def test_without_the_budget_in_doubt_one_use_gives_more_than_twice_the_size(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer who drops their own acknowledgements is in doubt after every transfer."""
    slack = use.slack_bytes

    def unlimited(size_bytes: int, *, is_in_doubt: bool) -> int:
        return 10 * size_bytes if is_in_doubt else slack(size_bytes)

    monkeypatch.setattr(use, "slack_bytes", unlimited)
    assert _seeds_until(downloads.simulate_downloads, {"bytes"})


def test_giving_back_what_was_not_acknowledged_serves_strangers(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acknowledgement is the viewer's word: who withholds it would have the object, and the use would be free."""

    def settlement(sent: delivered.Sent) -> delivered.Settlement:
        acked = sent.sent_bytes if sent.acked_bytes is None else sent.acked_bytes
        return settlement_of(sent._replace(sent_bytes=acked))

    settlement_of = delivered.settlement_of
    monkeypatch.setattr(downloads, "settlement_of", settlement)
    assert _seeds_until(downloads.simulate_downloads, {"bytes", "holders", "record"})


def test_taking_what_was_handed_over_for_sent_loses_uses(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was before the kernel was asked: a network that dies takes the use with it, though nothing was sent."""
    before = downloads.settlement_before
    network = downloads.Line
    account = network.account

    def handed(line: object, rnd: object, transfer: object, viewer: object, **how: bool) -> delivered.Sent:
        sent = account(line, rnd, transfer, viewer, **how)
        return sent._replace(sent_bytes=sent.promised_bytes - before(transfer).back_bytes, is_head_sent=True)

    monkeypatch.setattr(network, "account", handed)
    assert _seeds_until(downloads.simulate_downloads, {"lost", "record"})


def test_in_doubt_only_the_holder_may_have_the_object_again(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever came next would be a stranger with a copy."""
    find = use._claim_of_holder

    def anyone(record: Record, ask: use.DownloadAsk, now_s: int, rules: use.Rules) -> tuple[records.Claim | None, bool]:
        claim, by_cookie = find(record, ask, now_s, rules)
        doubted = next((claim for claim in reversed(record.claims) if claim.doubt), None)
        return (claim, by_cookie) if claim or not doubted else (doubted, True)

    monkeypatch.setattr(use, "_claim_of_holder", anyone)
    assert _seeds_until(downloads.simulate_downloads, {"holder", "lost"})


def test_what_a_living_socket_has_not_sent_is_not_given_back(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel goes on sending it after the gateway has closed."""
    carry = downloads.DownloadWorld._carry
    seen: dict[int, int] = {}

    def noted(world: object, transfer: downloads.Transfer, viewer: object, until: int) -> None:
        seen[id(transfer)] = transfer.wire
        carry(world, transfer, viewer, until)

    def account(transfer: downloads.Transfer, *, is_cut: bool) -> delivered.Sent:
        sent_bytes = min(transfer.handed, seen.get(id(transfer), 0))
        return delivered.Sent(transfer.promised, sent_bytes, None, transfer.is_head_sent, is_cut=is_cut)

    monkeypatch.setattr(downloads.DownloadWorld, "_carry", noted)
    monkeypatch.setitem(downloads.Line.account.__globals__, "live_account", account)
    assert _seeds_until(downloads.simulate_downloads, {"record"})


def test_a_head_alone_puts_nothing_in_doubt(downloads: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A use of which no byte of the object was sent is removed; a doubt about it would keep nobody's claim."""

    def doubt_of(sent: delivered.Sent) -> records.Doubt:
        return records.Doubt.NONE if sent.is_clean or not sent.is_head_sent else records.Doubt.UNACKED

    monkeypatch.setattr(delivered, "_doubt_of", doubt_of)
    assert _seeds_until(downloads.simulate_downloads, {"record", "holders"})


def test_an_empty_object_whose_head_was_sent_is_spent(downloads: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no more than its head, so settled like one that was never begun it would be free."""

    def settlement(sent: delivered.Sent) -> delivered.Settlement:
        found = settlement_of(sent)
        return found._replace(is_due=found.is_due or (sent.promised_bytes == 0 and not sent.is_clean))

    settlement_of = delivered.settlement_of
    monkeypatch.setattr(downloads, "settlement_of", settlement)
    assert _seeds_until(downloads.simulate_downloads, {"record", "holders"})


@pytest.mark.parametrize(
    "left_out",
    [
        "clean",
        "one use",
        "whole",
        pytest.param("first", marks=pytest.mark.slow),
    ],
)
def test_a_process_that_remembers_too_much_refuses_wrongly(
    downloads: ModuleType, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    """Of the conditions for remembering a link as used each is needed: the first claim, whole, clean, of one use."""

    def may_be_remembered(sent: delivered.Sent, *, uses: int, is_first_claim: bool, is_whole: bool) -> bool:
        return remembered(
            sent._replace(is_clean=sent.sent_bytes == sent.promised_bytes) if left_out == "clean" else sent,
            uses=1 if left_out == "one use" else uses,
            is_first_claim=is_first_claim or left_out == "first",
            is_whole=is_whole or left_out == "whole",
        )

    remembered = delivered.may_be_remembered
    monkeypatch.setattr(downloads, "may_be_remembered", may_be_remembered)
    assert _seeds_until(downloads.simulate_downloads, {"memory"}, seeds_max=20_000)


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
    assert _seeds_until(functools.partial(downloads.simulate_downloads, at_edge=1.0), {"holders"})


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


def _seeds_until(simulate: Callable[[int], object], wanted: set[str], seeds_max: int = MUTANT_SEEDS_MAX) -> int:
    """How many histories it takes until every wanted kind of fault was seen."""
    missing = set(wanted)
    for seed in range(seeds_max):
        missing -= {fault.partition(":")[0] for fault in simulate(seed).faults}
        if not missing:
            return seed + 1
    raise AssertionError(f"{seeds_max} histories show no {', '.join(missing)}: this test cannot fail")
