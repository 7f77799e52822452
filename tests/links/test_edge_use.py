"""The edge's rules of a use: whole or nothing, an event that comes twice, and what an instance was never told."""

from __future__ import annotations

import pytest

from oncegate.links.refusal import Reason
from oncegate.uses.edge_use import EdgeAsk, admit_leased, admit_whole, give_back_whole
from oncegate.uses.record import EDGE, Claim, Lease, Record, to_json
from oncegate.uses.use import Admission, DownloadAsk, Kind, Rules, admit_download, refusal_of_use

NOW_S = 1_767_290_400
RULES = Rules()
ADDRESS = "203.0.113.178"
FIRST, AGAIN, OTHER = "event-one---run1", "event-one---run2", "event-two---run1"


def ask(claim_id: str = FIRST, *, uses: int = 1, unanswered: tuple[str, ...] = ()) -> EdgeAsk:
    """A request by the usual viewer."""
    return EdgeAsk(uses=uses, address=ADDRESS, claim_id=claim_id, unanswered=unanswered)


def written(admission: Admission) -> Record:
    """The record of an admission, which must be one."""
    assert admission.kind is Kind.ADMIT
    assert admission.record is not None
    return admission.record


CLAIMED = written(admit_whole(None, ask(), NOW_S))


def test_the_first_request_takes_the_whole() -> None:
    """Its record is as small as a gateway's, and says where it was taken and by whom."""
    assert Record(uses=1, claims=(Claim(FIRST, NOW_S, ADDRESS, EDGE),)) == CLAIMED
    assert len(to_json(CLAIMED)) < 70


def test_another_event_is_refused() -> None:
    """Whoever it is: nobody resumes at the edge."""
    assert admit_whole(CLAIMED, ask(OTHER), NOW_S).reason is Reason.USED


def test_an_event_that_comes_twice_takes_one_use() -> None:
    """CloudFront documents that it may; the viewer would otherwise be refused by their own claim."""
    record = written(admit_whole(CLAIMED, ask(AGAIN), NOW_S))
    assert (record.uses, [claim.claim_id for claim in record.claims]) == (1, [AGAIN])
    assert ask(AGAIN).has_run_before(CLAIMED)
    assert not ask(OTHER).has_run_before(CLAIMED)


def test_of_two_that_find_a_claim_one_goes_on_with_it() -> None:
    """The event's second run and the instance's next viewer: whoever writes first, the other finds nothing of theirs."""
    by_the_event = written(admit_whole(CLAIMED, ask(AGAIN), NOW_S))
    assert admit_whole(by_the_event, ask(OTHER, unanswered=(FIRST,)), NOW_S).reason is Reason.USED
    by_the_next = written(admit_whole(CLAIMED, ask(OTHER, unanswered=(FIRST,)), NOW_S))
    assert admit_whole(by_the_next, ask(AGAIN), NOW_S).reason is Reason.USED


def test_a_link_of_several_uses_has_a_claim_for_each() -> None:
    """The second viewer of a link that opens twice."""
    record = written(admit_whole(CLAIMED, ask(OTHER, uses=2), NOW_S))
    assert (record.uses, len(record.claims)) == (2, 2)


def test_what_the_bucket_refused_is_free_for_anyone() -> None:
    """The object was missing: another viewer may have it once it is there."""
    back = give_back_whole(CLAIMED, FIRST)
    assert back is not None
    assert (back.uses, back.claims) == (0, ())
    assert admit_whole(back, ask(OTHER), NOW_S).kind is Kind.ADMIT
    assert give_back_whole(back, FIRST) is None


def test_a_claim_that_another_took_over_is_not_given_back() -> None:
    """Its object may be on its way to them."""
    taken = written(admit_whole(CLAIMED, ask(OTHER, unanswered=(FIRST,)), NOW_S))
    assert give_back_whole(taken, FIRST) is None


def test_an_event_whose_use_was_given_back_takes_none_again() -> None:
    """It came late a second time, and no second answer of the bucket would give it back."""
    back = give_back_whole(CLAIMED, FIRST)
    again = admit_whole(back, ask(AGAIN), NOW_S)
    assert (again.kind, again.record) == (Kind.BUSY, None)


def test_a_revoked_link_is_refused() -> None:
    """Also one that was never opened, and an event that meets its own claim."""
    assert admit_whole(Record(uses=0, is_revoked=True), ask(), NOW_S).reason is Reason.REVOKED
    assert admit_whole(CLAIMED._replace(is_revoked=True), ask(AGAIN), NOW_S).reason is Reason.REVOKED


@pytest.mark.parametrize("span", [None, (0, 5), (5, 10)])
@pytest.mark.parametrize("cookie", [None, FIRST])
def test_a_gateway_never_resumes_a_claim_of_the_edge(span: tuple[int, int] | None, cookie: str | None) -> None:
    """403 at once: the whole was passed on, and no other process knows what of it arrived."""
    request = DownloadAsk(
        uses=1, size_bytes=10, etag="e", span=span, cookie=cookie, address=ADDRESS, gateway="g", claim_id="N", mark="m"
    )  # fmt: skip
    assert admit_download(CLAIMED, request, NOW_S + 1, RULES) == Admission(kind=Kind.REFUSE, reason=Reason.USED)
    assert refusal_of_use(CLAIMED, request, NOW_S + 1, RULES) is Reason.USED


def test_a_record_of_the_edge_stays_small() -> None:
    """Given back and taken again many times, it is read by each of them."""
    record: Record | None = None
    for number in range(20):
        claim_id = f"event-{number:06d}run1"
        record = written(admit_whole(record, ask(claim_id), NOW_S))
        assert len(to_json(record)) < 220
        record = give_back_whole(record, claim_id)


def test_a_second_upload_waits_for_the_lease_of_another_event_alone() -> None:
    """The event's own second run, and the instance that was never told, go on with theirs."""
    leased = written(admit_leased(None, ask(), NOW_S, RULES))
    assert leased.lease == Lease(FIRST, NOW_S + RULES.lease_s)
    assert admit_leased(leased, ask(OTHER), NOW_S, RULES).reason is Reason.UPLOAD_RUNNING
    for own in (ask(AGAIN), ask(OTHER, unanswered=(FIRST,))):
        record = written(admit_leased(leased, own, NOW_S, RULES))
        assert record.lease == Lease(own.claim_id, NOW_S + RULES.lease_s)
