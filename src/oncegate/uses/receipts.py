"""What the events of a link say: receipts of its transfers, and how many events there are of each name. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RECEIPTS = ("download", "upload")
"""Names of the events that tell the end of a transfer, as ``ledgers/protocol.py`` has them."""

COMPLETE = "complete"
"""The outcome of a transfer that arrived whole: acknowledged by the client's machine, or stored. Others name what broke it,
or say less:"""
HANDED_OVER = "handed over"
"""All was given to the server or a Unix socket, and nobody can say more."""
UNREAD = "unread"
"""All was acknowledged, and then the client's machine reset the connection."""
UNACKNOWLEDGED = "unacknowledged"
"""All was handed over, some was sent, and not all of it acknowledged."""
NEVER_SENT = "never sent"
"""All was handed over, and no byte of the object had been sent when the connection ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a gateway says of one transfer, at its end.

    Attributes:
        at_s: seconds since 1970 UTC.
        direction: ``download`` or ``upload``.
        outcome: ``complete``, or what broke it, or what is known of it.
        moved_bytes: sent, or taken from the viewer.
        size_bytes: of the object, where it was said.
        address: the viewer's, where it was said.
        acked_bytes: acknowledged by the client's machine; None where nobody said.
        is_by_proxy: a proxy in front of the gateway took what was acknowledged, or sent it and told so.
    """

    at_s: int
    direction: str
    outcome: str
    moved_bytes: int
    size_bytes: int | None
    address: str | None
    acked_bytes: int | None = None
    is_by_proxy: bool = False

    @property
    def arrived_bytes(self) -> int:
        """How much has arrived, as far as anybody can say."""
        if self.outcome == UNREAD:
            return 0
        return self.moved_bytes if self.acked_bytes is None else self.acked_bytes

    @property
    def is_whole(self) -> bool:
        """Whether the whole object arrived, as far as anybody can say."""
        if self.outcome not in (COMPLETE, HANDED_OVER):
            return False
        return self.size_bytes is None or self.moved_bytes >= self.size_bytes


def receipt_of(event: Mapping[str, object]) -> Receipt:
    """Read an event that tells the end of a transfer; a member of another type is as if it were missing."""
    size, address, acked = event.get("size"), event.get("address"), event.get("acked")
    return Receipt(
        at_s=_whole_number(event.get("at")),
        direction=str(event["event"]),
        outcome=str(event.get("outcome", "unknown")),
        moved_bytes=_whole_number(event.get("bytes")),
        size_bytes=size if isinstance(size, int) else None,
        address=address if isinstance(address, str) else None,
        acked_bytes=acked if isinstance(acked, int) else None,
        is_by_proxy="proxy" in (event.get("taken_by"), event.get("by")),
    )


def counts_of(events: Iterable[Mapping[str, object]]) -> Mapping[str, int]:
    """How many events there are of each name; one event may stand for many."""
    counts = Counter[str]()
    for event in events:
        counts[str(event.get("event"))] += _whole_number(event.get("count", 1))
    return counts


def _whole_number(value: object) -> int:
    return value if isinstance(value, int) else 0
