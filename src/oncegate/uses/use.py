"""The rules of a use: who may have how many bytes, decided from the record, the request and the time alone.

No clock, no randomness, no ledger: fresh ids and marks come in as arguments, the record that should be written goes
out. ``ledgers/claiming.py`` writes it, on the condition that nothing changed meanwhile. The simulation in
tests/links/test_use_simulation.py runs these functions through lost and late answers, crashes and attackers; each
rule below was found necessary there (docs/decisions/0002).

Budget (docs/promises.md): a claim has ``paid``, bytes promised or sent, at most the size, and ``over``, bytes sent
again after breaks, at most the slack. So one use never yields more than size + slack, whatever is asked, cut or
overlapped. The slack is half of the size; where the end of a transfer is in doubt (``Doubt``) it is the size: never more
than twice the size, and to one holder.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from oncegate.links.refusal import Reason
from oncegate.uses.record import CLAIMS_MAX, EDGE, EMPTY, Claim, Doubt, Placing, Record, with_mark

# one break can lose 10 MiB that lie in socket buffers (stock Linux: 4 to send, 6 to receive)
SLACK_MAX_BYTES = 16 * 1024 * 1024


AHEAD_MAX_S = 300
"""How far the clock of another gateway may be ahead. A time beyond that is no time: it would hold for as long as that
clock was wrong."""


REPEAT_BY_ADDRESS_S = 30
"""For how long an address alone proves who may have a transfer in doubt again: it may be a neighbour's, so no longer than
a program needs that tries again by itself."""


def slack_bytes(size_bytes: int, *, is_in_doubt: bool = False) -> int:
    """How much of an object may be sent again after breaks.

    Half of it at most, so never a second copy. All of it where what was sent may not have arrived: a browser asks for the
    whole again, however little it lacks.
    """
    return min(SLACK_MAX_BYTES, size_bytes if is_in_doubt else size_bytes // 2)


class Rules(NamedTuple):
    """What the configuration decides.

    Attributes:
        resume_window_s: how long after its last write a claim can be resumed.
        lease_s: how long a running upload keeps others waiting without a sign of life.
    """

    resume_window_s: int = 900
    lease_s: int = 60


class Kind(enum.Enum):
    """What is to be done with a request."""

    ADMIT = "admit"
    REFUSE = "refuse"
    BUSY = "busy"
    CUT = "cut"


class Admission(NamedTuple):
    """A decision.

    Attributes:
        kind: ADMIT once ``record`` is written; CUT: take ``cut_bytes`` from this process's running transfers of
            ``claim_id``, settle, ask again.
        claim_id: whose bytes they are.
        record: to be written on the condition that nothing changed; None where nothing is to be written.
        reason: of a refusal, or of BUSY.
        mark: what proves that this very write happened.
        unknown: of a refusal: an upload that took the last use so long ago that whether its object stands now decides
            whether the use is given back.
        replaces: for an upload that may replace: the ETag it may take the place of; empty: of nothing.
    """

    kind: Kind
    claim_id: str = ""
    record: Record | None = None
    reason: Reason | None = None
    mark: str = ""
    replaces: str | None = None
    cut_bytes: int = 0
    unknown: Placing | None = None
    rest_until_s: int | None = None


class DownloadAsk(NamedTuple):
    """A request for bytes.

    Attributes:
        uses: how many the ticket allows.
        size_bytes: of the object, as seen at the look.
        etag: hash of its ETag.
        span: first byte and end (exclusive) of a satisfiable range; None: the whole object.
        cookie: the claim id that the viewer shows for this link; None without a cookie.
        address: the viewer's, where it is a proof and may be used; None otherwise.
        gateway: this process.
        claim_id: fresh, for a new claim.
        mark: fresh, names this write; needed only where there is a record already.
        running: of this process's transfers: claim id to bytes promised and not yet sent, of those that still have to
            send what is asked for; of all, where there is none.
        unended: claims of which this process has a transfer that runs, or that was handed over and may not have arrived.
    """

    uses: int
    size_bytes: int
    etag: str
    span: tuple[int, int] | None
    cookie: str | None
    address: str | None
    gateway: str
    claim_id: str
    mark: str
    running: Mapping[str, int] = MappingProxyType({})
    unended: frozenset[str] = frozenset()

    @property
    def asked_bytes(self) -> int:
        """How many bytes are asked for."""
        return self.size_bytes if self.span is None else self.span[1] - self.span[0]


def admit_download(record: Record | None, ask: DownloadAsk, now_s: int, rules: Rules) -> Admission:
    """Decide a GET.

    Args:
        record: the link's, from the ledger; None: it has none.
        ask: the request.
        now_s: seconds since 1970 UTC.
        rules: of the configuration.
    """
    record = record or EMPTY
    if record.is_revoked:
        return refused(Reason.REVOKED)
    claim, by_cookie = _claim_of_holder(record, ask, now_s, rules)
    if claim is not None:
        admission = _continue(record, claim, ask, now_s, rules, by_cookie=by_cookie)
        # a seek is no new use: otherwise a player would take all uses of a link within one film
        begins_anew = ask.span is None or ask.span[0] == 0
        if admission.kind is not Kind.REFUSE or record.uses >= ask.uses or not begins_anew:
            return admission
    if record.uses >= ask.uses:
        return refused(Reason.USED)
    new = Claim(claim_id=ask.claim_id, at_s=now_s, address=ask.address, gateway=ask.gateway)
    if ask.span is not None:
        new = new._replace(size_bytes=ask.size_bytes, etag=ask.etag, paid=ask.asked_bytes)
    # the object EMPTY, so there was no record and this is an insert; a stored record may be equal to it after a give-back
    if record is EMPTY:
        written = Record(uses=1, claims=(new,))
    else:
        claims = (*record.claims, new)[-CLAIMS_MAX:]
        written = record._replace(uses=record.uses + 1, claims=claims, marks=with_mark(record, ask.mark))
    # the first claim's id serves as its mark: a mark of its own would add 17 bytes to the 62 of nearly every record
    return Admission(kind=Kind.ADMIT, claim_id=ask.claim_id, record=written, mark=ask.claim_id)


def _claim_of_holder(record: Record, ask: DownloadAsk, now_s: int, rules: Rules) -> tuple[Claim | None, bool]:
    """The claim that this viewer may resume, and whether they showed its cookie; with another cookie they have none."""
    # newest first: of several uses from one address, only the last may still be running
    for claim in reversed(record.claims):
        # the edge passes a request on and sees no byte of the answer: nobody could say what is left of its claim
        if claim.gateway == EDGE or not -AHEAD_MAX_S <= now_s - claim.at_s <= rules.resume_window_s:
            continue
        if ask.cookie is not None:
            if ask.cookie == claim.claim_id:
                return claim, True
        elif ask.address is not None and ask.address == claim.address:
            return claim, False
    return None, False


def _is_in_doubt(claim: Claim, now_s: int, *, by_cookie: bool) -> bool:
    """Whether this holder may have again what was sent and may not have arrived."""
    # What was acknowledged whole is never repeated by the address alone: a neighbour, and every program that reads a head
    # and leaves, would make a second use of it.
    by_address = claim.doubt is Doubt.UNACKED and now_s - claim.at_s <= REPEAT_BY_ADDRESS_S
    return by_address or (by_cookie and claim.doubt is not Doubt.NONE)


def _continue(
    record: Record, claim: Claim, ask: DownloadAsk, now_s: int, rules: Rules, *, by_cookie: bool
) -> Admission:
    """Charge another request to a claim, or say why not."""
    size, paid, over = ask.size_bytes, claim.paid, claim.over
    if claim.size_bytes is None:
        paid = size  # the whole was promised, and nothing broke
    elif (claim.size_bytes, claim.etag) != (size, ask.etag):
        # ``paid`` counts bytes of one version, and two halves of different versions are no object
        return refused(Reason.OBJECT_REPLACED)
    in_doubt = _is_in_doubt(claim, now_s, by_cookie=by_cookie)
    asked, slack = ask.asked_bytes, slack_bytes(size, is_in_doubt=in_doubt)

    def fits(paid: int) -> bool:
        # Once all bytes are paid nothing more is admitted, even if slack is left. The exceptions are a download manager,
        # which asks again for bytes that another of its connections was sent and never read (docs/decisions/0005), and
        # whoever may not have received what was sent.
        is_open = paid < size or claim.is_parallel or in_doubt
        return is_open and over + max(0, paid + asked - size) <= slack

    # Bytes that are promised to a transfer of this process and not sent yet can be promised to this request instead.
    # A GET of the whole object never cuts a transfer.
    cut = 0 if ask.span is None else min(ask.running.get(claim.claim_id, 0), max(0, paid + asked - size))
    if cut and by_cookie and fits(paid - cut):
        return Admission(kind=Kind.CUT, claim_id=claim.claim_id, cut_bytes=cut)
    if fits(paid):
        charged = claim._replace(
            # a gateway whose clock is behind must not shorten the window that another gateway gave
            at_s=max(now_s, claim.at_s),
            gateway=claim.gateway if claim.gateway == ask.gateway else "*",
            size_bytes=size,
            etag=ask.etag,
            paid=min(size, paid + asked),
            over=over + max(0, paid + asked - size),
            # whoever proves the holder: download managers that keep no cookies ask in parts too
            is_parallel=claim.is_parallel or (ask.span is not None and ask.running.get(claim.claim_id, 0) > 0),
        )
        claims = tuple(charged if other is claim else other for other in record.claims)
        written = record._replace(claims=claims, marks=with_mark(record, ask.mark))
        return Admission(kind=Kind.ADMIT, claim_id=claim.claim_id, record=written, mark=ask.mark)
    # Never cut a transfer for a request that is known by its address alone: anyone behind the same router could take the
    # download over. Another gateway may also still be sending (success is not recorded), so within the window the answer
    # is 503, not 403.
    may_end_here = cut > 0 and fits(paid - cut)
    may_run_elsewhere = claim.gateway != ask.gateway and over + max(0, asked - size) <= slack
    # How a transfer ended here may be unknown yet, and may put the claim in doubt. That helps by the cookie alone: of
    # many requests that race from one address all but one are to hear that the link is used.
    may_be_in_doubt = by_cookie and claim.claim_id in ask.unended
    if may_be_in_doubt or (ask.span is not None and (may_end_here or may_run_elsewhere)):
        return Admission(kind=Kind.BUSY, claim_id=claim.claim_id, reason=Reason.BUSY)
    has_rest = ask.span is None and paid < size
    return refused(Reason.USED)._replace(rest_until_s=claim.at_s + rules.resume_window_s if has_rest else None)


def settle(
    record: Record,
    *,
    claim_id: str,
    mark: str,
    back_bytes: int,
    size_bytes: int,
    etag: str,
    now_s: int,
    is_parallel: bool = False,
    doubt: Doubt = Doubt.NONE,
) -> Record | None:
    """Give back bytes that were promised and never sent; the use itself, if no byte ever was.

    Args:
        record: the link's.
        claim_id: whose promise it was.
        mark: names this settlement, so that doing it twice is harmless.
        back_bytes: never sent; 0 for an object of no bytes whose answer was never begun.
        size_bytes: of the object.
        etag: hash of its ETag.
        now_s: seconds since 1970 UTC; the window to resume runs from here.
        is_parallel: the promise was taken from a running transfer, for another of the same holder.
        doubt: whether the rest, which was sent and stays paid, has arrived. NONE where no byte was sent; an object of no
            bytes whose head was sent is not settled at all.

    Returns:
        The record to write; None where there is nothing (more) to give back.
    """
    if mark in record.marks:
        return None
    claim = next((claim for claim in record.claims if claim.claim_id == claim_id), None)
    if claim is None:
        return None  # one of very many claims, and no longer in the record: its use stays spent
    paid = size_bytes if claim.size_bytes is None else claim.paid
    settled = claim._replace(
        # the later of two clocks, as in ``_continue``
        at_s=max(claim.at_s, now_s),
        size_bytes=size_bytes,
        etag=etag,
        # the rest is taken from ``over``, so that a claim that delivered nothing ends with both at 0 and is removed
        paid=max(0, paid - back_bytes),
        over=claim.over - max(0, back_bytes - paid),
        is_parallel=claim.is_parallel or is_parallel,
        doubt=max(claim.doubt, doubt),
    )
    if settled.paid == 0 and settled.over == 0:
        claims = tuple(other for other in record.claims if other is not claim)
        return record._replace(uses=record.uses - 1, claims=claims, marks=with_mark(record, mark))
    claims = tuple(settled if other is claim else other for other in record.claims)
    return record._replace(claims=claims, marks=with_mark(record, mark))


def revoke(record: Record | None) -> Record | None:
    """Refuse every new claim and range; None where it is revoked already."""
    record = record or EMPTY
    return None if record.is_revoked else record._replace(is_revoked=True)


def is_written(record: Record, mark: str) -> bool:
    """Whether the write with this mark happened.

    Ask it of the record that a refused write returned, never of one that was read: a lost write may still arrive.
    """
    return (
        mark in record.marks
        or any(claim.claim_id == mark for claim in record.claims)
        or (record.lease is not None and record.lease.claim_id == mark)
    )


def refusal_of_use(record: Record | None, ask: DownloadAsk, now_s: int, rules: Rules) -> Reason | None:
    """Why this viewer can get no more bytes through the link; None where they can. For HEAD and the page."""
    record = record or EMPTY
    if record.is_revoked:
        return Reason.REVOKED
    if record.uses < ask.uses:
        return None
    claim, by_cookie = _claim_of_holder(record, ask, now_s, rules)
    if claim is None or claim.size_bytes is None:
        return Reason.USED
    in_doubt = _is_in_doubt(claim, now_s, by_cookie=by_cookie)
    has_slack = claim.over < slack_bytes(claim.size_bytes, is_in_doubt=in_doubt)
    is_open = claim.paid < claim.size_bytes or (has_slack and (claim.is_parallel or in_doubt))
    return None if is_open else Reason.USED


def is_too_old(made_ms: int | None, *, born_ms: int, accept_from_ms: int | None) -> bool:
    """Whether a ticket is older than what the ledger remembers (it lost its memory, or was restored from a copy).

    Args:
        made_ms: of the ticket; None for a plain link, which carries no birth.
        born_ms: of the ledger.
        accept_from_ms: what the configuration says instead.
    """
    return made_ms is not None and made_ms < (born_ms if accept_from_ms is None else accept_from_ms)


def refused(reason: Reason) -> Admission:
    """Make the decision that refuses."""
    return Admission(kind=Kind.REFUSE, reason=reason)
