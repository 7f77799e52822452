"""How a download ends: what is settled of it, and what its event says, once its last byte is known to have arrived or not.

That is known after the request: when the client asks for more, closes its connection, or is lost. Until then the transfer
stays among those of this process, so that its holder is told to wait and a gateway that stops waits too. Where nobody can
tell, it ends with its request, and what was handed to the server counts as sent.
"""

from __future__ import annotations

from oncegate.gateway.delivery import Transfer
from oncegate.gateway.exchange import Exchange
from oncegate.gateway.parts import Parts, fresh_mark
from oncegate.gateway.removals import note_delivered
from oncegate.ledgers.claiming import GiveBack, Talk, give_back
from oncegate.ledgers.protocol import forget_after
from oncegate.links.grant import Grant
from oncegate.links.link_id import text_of_id
from oncegate.links.people import agent_of
from oncegate.server.fates import Fate
from oncegate.stores.protocol import ObjectInfo
from oncegate.uses.delivered import Sent, may_be_remembered, settlement_of
from oncegate.uses.receipts import COMPLETE, HANDED_OVER, NEVER_SENT, UNACKNOWLEDGED, UNREAD
from oncegate.uses.record import Doubt, etag_mark


class Ending:
    """The end of one transfer: begun before its first byte, and over once it is settled and told.

    Attributes:
        transfer: its bytes.
    """

    __slots__ = (
        "_exchange",
        "_fate",
        "_grant",
        "_info",
        "_is_first_claim",
        "_is_followed",
        "_is_over",
        "_outcome",
        "_parts",
        "transfer",
    )

    def __init__(
        self,
        parts: Parts,
        exchange: Exchange,
        grant: Grant,
        info: ObjectInfo,
        transfer: Transfer,
        *,
        is_first_claim: bool,
    ) -> None:
        self._parts = parts
        self._exchange = exchange
        self._grant = grant
        self._info = info
        self.transfer: Transfer = transfer
        self._outcome = ""
        self._is_first_claim = is_first_claim
        self._is_over = False
        self._fate: Fate | None = None
        followed = exchange.follow(self._take)
        self._is_followed = followed is not None
        if followed is not None:
            transfer.has_arrived = followed.has_arrived

    def leave(self, outcome: str) -> None:
        """Note that the task of the transfer moves no more bytes; ``complete`` where all were handed to the server."""
        self._outcome = outcome
        self.transfer.leave()
        if self._fate is not None or not self._is_followed or not self._exchange.status:
            self._end()

    def _take(self, fate: Fate) -> None:
        """Take what the server tells."""
        # one that is over already had sent nothing: this is the fate of the refusal in its place
        if not self._is_over:
            self._fate = fate
            if self._outcome:
                self._end()

    def _end(self) -> None:
        self._is_over = True
        parts, transfer = self._parts, self.transfer
        sent = self._sent()
        settlement = settlement_of(sent)
        # what was never sent is not for others to take while it is given back
        transfer.handed_bytes = transfer.promised_bytes - settlement.back_bytes
        self._tell(sent, settlement.doubt)
        if self._fate is not None and may_be_remembered(
            sent, uses=self._grant.uses, is_first_claim=self._is_first_claim, is_whole=self._exchange.status == 200
        ):
            parts.spent.add(self._grant.link_id)
            if self._grant.limits.delete_after:
                note_delivered(parts, self._grant)
        if not settlement.is_due or not transfer.claim_id:
            parts.transfers.end(transfer)
            return
        back = given_back(
            parts, self._grant, self._info, transfer.claim_id, settlement.back_bytes, doubt=settlement.doubt
        )
        settling = parts.runner.run_in_background(self._grant.link_id, back)
        # until then it is among the transfers: a Range waits for what is given back, and so does stopping
        settling.add_done_callback(lambda _: parts.transfers.end(transfer))

    def _sent(self) -> Sent:
        """Put what is known into the words of the rules."""
        transfer, fate = self.transfer, self._fate
        promised, handed = transfer.promised_bytes, transfer.handed_bytes
        if not self._exchange.status:  # nothing of an answer was begun
            return Sent(promised_bytes=promised, sent_bytes=0, acked_bytes=0, is_head_sent=False)
        is_whole = self._outcome == COMPLETE
        if fate is None:
            return Sent(
                promised_bytes=promised,
                sent_bytes=handed,
                acked_bytes=None,
                is_head_sent=True,
                is_clean=is_whole,
                is_reset=not is_whole and self._exchange.has_gone(),
                is_cut=transfer.is_shortened,
            )
        return Sent(
            promised_bytes=promised,
            sent_bytes=handed if fate.sent_bytes is None else min(handed, fate.sent_bytes),
            acked_bytes=fate.acked_bytes,
            is_head_sent=fate.is_head_sent,
            is_clean=is_whole and fate.is_clean,
            is_reset=fate.is_reset,
            is_cut=transfer.is_shortened,
        )

    def _tell(self, sent: Sent, doubt: Doubt) -> None:
        """Write the event for the link's issuer."""
        exchange, grant, request = self._exchange, self._grant, self._exchange.request
        if not exchange.status or request is None:
            return
        self._parts.journal.write(
            "download",
            link_id=text_of_id(grant.link_id),
            key=grant.object_key,
            outcome=_word(self._outcome, sent, doubt),
            bytes=sent.sent_bytes,
            acked=sent.acked_bytes,
            taken_by=None if sent.acked_bytes is None else "proxy" if exchange.is_from_proxy else "client",
            size=self._info.size_bytes,
            address=request.address,
            agent=agent_of(request),
        )


def _word(outcome: str, sent: Sent, doubt: Doubt) -> str:
    """Say in one word what became of a transfer; what broke it comes first."""
    if outcome != COMPLETE:
        return outcome
    if sent.is_clean:
        return HANDED_OVER if sent.acked_bytes is None else COMPLETE
    if sent.promised_bytes and not sent.sent_bytes:
        return NEVER_SENT
    return UNREAD if doubt is Doubt.UNREAD else UNACKNOWLEDGED


def given_back(
    parts: Parts,
    grant: Grant,
    info: ObjectInfo,
    claim_id: str,
    back_bytes: int,
    *,
    is_parallel: bool = False,
    doubt: Doubt = Doubt.NONE,
) -> Talk[bool]:
    """The talk that settles a transfer."""
    what = GiveBack(
        link_id=grant.link_id,
        forget_after_s=forget_after(grant.expires_s),
        claim_id=claim_id,
        mark=fresh_mark(),
        back_bytes=back_bytes,
        size_bytes=info.size_bytes,
        etag=etag_mark(info.etag),
        is_parallel=is_parallel,
        doubt=doubt,
    )
    return give_back(what, parts.now_s)
