"""What lies between a gateway and a viewer in the simulations: a kernel, a network that may die, and a viewer's word.

Bytes are promised, then handed over to the kernel, then on the wire, then received, then acknowledged; each of these
numbers may be smaller than the one before. A gateway sees promised and handed over; of the others it learns, once a
connection is dead, what its kernel says: ``Line.account``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from oncegate.uses.delivered import Sent


@dataclass(eq=False)
class Viewer:
    """Who opens the link: where from, whether they keep cookies, and whether they can be believed."""

    address: str | None
    keeps_cookies: bool
    cookie: str | None = None
    got: int = 0
    lie: str = ""
    has_luck: bool = False  # nothing happens to their connections


@dataclass(eq=False)
class Transfer:
    """Bytes on their way to a viewer."""

    claim_id: str
    etag: str
    start: int
    promised: int
    handed: int = 0
    wire: int = 0
    is_head_sent: bool = False
    has_left: bool = False

    @property
    def unsent(self) -> int:
        """Promised, and not handed over; once it has left, what was never sent."""
        return self.promised - self.handed

    def overlap(self, span: tuple[int, int]) -> int:
        """How much of a span it still has to send."""
        return max(0, min(self.start + self.promised, span[1]) - max(self.start + self.handed, span[0]))


@dataclass
class Line:
    """One connection: the byte behind which nothing is put on the wire any more, and how it ended."""

    dies_at: int | None
    end: str = ""
    received: int = 0

    @classmethod
    def drawn(cls, rnd: random.Random, viewer: Viewer, whole: int) -> Line:
        """Draw the fate of a connection; -1: it dies before the head."""
        is_safe = viewer.has_luck or rnd.random() < 0.7
        return cls(None if is_safe else rnd.choice((-1, 0, rnd.randint(0, whole))))

    @property
    def is_broken(self) -> bool:
        """Whether its network dies under way."""
        return self.dies_at is not None

    def most(self, transfer: Transfer) -> int:
        """How far the kernel can have sent; -1: not even the head."""
        return transfer.handed if self.dies_at is None else min(self.dies_at, transfer.handed)

    def account(
        self, rnd: random.Random, transfer: Transfer, viewer: Viewer, *, leaves: bool, is_failed: bool, is_cut: bool
    ) -> Sent:
        """End the connection, and say what a gateway knows of it then."""
        acked = 0 if viewer.lie == "drops its acknowledgements" else transfer.wire
        self.received = transfer.wire
        if is_failed or is_cut:
            self.end = "here"
            return live_account(transfer, is_cut=is_cut)
        if self.is_broken or leaves:
            if not viewer.lie and not leaves:
                self.received = rnd.randint(0, transfer.wire)
            acked = rnd.randint(0, min(acked, self.received))
            is_reset = leaves and not self.is_broken
        else:
            is_reset = viewer.lie == "resets at the end" or (not viewer.has_luck and rnd.random() < 0.05)
        is_clean = not (self.is_broken or leaves or is_reset) and acked == transfer.wire
        self.end = "clean" if is_clean else "reset" if is_reset else "dead"
        return Sent(
            transfer.promised,
            transfer.wire,
            acked,
            is_head_sent=transfer.is_head_sent,
            is_clean=is_clean,
            is_reset=is_reset,
        )


def live_account(transfer: Transfer, *, is_cut: bool) -> Sent:
    """What is known of a connection that the gateway ends: the kernel may send all that it was given."""
    is_head_sent = transfer.is_head_sent or transfer.handed > 0
    return Sent(transfer.promised, transfer.handed, None, is_head_sent=is_head_sent, is_cut=is_cut)
