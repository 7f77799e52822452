"""What ``/readyz`` says of ledger, store and keys: each is asked for something harmless, and reported in fixed texts.

``/readyz`` needs no token, so it repeats no text of a driver or a server: such a text may name hosts, paths and users.
The log has it. Nothing is written, unless the outcome of the last write to the ledger is unknown: then one is tried.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from oncegate.ledgers.protocol import (
    FORGET_NEVER_S,
    Ledger,
    LedgerExchanged,
    ReadOutcome,
    ReplaceOutcome,
    Sweeps,
    Unknown,
)
from oncegate.ledgers.sweeping import refused_until_s
from oncegate.links.instants import instant_text
from oncegate.service.gateway import OpenGateway
from oncegate.stores.protocol import StoreFault

if TYPE_CHECKING:
    from oncegate.control.parts import PartState

_PROBE_KEY = "oncegate-readiness"
_PROBE_ID = b"\xff" + bytes(15)
_NO_VERSION = -1
LOST_WRITE_COUNTS_S = 30.0
"""For so long after a lost write the ledger counts as not ready, unless a later write is answered. Only then is a write
tried: it is smaller than a claim, and a nearly full disk may take it while claims still fail."""
_PAID_BY_WRITE = frozenset({"dynamodb", "s3"})
"""Schemes of ledgers where a write that changes nothing costs what a write costs; probes come every few seconds."""

SILENT = "does not answer"
EXCHANGED = "is gone, or another stands in its place: see oncegate doctor, then restart this gateway"
UNFIT = "no longer keeps its promise, and nothing is served: see oncegate doctor"
NO_WRITES = "takes no writes"
SWEPT_AHEAD = "was swept by a clock that was ahead: links that expire before {} are refused; see oncegate ledger repair"


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
    """Say what is the matter with the ledger; empty where it serves."""
    health = opened.parts.runner.health
    if health.unfit is not None:
        return EXCHANGED if isinstance(health.unfit, LedgerExchanged) else UNFIT
    found = await _ask(opened)
    if isinstance(found, Unknown):
        return EXCHANGED if found.kind == "exchanged" else SILENT
    if health.lost_write_s is not None:
        is_recent = time.monotonic() - health.lost_write_s < LOST_WRITE_COUNTS_S
        if is_recent or not await _takes_writes(opened.ledger):
            return NO_WRITES
        health.lost_write_s = None
    swept_until_s = -1 if health.facts is None else health.facts.swept_until_s
    until_s = refused_until_s(swept_until_s, opened.parts.now_s())
    return "" if until_s is None else SWEPT_AHEAD.format(instant_text(until_s))


async def _ask(opened: OpenGateway) -> ReadOutcome | ReplaceOutcome:
    """Send a conditional write that matches no record, so the probe waits in the same queue as claims.

    A read would show too little: a ledger that answers reads and takes no writes refuses every link. No record has the
    version ``_NO_VERSION``, so nothing is replaced, and a database forces nothing to the disk. A ledger where each
    write is paid for is read instead.
    """
    if opened.parts.settings.ledger.url.partition(":")[0] in _PAID_BY_WRITE:
        return await opened.ledger.read(_PROBE_ID)
    return await opened.ledger.replace(_PROBE_ID, _NO_VERSION, b"{}", FORGET_NEVER_S)


async def _takes_writes(ledger: Ledger) -> bool:
    """Whether the ledger stores a write, after one whose outcome is unknown. Replaces the sweep state by itself."""
    if not isinstance(ledger, Sweeps):
        return True
    try:
        state = await ledger.sweep_state()
        await ledger.keep_sweep(state, state)
    except OSError:
        return False
    return True


async def _words_of_store(opened: OpenGateway) -> str:
    try:
        seen = await opened.parts.store.look(_PROBE_KEY)
    except StoreFault:
        return SILENT
    if seen is not None:
        await seen.aclose()
    return ""
