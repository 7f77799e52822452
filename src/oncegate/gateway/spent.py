"""Which links this process knows as used, so that it refuses them without asking store and ledger.

Only what can never be opened again is in it (``uses/delivered.py``, ``may_be_remembered``), and it is asked only for
tickets of one use: one link id can be signed twice, with one use and with five. It does nothing but refuse, so to forget
costs a question and nothing else.
"""

from __future__ import annotations

from oncegate.gateway.ranges import has_condition
from oncegate.links.grant import Grant
from oncegate.links.people import is_navigation
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest

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

    def check(self, request: ViewerRequest, grant: Grant) -> None:
        """Refuse a GET through a link of one use that is remembered.

        Not the one of a person, whose page says when the link was used, as the ledger knows; nor one with a condition,
        whose answer may be 304, 412 or 416.

        Raises:
            Refused: USED.
        """
        is_plain = request.method == "GET" and not has_condition(request)
        if is_plain and grant.uses == 1 and grant.link_id in self and not is_navigation(request):
            raise Refused(Reason.USED)
