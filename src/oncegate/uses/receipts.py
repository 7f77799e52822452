"""What the events of a link say: receipts of its transfers, and how many events there are of each name. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RECEIPTS = ("download", "upload")
"""Names of the events that tell the end of a transfer, as ``ledgers/protocol.py`` has them."""

COMPLETE = "complete"
"""How the gateway calls the outcome of a transfer that was handed over whole; any other names what broke it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a gateway says of one transfer, at its end.

    Attributes:
        at_s: seconds since 1970 UTC.
        direction: ``download`` or ``upload``.
        outcome: ``complete``, or what broke it.
        moved_bytes: handed to the server, or taken from the viewer.
        size_bytes: of the object, where it was said.
        address: the viewer's, where it was said.
    """

    at_s: int
    direction: str
    outcome: str
    moved_bytes: int
    size_bytes: int | None
    address: str | None

    @property
    def is_whole(self) -> bool:
        """Whether the whole object was handed over."""
        if self.outcome != COMPLETE:
            return False
        return self.size_bytes is None or self.moved_bytes >= self.size_bytes


def receipt_of(event: Mapping[str, object]) -> Receipt:
    """Read an event that tells the end of a transfer; a member of another type is as if it were missing."""
    size, address = event.get("size"), event.get("address")
    return Receipt(
        at_s=_whole_number(event.get("at")),
        direction=str(event["event"]),
        outcome=str(event.get("outcome", "unknown")),
        moved_bytes=_whole_number(event.get("bytes")),
        size_bytes=size if isinstance(size, int) else None,
        address=address if isinstance(address, str) else None,
    )


def counts_of(events: Iterable[Mapping[str, object]]) -> Mapping[str, int]:
    """How many events there are of each name; one event may stand for many."""
    counts = Counter[str]()
    for event in events:
        counts[str(event.get("event"))] += _whole_number(event.get("count", 1))
    return counts


def _whole_number(value: object) -> int:
    return value if isinstance(value, int) else 0
