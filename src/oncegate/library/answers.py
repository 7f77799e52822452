"""What the control API answers, as values: the members of its JSON, instants as aware datetimes.

Source: the OpenAPI document of the control listener, ``/openapi.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from oncegate.library.members import INSTANT, many


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeLink:
    """A link that the control API made; ``str()`` gives the URL, which is the secret.

    Attributes:
        id: names the link in the API, in logs and in the ledger.
        url: what is handed out; the API does not keep it.
        key: object key, decoded.
        operation: ``get`` or ``put``.
        made_at: when it was made.
        expires_at: it is refused at this second and after.
        not_before: it is refused at this second and before; None: it is open at once.
        uses: how often it opens.
        source_ip: IPv4 address or network that may use it; None: any.
        filename: what a browser saves the object as.
        inline: a browser may show the object.
        max_bytes: largest upload that is taken.
        content_type: of an upload: ``type/subtype`` or ``type/*``.
        overwrite: an upload may replace an object.
        confirm: ``always`` or ``never``; None: as the gateway is set.
        from_: who sends the link, as its page says (``from`` is a word of Python).
        note: what the sender says to the reader.
        delete_after: the object is removed once the link gives nothing any more.
        scheme: ``cloudfront``, ``cloudfront-custom`` or ``s3``.
        home: name of the ledger that is the authority, where there are several.
        label: a note of the issuer's.
        listed: it is listed before it is opened.
    """

    id: str
    url: str
    key: str
    operation: str
    made_at: datetime = field(metadata=INSTANT)
    expires_at: datetime = field(metadata=INSTANT)
    not_before: datetime | None = field(metadata=INSTANT)
    uses: int
    source_ip: str | None
    filename: str | None
    inline: bool
    max_bytes: int | None
    content_type: str | None
    overwrite: bool
    confirm: str | None
    from_: str | None
    note: str | None
    delete_after: bool
    scheme: str
    home: str | None
    label: str | None
    listed: bool

    def __str__(self) -> str:
        """Give the URL."""
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOfLink:
    """One use that was taken for a download.

    Attributes:
        at: last write of the claim.
        address: IPv4, or the first 64 bits of IPv6; None where no address was certain.
        size: of the object, bytes.
        promised: bytes promised or sent; None: the whole object.
    """

    at: datetime = field(metadata=INSTANT)
    address: str | None
    size: int | None
    promised: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOfLink:
    """What a gateway said of one transfer, at its end.

    Attributes:
        at: when it ended.
        direction: ``download`` or ``upload``.
        outcome: ``complete``, or what broke it.
        bytes: that were handed over.
        size: of the object, bytes.
        address: of the other side.
    """

    at: datetime = field(metadata=INSTANT)
    direction: str
    outcome: str
    bytes: int
    size: int | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkStatus:
    """Where a link stands. None is "not known": of a link that was signed offline the ledger knows little.

    Attributes:
        id: names the link in the API, in logs and in the ledger.
        state: ``issued``, ``uploading``, ``claimed``, ``revoked``, ``expired`` or ``unreadable``.
        words: the same, for a person.
        key: object key, decoded.
        operation: ``get`` or ``put``.
        label: a note of the issuer's.
        made_at: when it was made.
        expires_at: it is refused at this second and after.
        uses: how often it opens.
        uses_taken: how often it was opened.
        revoked: it was revoked.
        expired: it is over.
        outcome: ``complete``, ``partial``, or what broke the transfer.
        bytes: of all transfers that have a receipt.
        claims: the uses that were taken for downloads.
        transfers: the transfers that have a receipt, the first of them where there are very many.
        previews_suppressed: previews and prefetches that got a page in place of the object.
        refusals: requests that were refused.
        counted_all: False where there are more events than were counted, so that the numbers are "at least".
    """

    id: str
    state: str
    words: str
    key: str | None
    operation: str | None
    label: str | None
    made_at: datetime | None = field(metadata=INSTANT)
    expires_at: datetime | None = field(metadata=INSTANT)
    uses: int | None
    uses_taken: int
    revoked: bool
    expired: bool | None
    outcome: str | None
    bytes: int | None
    claims: tuple[ClaimOfLink, ...] = field(metadata=many(ClaimOfLink))
    transfers: tuple[TransferOfLink, ...] = field(metadata=many(TransferOfLink))
    previews_suppressed: int
    refusals: int
    counted_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object of the store.

    Attributes:
        key: object key, decoded.
        size: bytes.
        etag: with its quotes.
        modified_at: when it was last written.
        content_type: media type.
    """

    key: str
    size: int
    etag: str
    modified_at: datetime = field(metadata=INSTANT)
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened.

    Attributes:
        number: grows with each event; may have gaps.
        at: when.
        event: its name, as docs/reference/events.md has it.
        members: its further members by name.
    """

    number: int
    at: datetime
    event: str
    members: Mapping[str, object]


def read_event(row: Mapping[str, Any]) -> Event:
    """Make an event of the JSON object of an answer."""
    members = {name: value for name, value in row.items() if name not in {"number", "at", "event"}}
    at = datetime.fromisoformat(row["at"]).astimezone(UTC)
    return Event(number=row["number"], at=at, event=row["event"], members=MappingProxyType(members))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One check of a link.

    Attributes:
        name: of the check.
        passed: None: it was not reached.
        words: what was seen.
        reason: stable name of the refusal; empty where there is none.
    """

    name: str
    passed: bool | None
    words: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Whether and why a link would be admitted.

    Attributes:
        admitted: it would be.
        method: that was asked about.
        id: of the link; None: its signature does not verify.
        key: object key, decoded.
        confirm: when a person is asked first: ``auto``, ``always`` (a program gets 403) or ``never``; None where ``id`` is.
        steps: the checks, in their order.
    """

    admitted: bool
    method: str
    id: str | None
    key: str | None
    confirm: str | None
    steps: tuple[Step, ...] = field(metadata=many(Step))
