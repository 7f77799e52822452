"""What a gateway knows of its ledger's health while it runs: asked again every minute, and seen in its own writes.

A probe at the start says nothing of later: Redis may be told to force nothing to the disk, a file's log may be deleted,
a clock may have swept ahead. A ledger that no longer keeps its promise serves nothing, until it does again.
"""

from __future__ import annotations

import logging
import time

from oncegate.ledgers.protocol import (
    AsksAgain,
    InsertOutcome,
    Ledger,
    LedgerAway,
    LedgerFacts,
    LedgerUnfit,
    ReplaceOutcome,
    Unknown,
)

_log = logging.getLogger("oncegate.ledger")


class LedgerHealth:
    """Facts of the last probe, whether the ledger is fit, and the fate of the last write.

    Args:
        facts: of the probe at the start.

    Attributes:
        facts: of the last probe that found it fit.
        unfit: why it may not be used now; None while it is fit.
        lost_write_s: when the last write was lost, by ``time.monotonic``; None where it is known what became of it.
    """

    def __init__(self, facts: LedgerFacts | None = None) -> None:
        self.facts = facts
        self.unfit: LedgerUnfit | None = None
        self.lost_write_s: float | None = None

    def note_write(self, outcome: InsertOutcome | ReplaceOutcome) -> None:
        """Take notice of what became of a write."""
        self.lost_write_s = time.monotonic() if isinstance(outcome, Unknown) else None

    def refuses(self, link_id: bytes, forget_after_s: int) -> bool:
        """Whether a link must be refused, because its record may have been forgotten before the ledger was repaired."""
        return self.facts is not None and self.facts.repair.refuses(link_id, forget_after_s)

    def may_be_swept(self, link_id: bytes, forget_after_s: int) -> bool:
        """Whether a link without a record would be refused: it may have had one. For those who only explain."""
        is_past = self.facts is not None and forget_after_s <= self.facts.swept_until_s
        return is_past or self.refuses(link_id, forget_after_s)

    async def ask_again(self, ledger: Ledger) -> None:
        """Ask the ledger whether it is still fit. While nobody answers, what was known last holds."""
        try:
            facts = await (ledger.ask_again() if isinstance(ledger, AsksAgain) else ledger.probe())
        except LedgerAway:
            return
        except LedgerUnfit as unfit:
            if self.unfit is None:
                _log.error("the ledger no longer keeps its promise, and nothing is served: %s", unfit)
            self.unfit = unfit
            return
        if self.unfit is not None:
            _log.warning("the ledger keeps its promise again")
        self.facts, self.unfit = facts, None
