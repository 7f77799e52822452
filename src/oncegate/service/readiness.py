"""What ``/readyz`` says: every part is asked for something harmless, and told in words of ours.

Who asks needs no token, so nothing that a driver or a server said is repeated: that may name hosts, paths and users, and
is in the log. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from oncegate.ledgers.protocol import FORGET_NEVER_S, Unknown
from oncegate.service.gateway import OpenGateway
from oncegate.stores.protocol import StoreFault

if TYPE_CHECKING:
    from oncegate.control.parts import PartState

_PROBE_KEY = "oncegate-readiness"
_PROBE_ID = b"\xff" + bytes(15)
_NO_VERSION = -1
_PAID_BY_WRITE = frozenset({"dynamodb", "s3"})
"""Schemes of ledgers where a write that changes nothing costs what a write costs; probes come every few seconds."""

SILENT = "does not answer"
EXCHANGED = "is gone, or another stands in its place: see oncegate doctor, then restart this gateway"


async def readiness_of(opened: OpenGateway) -> Sequence[PartState]:
    """Ask every part."""
    from oncegate.control.parts import PartState

    ledger = await _words_of_ledger(opened)
    store = await _words_of_store(opened)
    trust = opened.parts.trust()
    keys = "" if len(trust.keys) or trust.s3.credentials else "the key group is empty"
    return [
        PartState(name=name, is_ready=not words, words=words)
        for name, words in (("ledger", ledger), ("store", store), ("keys", keys))
    ]


async def _words_of_ledger(opened: OpenGateway) -> str:
    """Ask as a claim would: for a place among the writes.

    A ledger that reads and takes no writes refuses every link. No record has this version, so nothing is replaced; in a
    database nothing is then forced to the disk.
    """
    if opened.parts.settings.ledger.url.partition(":")[0] in _PAID_BY_WRITE:
        found = await opened.ledger.read(_PROBE_ID)
    else:
        found = await opened.ledger.replace(_PROBE_ID, _NO_VERSION, b"{}", FORGET_NEVER_S)
    if not isinstance(found, Unknown):
        return ""
    return EXCHANGED if found.kind == "exchanged" else SILENT


async def _words_of_store(opened: OpenGateway) -> str:
    try:
        seen = await opened.parts.store.look(_PROBE_KEY)
    except StoreFault:
        return SILENT
    if seen is not None:
        await seen.aclose()
    return ""
