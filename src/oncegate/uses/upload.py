"""The rules of an upload: who may store an object through a link, decided from the record, the request and the time.

As pure as ``use.py``, whose decisions it speaks in. tests/links/upload_simulation.py runs these functions through lost
answers, crashes and leases that run out.
"""

from __future__ import annotations

from typing import NamedTuple

from oncegate.links.refusal import Reason
from oncegate.uses.record import EMPTY, Lease, Record, with_mark
from oncegate.uses.use import Admission, Kind, Rules, refused


class UploadAsk(NamedTuple):
    """A request to store an object.

    Attributes:
        uses: how many the ticket allows.
        may_replace: the link may take the place of an object.
        stands: ETag of the object under this key; empty where there is none.
        claim_id: fresh; it names the upload and this write.
    """

    uses: int
    may_replace: bool
    stands: str
    claim_id: str


def admit_upload(record: Record | None, ask: UploadAsk, now_s: int, rules: Rules) -> Admission:
    """Decide a PUT. The lease spares other clients the work; the store's condition is what makes the upload once."""
    record = record or EMPTY
    if record.is_revoked:
        return refused(Reason.REVOKED)
    if record.uses >= ask.uses:
        return refused(Reason.USED)
    if record.lease and now_s < record.lease.until_s:
        return Admission(kind=Kind.BUSY, reason=Reason.UPLOAD_RUNNING)
    replaces = None
    if ask.may_replace:
        # only the version that the link's first claim saw may be replaced
        replaces = ask.stands if record.replaces is None else record.replaces
    lease = Lease(ask.claim_id, now_s + rules.lease_s)
    written = record._replace(lease=lease, replaces=replaces)
    return Admission(kind=Kind.ADMIT, claim_id=ask.claim_id, record=written, mark=ask.claim_id, replaces=replaces)


def renew_lease(record: Record, claim_id: str, now_s: int, rules: Rules) -> Record | None:
    """Extend the lease while bytes come; None where another upload holds it by now."""
    if record.lease is None or record.lease.claim_id != claim_id:
        return None
    return record._replace(lease=Lease(claim_id, now_s + rules.lease_s))


def upload_stored(record: Record, claim_id: str, etag: str) -> Record | None:
    """Spend a use, because the object is stored, whoever holds the lease by now; None where it was spent before."""
    if claim_id in record.marks:
        return None
    # our lease may have run out and another upload begun: that one goes on, and the store's condition refuses it
    ours = record.lease is not None and record.lease.claim_id == claim_id
    return record._replace(
        uses=record.uses + 1,
        lease=None if ours else record.lease,
        # the next use of this link may replace what this one stored, and nothing else
        replaces=None if record.replaces is None else etag,
        marks=with_mark(record, claim_id),
    )


def upload_failed(record: Record, claim_id: str) -> Record | None:
    """End the lease; None where another upload holds it by now."""
    if record.lease is None or record.lease.claim_id != claim_id:
        return None
    return record._replace(lease=None)
