"""The ledger's value for one link, and its JSON: small, versioned by the ledger, and all meaning is in it.

    {"c":[["9f3k...",1767290400,"203.0.113.178","x7Qa"]]}     one use taken: claim id, time, address, gateway
    {"u":0,"r":1}                                             revoked before anyone came
    {"u":0,"l":["9f3k...",1767290460]}                        an upload runs, until then

After a Range or a break a claim has four more: size, hash of the ETag, ``paid``, ``over``, and a digit where parts were
asked for beside a running transfer (1) or the end of one is in doubt (2 or 4); a record that was replaced keeps the marks
of its last eight writes (``o``). A plain spent record is about 60 bytes, the largest usual one under 220. docs/record.md
has every field.
"""

from __future__ import annotations

import enum
import json
import zlib
from typing import NamedTuple

from oncegate.links.grant import Operation

# with 4 kept, one of 20,000 simulated histories broke a promise; with 8, and one write at a time, none of 8,000
# (docs/decisions/0002)
MARKS_MAX = 8
EDGE = "@"
"""The gateway that claims of the edge name: no process draws it, and nobody resumes such a claim."""
# of a link with 9,999 uses; 32 that were all broken and resumed take 3.5 KiB
CLAIMS_MAX = 32
# each is an upload that was killed, or whose store did not say what came of it, in the last hour
PLACING_MAX = 8


class Doubt(enum.IntEnum):
    """Whether what a claim was sent has arrived: the worst end of its transfers.

    It is what the viewer's machine said, never a proof that they do not have the bytes, so it opens nothing for others.
    """

    NONE = 0
    UNREAD = 1
    """All of it was acknowledged; then the connection was reset, as happens where a program has not read to the end."""
    UNACKED = 2
    """Some of it was sent and never acknowledged."""


class Claim(NamedTuple):
    """One use, and whose it is.

    Attributes:
        claim_id: 16 base64url characters, drawn by the gateway; a secret of the holder's cookie.
        at_s: last write of this claim, seconds since 1970 UTC.
        address: the holder's, where it is a proof: IPv4, or the first 64 bits of IPv6; None where it is none.
        gateway: which process wrote it; ``*`` where several did, ``@`` at the edge.
        size_bytes: of the object; None while nothing but a whole download was promised.
        etag: hash of its ETag.
        paid: bytes promised or sent, at most the size.
        over: bytes sent again after breaks, at most the slack.
        is_parallel: its holder asked for parts beside a running transfer, as download managers do.
        doubt: whether what was sent has arrived.
    """

    claim_id: str
    at_s: int
    address: str | None
    gateway: str
    size_bytes: int | None = None
    etag: str = ""
    paid: int = 0
    over: int = 0
    is_parallel: bool = False
    doubt: Doubt = Doubt.NONE


class Lease(NamedTuple):
    """An upload that runs: it spares others the work. What makes an upload once is the store's condition."""

    claim_id: str
    until_s: int


class Placing(NamedTuple):
    """A use that was taken before its object was put in place, while the end of that is not recorded.

    Attributes:
        claim_id: the upload's.
        object_key: where the object was to go; the holder chose it.
        at_s: when the use was taken, seconds since 1970 UTC.
        replaces: ETag of the object that stood there, empty for none. While it does, this one was not put in place.
    """

    claim_id: str
    object_key: str
    at_s: int
    replaces: str = ""


class Issued(NamedTuple):
    """What the control API was told of a link that it lists before anyone opens it."""

    object_key: str
    operation: Operation
    uses: int
    made_s: int
    expires_s: int
    label: str


class Record(NamedTuple):
    """Everything that is remembered of one link.

    Attributes:
        uses: how many were taken; each ticket says how many there may be.
        claims: the newest, at most ``CLAIMS_MAX``; older ones only lost the right to resume.
        marks: of the last replaces, newest last, at most ``MARKS_MAX``.
        is_revoked: no new claim or range.
        lease: of a running upload.
        replaces: ETag that an upload may take the place of, fixed by the link's first claim; empty: of nothing.
        issued: for links that are listed.
        placing: uploads through a link to many keys whose use is taken and whose end is not recorded, oldest first, at
            most ``PLACING_MAX``; of one that was dropped the use stays spent.
    """

    uses: int = 0
    claims: tuple[Claim, ...] = ()
    marks: tuple[str, ...] = ()
    is_revoked: bool = False
    lease: Lease | None = None
    replaces: str | None = None
    issued: Issued | None = None
    placing: tuple[Placing, ...] = ()


EMPTY = Record()
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # json.dumps makes a new one each time
_from_json = json.JSONDecoder().decode


def etag_mark(etag: str) -> str:
    """What a record keeps of an ETag: 8 hex digits, enough to tell two versions of one object apart."""
    return f"{zlib.crc32(etag.encode()):08x}"


def with_mark(record: Record, mark: str) -> tuple[str, ...]:
    """Return the marks of a record after one more write."""
    return (*record.marks, mark)[-MARKS_MAX:]


def to_json(record: Record) -> bytes:
    """Write a record as compact JSON; what has its usual value is left out (one use taken, no marks, not revoked)."""
    document: dict[str, object] = {}
    if record.uses != 1:
        document["u"] = record.uses
    if record.claims:
        document["c"] = [_claim_to_list(claim) for claim in record.claims]
    if record.marks:
        document["o"] = record.marks
    if record.is_revoked:
        document["r"] = 1
    if record.lease:
        document["l"] = [record.lease.claim_id, record.lease.until_s]
    if record.replaces is not None:
        document["e"] = record.replaces
    if record.issued:
        i = record.issued
        document["i"] = [i.object_key, i.operation.value, i.uses, i.made_s, i.expires_s, i.label]
    if record.placing:
        document["w"] = [placing if placing.replaces else placing[:-1] for placing in record.placing]
    return _to_json(document).encode()


def _claim_to_list(claim: Claim) -> list[str | int]:
    short: list[str | int] = [claim.claim_id, claim.at_s, claim.address or 0, claim.gateway]
    if claim.size_bytes is None:
        return short
    flags = claim.is_parallel + 2 * claim.doubt
    return [*short, claim.size_bytes, claim.etag, claim.paid, claim.over, *([flags] if flags else [])]


class RecordUnreadable(ValueError):
    """The record is of a later version, or damaged. Its link is never taken for unused, and nobody is told that it is used."""


def from_json(text: bytes) -> Record:
    """Read what ``to_json`` wrote.

    Raises:
        RecordUnreadable: it is something else.
    """
    try:
        document = _from_json(text.decode())
        # a member of a later version may well mean that the link is revoked
        if not document.keys() <= {"u", "c", "o", "r", "l", "e", "i", "w"}:
            raise ValueError("unknown members")
        issued = document.get("i")
        lease = document.get("l")
        return Record(
            uses=int(document.get("u", 1)),
            claims=tuple(_claim_of_list(*claim) for claim in document.get("c", ())),
            marks=tuple(document.get("o", ())),
            is_revoked=bool(document.get("r")),
            lease=Lease(*lease) if lease else None,
            replaces=document.get("e"),
            issued=_issued_of_list(*issued) if issued else None,
            placing=tuple(_placing_of_list(*placing) for placing in document.get("w", ())),
        )
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise RecordUnreadable(f"not a record of this version: {error}") from None


def _claim_of_list(
    claim_id: str, at_s: int, address: str | int, gateway: str, size: int | None = None, etag: str = "", *rest: int
) -> Claim:
    paid, over, flags = (0, 0, 0) if size is None else rest if len(rest) > 2 else (*rest, 0)
    return Claim(
        claim_id=claim_id,
        at_s=at_s,
        address=str(address) if address else None,
        gateway=gateway,
        size_bytes=size,
        etag=etag,
        paid=paid,
        over=over,
        is_parallel=bool(flags & 1),
        # a number that this version never writes is a ValueError, as an unknown member is
        doubt=Doubt(flags >> 1),
    )


def _placing_of_list(claim_id: str, object_key: str, at_s: int, replaces: str = "") -> Placing:
    return Placing(claim_id, object_key, at_s, replaces)


def _issued_of_list(object_key: str, operation: str, uses: int, made_s: int, expires_s: int, label: str) -> Issued:
    return Issued(
        object_key=object_key,
        operation=Operation(operation),
        uses=uses,
        made_s=made_s,
        expires_s=expires_s,
        label=label,
    )
