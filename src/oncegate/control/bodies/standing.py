"""What has become of a link: of one, and of a page of them."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from oncegate.control.bodies.forms import EXAMPLE_ID, LINK_ID, Given, InstantText, OperationName


class ClaimShown(Given):
    """One use that was taken for a download."""

    at: InstantText = Field(description="Last write of the claim.")
    address: str | None = Field(description="IPv4, or the first 64 bits of IPv6, where it proves something.")
    size: int | None
    promised: int | None = Field(description="Bytes promised or sent; null: the whole object.")


class TransferShown(Given):
    """What a gateway said of one transfer, at its end."""

    at: InstantText
    direction: Literal["download", "upload"]
    outcome: str = Field(description="`complete`, or what broke it.")
    bytes: int
    size: int | None
    address: str | None


class LinkShown(Given):
    """What has become of a link. null: not known, because of a link that was signed elsewhere the ledger has its id alone."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
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
                    "counted_all": True,
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
    transfers: list[TransferShown] = Field(description="The newest of them, where there are very many.")
    previews_suppressed: int = Field(description="Previews and prefetches that got a page in place of the object.")
    refusals: int
    counted_all: bool = Field(
        description="false: `transfers` are the newest, and `bytes`, `previews_suppressed` and `refusals` at least so many."
    )


class LinkPage(Given):
    """A page of links, in the order of their ids, which is about the order in which they were made."""

    links: list[LinkShown]
    next: str | None = Field(description="Give it as `after` for the next page; null: this is the last one.")
