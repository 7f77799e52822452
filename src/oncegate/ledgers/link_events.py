"""The events of one link, picked from a list of events by a ledger that cannot ask its server to do so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from oncegate.ledgers.protocol import Event, LinkEvents


def pick(newest_first: Iterable[Event], limit: int, *, is_whole: bool = True) -> LinkEvents:
    """Return what ``KeepsEvents.events_of_link`` does.

    Args:
        newest_first: events of one link.
        limit: events of each name that are kept, at most.
        is_whole: there are no others.
    """
    kept: list[Event] = []
    seen, counts = Counter[str](), Counter[str]()
    for event in newest_first:
        name, count = str(event.get("event")), event.get("count")
        counts[name] += count if isinstance(count, int) else 1
        seen[name] += 1
        if seen[name] <= limit:
            kept.append(event)
    return LinkEvents(kept[::-1], dict(counts), is_whole)
