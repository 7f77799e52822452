"""What is listed and watched: objects, events, health."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from oncegate.control.bodies.forms import EXAMPLE_ID, Given, InstantText


class ObjectShown(Given):
    """An object of the store."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
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


class ObjectPage(Given):
    """A page of objects, in the order of their keys as UTF-8 bytes."""

    objects: list[ObjectShown]
    next: str | None = Field(description="Give it as `after` for the next page; null: this is the last one.")


class EventShown(Given):
    """What happened. Members beside these depend on the event; null ones are left out."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow",
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


class EventPage(Given):
    """A page of events, oldest first."""

    events: list[EventShown]
    next: int | None = Field(description="Give it as `after` for the next page; null: there are no more yet.")


class Health(Given):
    """The process answers."""

    status: Literal["ok"]


class PartShown(Given):
    """A part of the installation."""

    name: str
    ready: bool
    words: str


class Readiness(Given):
    """Every part can do its work."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra={"examples": [{"ready": True, "parts": [{"name": "ledger", "ready": True, "words": ""}]}]}
    )

    ready: bool
    parts: list[PartShown]
