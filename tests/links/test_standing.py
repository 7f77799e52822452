"""Where a link stands, in values and in words."""

from __future__ import annotations

from typing import Any

import pytest

from oncegate.ledgers import protocol
from oncegate.links.grant import Grant, Operation, Scheme
from oncegate.uses import standing
from oncegate.uses.record import Claim, Issued, Lease, Record
from oncegate.uses.standing import LABEL_SEPARATOR, State, standing_of

NOW_S = 1_767_225_600
ISSUED = Issued(
    object_key="a.txt", operation=Operation.GET, uses=1, made_s=NOW_S - 60, expires_s=NOW_S + 60, label="for Ada"
)
CLAIM = Claim(claim_id="a-secret-of-16-c", at_s=NOW_S - 5, address="203.0.113.7", gateway="x7Qa")
LISTED = Record(uses=0, issued=ISSUED)
CLAIMED = Record(uses=1, claims=(CLAIM,), issued=ISSUED)
GRANT = Grant(
    link_id=b"\0" * 16,
    object_key="b.txt",
    operation=Operation.GET,
    uses=3,
    is_counted=True,
    made_ms=NOW_S * 1000 - 1,
    scheme=Scheme.CANNED,
    key_id="K1",
    expires_s=NOW_S + 5,
)


def _download(outcome: str, moved: int, size: int | None = 100) -> dict[str, Any]:
    return {"event": "download", "at": NOW_S, "outcome": outcome, "bytes": moved, "size": size}


@pytest.mark.parametrize(
    ("record", "state", "words"),
    [
        (None, State.ISSUED, "never opened"),
        (LISTED, State.ISSUED, "never opened"),
        (CLAIMED, State.CLAIMED, "claimed at 2025-12-31T23:59:55Z by 203.0.113.7, end unknown"),
        (Record(uses=1), State.CLAIMED, "stored, end unknown"),
        (Record(uses=0, is_revoked=True), State.REVOKED, "revoked, never opened"),
        (
            CLAIMED._replace(is_revoked=True),
            State.REVOKED,
            "revoked, claimed at 2025-12-31T23:59:55Z by 203.0.113.7, end unknown",
        ),
        (Record(uses=0, lease=Lease("x", NOW_S + 1)), State.UPLOADING, "an upload is running"),
        (Record(uses=0, lease=Lease("x", NOW_S)), State.ISSUED, "never opened"),
        (
            Record(uses=0, issued=ISSUED._replace(expires_s=NOW_S)),
            State.EXPIRED,
            "expired, never opened",
        ),
        (Record(uses=0, issued=ISSUED._replace(expires_s=NOW_S + 1)), State.ISSUED, "never opened"),
        (
            CLAIMED._replace(issued=ISSUED._replace(expires_s=NOW_S)),
            State.CLAIMED,
            "claimed at 2025-12-31T23:59:55Z by 203.0.113.7, end unknown",
        ),
    ],
)
def test_a_link_has_one_state_and_one_line(record: Record | None, state: State, words: str) -> None:
    """Both sides of expiry and of the lease; a claimed link stays claimed when its time is over."""
    standing = standing_of(record, now_s=NOW_S)
    assert (standing.state, standing.words) == (state, words)


def test_the_claim_id_is_nowhere() -> None:
    """It is the holder's cookie: whoever reads it in a status resumes his download."""
    standing = standing_of(CLAIMED, now_s=NOW_S, events=[_download("complete", 100)], grant=GRANT)
    assert CLAIM.claim_id not in repr(standing) + standing.words


def test_what_the_url_says_is_believed_over_what_was_told() -> None:
    """A Grant was verified; a record may be of a link that was made elsewhere."""
    standing = standing_of(CLAIMED, now_s=NOW_S, grant=GRANT)
    assert (standing.object_key, standing.uses, standing.expires_s) == ("b.txt", 3, NOW_S + 5)
    assert standing.words.startswith("1 of 3 uses taken, claimed at")
    assert standing_of(None, now_s=NOW_S, grant=GRANT).made_s == NOW_S - 1


def test_without_either_nothing_is_made_up() -> None:
    """The ledger of a link that was signed elsewhere knows its id alone."""
    standing = standing_of(Record(claims=(CLAIM,), uses=1), now_s=NOW_S)
    assert (standing.object_key, standing.uses, standing.expires_s, standing.is_expired) == (None, None, None, None)
    assert not standing.is_listed


@pytest.mark.parametrize(
    ("events", "outcome", "moved"),
    [
        ([], None, None),
        ([_download("complete", 100)], "complete", 100),
        ([_download("complete", 100, None)], "complete", 100),
        ([_download("broken", 40)], "broken", 40),
        ([_download("broken", 40), _download("complete", 60)], "complete", 100),
        ([_download("broken", 40), _download("complete", 59)], "partial", 99),
        ([_download("complete", 10)], "partial", 10),
        ([_download("complete", 100), _download("broken", 3)], "complete", 103),
    ],
)
def test_the_end_is_told_by_receipts(events: list[dict[str, Any]], outcome: str | None, moved: int | None) -> None:
    """Broken and resumed is complete from the last byte on; a missing receipt proves nothing."""
    standing = standing_of(CLAIMED, now_s=NOW_S, events=events)
    assert (standing.outcome, standing.moved_bytes) == (outcome, moved)


def test_with_several_uses_halves_of_two_make_no_whole() -> None:
    """Two people who each got 60 of 100 bytes have not got the object."""
    record = CLAIMED._replace(uses=2)
    standing = standing_of(record, now_s=NOW_S, events=[_download("broken", 60), _download("broken", 60)])
    assert standing.outcome == "broken"


def test_suppressed_previews_are_counted() -> None:
    """So that an issuer reads "2 previews, never opened" and not a riddle."""
    events = [{"event": "preview"}, {"event": "preview"}, {"event": "refused"}]
    assert standing_of(None, now_s=NOW_S, events=[{"event": "preview", "count": 7}]).previews_suppressed == 7
    standing = standing_of(None, now_s=NOW_S, events=events)
    assert (standing.previews_suppressed, standing.refusals) == (2, 1)
    assert standing.words == "never opened, 2 preview(s) suppressed"


def test_a_count_that_is_not_whole_says_so() -> None:
    """A ledger that stops counting at a thousand must not be quoted as if there were no more."""
    standing = standing_of(None, now_s=NOW_S, counts={"preview": 1_000}, is_whole=False)
    assert standing.words == "never opened, 1000 or more preview(s) suppressed"
    newest = standing_of(CLAIMED, now_s=NOW_S, events=[_download("complete", 100)], counts={"download": 2})
    assert newest.words.endswith("complete, 100 bytes or more")


def test_an_upload_is_told_by_its_receipt() -> None:
    """The record of an upload has no claim: only the receipt knows when."""
    event = {"event": "upload", "at": NOW_S, "outcome": "complete", "bytes": 7}
    words = standing_of(Record(uses=1), now_s=NOW_S, events=[event]).words
    assert words == "stored at 2026-01-01T00:00:00Z, complete, 7 bytes"


def test_a_label_is_shown_as_it_was_given() -> None:
    """What the control API keeps behind the separator is not the issuer's."""
    record = Record(uses=0, issued=ISSUED._replace(label=f"for Ada{LABEL_SEPARATOR}0123456789abcdef"))
    assert standing_of(record, now_s=NOW_S).label == "for Ada"


def test_the_events_name_the_object_of_a_link_that_was_signed_offline() -> None:
    """The ledger is told its id alone; the receipts say what was fetched, and of several objects the newest counts."""
    events = [_download("complete", 100) | {"key": "a/1.txt"}, _download("complete", 5) | {"key": "a/2.txt"}]
    standing = standing_of(Record(uses=2), now_s=NOW_S, events=events)
    assert (standing.object_key, standing.operation) == ("a/2.txt", Operation.GET)
    stored = standing_of(Record(uses=1), now_s=NOW_S, events=[{"event": "upload", "at": NOW_S, "key": "in/x"}])
    assert (stored.object_key, stored.operation) == ("in/x", Operation.PUT)
    refused = standing_of(None, now_s=NOW_S, events=[{"event": "refused", "at": NOW_S, "key": "b"}])
    assert (refused.object_key, refused.operation) == ("b", None)


@pytest.mark.parametrize(("record", "grant", "key"), [(CLAIMED, None, "a.txt"), (CLAIMED, GRANT, "b.txt")])
def test_what_was_issued_or_signed_goes_before_the_events(record: Record, grant: Grant | None, key: str) -> None:
    """An event is a line of some gateway's log; what is signed is certain."""
    events = [_download("complete", 100) | {"key": "other"}]
    assert standing_of(record, now_s=NOW_S, events=events, grant=grant).object_key == key


def test_receipts_have_the_names_under_which_ledgers_keep_them_longest() -> None:
    """A receipt that ledgers know by another name would be forgotten with the refusals."""
    assert standing.RECEIPTS == protocol.RECEIPTS
