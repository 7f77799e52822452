"""Which links this process knows as used, so that it refuses them without asking their ledger.

Only what can never be opened again is in it (``uses/delivered.py``, ``may_be_remembered``), and it is asked only for
tickets of one use: one link id can be signed twice, with one use and with five. It does nothing but refuse, so to forget
costs a question and nothing else.
"""

from __future__ import annotations

REMEMBERED_MAX = 65_536
"""Link ids of 16 bytes; with their places in the dictionary about 8 MiB."""


class SpentLinks:
    """Links that are used, the oldest forgotten first."""

    def __init__(self, at_most: int = REMEMBERED_MAX) -> None:
        self._at_most = at_most
        self._ids: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, link_id: bytes) -> bool:
        return link_id in self._ids

    def add(self, link_id: bytes) -> None:
        """Remember a link."""
        if len(self._ids) >= self._at_most:
            del self._ids[next(iter(self._ids))]
        self._ids[link_id] = None
