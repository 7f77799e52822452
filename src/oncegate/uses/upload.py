"""The rules of an upload: who may store an object through a link, decided from the record, the request and the time.

A link to one key stores once by the store's condition, which knows that key: its use is taken after the object stands.
Of a link to many keys the holder chooses the key, and no condition of a store counts uses. So there a use is taken
first, under the upload's own lease, and given back where the store is known to have stored nothing.

Pure, and returns ``Admission``, both as ``use.py`` does. tests/links/upload_simulation.py runs these functions through lost
answers, crashes and leases that run out.
"""

from __future__ import annotations

from typing import NamedTuple

from oncegate.links.refusal import Reason
from oncegate.uses.record import EMPTY, PLACING_MAX, Lease, Placing, Record, with_mark
from oncegate.uses.use import AHEAD_MAX_S, Admission, Kind, Rules, refused

UNKNOWN_FOR_S = 3600
"""How long an upload whose outcome is unknown counts as running still: longer than any request to a store takes."""


class UploadAsk(NamedTuple):
    """A request to store an object.

    Attributes:
        uses: how many the ticket allows.
        may_replace: the link may take the place of an object.
        stands: ETag of the object under this key; empty where there is none.
        claim_id: fresh; names the upload, and is the mark by which its first write is recognised.
        is_any_key: the link is for many keys, of which the holder chose this one.
    """

    uses: int
    may_replace: bool
    stands: str
    claim_id: str
    is_any_key: bool = False


def admit_upload(record: Record | None, ask: UploadAsk, now_s: int, rules: Rules) -> Admission:
    """Decide a PUT: take the lease, which spares other clients the work."""
    record = record or EMPTY
    if record.is_revoked:
        return refused(Reason.REVOKED)
    if record.uses >= ask.uses:
        return _used(record, now_s)
    if is_leased(record, now_s, rules):
        return Admission(kind=Kind.BUSY, reason=Reason.UPLOAD_RUNNING)
    written = record._replace(lease=Lease(ask.claim_id, now_s + rules.lease_s))
    replaces = None
    if ask.may_replace and ask.is_any_key:
        replaces = ask.stands
    elif ask.may_replace:
        # only the version that the link's first claim saw may be replaced
        replaces = ask.stands if record.replaces is None else record.replaces
        written = written._replace(replaces=replaces)
    return Admission(kind=Kind.ADMIT, claim_id=ask.claim_id, record=written, mark=ask.claim_id, replaces=replaces)


def _used(record: Record, now_s: int) -> Admission:
    """Refuse where no use is left.

    While the oldest upload whose outcome is unknown may still be running, others wait for the use that it may give
    back. After that it is named in ``unknown``, and the caller looks whether its object stands.
    """
    if not record.placing:
        return refused(Reason.USED)
    oldest = record.placing[0]
    if now_s - oldest.at_s < UNKNOWN_FOR_S:
        return Admission(kind=Kind.BUSY, reason=Reason.UPLOAD_RUNNING)
    return refused(Reason.USED)._replace(unknown=oldest)


def renew_lease(record: Record, claim_id: str, now_s: int, rules: Rules) -> Record | None:
    """Extend the lease of an upload that goes on; None where the lease is not this upload's any more."""
    return record._replace(lease=Lease(claim_id, now_s + rules.lease_s)) if is_lease_of(record, claim_id) else None


def upload_stored(record: Record, claim_id: str, etag: str) -> Record | None:
    """Take a use of a link to one key, because the object is stored; None where it was taken before."""
    if claim_id in record.marks:
        return None
    # our lease may have run out and another upload begun: that one goes on, and the store's condition refuses it
    return record._replace(
        uses=record.uses + 1,
        lease=None if is_lease_of(record, claim_id) else record.lease,
        # the next use of this link may replace what this one stored, and nothing else
        replaces=None if record.replaces is None else etag,
        marks=with_mark(record, claim_id),
    )


def upload_failed(record: Record, claim_id: str) -> Record | None:
    """End the lease; None where it is not this upload's any more."""
    return record._replace(lease=None) if is_lease_of(record, claim_id) else None


def admit_placing(record: Record | None, ask: UploadAsk, object_key: str, mark: str, now_s: int) -> Admission:
    """Decide whether an upload that came whole may be put in place, through a link to many keys: take the use first.

    Args:
        record: the link's, from the ledger.
        ask: as it was admitted.
        object_key: where the object is to go.
        mark: fresh, names this write.
        now_s: seconds since 1970 UTC.
    """
    record = record or EMPTY
    if any(placing.claim_id == ask.claim_id for placing in record.placing):
        return Admission(kind=Kind.ADMIT, claim_id=ask.claim_id)  # an earlier try of this write happened
    if record.is_revoked:
        return refused(Reason.REVOKED)
    if record.uses >= ask.uses:
        return _used(record, now_s)
    # another upload took the lease after ours ran out, and may have ended by now: it goes first, ours has to begin again
    if not is_lease_of(record, ask.claim_id):
        return Admission(kind=Kind.BUSY, reason=Reason.UPLOAD_RUNNING)
    written = record._replace(
        uses=record.uses + 1,
        lease=None,
        placing=(*record.placing, Placing(ask.claim_id, object_key, now_s, ask.stands))[-PLACING_MAX:],
        marks=with_mark(record, mark),
    )
    return Admission(kind=Kind.ADMIT, claim_id=ask.claim_id, record=written, mark=mark)


def placed(record: Record, claim_id: str) -> Record | None:
    """Note that an object stands whose use was taken before; None where that is noted, or nothing is known of it."""
    left = tuple(placing for placing in record.placing if placing.claim_id != claim_id)
    return None if left == record.placing else record._replace(placing=left)


def not_placed(record: Record, claim_id: str) -> Record | None:
    """Give back a use whose object was not put in place; None where the record lists this upload no more."""
    left = placed(record, claim_id)
    return None if left is None else left._replace(uses=left.uses - 1)


def is_leased(record: Record, now_s: int, rules: Rules) -> bool:
    """Whether an upload has the lease now.

    A lease that ends later than ``lease_s`` and ``AHEAD_MAX_S`` from now was written by a wrong clock and counts for
    nothing.
    """
    return record.lease is not None and 0 < record.lease.until_s - now_s <= rules.lease_s + AHEAD_MAX_S


def is_lease_of(record: Record, claim_id: str) -> bool:
    """Whether the lease in the record is this upload's, even if it has run out."""
    return record.lease is not None and record.lease.claim_id == claim_id
