"""What the control API takes and gives, as pydantic models with the examples of its OpenAPI document.

Types are strict: a number in quotes is an error, as is a member that is not known. Instants are RFC 3339 with a zone
and become seconds since 1970 UTC here.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from oncegate.links.address import canonical_address
from oncegate.links.grant import Operation, Scheme
from oncegate.links.instants import read_instant_s
from oncegate.links.issue import FILENAME_MAX, Wish
from oncegate.links.ticket import USES_MAX, Ticket
from oncegate.settings.units import DURATION_MAX_S, parse_duration_s

PAGE_MAX = 1_000
EXAMPLE_ID = "AZtHgdIAcACAAAAAAAAAAA"
LINK_ID = r"^[A-Za-z0-9_-]{21}[AQgw]$"
_MEDIA_TYPE = r"^[A-Za-z0-9!#$&^_.+-]{1,127}/(\*|[A-Za-z0-9!#$&^_.+-]{1,127})$"
_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
_DURATION = re.compile(r"[0-9]{1,9} ?[smhdw]?")
_EXAMPLE_URL = (
    "https://files.example.com/reports/2026.pdf?once=g.AZtHgdIAcACAAAAAAAAAAA&Expires=1767226500"
    "&Signature=MEUCIQ__&Key-Pair-Id=K2026&Hash-Algorithm=SHA256"
)


def _instant(raw: object) -> int:
    return read_instant_s(raw if isinstance(raw, str) else "")


def read_lifetime_s(raw: object) -> int:
    """Read how long a link lives: seconds as a number, or text such as ``15m``.

    Raises:
        ValueError: it is neither, or not from one second to ten years.
    """
    # not isinstance: JSON's true is an int to Python
    if type(raw) is int and 1 <= raw <= DURATION_MAX_S:
        return raw
    if not isinstance(raw, str) or not _DURATION.fullmatch(raw) or not (seconds := parse_duration_s(raw)):
        raise ValueError("write seconds as a number, or text such as 90s, 15m, 12h, 7d; more than 0, up to ten years")
    return seconds


def _address(text: str) -> str:
    address = canonical_address(text)
    if address is None:
        raise ValueError("write an IPv4 or IPv6 address")
    return address


_LIFETIME_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": DURATION_MAX_S},
        {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
    ]
}
_INSTANT_SCHEMA = {"type": "string", "format": "date-time"}
Instant = Annotated[int, PlainValidator(_instant), WithJsonSchema(_INSTANT_SCHEMA)]
InstantText = Annotated[str, WithJsonSchema(_INSTANT_SCHEMA)]
Lifetime = Annotated[int, PlainValidator(read_lifetime_s), WithJsonSchema(_LIFETIME_SCHEMA)]
SchemeName = Literal["cloudfront", "cloudfront-custom", "s3"]
OperationName = Literal["get", "put"]


class _Taken(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Given(BaseModel):
    model_config = ConfigDict(frozen=True)


class LinkOrder(_Taken):
    """A link to be made; what is left out is decided here."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"key": "reports/2026.pdf"},
                {"key": "reports/2026.pdf", "expires_in": "15m", "filename": "report.pdf", "label": "for Ada"},
                {"key": "inbox/scan.png", "operation": "put", "max_bytes": 10_000_000, "content_type": "image/*"},
            ]
        }
    )

    key: str = Field(min_length=1, max_length=1_024, description="Object key, as it is: not percent-encoded.")
    operation: OperationName = Field(default="get", description="`get` admits GET and HEAD, `put` admits PUT.")
    expires_in: Lifetime | None = Field(
        default=None, description="Seconds, or text such as `15m`, `12h`, `7d`; not beside `expires_at`. Default: 1 h."
    )
    expires_at: Instant | None = Field(default=None, description="Refused at this second and after.")
    not_before: Instant | None = Field(default=None, description="Refused at this second and before.")
    uses: int = Field(default=1, ge=1, le=USES_MAX, description="How often it may be used.")
    source_ip: str | None = Field(default=None, max_length=18, description="IPv4 address or network that may use it.")
    filename: str | None = Field(
        default=None,
        min_length=1,
        max_length=FILENAME_MAX,
        pattern=_ONE_LINE,
        description="What a browser saves it as.",
    )
    inline: bool = Field(default=False, description="A browser may show it, where its type is safe to show.")
    max_bytes: int | None = Field(default=None, ge=0, lt=10**18, description="Largest upload that is taken.")
    content_type: str | None = Field(
        default=None, pattern=_MEDIA_TYPE, description="Only uploads of this type: `image/png`, `image/*`."
    )
    overwrite: bool = Field(default=False, description="The upload may take the place of an object.")
    scheme: SchemeName = Field(default="cloudfront", description="How it is signed.")
    label: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        pattern=_ONE_LINE,
        description="A note of yours; a link with one is listed before it is opened.",
    )

    def wish(self, *, nonce: bytes, home: str, expires_s: int) -> Wish:
        """What the link should allow.

        Args:
            nonce: of its ticket.
            home: of this installation.
            expires_s: what was decided of ``expires_in`` and ``expires_at``.

        Raises:
            ValueError: no link can hold it.
        """
        return Wish(
            object_key=self.key,
            ticket=Ticket(operation=Operation[self.operation.upper()], uses=self.uses, nonce=nonce, home=home),
            expires_s=expires_s,
            not_before_s=self.not_before,
            source_ip=self.source_ip,
            filename=self.filename,
            inline=self.inline,
            max_bytes=self.max_bytes,
            media_type=self.content_type,
            may_replace=self.overwrite,
            scheme=Scheme(self.scheme),
        )


class LinkMade(_Given):
    """A link, and what was decided. The URL is the secret: it is not kept, and cannot be shown again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_ID,
                    "url": _EXAMPLE_URL,
                    "key": "reports/2026.pdf",
                    "operation": "get",
                    "made_at": "2026-01-01T00:00:00Z",
                    "expires_at": "2026-01-01T00:15:00Z",
                    "not_before": None,
                    "uses": 1,
                    "source_ip": None,
                    "filename": "report.pdf",
                    "inline": False,
                    "max_bytes": None,
                    "content_type": None,
                    "overwrite": False,
                    "scheme": "cloudfront",
                    "home": None,
                    "label": "for Ada",
                    "listed": True,
                }
            ]
        }
    )

    id: str = Field(pattern=LINK_ID, description="Names the link in this API, in logs and in the ledger.")
    url: str
    key: str
    operation: OperationName
    made_at: InstantText
    expires_at: InstantText
    not_before: InstantText | None
    uses: int
    source_ip: str | None
    filename: str | None
    inline: bool
    max_bytes: int | None
    content_type: str | None
    overwrite: bool
    scheme: SchemeName
    home: str | None = Field(description="The ledger that counts its uses, where an installation has several.")
    label: str | None
    listed: bool = Field(description="It is listed before it is opened.")


class ClaimShown(_Given):
    """One use that was taken for a download."""

    at: InstantText = Field(description="Last write of the claim.")
    address: str | None = Field(description="IPv4, or the first 64 bits of IPv6, where it proves something.")
    size: int | None
    promised: int | None = Field(description="Bytes promised or sent; null: the whole object.")


class TransferShown(_Given):
    """What a gateway said of one transfer, at its end."""

    at: InstantText
    direction: Literal["download", "upload"]
    outcome: str = Field(description="`complete`, or what broke it.")
    bytes: int
    size: int | None
    address: str | None


class LinkShown(_Given):
    """Where a link stands. What is null is not known: a link that was signed elsewhere tells the ledger only its id."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_ID,
                    "state": "claimed",
                    "words": "claimed at 2026-01-01T00:01:00Z by 203.0.113.7, complete, 1024 bytes",
                    "key": "reports/2026.pdf",
                    "operation": "get",
                    "label": "for Ada",
                    "made_at": "2026-01-01T00:00:00Z",
                    "expires_at": "2026-01-01T00:15:00Z",
                    "uses": 1,
                    "uses_taken": 1,
                    "revoked": False,
                    "expired": False,
                    "outcome": "complete",
                    "bytes": 1024,
                    "claims": [
                        {"at": "2026-01-01T00:01:00Z", "address": "203.0.113.7", "size": None, "promised": None}
                    ],
                    "transfers": [
                        {
                            "at": "2026-01-01T00:01:01Z",
                            "direction": "download",
                            "outcome": "complete",
                            "bytes": 1024,
                            "size": 1024,
                            "address": "203.0.113.7",
                        }
                    ],
                    "previews_suppressed": 2,
                    "refusals": 0,
                }
            ]
        }
    )

    id: str = Field(pattern=LINK_ID)
    state: Literal["issued", "uploading", "claimed", "revoked", "expired", "unreadable"] = Field(
        description="`issued`: never opened. `unreadable`: the record is of another version, or damaged."
    )
    words: str = Field(description="The same, for a person.")
    key: str | None
    operation: OperationName | None
    label: str | None
    made_at: InstantText | None
    expires_at: InstantText | None
    uses: int | None
    uses_taken: int
    revoked: bool
    expired: bool | None
    outcome: str | None = Field(description="`complete`, `partial`, or what broke it; null: the end is not known.")
    bytes: int | None = Field(description="Of all transfers with a receipt.")
    claims: list[ClaimShown]
    transfers: list[TransferShown] = Field(description="The first of them, where there are very many.")
    previews_suppressed: int = Field(description="Previews and prefetches that got a page in place of the object.")
    refusals: int


class LinkPage(_Given):
    """A page of links, in the order of their ids, which is about the order in which they were made."""

    links: list[LinkShown]
    next: str | None = Field(description="Give it as `after` for the next page; null: this is the last one.")


class ObjectShown(_Given):
    """An object of the store."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "key": "reports/2026.pdf",
                    "size": 1024,
                    "etag": '"9b2cf535f27731c9"',
                    "modified_at": "2026-01-01T00:00:00Z",
                    "content_type": "application/pdf",
                }
            ]
        }
    )

    key: str
    size: int
    etag: str = Field(description="With its quotes.")
    modified_at: InstantText
    content_type: str


class ObjectPage(_Given):
    """A page of objects, in the order of their keys as UTF-8 bytes."""

    objects: list[ObjectShown]
    next: str | None = Field(description="Give it as `after` for the next page; null: this is the last one.")


class EventShown(BaseModel):
    """What happened. Members beside these depend on the event; null ones are left out."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "number": 17,
                    "at": "2026-01-01T00:01:01Z",
                    "event": "download",
                    "link_id": EXAMPLE_ID,
                    "key": "reports/2026.pdf",
                    "outcome": "complete",
                    "bytes": 1024,
                }
            ]
        },
    )

    number: int = Field(description="Grows with each event; may have gaps.")
    at: InstantText
    event: str


class EventPage(_Given):
    """A page of events, oldest first."""

    events: list[EventShown]
    next: int | None = Field(description="Give it as `after` for the next page; null: there are no more yet.")


class ExplainOrder(_Taken):
    """A link, and who would open it when."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"url": _EXAMPLE_URL, "address": "203.0.113.7"}]})

    url: str = Field(min_length=1, max_length=20_000)
    method: Literal["GET", "HEAD", "PUT"] | None = Field(default=None, description="Default: what the link is for.")
    address: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, max_length=64, description="Of the viewer. Default: nobody in particular."
    )
    at: Instant | None = Field(default=None, description="Default: now.")


class StepShown(_Given):
    """One check."""

    name: str
    passed: bool | None = Field(description="null: not reached.")
    words: str
    reason: str = Field(description="Stable name of the refusal; empty where there is none.")


class Explained(_Given):
    """Whether and why a link would be admitted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "admitted": False,
                    "method": "GET",
                    "id": None,
                    "key": None,
                    "steps": [
                        {
                            "name": "expiry",
                            "passed": False,
                            "words": "This link has expired.",
                            "reason": "expired",
                        },
                        {"name": "ledger", "passed": None, "words": "not reached", "reason": ""},
                    ],
                }
            ]
        }
    )

    admitted: bool
    method: str
    id: str | None = Field(description="null: the link does not verify.")
    key: str | None
    steps: list[StepShown]


class Health(_Given):
    """The process answers."""

    status: Literal["ok"]


class PartShown(_Given):
    """A part of the installation."""

    name: str
    ready: bool
    words: str


class Readiness(_Given):
    """Every part can do its work."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ready": True, "parts": [{"name": "ledger", "ready": True, "words": ""}]}]}
    )

    ready: bool
    parts: list[PartShown]


class UrlGiven(_Given):
    """The answer of `GET /get-url`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"url": _EXAMPLE_URL}]})

    url: str


class FileWanted(BaseModel):
    """The body of `POST /urls`; other members are not looked at."""

    model_config = ConfigDict(strict=True, frozen=True, json_schema_extra={"examples": [{"file": "reports/2026.pdf"}]})

    file: str = Field(min_length=1, max_length=1_024)


class SignedUrlGiven(_Given):
    """The answer of `POST /urls`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"signedUrl": _EXAMPLE_URL}]})

    signedUrl: str  # noqa: N815 - the name is the published one


class S3Object(_Given):
    """An object as listObjectsV2 has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "Key": "reports/2026.pdf",
                    "LastModified": "2026-01-01T00:00:00.000Z",
                    "ETag": '"9b2cf535f27731c9"',
                    "Size": 1024,
                    "StorageClass": "STANDARD",
                }
            ]
        }
    )

    Key: str
    LastModified: InstantText
    ETag: str
    Size: int
    StorageClass: Literal["STANDARD"]
