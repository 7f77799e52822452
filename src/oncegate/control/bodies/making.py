"""POST /v1/links: the order, and the link that was made."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from oncegate.control.bodies.forms import (
    EXAMPLE_ID,
    EXAMPLE_URL,
    LINK_ID,
    MEDIA_TYPE,
    ONE_LINE,
    Given,
    Instant,
    InstantText,
    Lifetime,
    OperationName,
    SchemeName,
    Taken,
)
from oncegate.links.grant import Confirm, Operation, Scheme
from oncegate.links.issue import FILENAME_MAX, Wish
from oncegate.links.ticket import USES_MAX, Ticket
from oncegate.links.verify import NOTE_MAX, SENDER_MAX


class LinkOrder(Taken):
    """A link to be made; what is left out is decided here."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
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
        pattern=ONE_LINE,
        description="What a browser saves it as.",
    )
    inline: bool = Field(default=False, description="A browser may show it, where its type is safe to show.")
    max_bytes: int | None = Field(default=None, ge=0, lt=10**18, description="Largest upload that is taken.")
    content_type: str | None = Field(
        default=None, pattern=MEDIA_TYPE, description="Only uploads of this type: `image/png`, `image/*`."
    )
    overwrite: bool = Field(default=False, description="The upload may take the place of an object.")
    confirm: Confirm | None = Field(
        default=None,
        description="`always`: a program gets 403, a person is asked first. `never`: no page. Default: as the viewer is set.",
    )
    from_: str | None = Field(
        default=None,
        alias="from",
        min_length=1,
        max_length=SENDER_MAX,
        pattern=ONE_LINE,
        description="Who sends the link; its page shows it as text.",
    )
    note: str | None = Field(
        default=None,
        min_length=1,
        max_length=NOTE_MAX,
        pattern=ONE_LINE,
        description="What the sender says to the reader; the link's page shows it as text.",
    )
    delete_after: bool = Field(
        default=False, description="The object is removed once the link gives nothing any more: used up, or ended."
    )
    scheme: SchemeName = Field(default="cloudfront", description="How it is signed.")
    label: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        pattern=ONE_LINE,
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
            confirm=self.confirm,
            sender=self.from_,
            note=self.note,
            delete_after=self.delete_after,
            scheme=Scheme(self.scheme),
        )


class LinkMade(Given):
    """A link, and what was decided. The URL is the secret: it is not kept, and cannot be shown again."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_ID,
                    "url": EXAMPLE_URL,
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
                    "confirm": None,
                    "from": None,
                    "note": None,
                    "delete_after": False,
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
    confirm: Confirm | None
    from_: str | None = Field(alias="from")
    note: str | None
    delete_after: bool
    scheme: SchemeName
    home: str | None = Field(description="The ledger that counts its uses, where an installation has several.")
    label: str | None
    listed: bool = Field(description="It is listed before it is opened.")
