"""The talks with a ledger, step by step: what is asked after which answer. No ledger is needed for that."""

from __future__ import annotations

from typing import TypeVar

import pytest

from oncegate.ledgers import claiming
from oncegate.ledgers.claiming import (
    ATTEMPTS_MAX,
    PAUSE_FIRST_S,
    PAUSE_MAX_S,
    GiveBack,
    Insert,
    Outcome,
    Pause,
    Read,
    Replace,
    Step,
    Talk,
)
from oncegate.ledgers.protocol import Done, Gone, Stands, Swept, Unknown
from oncegate.links.refusal import Reason
from oncegate.uses.record import EMPTY, MARKS_MAX, Claim, Record, from_json, to_json
from oncegate.uses.use import Admission, DownloadAsk, Kind, Rules, admit_download, revoke

LINK = bytes(16)
FORGET_S = 2_000_000_000
NOW_S = 1_767_290_400
LOST = Unknown("no answer")

T = TypeVar("T")


def talk_through(talk: Talk[T], *answers: Outcome) -> tuple[list[Step], T]:
    """Give the answers one after another to the steps that are no pauses; return all steps and the end."""
    waiting = list(answers)
    steps = [next(talk)]
    while True:
        answer = LOST if isinstance(steps[-1], Pause) else waiting.pop(0)
        try:
            steps.append(talk.send(answer))
        except StopIteration as stop:
            assert not waiting, "it ended before it heard every answer"
            return steps, stop.value


def decide_download(uses: int = 1, *, seen: list[Record | None] | None = None) -> claiming.Decide:
    """The rule for a whole GET by a stranger, with fresh ids each time it is asked."""
    asked = seen if seen is not None else []

    def decide(record: Record | None) -> Admission:
        asked.append(record)
        ask = DownloadAsk(
            uses=uses,
            size_bytes=100,
            etag="e",
            span=None,
            cookie=None,
            address=None,
            gateway="g",
            claim_id=f"C{len(asked)}",
            mark=f"m{len(asked)}",
        )
        return admit_download(record, ask, NOW_S, Rules())

    return decide


def another_record(claim_id: str = "other", *, marks: tuple[str, ...] = ()) -> Record:
    """A use that somebody else took."""
    return Record(uses=1, claims=(Claim(claim_id=claim_id, at_s=NOW_S, address="192.0.2.1", gateway="h"),), marks=marks)


def stands(record: Record, version: int) -> Stands:
    """The ledger's words for a record."""
    return Stands(to_json(record), version)


def test_a_claim_that_meets_nothing_is_one_insert() -> None:
    """The price of a download is one write; a look before it would make it two."""
    steps, admission = talk_through(claiming.claim(LINK, FORGET_S, decide_download()), Done(1))
    assert admission.kind is Kind.ADMIT
    assert admission.record is not None
    assert steps == [Insert(LINK, to_json(admission.record), FORGET_S)]


def test_a_claim_that_meets_a_spent_record_is_refused_by_the_rule() -> None:
    """Who loses the race must learn it from what stands there, without another call."""
    seen: list[Record | None] = []
    steps, admission = talk_through(
        claiming.claim(LINK, FORGET_S, decide_download(seen=seen)), stands(another_record(), 1)
    )
    assert (admission.kind, admission.reason) == (Kind.REFUSE, Reason.USED)
    assert seen == [None, another_record()]
    assert len(steps) == 1


def test_a_second_use_replaces_the_version_that_was_seen() -> None:
    """A replace that named no version, or the wrong one, would let two win."""
    steps, admission = talk_through(
        claiming.claim(LINK, FORGET_S, decide_download(uses=2)), stands(another_record(), 7), Done(8)
    )
    assert isinstance(steps[1], Replace)
    assert steps[1].version == 7
    assert admission.record is not None
    assert admission.record.uses == 2


def test_unknown_repeats_the_very_same_write_and_pauses_longer_each_time() -> None:
    """Another write in its place could be admitted beside the first, which may still land."""
    talk = claiming.claim(LINK, FORGET_S, decide_download())
    steps, admission = talk_through(talk, *[LOST] * 10, Done(1))
    writes = [step for step in steps if not isinstance(step, Pause)]
    pauses = [step.seconds for step in steps if isinstance(step, Pause)]
    assert len(set(writes)) == 1
    assert pauses[:3] == [PAUSE_FIRST_S, 2 * PAUSE_FIRST_S, 4 * PAUSE_FIRST_S]
    assert max(pauses) == PAUSE_MAX_S
    assert admission.kind is Kind.ADMIT


def test_a_claim_knows_its_own_write_after_a_lost_answer() -> None:
    """Else the viewer who won would be told that the link has been used, and the use would be lost."""
    talk = claiming.claim(LINK, FORGET_S, decide_download())
    first = next(talk)
    assert isinstance(first, Insert)
    assert isinstance(talk.send(LOST), Pause)
    assert talk.send(LOST) == first
    with pytest.raises(StopIteration) as stop:
        talk.send(Stands(first.record, 1))
    assert stop.value.value.kind is Kind.ADMIT
    assert stop.value.value.claim_id == "C1"


def test_a_claim_knows_its_own_write_under_the_writes_of_others() -> None:
    """Between the write and the repeated question others may have charged and settled the same record."""
    talk = claiming.claim(LINK, FORGET_S, decide_download(uses=3))
    next(talk)
    replace = talk.send(stands(another_record(), 1))
    assert isinstance(replace, Replace)
    talk.send(LOST)
    talk.send(LOST)
    ours = from_json(replace.record)
    later = Record(uses=3, claims=(*ours.claims, another_record("third").claims[0]), marks=(*ours.marks, "m-third"))
    with pytest.raises(StopIteration) as stop:
        talk.send(stands(later, 5))
    assert stop.value.value.claim_id == "C2"


def test_a_record_that_may_have_been_swept_refuses_the_claim() -> None:
    """Nothing stands there, and yet the link may have been used: unknown is not free."""
    _, admission = talk_through(claiming.claim(LINK, FORGET_S, decide_download()), Swept())
    assert (admission.kind, admission.reason) == (Kind.REFUSE, Reason.FORGOTTEN)


def test_a_record_that_vanishes_between_two_steps_is_claimed_anew() -> None:
    """Gone answers a replace; the insert that follows says whether it may be claimed at all."""
    steps, admission = talk_through(
        claiming.claim(LINK, FORGET_S, decide_download(uses=2)), stands(another_record(), 1), Gone(), Swept()
    )
    assert [type(step) for step in steps] == [Insert, Replace, Insert]
    assert admission.reason is Reason.FORGOTTEN


def test_a_claim_gives_up_after_its_attempts_without_serving() -> None:
    """A hot record could keep one request for ever; at the limit it is refused for now."""
    others = [stands(another_record(f"c{i}"), i) for i in range(ATTEMPTS_MAX)]
    steps, admission = talk_through(claiming.claim(LINK, FORGET_S, decide_download(uses=9)), *others)
    assert (admission.kind, admission.reason, admission.record) == (Kind.BUSY, Reason.LEDGER_UNKNOWN, None)
    assert len(steps) == ATTEMPTS_MAX


def test_a_record_of_a_newer_version_is_an_error_and_never_taken_for_unused() -> None:
    """A rollback of the program must not reopen links."""
    talk = claiming.claim(LINK, FORGET_S, decide_download())
    next(talk)
    with pytest.raises(ValueError, match="unknown members"):
        talk.send(Stands(b'{"u":0,"new":1}', 1))


def what(mark: str = "s1", back_bytes: int = 100) -> GiveBack:
    """A settlement of the whole object by ``C1``."""
    return GiveBack(LINK, FORGET_S, "C1", mark, back_bytes, 100, "e")


def clock() -> int:
    """A clock that stands."""
    return NOW_S


def test_giving_back_all_of_the_only_claim_frees_the_use() -> None:
    """Nothing was handed over, so anyone may come."""
    steps, gave = talk_through(claiming.give_back(what(), clock), stands(another_record("C1"), 3), Done(4))
    assert gave
    assert isinstance(steps[1], Replace)
    assert from_json(steps[1].record) == Record(uses=0, marks=("s1",))


def test_a_give_back_whose_answer_was_lost_is_not_done_twice() -> None:
    """Twice would let a holder have more than size and slack."""
    record = another_record("C1")
    done = Record(uses=0, marks=("s1",))
    steps, gave = talk_through(claiming.give_back(what(), clock), stands(record, 3), LOST, stands(done, 4))
    assert not gave
    assert [type(step) for step in steps] == [Read, Replace, Pause, Replace]


def test_a_give_back_reads_until_it_is_answered() -> None:
    """It has no patience to lose: as long as the process lives, it goes on."""
    steps, gave = talk_through(
        claiming.give_back(what(), clock), *[LOST] * 20, stands(another_record("C1"), 1), Done(2)
    )
    assert gave
    assert sum(isinstance(step, Read) for step in steps) == 21


def test_a_give_back_of_a_swept_record_gives_nothing() -> None:
    """Inserting one would bring back a link that was forgotten."""
    steps, gave = talk_through(claiming.give_back(what(), clock), Gone())
    assert not gave
    assert steps == [Read(LINK)]


def marks(first: int, count: int = MARKS_MAX) -> tuple[str, ...]:
    """So many marks of others."""
    return tuple(f"x{i}" for i in range(first, first + count))


@pytest.mark.parametrize(("overtaken", "gives"), [(MARKS_MAX - 1, True), (MARKS_MAX, False)])
def test_a_give_back_that_cannot_know_whether_it_happened_gives_nothing(overtaken: int, gives: bool) -> None:
    """With eight marks of others after its last try its own may have been pushed out; with seven it would be there."""
    talk = claiming.give_back(what(), clock)
    next(talk)
    talk.send(stands(another_record("C1", marks=marks(0)), 1))
    talk.send(LOST)
    talk.send(LOST)
    answer = stands(another_record("C1", marks=marks(overtaken)), 9)
    if gives:
        assert isinstance(talk.send(answer), Replace)
    else:
        with pytest.raises(StopIteration) as stop:
            talk.send(answer)
        assert stop.value.value is False


def test_a_give_back_that_is_overtaken_slowly_still_gives() -> None:
    """Each try that certainly came to nothing puts an end to doubt about those before; only the last one counts.

    Compared with the marks of the first try, a use was lost under many writes of others.
    """
    talk = claiming.give_back(what(), clock)
    next(talk)
    step = talk.send(stands(another_record("C1", marks=marks(0)), 1))
    for tries in range(1, 30):
        assert isinstance(step, Replace)
        step = talk.send(stands(another_record("C1", marks=marks(tries)), 1 + tries))
    assert isinstance(step, Replace)
    with pytest.raises(StopIteration) as stop:
        talk.send(Done(99))
    assert stop.value.value is True


@pytest.mark.parametrize(
    ("answers", "ends_in"),
    [
        ([Done(1)], Record(uses=0, is_revoked=True)),
        ([LOST, Done(1)], Record(uses=0, is_revoked=True)),
        ([stands(EMPTY, 1), Gone(), Done(1)], Record(uses=0, is_revoked=True)),
        ([Swept()], None),
    ],
)
def test_revoking_inserts_where_nothing_stands(answers: list[Outcome], ends_in: Record | None) -> None:
    """A link that was signed offline has no record yet; one so old that it may be forgotten is refused anyway."""
    _, record = talk_through(claiming.insert_or_rewrite(LINK, FORGET_S, revoke), *answers)
    assert record == ends_in


def test_revoking_keeps_what_stands_there() -> None:
    """Status must still say who had the object."""
    steps, record = talk_through(
        claiming.insert_or_rewrite(LINK, FORGET_S, revoke), stands(another_record(), 4), Done(5)
    )
    assert record is not None
    assert (record.uses, record.is_revoked, len(record.claims)) == (1, True, 1)
    assert isinstance(steps[1], Replace)
    assert steps[1].version == 4


def test_revoking_twice_writes_once() -> None:
    """The second finds it done, also when it was its own first try whose answer was lost."""
    revoked = Record(uses=0, is_revoked=True)
    steps, record = talk_through(claiming.insert_or_rewrite(LINK, FORGET_S, revoke), LOST, stands(revoked, 1))
    assert record == revoked
    assert len([step for step in steps if not isinstance(step, Pause)]) == 2


def test_rewriting_asks_again_what_is_to_change() -> None:
    """The change that was computed from an old record must not be written over a new one."""
    asked: list[Record] = []

    def change(record: Record) -> Record | None:
        asked.append(record)
        return Record(uses=record.uses + 1)

    steps, changed = talk_through(
        claiming.rewrite(LINK, FORGET_S, change), stands(Record(uses=1), 1), stands(Record(uses=5), 2), Done(3)
    )
    assert changed
    assert [record.uses for record in asked] == [1, 5]
    assert isinstance(steps[-1], Replace)
    assert from_json(steps[-1].record).uses == 6
