"""Transfers that the proxy in front sends in the gateway's place, until its log says what became of each.

A transfer is a row in memory under a random id. Nobody waits for it: the proxy's one line settles it. All was sent:
nothing is written. Less: the difference is given back. An answer without the object: all of it. No line, because the
proxy died, a datagram was lost or this process ended: the use stays spent. So whatever is lost, a link opens at most
once.

While a row stands, its bytes cannot be taken for another request of the same holder, who is told 503: nobody here can
end what the proxy sends. Nor is it cut for standing still: the proxy's own time limit does that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from oncegate.events import Journal, Value
from oncegate.gateway import accel
from oncegate.gateway.accel import ProxyLine
from oncegate.gateway.delivery import until_one_is_set
from oncegate.links.refusal import Reason
from oncegate.uses.receipts import COMPLETE
from oncegate.uses.record import Doubt, Record
from oncegate.uses.use import Admission, Kind

SENT_BY_PROXY = "sent by the proxy"
"""The outcome of the request; that of the transfer is an event of its own, when the proxy has told it."""
ROWS_MAX = 10_000
"""Transfers that proxies have at once; further ones are sent by the gateway. A row is some 2 KB."""
LINE_WITHIN_S = 86_400.0
"""After so long without its line a transfer's end is unknown for good: whatever is said of it later is not believed."""
WAIT_MAX_S = 2.0
"""How long a request waits for the end of its holder's transfer before it is told 503: a player or a download manager
closes one connection and asks on the next, and the proxy's line takes a moment."""
GivesBack = Callable[[int, Doubt], asyncio.Task[object]]


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """A transfer that a proxy has.

    Attributes:
        claim_id: whose bytes it sends; empty for a link that is not counted.
        promised_bytes: of its span.
        since: when it was handed over, by the process's clock.
        give_back: writes into the ledger that so many bytes were not sent, and whether the others have arrived.
        fields: of the event that tells its end.
        ended: set once it is settled.
    """

    claim_id: str
    promised_bytes: int
    since: float
    give_back: GivesBack
    fields: dict[str, Value]
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class HandedOver:
    """The transfers that proxies have of this process."""

    def __init__(self, *, clock: Callable[[], float], journal: Journal) -> None:
        self._clock = clock
        self._journal = journal
        self._by_id: dict[str, Row] = {}
        self._by_claim: dict[str, list[Row]] = {}

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._by_claim.values())

    def begin(self, claim_id: str, promised_bytes: int, give_back: GivesBack, fields: dict[str, Value]) -> str:
        """Note a transfer and return its id; empty where proxies have too many."""
        if len(self._by_id) >= ROWS_MAX:
            return ""
        row = Row(
            claim_id=claim_id, promised_bytes=promised_bytes, since=self._clock(), give_back=give_back, fields=fields
        )
        transfer_id = secrets.token_hex(16)
        self._by_id[transfer_id] = row
        self._by_claim.setdefault(claim_id, []).append(row)
        return transfer_id

    def take_line(self, line: ProxyLine) -> None:
        """Settle the transfer that a line of the proxy names; one that names none of ours, or one again, does nothing."""
        row = self._by_id.pop(line.transfer_id, None)
        if row is None:
            return
        sent = accel.sent_bytes(line, row.promised_bytes)
        if sent is None:
            self._end(row, "failed", 0, row.promised_bytes)
        else:
            back = row.promised_bytes - sent
            self._end(row, "broken" if back else COMPLETE, sent, back)

    def end_unknown(self, older_than_s: float) -> None:
        """End what was handed over so long ago and has no line: it stays spent, and its event says that nobody knows."""
        oldest = self._clock() - older_than_s
        for transfer_id, row in list(self._by_id.items()):  # in the order in which they began
            if row.since > oldest:
                return
            del self._by_id[transfer_id]
            self._end(row, "unknown", None, 0)

    def _end(self, row: Row, outcome: str, sent_bytes: int | None, back_bytes: int) -> None:
        self._journal.write("download", **row.fields, outcome=outcome, bytes=sent_bytes, by="proxy")
        if not back_bytes or not row.claim_id:
            self._forget(row)
            return
        # until then it is among the transfers: who asks for what is given back waits for it, and so does stopping
        # the proxy's kernel may have had some of it when the viewer left
        doubt = Doubt.UNACKED if sent_bytes else Doubt.NONE
        row.give_back(back_bytes, doubt).add_done_callback(lambda _: self._forget(row))

    def _forget(self, row: Row) -> None:
        of_claim = self._by_claim[row.claim_id]
        of_claim.remove(row)
        if not of_claim:
            del self._by_claim[row.claim_id]
        row.ended.set()

    def decided(self, record: Record, decide: Callable[[Mapping[str, int]], Admission]) -> Admission:
        """Decide a request beside what proxies have of the record's claims: BUSY where only that could make room for it.

        Args:
            record: of the link.
            decide: the rule; told, by claim, how many bytes are under way at proxies.
        """
        admission = decide({})
        running = {
            claim.claim_id: sum(row.promised_bytes for row in rows)
            for claim in record.claims
            if (rows := self._by_claim.get(claim.claim_id))
        }
        # CUT: there is enough to take from the transfers of this process
        if not running or admission.kind is Kind.CUT:
            return admission
        beside = decide(running)
        if beside.kind is not Kind.CUT:
            return beside
        return Admission(kind=Kind.BUSY, claim_id=beside.claim_id, reason=Reason.BUSY)

    async def until_one_ends(self, admission: Admission) -> bool:
        """Wait until a transfer is settled for which a request was told BUSY; False: none is within ``WAIT_MAX_S``."""
        rows = self._by_claim.get(admission.claim_id, ()) if admission.kind is Kind.BUSY and admission.claim_id else ()
        return await until_one_is_set([row.ended for row in rows], WAIT_MAX_S)

    async def drain(self, limit_s: float) -> None:
        """Wait for the lines of what proxies still send; what has none by then stays spent, and its end is unknown.

        To be called once no more is handed over: a second call finds nothing to wait for.
        """
        deadline = asyncio.get_running_loop().time() + limit_s
        try:
            async with asyncio.timeout_at(deadline):
                while self._by_claim:
                    row = next(iter(self._by_claim.values()))[0]
                    await row.ended.wait()
        except TimeoutError:
            self.end_unknown(0)
