"""The rules of a use, case by case: who gets which bytes when, and both sides of every limit (docs/promises.md)."""

from __future__ import annotations

import pytest

from oncegate.links.refusal import Reason
from oncegate.uses.record import CLAIMS_MAX, EMPTY, MARKS_MAX, PLACING_MAX, Claim, Doubt, Lease, Placing, Record
from oncegate.uses.upload import (
    UNKNOWN_FOR_S,
    UploadAsk,
    admit_placing,
    admit_upload,
    not_placed,
    placed,
    renew_lease,
    upload_failed,
    upload_stored,
)
from oncegate.uses.use import (
    AHEAD_MAX_S,
    SLACK_MAX_BYTES,
    Admission,
    DownloadAsk,
    Kind,
    Rules,
    admit_download,
    is_too_old,
    is_written,
    refusal_of_use,
    revoke,
    settle,
    slack_bytes,
)

NOW_S = 1_767_290_400
RULES = Rules()
MIB = 1024 * 1024
SIZE = 24 * MIB
HOME, NEIGHBOUR = "203.0.113.178", "198.51.100.100"


def ask(
    span: tuple[int, int] | None = None,
    *,
    size: int = SIZE,
    cookie: str | None = None,
    address: str | None = HOME,
    gateway: str = "g",
    uses: int = 1,
    etag: str = "e",
    claim_id: str = "N",
    mark: str = "m",
    running: dict[str, int] | None = None,
) -> DownloadAsk:
    """A GET by the viewer at home."""
    return DownloadAsk(
        uses=uses,
        size_bytes=size,
        etag=etag,
        span=span,
        cookie=cookie,
        address=address,
        gateway=gateway,
        claim_id=claim_id,
        mark=mark,
        running=running or {},
    )


def admit(record: Record | None, request: DownloadAsk, now_s: int = NOW_S) -> Admission:
    """Decide with the usual rules."""
    return admit_download(record, request, now_s, RULES)


def written(admission: Admission) -> Record:
    """The record of an admission, which must be one."""
    assert admission.kind is Kind.ADMIT
    assert admission.record is not None
    return admission.record


def claimed(span: tuple[int, int] | None = None, **changes: object) -> Record:
    """The record after a first GET at home, claim ``C``."""
    request = ask(span, claim_id="C")._replace(**changes)  # pyright: ignore[reportArgumentType]
    return written(admit(None, request))


def broken(record: Record, back_bytes: int, *, size: int = SIZE, mark: str = "s", now_s: int = NOW_S) -> Record:
    """The record after ``C`` gave that much back."""
    settled = settle(record, claim_id="C", mark=mark, back_bytes=back_bytes, size_bytes=size, etag="e", now_s=now_s)
    assert settled is not None
    return settled


def refused(admission: Admission) -> Reason | None:
    """Why; and that nothing is to be written."""
    assert admission.kind is Kind.REFUSE
    assert admission.record is None
    return admission.reason


# The first GET, and the second.


def test_the_first_get_takes_the_use_and_knows_itself_by_its_claim() -> None:
    """A plain spent record needs no mark beside the claim's id: it is on disk for every link."""
    admission = admit(None, ask(claim_id="C"))
    assert written(admission) == Record(
        uses=1, claims=(Claim(claim_id="C", at_s=NOW_S, address=HOME, gateway="g"),), marks=()
    )
    assert is_written(written(admission), admission.mark)


@pytest.mark.parametrize(
    "second",
    [
        ask(),
        ask(cookie="C"),
        ask(address=NEIGHBOUR),
        ask(address=None),
        ask((0, SIZE), cookie="C"),
        ask((SIZE - 1, SIZE), cookie="C"),
        ask((0, 1), address=NEIGHBOUR),
    ],
    ids=["whole", "whole with the cookie", "stranger", "no proof", "range of all", "last byte", "stranger's range"],
)
def test_the_second_get_after_a_whole_download_gets_no_byte(second: DownloadAsk) -> None:
    """Success writes nothing, so the record cannot say that the download ended: promised counts as sent."""
    assert refused(admit(claimed(), second)) is Reason.USED


def test_an_object_of_no_bytes_is_once_too() -> None:
    """Paid equals size from the start; a rule that asks for 'bytes left' would serve it for ever."""
    record = claimed(size_bytes=0)
    assert refused(admit(record, ask(size=0, cookie="C"))) is Reason.USED
    assert broken(record, 0, size=0).uses == 0


# Giving back.


def test_a_claim_that_delivered_nothing_is_free_for_anyone() -> None:
    """The store failed before the first byte: not even the window may be waited for."""
    record = broken(claimed(), SIZE)
    assert record == Record(uses=0, marks=("s",))
    assert admit(record, ask(address=NEIGHBOUR)).kind is Kind.ADMIT


def test_a_claim_that_delivered_one_byte_stays_its_holders() -> None:
    """Free for anyone it would be a second copy, less one byte."""
    record = broken(claimed(), SIZE - 1)
    assert refused(admit(record, ask(address=NEIGHBOUR))) is Reason.USED
    assert refused(admit(record, ask((1, SIZE), address=NEIGHBOUR))) is Reason.USED
    assert admit(record, ask((1, SIZE))).kind is Kind.ADMIT


def test_giving_back_twice_under_one_mark_gives_once() -> None:
    """A settlement is repeated until it is answered."""
    record = broken(claimed(), 100)
    again = settle(record, claim_id="C", mark="s", back_bytes=100, size_bytes=SIZE, etag="e", now_s=NOW_S)
    assert again is None


def test_giving_back_for_a_claim_that_is_not_there_gives_nothing() -> None:
    """Of a link with very many uses the oldest claims are forgotten: they stay spent."""
    assert settle(claimed(), claim_id="X", mark="s", back_bytes=1, size_bytes=SIZE, etag="e", now_s=NOW_S) is None


def test_what_is_given_back_comes_from_paid_first_and_then_from_over() -> None:
    """The other way round a holder could take the slack again and again."""
    record = broken(claimed(), 1000)
    again = written(admit(record, ask((0, 2000), cookie="C")))
    assert (again.claims[0].paid, again.claims[0].over) == (SIZE, 1000)
    assert broken(again, 1500, mark="s2").claims[0] == again.claims[0]._replace(paid=SIZE - 1500)
    assert (broken(again, SIZE + 400, mark="s2").claims[0].over) == 600


# The budget.


@pytest.mark.parametrize(
    ("size", "slack"),
    [(0, 0), (1, 0), (2, 1), (32 * MIB - 1, 16 * MIB - 1), (32 * MIB, 16 * MIB), (10**13, SLACK_MAX_BYTES)],
)
def test_the_slack_is_half_of_the_object_and_16_mib_at_most(size: int, slack: int) -> None:
    """Half keeps one use below a second copy; 16 MiB is what one break of full socket buffers can cost."""
    assert slack_bytes(size) == slack


@pytest.mark.parametrize(("asked", "kind"), [(SIZE // 2 + 1000, Kind.ADMIT), (SIZE // 2 + 1001, Kind.REFUSE)])
def test_the_holder_may_ask_for_what_is_left_and_the_slack(asked: int, kind: Kind) -> None:
    """1,000 bytes are left and the slack is half the size: both sides of the sum."""
    record = broken(claimed(), 1000)
    assert admit(record, ask((0, asked), cookie="C")).kind is kind


def test_nothing_is_left_once_all_is_paid_even_if_slack_is() -> None:
    """'Then a part again: 403' must be true of every finished download."""
    record = written(admit(broken(claimed(), 1000), ask((SIZE - 1000, SIZE), cookie="C")))
    assert (record.claims[0].paid, record.claims[0].over) == (SIZE, 0)
    assert refused(admit(record, ask((0, 1), cookie="C"))) is Reason.USED


@pytest.mark.parametrize(
    ("size_mib", "lost_mib", "breaks", "ends"),
    [(100, 1, 10, "whole"), (100, 4, 5, "refused"), (24, 11, 1, "whole"), (4, 1, 2, "whole")],
)
def test_a_flaky_line_is_carried_as_far_as_the_slack_reaches(
    size_mib: int, lost_mib: int, breaks: int, ends: str
) -> None:
    """At each break some bytes were counted and never arrived; the viewer asks for them again."""
    size, lost = size_mib * MIB, lost_mib * MIB
    step = max(size // 10, 2 * lost)
    record, start, at, seen = claimed(size_bytes=size), 0, 0, 0
    while True:
        sent = min(size - start, step)
        if start + sent >= size:
            outcome = "whole"
            break
        record = broken(record, size - start - sent, size=size, mark=f"s{seen}")
        at, seen = start + sent - lost, seen + 1
        admission = admit(record, ask((at, size), size=size, cookie="C", mark=f"m{seen}"))
        if admission.kind is not Kind.ADMIT:
            outcome = "refused"
            break
        record, start = written(admission), at
    assert (outcome, seen) == (ends, breaks)


def test_a_download_manager_with_many_ranges_is_one_use() -> None:
    """aria2 opens sixteen parts at once; together they are the object, and not a byte more than the slack."""
    part = SIZE // 16
    record = claimed((0, part))
    for i in range(1, 16):
        record = written(admit(record, ask((i * part, (i + 1) * part), cookie="C", mark=f"m{i}")))
    assert (record.uses, record.claims[0].paid, record.claims[0].over) == (1, SIZE, 0)
    assert len(record.marks) == MARKS_MAX
    assert refused(admit(record, ask((0, part), cookie="C"))) is Reason.USED


def test_parts_that_overlap_are_paid_from_the_slack_and_end() -> None:
    """Byte ranges are not remembered, only their sum: asking for the same half again and again must come to an end."""
    record, admitted = claimed((0, SIZE // 2)), 1
    while (admission := admit(record, ask((0, SIZE // 2), cookie="C", mark=f"m{admitted}"))).kind is Kind.ADMIT:
        record, admitted = written(admission), admitted + 1
    assert admitted * (SIZE // 2) <= SIZE + slack_bytes(SIZE)


# A second request while the first runs.


def test_the_holders_range_cuts_his_own_transfer_here_by_cookie() -> None:
    """A browser that opened the whole and now wants a part of it has given up the first."""
    admission = admit(claimed(), ask((6 * MIB, 12 * MIB), cookie="C", running={"C": 23 * MIB}))
    assert (admission.kind, admission.claim_id, admission.record) == (Kind.CUT, "C", None)
    assert admission.cut_bytes == 6 * MIB


def test_a_range_takes_no_more_than_it_lacks() -> None:
    """The rest of the running transfer goes on: a download manager keeps its first connection for the first part."""
    record = claimed((0, SIZE // 2))
    admission = admit(record, ask((0, SIZE * 3 // 4), cookie="C", running={"C": SIZE // 2}))
    assert (admission.kind, admission.cut_bytes) == (Kind.CUT, SIZE // 4)
    assert admit(record, ask((SIZE // 2, SIZE), cookie="C", running={"C": SIZE // 2})).kind is Kind.ADMIT


@pytest.mark.parametrize(
    ("is_parallel", "asked", "kind"),
    [(True, SIZE // 2, Kind.ADMIT), (True, SIZE // 2 + 1, Kind.REFUSE), (False, 1, Kind.REFUSE)],
)
def test_who_used_parts_in_parallel_may_spend_the_slack_after_all_is_paid(
    is_parallel: bool, asked: int, kind: Kind
) -> None:
    """Its manager asks again for what lay unread in another connection; the sum stays at size and slack."""
    record = claimed()
    record = record._replace(
        claims=(record.claims[0]._replace(size_bytes=SIZE, etag="e", paid=SIZE, over=0, is_parallel=is_parallel),),
    )
    assert admit(record, ask((0, asked), cookie="C")).kind is kind


@pytest.mark.parametrize("cookie", [None, "C"])
def test_a_part_beside_a_running_transfer_makes_a_claim_parallel(cookie: str | None) -> None:
    """Whoever proves the holder: managers that keep no cookies ask in parts too. A seek after the end is none."""
    record = claimed((0, SIZE // 2))
    part = ask((SIZE // 2, SIZE), cookie=cookie, running={"C": 5})
    for beside, is_parallel in ((part, True), (part._replace(running={}), False)):
        written = admit(record, beside).record
        assert written is not None
        assert written.claims[0].is_parallel is is_parallel


def test_taking_a_part_of_a_running_transfer_marks_the_claim() -> None:
    """Once is enough, and a later settlement does not take it away."""
    record = claimed()
    taken = settle(
        record, claim_id="C", mark="s", back_bytes=5, size_bytes=SIZE, etag="e", now_s=NOW_S, is_parallel=True
    )
    assert taken is not None
    assert (taken.claims[0].paid, taken.claims[0].is_parallel) == (SIZE - 5, True)
    assert broken(taken, 5, mark="s2").claims[0].is_parallel


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (ask((6 * MIB, 12 * MIB), running={"C": 23 * MIB}), Kind.BUSY),
        (ask((6 * MIB, 12 * MIB), cookie="C", gateway="h"), Kind.BUSY),
        (ask((6 * MIB, 12 * MIB), gateway="h"), Kind.BUSY),
        (ask((6 * MIB, 12 * MIB), cookie="C"), Kind.REFUSE),
        (ask(cookie="C", running={"C": 23 * MIB}), Kind.REFUSE),
        (ask((0, SIZE), cookie="C", running={"C": 1}), Kind.REFUSE),
        (ask((6 * MIB, 12 * MIB), address=NEIGHBOUR, running={"C": 23 * MIB}), Kind.REFUSE),
        (ask((6 * MIB, 12 * MIB), cookie="X", running={"C": 23 * MIB}), Kind.REFUSE),
    ],
    ids=[
        "address alone never cuts",
        "it may still run elsewhere",
        "elsewhere, by address",
        "finished here",
        "a whole GET never cuts",
        "cutting would not make room",
        "a stranger",
        "another cookie is never he",
    ],
)
def test_a_request_beside_a_running_transfer(request_: DownloadAsk, kind: Kind) -> None:
    """A neighbour behind the same NAT must not kill and inherit it; nobody may get a byte beside it."""
    admission = admit(claimed(), request_)
    assert admission.kind is kind
    assert admission.record is None
    assert (admission.reason is Reason.BUSY) == (kind is Kind.BUSY)


@pytest.mark.parametrize(
    ("request_", "rest_until_s"),
    [(ask(cookie="C"), NOW_S + 900), (ask(cookie="X"), None), (ask((0, SIZE), cookie="C"), None)],
    ids=["the whole again", "a stranger", "a part that does not fit"],
)
def test_a_holder_who_begins_anew_is_told_until_when_the_rest_may_be_had(
    request_: DownloadAsk, rest_until_s: int | None
) -> None:
    """Not whoever else comes, and not one who knows of ranges already."""
    admission = admit(broken(claimed(), SIZE // 4), request_)
    assert (refused(admission), admission.rest_until_s) == (Reason.USED, rest_until_s)


def test_a_finished_download_has_no_rest() -> None:
    """Else everybody behind one router would be told to continue what is whole."""
    assert admit(claimed(), ask(cookie="C")).rest_until_s is None


def test_elsewhere_is_busy_only_while_the_window_is_open() -> None:
    """Without an end a Range at another gateway would hear 503 for ever after a finished download."""
    elsewhere = ask((1, 2), cookie="C", gateway="h")
    assert admit(claimed(), elsewhere, NOW_S + 900).kind is Kind.BUSY
    assert refused(admit(claimed(), elsewhere, NOW_S + 901)) is Reason.USED


def test_a_claim_that_two_gateways_wrote_belongs_to_neither() -> None:
    """Each would take it for its own and answer 403 while the transfer runs at the other."""
    record = written(admit(broken(claimed(), 2000), ask((SIZE - 2000, SIZE - 1000), cookie="C", gateway="h")))
    assert record.claims[0].gateway == "*"


# The holder and the window.


@pytest.mark.parametrize(("waited_s", "kind"), [(900, Kind.ADMIT), (901, Kind.REFUSE)])
def test_what_is_left_can_be_had_until_the_window_closes(waited_s: int, kind: Kind) -> None:
    """It runs from the claim's last write, here the settlement a hundred seconds after the claim."""
    record = broken(claimed(), 1000, now_s=NOW_S + 100)
    for holder in (ask((SIZE - 1000, SIZE)), ask((SIZE - 1000, SIZE), cookie="C", address=None)):
        assert admit(record, holder, NOW_S + 100 + waited_s).kind is kind


@pytest.mark.parametrize(("ahead_s", "kind"), [(AHEAD_MAX_S, Kind.ADMIT), (AHEAD_MAX_S + 1, Kind.REFUSE)])
def test_a_claim_of_a_clock_that_is_far_ahead_is_not_resumed(ahead_s: int, kind: Kind) -> None:
    """Written by a clock that was nine hours ahead, what is left of it could be had for nine hours and the window."""
    record = broken(claimed(), 1000, now_s=NOW_S + ahead_s)
    for holder in (ask((SIZE - 1000, SIZE)), ask((SIZE - 1000, SIZE), cookie="C", address=None)):
        assert admit(record, holder, NOW_S).kind is kind


def test_a_clock_that_runs_behind_does_not_shorten_the_window() -> None:
    """Gateways' clocks differ; the later instant stays."""
    record = broken(claimed(), 1000, now_s=NOW_S - 5)
    assert record.claims[0].at_s == NOW_S
    again = written(admit_download(record, ask((0, 10), cookie="C"), NOW_S - 5, RULES))
    assert again.claims[0].at_s == NOW_S


@pytest.mark.parametrize(
    ("holder", "is_he"),
    [
        (ask((1, SIZE)), True),
        (ask((1, SIZE), cookie="C", address=NEIGHBOUR), True),
        (ask((1, SIZE), cookie="C", address=None), True),
        (ask((1, SIZE), cookie="X"), False),
        (ask((1, SIZE), cookie=""), False),
        (ask((1, SIZE), address=NEIGHBOUR), False),
        (ask((1, SIZE), address=None), False),
    ],
    ids=["address", "cookie elsewhere", "cookie alone", "another cookie", "empty cookie", "neighbour", "no proof"],
)
def test_the_holder_is_who_shows_the_cookie_or_else_has_the_address(holder: DownloadAsk, *, is_he: bool) -> None:
    """A cookie decides alone: with another one for this link the same address is somebody else's browser."""
    assert (admit(broken(claimed(), SIZE - 1), holder).kind is Kind.ADMIT) == is_he


def test_a_claim_without_a_proven_address_has_no_holder_without_a_cookie() -> None:
    """Two unknown addresses are not the same address: behind an undeclared proxy all would be one viewer."""
    record = broken(claimed(address=None), SIZE - 1)
    assert refused(admit(record, ask((1, SIZE), address=None))) is Reason.USED


def test_what_a_neighbour_behind_the_same_nat_can_get() -> None:
    """Without a cookie he is the holder: the rest of a broken transfer and the slack, never a second copy."""
    record = broken(claimed(), SIZE - 1)
    record = written(admit(record, ask((0, SIZE))))
    assert refused(admit(record, ask((0, SIZE), mark="m2"))) is Reason.USED
    assert record.claims[0].over == 1


# The object.


@pytest.mark.parametrize("changed", [ask((1, SIZE), cookie="C", etag="f"), ask((1, 9), cookie="C", size=SIZE + 1)])
def test_the_rest_of_an_object_that_was_replaced_is_refused(changed: DownloadAsk) -> None:
    """Half of one version and half of another is a file that never was."""
    assert refused(admit(broken(claimed(), 1000), changed)) is Reason.OBJECT_REPLACED


# Several uses.


def test_a_link_of_three_uses_has_three_holders() -> None:
    """Uses count up in the record and are limited by the ticket."""
    record: Record | None = None
    for i in range(3):
        record = written(admit(record, ask(uses=3, address=None, claim_id=f"C{i}", mark=f"m{i}")))
    assert record is not None
    assert (record.uses, [claim.claim_id for claim in record.claims]) == (3, ["C0", "C1", "C2"])
    assert refused(admit(record, ask(uses=3, address=None))) is Reason.USED
    assert admit(record, ask(uses=4, address=None)).kind is Kind.ADMIT


@pytest.mark.parametrize(
    ("request_", "starts_anew"),
    [(ask(uses=2), True), (ask((0, 100), uses=2), True), (ask((1, 100), uses=2), False)],
    ids=["whole", "from 0", "from 1"],
)
def test_only_a_request_from_the_beginning_starts_a_new_use_for_a_holder(
    request_: DownloadAsk, *, starts_anew: bool
) -> None:
    """A player that seeks after its download ended must not burn the other uses, part by part."""
    admission = admit(claimed(), request_)
    assert (admission.kind is Kind.ADMIT) == starts_anew
    if starts_anew:
        assert written(admission).uses == 2


def test_a_stranger_may_start_a_use_in_the_middle() -> None:
    """He holds nothing, so there is nothing that he could mean to continue."""
    record = written(admit(claimed(), ask((5, 10), uses=2, address=NEIGHBOUR, claim_id="D")))
    assert record.claims[1].paid == 5


def test_of_many_claims_the_newest_are_kept_and_all_are_counted() -> None:
    """A record must stay small; a forgotten claim only loses the right to resume and to be given back."""
    record: Record | None = None
    for i in range(CLAIMS_MAX + 1):
        record = written(admit(record, ask(uses=9999, address=None, claim_id=f"C{i}", mark=f"m{i}")))
    assert record is not None
    assert record.uses == CLAIMS_MAX + 1
    assert [claim.claim_id for claim in record.claims] == [f"C{i}" for i in range(1, CLAIMS_MAX + 1)]
    assert settle(record, claim_id="C0", mark="s", back_bytes=SIZE, size_bytes=SIZE, etag="e", now_s=NOW_S) is None
    assert admit(record, ask((1, 2), uses=CLAIMS_MAX + 1, cookie="C0")).kind is Kind.REFUSE


def test_a_write_is_known_by_its_mark_until_eight_others_followed() -> None:
    """Eight are enough with one write under way per gateway; a ninth would only make records larger."""
    record = broken(claimed(), SIZE - 1)
    for i in range(MARKS_MAX):
        assert is_written(record, "s")
        record = record._replace(marks=(*record.marks, f"x{i}")[-MARKS_MAX:])
    assert not is_written(record, "s")


# Revoked.


def test_a_revoked_link_admits_neither_claim_nor_range_nor_upload() -> None:
    """From then on, whatever is left of a use and whoever asks."""
    record = revoke(broken(claimed(), 1000))
    assert record is not None
    assert refused(admit(record, ask((SIZE - 1000, SIZE), cookie="C"))) is Reason.REVOKED
    assert refused(admit(revoke(None), ask())) is Reason.REVOKED
    assert refused(admit_upload(revoke(None), put(), NOW_S, RULES)) is Reason.REVOKED
    assert revoke(record) is None


def test_a_revoked_record_still_takes_what_is_given_back() -> None:
    """Status must not call a use spent that delivered nothing."""
    record = revoke(claimed())
    assert record is not None
    assert broken(record, SIZE) == Record(uses=0, marks=("s",), is_revoked=True)


# What was sent and may not have arrived.

SMALL = 1000


def doubted(record: Record, doubt: Doubt, *, mark: str = "d") -> Record:
    """After a transfer of ``C`` that was sent whole and ended so."""
    settled = settle(
        record, claim_id="C", mark=mark, back_bytes=0, size_bytes=SMALL, etag="e", now_s=NOW_S, doubt=doubt
    )
    assert settled is not None
    return settled


@pytest.mark.parametrize(
    ("doubt", "cookie", "after_s", "kind"),
    [
        (Doubt.UNACKED, "C", 900, Kind.ADMIT),
        (Doubt.UNACKED, "C", 901, Kind.REFUSE),
        (Doubt.UNACKED, None, 30, Kind.ADMIT),
        (Doubt.UNACKED, None, 31, Kind.REFUSE),
        (Doubt.UNREAD, "C", 900, Kind.ADMIT),
        (Doubt.UNREAD, None, 0, Kind.REFUSE),
        (Doubt.NONE, "C", 0, Kind.REFUSE),
    ],
)
def test_the_holder_may_have_again_what_may_not_have_arrived(
    doubt: Doubt, cookie: str | None, after_s: int, kind: Kind
) -> None:
    """By the address alone only what was not acknowledged, and soon: else a second GET of any script would be served."""
    record, request = doubted(claimed(), doubt), ask(size=SMALL, cookie=cookie)
    assert admit(record, request, NOW_S + after_s).kind is kind
    assert (refusal_of_use(record, request, NOW_S + after_s, RULES) is None) == (kind is Kind.ADMIT)


def test_what_may_not_have_arrived_is_sent_again_once() -> None:
    """Whoever drops their own acknowledgements has twice the size, and not a byte more."""
    again = written(admit(doubted(claimed(), Doubt.UNACKED), ask(size=SMALL, cookie="C")))
    assert (again.claims[0].paid, again.claims[0].over) == (SMALL, SMALL)
    for request in (ask(size=SMALL, cookie="C"), ask((0, 1), size=SMALL, cookie="C")):
        assert admit(doubted(again, Doubt.UNACKED, mark="d2"), request).kind is Kind.REFUSE


def test_of_a_large_object_no_more_than_16_mib_are_sent_again() -> None:
    """A browser's whole GET of more is refused; the rest by Range is not."""
    size = 17 * MIB
    record = claimed()
    record = record._replace(
        claims=(record.claims[0]._replace(size_bytes=size, etag="e", paid=size, doubt=Doubt.UNACKED),)
    )
    assert admit(record, ask(size=size, cookie="C")).kind is Kind.REFUSE
    assert admit(record, ask((MIB, size), size=size, cookie="C")).kind is Kind.ADMIT


@pytest.mark.parametrize(
    "stranger",
    [ask(size=SMALL, address=NEIGHBOUR), ask(size=SMALL, cookie="X"), ask(size=SMALL, cookie="C", etag="f")],
    ids=["another address", "another cookie", "another version"],
)
def test_a_doubt_opens_nothing_for_anyone_else(stranger: DownloadAsk) -> None:
    """That it did not arrive is the holder's word."""
    assert admit(doubted(claimed(), Doubt.UNACKED), stranger).kind is Kind.REFUSE


def test_the_worst_doubt_of_a_claim_stays() -> None:
    """Of several transfers of one claim the one that ended best must not hide the others."""
    record = doubted(claimed(), Doubt.UNACKED)
    for later in (Doubt.UNREAD, Doubt.NONE):
        assert doubted(record, later, mark=later.name).claims[0].doubt is Doubt.UNACKED


def test_the_cookies_holder_waits_while_it_is_not_known_how_their_transfer_ended() -> None:
    """403 would send them away for good. Without the cookie it is one of many that race, and it hears 403."""
    for request, kind in ((ask(size=SMALL, cookie="C"), Kind.BUSY), (ask(size=SMALL), Kind.REFUSE)):
        assert admit(claimed(), request._replace(unended=frozenset({"C"}))).kind is kind
        assert admit(claimed(), request._replace(unended=frozenset({"other"}))).kind is Kind.REFUSE


# HEAD and the page.


def test_head_says_what_a_get_would_find() -> None:
    """Without asking the record ``curl -I`` would say 200 for a dead link."""

    def why(record: Record | None, request: DownloadAsk, now_s: int = NOW_S) -> Reason | None:
        return refusal_of_use(record, request, now_s, RULES)

    assert why(None, ask()) is None
    assert why(claimed(), ask()) is Reason.USED
    assert why(claimed(), ask(uses=2)) is None
    assert why(broken(claimed(), 1000), ask()) is None
    assert why(broken(claimed(), 1000), ask(), NOW_S + 901) is Reason.USED
    assert why(broken(claimed(), 1000), ask(address=NEIGHBOUR)) is Reason.USED
    assert why(revoke(None), ask()) is Reason.REVOKED


@pytest.mark.parametrize(
    ("made_ms", "accept_from_ms", "too_old"),
    [(999, None, True), (1000, None, False), (None, None, False), (999, 999, False), (1999, 2000, True)],
)
def test_a_ticket_older_than_the_ledgers_memory_is_too_old(
    made_ms: int | None, accept_from_ms: int | None, *, too_old: bool
) -> None:
    """An empty or restored ledger must not revive links; what the operator says instead counts alone."""
    assert is_too_old(made_ms, born_ms=1000, accept_from_ms=accept_from_ms) is too_old


# Uploads.


def put(*, uses: int = 1, may_replace: bool = False, stands: str = "", claim_id: str = "P") -> UploadAsk:
    """A PUT."""
    return UploadAsk(uses=uses, may_replace=may_replace, stands=stands, claim_id=claim_id)


def leased(record: Record | None = None, *, now_s: int = NOW_S, **changes: object) -> Record:
    """The record while an upload runs."""
    request = put()._replace(**changes)  # pyright: ignore[reportArgumentType]
    return written(admit_upload(record, request, now_s, RULES))


@pytest.mark.parametrize(("waited_s", "kind"), [(59, Kind.BUSY), (60, Kind.ADMIT)])
def test_a_second_upload_waits_for_the_lease(waited_s: int, kind: Kind) -> None:
    """After a crash nobody lets go of it, so it must end by itself."""
    admission = admit_upload(leased(), put(claim_id="Q"), NOW_S + waited_s, RULES)
    assert admission.kind is kind
    assert admission.reason is (Reason.UPLOAD_RUNNING if kind is Kind.BUSY else None)


@pytest.mark.parametrize(("ahead_s", "kind"), [(AHEAD_MAX_S, Kind.BUSY), (AHEAD_MAX_S + 1, Kind.ADMIT)])
def test_a_lease_of_a_clock_that_is_far_ahead_is_none(ahead_s: int, kind: Kind) -> None:
    """A gateway whose clock was nine hours ahead kept a link from being used for nine hours, after its upload was over."""
    record = leased(now_s=NOW_S + ahead_s)
    assert admit_upload(record, put(claim_id="Q"), NOW_S, RULES).kind is kind


def test_a_lease_that_is_renewed_keeps_others_waiting_longer() -> None:
    """An upload of an hour is one upload; only who holds the lease may renew it."""
    renewed = renew_lease(leased(), "P", NOW_S + 50, RULES)
    assert renewed is not None
    assert renewed.lease == Lease("P", NOW_S + 110)
    assert admit_upload(renewed, put(claim_id="Q"), NOW_S + 109, RULES).kind is Kind.BUSY
    assert renew_lease(leased(), "Q", NOW_S, RULES) is None
    assert renew_lease(EMPTY, "P", NOW_S, RULES) is None


def test_an_upload_that_is_stored_spends_the_use_once() -> None:
    """The write is repeated until it is answered; its mark is the claim's id."""
    record = upload_stored(leased(), "P", "e1")
    assert record == Record(uses=1, marks=("P",))
    assert upload_stored(record, "P", "e1") is None
    assert is_written(record, "P")
    assert refused(admit_upload(record, put(), NOW_S, RULES)) is Reason.USED


def test_an_upload_that_failed_lets_go_of_its_own_lease_only() -> None:
    """Another's lease is a running upload."""
    assert upload_failed(leased(), "P") == Record(uses=0)
    assert upload_failed(leased(), "Q") is None
    assert upload_failed(EMPTY, "P") is None


def test_an_upload_that_outlived_its_lease_still_spends_and_leaves_the_lease_to_its_holder() -> None:
    """What is stored counts, whoever holds the lease by now; taking it from the other would wake a third."""
    record = leased(leased(), claim_id="Q", now_s=NOW_S + 60)
    stored = upload_stored(record, "P", "e1")
    assert stored is not None
    assert (stored.uses, stored.lease) == (1, Lease("Q", NOW_S + 120))


def test_what_may_be_replaced_is_fixed_by_the_first_claim() -> None:
    """Else a second try after a crash, or an upload that overlaps, would replace what the link itself stored."""
    first = admit_upload(None, put(may_replace=True, stands="e0"), NOW_S, RULES)
    assert first.replaces == "e0"
    record = upload_failed(written(first), "P")
    again = admit_upload(record, put(may_replace=True, stands="e1", claim_id="Q"), NOW_S, RULES)
    assert again.replaces == "e0"
    nothing = admit_upload(None, put(may_replace=True, stands=""), NOW_S, RULES)
    assert nothing.replaces == ""
    later = upload_failed(written(nothing), "P")
    assert admit_upload(later, put(may_replace=True, stands="e1"), NOW_S, RULES).replaces == ""


def test_the_next_use_of_a_replacing_link_replaces_what_the_last_one_stored() -> None:
    """With three uses the link may store three times, each time over its own."""
    record = upload_stored(leased(may_replace=True, stands="e0", uses=3), "P", "e1")
    assert admit_upload(record, put(may_replace=True, stands="e1", uses=3, claim_id="Q"), NOW_S, RULES).replaces == "e1"


def test_a_link_that_may_not_replace_names_no_version() -> None:
    """The store's condition is then that nothing stands there."""
    admission = admit_upload(None, put(stands=""), NOW_S, RULES)
    assert (admission.replaces, written(admission).replaces) == (None, None)


# --- links to many keys


def any_key(claim_id: str = "P", *, uses: int = 1, stands: str = "", may_replace: bool = False) -> UploadAsk:
    """A PUT to a key that its holder chose."""
    return put(uses=uses, claim_id=claim_id, stands=stands, may_replace=may_replace)._replace(is_any_key=True)


def taken(record: Record | None = None, claim_id: str = "P", key: str = "in/a", *, uses: int = 1) -> Record:
    """The record after the use was taken, before the object is put in place."""
    begun = written(admit_upload(record, any_key(claim_id, uses=uses), NOW_S, RULES))
    return written(admit_placing(begun, any_key(claim_id, uses=uses), key, f"m-{claim_id}", NOW_S))


def test_a_use_of_many_keys_is_taken_under_its_own_lease() -> None:
    """One write takes the use, ends the lease, and says where the object is to go."""
    assert taken() == Record(uses=1, marks=("m-P",), placing=(Placing("P", "in/a", NOW_S),))


def test_without_its_own_lease_no_use_of_many_keys_is_taken() -> None:
    """Whoever has the lease by now was told to go on; a record that was forgotten says nothing of this upload."""
    other = leased(claim_id="Q")
    for record in (other, EMPTY, None, Record(uses=0)):
        admission = admit_placing(record, any_key(), "in/a", "m", NOW_S)
        assert (admission.kind, admission.reason, admission.record) == (Kind.BUSY, Reason.UPLOAD_RUNNING, None)


def test_a_revoked_link_takes_no_use_at_the_last_moment() -> None:
    """Revoking is from then on, also for an upload whose body is there."""
    begun = leased()._replace(is_revoked=True)
    assert refused(admit_placing(begun, any_key(), "in/a", "m", NOW_S)) is Reason.REVOKED


def test_a_use_that_was_taken_by_an_earlier_try_is_not_taken_twice() -> None:
    """The answer of the write was lost, and eight later writes pushed its mark out: its place in the record tells."""
    record = taken()._replace(marks=("other",))
    again = admit_placing(record, any_key(), "in/a", "another", NOW_S)
    assert (again.kind, again.record) == (Kind.ADMIT, None)


def test_what_is_known_of_an_object_is_noted_once() -> None:
    """Each end is written until it is answered: done again it must change nothing."""
    assert placed(taken(), "P") == Record(uses=1, marks=("m-P",))
    assert not_placed(taken(), "P") == Record(uses=0, marks=("m-P",))
    for end in (placed, not_placed):
        assert end(Record(uses=1, marks=("m-P",)), "P") is None
        assert end(taken(), "Q") is None


@pytest.mark.parametrize(("waited_s", "kind"), [(UNKNOWN_FOR_S - 1, Kind.BUSY), (UNKNOWN_FOR_S, Kind.REFUSE)])
def test_an_upload_of_which_nothing_is_known_is_looked_for_after_an_hour(waited_s: int, kind: Kind) -> None:
    """Sooner, its request to the store might still land after the use was given back."""
    admission = admit_upload(taken(), any_key("Q"), NOW_S + waited_s, RULES)
    assert admission.kind is kind
    assert admission.unknown == (Placing("P", "in/a", NOW_S) if kind is Kind.REFUSE else None)


def test_the_oldest_unknown_upload_is_looked_for_first_and_few_are_kept() -> None:
    """Each of them may give a use back; of one that was dropped it stays spent, and the record small."""
    record = None
    for number in range(PLACING_MAX + 1):
        record = taken(record, f"P{number}", f"in/{number}", uses=PLACING_MAX + 1)
    assert record is not None
    assert (record.uses, len(record.placing)) == (PLACING_MAX + 1, PLACING_MAX)
    last = admit_upload(record, any_key("Q", uses=PLACING_MAX + 1), NOW_S + UNKNOWN_FOR_S, RULES)
    assert last.unknown == Placing("P1", "in/1", NOW_S)


def test_under_many_keys_each_upload_replaces_what_it_saw() -> None:
    """The version at one key says nothing of another; and it is kept, to tell later whether it still stands."""
    begun = admit_upload(None, any_key(stands="e0", may_replace=True), NOW_S, RULES)
    assert (begun.replaces, written(begun).replaces) == ("e0", None)
    record = written(admit_placing(written(begun), any_key(stands="e0", may_replace=True), "in/a", "m", NOW_S))
    assert record.placing == (Placing("P", "in/a", NOW_S, "e0"),)
