"""The rules of a use at a door that neither looks at the object nor resumes: the function at CloudFront.

The function passes a request on to the bucket, or refuses it; CloudFront carries the object. So a download is the whole
object or nothing, and a use is given back only where the bucket's answer is known to have brought no object.

CloudFront may run the function twice for one event, and the function may have to answer before it knows whether its write
happened. Both lead to a claim that stands in the record and that this run did not write, so a claim id says whose it is:

    9f3kQ0aZ81xY    7QaB
    of the event    of the run      16 characters

A run takes over a claim of its own event, or one that its instance never got an answer about, by writing its own id in
its place. That is one conditional write, so of several runs that find the same claim one goes on with it.

Pure, as ``use.py``; the simulation in tests/links/test_use_simulation.py runs these functions beside those.
"""

from __future__ import annotations

from typing import NamedTuple

from oncegate.links.refusal import Reason
from oncegate.uses.record import CLAIMS_MAX, EDGE, EMPTY, Claim, Record, with_mark
from oncegate.uses.upload import UploadAsk, admit_upload
from oncegate.uses.use import Admission, Kind, Rules, settle

EVENT_CHARACTERS = 12
"""How much of a claim id names the event: 72 bits, which nobody guesses."""
MARK_CHARACTERS = 8


class EdgeAsk(NamedTuple):
    """A request of the edge for one use.

    Attributes:
        uses: how many the ticket allows.
        address: the viewer's, as records hold addresses.
        claim_id: fresh; its first ``EVENT_CHARACTERS`` are those of every run of this event.
        unanswered: claim ids of this link whose writes were never answered; no other run knows of them.
    """

    uses: int
    address: str | None
    claim_id: str
    unanswered: tuple[str, ...] = ()

    def is_own(self, claim_id: str) -> bool:
        """Whether this run may go on with a claim or a lease that another run wrote."""
        return claim_id in self.unanswered or _event_of(claim_id) == _event_of(self.claim_id)

    def has_run_before(self, record: Record | None) -> bool:
        """Whether another run of this event stands in the record: its viewer may have the object already.

        A claim taken over from such a run must not be remembered as unanswered, or a second viewer would have the object.
        """
        claims = () if record is None else record.claims
        return any(_event_of(claim.claim_id) == _event_of(self.claim_id) for claim in claims)


def admit_whole(record: Record | None, ask: EdgeAsk, now_s: int) -> Admission:
    """Decide a request for the whole of an object, of a size that nobody looked at.

    Also an upload whose ticket covers several keys: no condition of the bucket makes that one once, so its use is taken
    here too, before the bucket is asked.

    Args:
        record: what stands in the ledger; None: nothing.
        ask: the request.
        now_s: seconds since 1970 UTC.
    """
    record = record or EMPTY
    if record.is_revoked:
        return Admission(kind=Kind.REFUSE, reason=Reason.REVOKED)
    # an event that comes again after its use was given back: what it takes now nobody would give back
    if _back_mark(ask.claim_id) in record.marks:
        return Admission(kind=Kind.BUSY, reason=Reason.BUSY)
    own = next((claim for claim in record.claims if claim.gateway == EDGE and ask.is_own(claim.claim_id)), None)
    if own is None and record.uses >= ask.uses:
        return Admission(kind=Kind.REFUSE, reason=Reason.USED)
    new = Claim(claim_id=ask.claim_id, at_s=now_s, address=ask.address, gateway=EDGE)
    if record is EMPTY:
        written = Record(uses=1, claims=(new,))
    elif own is not None:
        claims = tuple(new if claim is own else claim for claim in record.claims)
        written = record._replace(claims=claims, marks=with_mark(record, ask.claim_id[-MARK_CHARACTERS:]))
    else:
        claims = (*record.claims, new)[-CLAIMS_MAX:]
        marks = with_mark(record, ask.claim_id[-MARK_CHARACTERS:])
        written = record._replace(uses=record.uses + 1, claims=claims, marks=marks)
    return Admission(kind=Kind.ADMIT, claim_id=ask.claim_id, record=written, mark=ask.claim_id)


def give_back_whole(record: Record, claim_id: str) -> Record | None:
    """Give back a use whose answer had no byte of the object; None where the claim is not (any more) this run's."""
    return settle(
        record,
        claim_id=claim_id,
        mark=_back_mark(claim_id),
        # nothing of it was handed over, so the claim goes, whatever its size
        back_bytes=0,
        size_bytes=0,
        etag="",
        now_s=0,
    )


def admit_leased(record: Record | None, ask: EdgeAsk, now_s: int, rules: Rules) -> Admission:
    """Decide an upload to one key, which the bucket's condition makes once: a lease, as at a gateway."""
    record = record or EMPTY
    if record.lease is not None and ask.is_own(record.lease.claim_id):
        record = record._replace(lease=None)
    asked = UploadAsk(uses=ask.uses, may_replace=False, stands="", claim_id=ask.claim_id)
    return admit_upload(record, asked, now_s, rules)


def _event_of(claim_id: str) -> str:
    return claim_id[:EVENT_CHARACTERS]


def _back_mark(claim_id: str) -> str:
    """Of the event, whichever of its runs gave back; no gateway draws a mark that begins like this and is as long."""
    return f"-{_event_of(claim_id)}"
