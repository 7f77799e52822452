"""What has become of a link: from its record and its events to what its issuer wants to know.

Never holds a claim id: it is the secret of the holder's cookie. Never decides anything: whether a request is admitted
is for ``uses/use.py``. What is known depends on who made the link: a record alone says how many uses were taken, by
whom and when; what the control API was told (``Issued``) or what a verified URL says (``Grant``) adds the object key,
how many uses there are and when it expires; the events add what became of the transfers, and of which object. A
receipt may be missing (a gateway was killed, its log is elsewhere), so its absence proves nothing: "end unknown".
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from oncegate.links.grant import Grant, Operation
from oncegate.links.instants import instant_text
from oncegate.uses.receipts import COMPLETE, HANDED_OVER, RECEIPTS, Receipt, counts_of, receipt_of
from oncegate.uses.record import EMPTY, Claim, Issued, Record
from oncegate.uses.upload import UNKNOWN_FOR_S, is_leased
from oncegate.uses.use import Rules

LABEL_SEPARATOR = "\x1f"
"""What follows it in a stored label is not the issuer's: the control API keeps a mark of the request there."""


class State(enum.Enum):
    """A link in one word. A revoked one stays revoked and a claimed one claimed, also when its time is over."""

    ISSUED = "issued"
    UPLOADING = "uploading"
    CLAIMED = "claimed"
    REVOKED = "revoked"
    EXPIRED = "expired"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimSeen:
    """One use that was taken for a download.

    Attributes:
        at_s: last write of the claim, seconds since 1970 UTC.
        address: the holder's: IPv4, or the first 64 bits of IPv6; None where it proves nothing.
        size_bytes: of the object; None while nothing but a whole download was promised.
        promised_bytes: of the object, promised or sent; None as above: all of it.
    """

    at_s: int
    address: str | None
    size_bytes: int | None
    promised_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Everything that an issuer may know of a link; None: not known.

    Attributes:
        state: in one word.
        object_key: decoded text.
        operation: of its ticket.
        uses: how many there are.
        uses_taken: how many are gone.
        made_s: seconds since 1970 UTC.
        expires_s: refused at this second and after.
        is_revoked: no new claim or range.
        is_expired: its time is over.
        is_listed: it was made with a label or an idempotency key, so it stood in the ledger before it was opened.
        label: of the issuer.
        claims: the newest uses, oldest first.
        receipts: of the events, oldest first.
        previews_suppressed: previews and prefetches that got the page in place of the object.
        refusals: requests with this genuine link that were refused.
        is_counted_whole: no event was left out of these two counts; if not, there are at least so many.
        is_receipts_whole: ``receipts`` are all; if not, they are the newest.
    """

    state: State
    object_key: str | None = None
    operation: Operation | None = None
    uses: int | None = None
    uses_taken: int = 0
    made_s: int | None = None
    expires_s: int | None = None
    is_revoked: bool = False
    is_expired: bool | None = None
    is_listed: bool = False
    label: str = ""
    claims: tuple[ClaimSeen, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    previews_suppressed: int = 0
    refusals: int = 0
    is_counted_whole: bool = True
    is_receipts_whole: bool = True

    @property
    def moved_bytes(self) -> int | None:
        """Bytes of all transfers with a receipt; None where there is none."""
        return sum(receipt.moved_bytes for receipt in self.receipts) if self.receipts else None

    @property
    def outcome(self) -> str | None:
        """``complete``, ``partial`` (only ranges were asked for), or what became of the last transfer; None: unknown."""
        if not self.receipts:
            return None
        whole = {receipt.outcome for receipt in self.receipts if receipt.is_whole}
        if whole:
            return COMPLETE if COMPLETE in whole else HANDED_OVER
        last = self.receipts[-1]
        arrived_bytes = sum(receipt.arrived_bytes for receipt in self.receipts)
        if self.uses_taken == 1 and last.size_bytes is not None and arrived_bytes >= last.size_bytes:
            return COMPLETE  # broken and resumed, or fetched in ranges
        return "partial" if last.outcome == COMPLETE else last.outcome

    @property
    def words(self) -> str:
        """One line for a person."""
        said = [_say_state(self)]
        if self.uses_taken:
            said.append(self._say_end())
        if self.previews_suppressed:
            more = "" if self.is_counted_whole else " or more"
            said.append(f"{self.previews_suppressed}{more} preview(s) suppressed")
        return ", ".join(said)

    def _say_end(self) -> str:
        if self.outcome is None:
            return "end unknown"
        taker = " (taken by the proxy)" if self.outcome == COMPLETE and self.receipts[-1].is_by_proxy else ""
        return f"{self.outcome}{taker}, {self.moved_bytes} bytes{'' if self.is_receipts_whole else ' or more'}"


UNREADABLE = Standing(state=State.UNREADABLE)
"""Of a record that a newer version wrote, or that is damaged. It is never taken for unused."""


def standing_of(
    record: Record | None,
    *,
    now_s: int,
    events: Iterable[Mapping[str, object]] = (),
    counts: Mapping[str, int] | None = None,
    is_whole: bool = True,
    grant: Grant | None = None,
) -> Standing:
    """Say what has become of a link.

    Args:
        record: the link's, from the ledger; None: it has none, so it was never opened, or its record was swept.
        now_s: seconds since 1970 UTC.
        events: the link's audit events, oldest first, as ``events.py`` has them; the newest of each name will do.
        counts: how many there are of each name; None: ``events`` are all.
        is_whole: there are not more than ``counts``.
        grant: what its verified URL says; it knows better than what was told when it was issued.
    """
    record = record or EMPTY
    events = list(events)
    known = _told_by(events, _known_of(record.issued, grant))
    is_expired = None if known.expires_s is None else now_s >= known.expires_s
    counts = counts_of(events) if counts is None else counts
    receipts = tuple(receipt_of(event) for event in events if event.get("event") in RECEIPTS)
    return replace(
        known,
        state=_state_of(record, now_s, is_expired=bool(is_expired)),
        uses_taken=record.uses,
        is_revoked=record.is_revoked,
        is_expired=is_expired,
        claims=tuple(_claim_seen(claim) for claim in record.claims),
        receipts=receipts,
        previews_suppressed=counts.get("preview", 0),
        refusals=counts.get("refused", 0),
        is_counted_whole=is_whole,
        is_receipts_whole=is_whole and len(receipts) >= sum(counts.get(name, 0) for name in RECEIPTS),
    )


def label_of(issued: Issued) -> str:
    """The label as its issuer wrote it."""
    return issued.label.partition(LABEL_SEPARATOR)[0]


def members_of(standing: Standing, link_id: str) -> dict[str, object]:
    """Write a standing under the names that ``GET /v1/links/{id}`` and ``--json`` have; None: not known.

    Args:
        standing: of the link.
        link_id: its 22 characters.
    """
    return {
        "id": link_id,
        "state": standing.state.value,
        "words": standing.words,
        "key": standing.object_key,
        "operation": None if standing.operation is None else standing.operation.word,
        "label": standing.label or None,
        "made_at": None if standing.made_s is None else instant_text(standing.made_s),
        "expires_at": None if standing.expires_s is None else instant_text(standing.expires_s),
        "uses": standing.uses,
        "uses_taken": standing.uses_taken,
        "revoked": standing.is_revoked,
        "expired": standing.is_expired,
        "outcome": standing.outcome,
        "bytes": standing.moved_bytes,
        "claims": [
            {
                "at": instant_text(claim.at_s),
                "address": claim.address,
                "size": claim.size_bytes,
                "promised": claim.promised_bytes,
            }
            for claim in standing.claims
        ],
        "transfers": [
            {
                "at": instant_text(receipt.at_s),
                "direction": receipt.direction,
                "outcome": receipt.outcome,
                "bytes": receipt.moved_bytes,
                "size": receipt.size_bytes,
                "address": receipt.address,
            }
            for receipt in standing.receipts
        ],
        "previews_suppressed": standing.previews_suppressed,
        "refusals": standing.refusals,
        "counted_all": standing.is_counted_whole and standing.is_receipts_whole,
    }


def _known_of(issued: Issued | None, grant: Grant | None) -> Standing:
    known = Standing(state=State.ISSUED)
    if issued is not None:
        known = replace(
            known,
            object_key=issued.object_key,
            operation=issued.operation,
            uses=issued.uses,
            made_s=issued.made_s,
            expires_s=issued.expires_s,
            is_listed=True,
            label=label_of(issued),
        )
    if grant is not None:
        made_s = None if grant.made_ms is None else grant.made_ms // 1000
        known = replace(
            known,
            object_key=grant.object_key,
            operation=grant.operation,
            uses=grant.uses,
            made_s=made_s if issued is None else issued.made_s,
            expires_s=grant.expires_s,
        )
    return known


def _told_by(events: Sequence[Mapping[str, object]], known: Standing) -> Standing:
    """Add what only the events tell of a link that was signed elsewhere: the newest object key, and its operation."""
    if known.object_key is not None:
        return known
    keys = [key for event in events if isinstance(key := event.get("key"), str)]
    used = [str(event["event"]) for event in events if event.get("event") in RECEIPTS]
    return replace(
        known,
        object_key=keys[-1] if keys else None,
        operation=(Operation.PUT if used[-1] == "upload" else Operation.GET) if used else None,
    )


def _state_of(record: Record, now_s: int, *, is_expired: bool) -> State:
    if record.is_revoked:
        return State.REVOKED
    if is_leased(record, now_s, Rules()):
        return State.UPLOADING
    if record.placing and now_s - record.placing[-1].at_s < UNKNOWN_FOR_S:
        return State.UPLOADING
    if record.uses:
        return State.CLAIMED
    return State.EXPIRED if is_expired else State.ISSUED


def _claim_seen(claim: Claim) -> ClaimSeen:
    return ClaimSeen(
        at_s=claim.at_s,
        address=claim.address,
        size_bytes=claim.size_bytes,
        promised_bytes=None if claim.size_bytes is None else claim.paid,
    )


def _say_state(standing: Standing) -> str:
    match standing.state:
        case State.ISSUED:
            return "never opened"
        case State.EXPIRED:
            return "expired, never opened"
        case State.UPLOADING:
            return "an upload is running"
        case State.UNREADABLE:
            return "its record is of another version, or damaged"
        case State.REVOKED if not standing.uses_taken:
            return "revoked, never opened"
        case State.REVOKED | State.CLAIMED:
            return f"{'revoked, ' if standing.is_revoked else ''}{_say_claims(standing)}"


def _say_claims(standing: Standing) -> str:
    several = f"{standing.uses_taken} of {standing.uses} uses taken, " if (standing.uses or 1) > 1 else ""
    if not standing.claims:  # uploads leave none
        stored = [receipt for receipt in standing.receipts if receipt.direction == "upload"]
        return f"{several}stored" + (f" at {instant_text(stored[-1].at_s)}" if stored else "")
    last = standing.claims[-1]
    return f"{several}claimed at {instant_text(last.at_s)}" + (f" by {last.address}" if last.address else "")
