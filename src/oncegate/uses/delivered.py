"""What a transfer leaves to be settled, from how its connection ended. Pure; the kernel's numbers come in as values.

An acknowledgement is what the viewer's machine says, and whoever drops their own acknowledgements would otherwise have an
object as often as they like. So only what was never sent is given back; what was sent stays paid, and where it may not
have arrived its holder, and nobody else, may have as much again (docs/decisions/0012).
"""

from __future__ import annotations

from typing import NamedTuple

from oncegate.uses.record import Doubt


class Sent(NamedTuple):
    """What became of one transfer.

    Attributes:
        promised_bytes: of the object, at the end.
        sent_bytes: of these, what may have reached the viewer: what was handed over, less what a dead connection is known
            to have kept.
        acked_bytes: what the viewer's machine has acknowledged; None where nobody can say.
        is_head_sent: whether anything of the answer may have reached the viewer.
        is_clean: all was sent, all was acknowledged where that can be known, and no reset followed.
        is_reset: the viewer's machine reset the connection.
        is_cut: it was ended for another request of its holder.
    """

    promised_bytes: int
    sent_bytes: int
    acked_bytes: int | None
    is_head_sent: bool
    is_clean: bool = False
    is_reset: bool = False
    is_cut: bool = False


class Settlement(NamedTuple):
    """What is to be written about a transfer that ended.

    Attributes:
        back_bytes: to be given back.
        doubt: about the rest.
        is_due: whether anything is to be written.
    """

    back_bytes: int
    doubt: Doubt
    is_due: bool


def settlement_of(sent: Sent) -> Settlement:
    """Say what is to be given back of a transfer, and what is in doubt."""
    back_bytes, doubt = sent.promised_bytes - sent.sent_bytes, _doubt_of(sent)
    # of an object of no bytes there is nothing to count but its head
    is_nothing = sent.promised_bytes == 0 and not sent.is_head_sent
    return Settlement(back_bytes, doubt, is_due=back_bytes > 0 or doubt is not Doubt.NONE or is_nothing)


def _doubt_of(sent: Sent) -> Doubt:
    # a head alone gives nothing of an object away: then all is given back, and there is nothing to have again
    if sent.is_clean or sent.is_cut or not sent.sent_bytes:
        return Doubt.NONE
    is_all_acked = sent.acked_bytes is None or sent.acked_bytes >= sent.sent_bytes
    return Doubt.UNREAD if sent.is_reset and is_all_acked else Doubt.UNACKED


def may_be_remembered(sent: Sent, *, uses: int, is_first_claim: bool, is_whole: bool) -> bool:
    """Whether this process may refuse the link from now on without asking its ledger.

    Args:
        sent: the transfer.
        uses: of the ticket.
        is_first_claim: the admission was the first claim of the link, so no earlier settlement is under way.
        is_whole: the whole object was asked for, not a range.
    """
    return uses == 1 and is_first_claim and is_whole and sent.is_clean
