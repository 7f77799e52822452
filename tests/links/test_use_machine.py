"""Any sequence of requests, partial deliveries, settlements and clock steps keeps the bounds; hypothesis looks for one."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from oncegate.uses.record import EMPTY, Doubt, Record, from_json, to_json
from oncegate.uses.use import DownloadAsk, Kind, Rules, admit_download, revoke, settle


class Flying(NamedTuple):
    """A transfer that was admitted and has not ended."""

    claim_id: str
    mark: str
    promised: int


class Uses(RuleBasedStateMachine):
    """One link, one object, and a ledger that always answers; the simulation has one that does not."""

    @initialize(size=st.sampled_from([1, 2, 7, 100]), uses=st.integers(1, 3))
    def start(self, size: int, uses: int) -> None:
        """Nothing stands in the ledger."""
        self.size, self.uses, self.now_s, self.drawn = size, uses, 1_000, 0
        self.record: Record | None = None
        self.flying: list[Flying] = []
        self.sent: Counter[str] = Counter()
        self.doubted: set[str] = set()

    def write(self, record: Record) -> None:
        """Through JSON, as every ledger does."""
        self.record = from_json(to_json(record))
        assert self.record == record

    @rule(
        first=st.integers(0, 99),
        length=st.integers(1, 100),
        whole=st.booleans(),
        address=st.sampled_from(["192.0.2.1", "192.0.2.2", None]),
        which_cookie=st.integers(0, 3),
        gateway=st.sampled_from("gh"),
        knows_running=st.booleans(),
    )
    def get(
        self,
        *,
        first: int,
        length: int,
        whole: bool,
        address: str | None,
        which_cookie: int,
        gateway: str,
        knows_running: bool,
    ) -> None:
        """Somebody asks for something, with a cookie of some claim or none."""
        first %= self.size
        self.drawn += 1
        claims = self.record.claims if self.record else ()
        running: Counter[str] = Counter()
        for flying in self.flying if knows_running else ():
            running[flying.claim_id] += flying.promised
        ask = DownloadAsk(
            uses=self.uses,
            size_bytes=self.size,
            etag="e",
            span=None if whole else (first, min(self.size, first + length)),
            cookie=claims[which_cookie % len(claims)].claim_id if which_cookie and claims else None,
            address=address,
            gateway=gateway,
            claim_id=f"C{self.drawn}",
            mark=f"m{self.drawn}",
            running=running,
        )
        admission = admit_download(self.record, ask, self.now_s, Rules())
        assert (admission.record is not None) == (admission.kind is Kind.ADMIT)
        if admission.record is not None:
            self.write(admission.record)
            self.flying.append(Flying(admission.claim_id, f"s{self.drawn}", ask.asked_bytes))
        if admission.kind is Kind.CUT:
            self.take(admission.claim_id, admission.cut_bytes)

    def take(self, claim_id: str, wanted: int) -> None:
        """Take promises from running transfers, as the gateway does for another request of their holder."""
        taken = 0
        for i, flying in enumerate(self.flying):
            if flying.claim_id == claim_id:
                part = min(flying.promised, wanted - taken)
                self.flying[i] = flying._replace(promised=flying.promised - part)
                taken += part
        assert 0 < taken == wanted
        self.settle(claim_id, f"t{self.drawn}", taken, is_parallel=True)
        self.flying = [flying for flying in self.flying if flying.promised]

    def settle(
        self, claim_id: str, mark: str, back_bytes: int, *, is_parallel: bool = False, doubt: Doubt = Doubt.NONE
    ) -> None:
        """Give back."""
        settled = settle(
            self.record or EMPTY,
            claim_id=claim_id,
            mark=mark,
            back_bytes=back_bytes,
            size_bytes=self.size,
            etag="e",
            now_s=self.now_s,
            is_parallel=is_parallel,
            doubt=doubt,
        )
        if settled is not None:
            self.write(settled)

    @rule(which=st.integers(0, 50), sent=st.integers(0, 100), twice=st.booleans(), doubt=st.sampled_from(Doubt))
    def end(self, *, which: int, sent: int, twice: bool, doubt: Doubt) -> None:
        """A transfer ends, whole, broken or in doubt, as the viewer's machine says; its settlement may be done twice."""
        if not self.flying:
            return
        flying = self.flying.pop(which % len(self.flying))
        sent = min(sent, flying.promised)
        if sent:
            self.sent[flying.claim_id] += sent
        else:
            doubt = Doubt.NONE
        if doubt:
            self.doubted.add(flying.claim_id)
        for _ in range(1 + twice if sent < flying.promised or doubt else 0):
            self.settle(flying.claim_id, flying.mark, flying.promised - sent, doubt=doubt)

    @rule(seconds=st.sampled_from([-2, 1, 900, 901]))
    def tick(self, seconds: int) -> None:
        """Clocks differ by a little, and windows close."""
        self.now_s += seconds

    @rule(really=st.integers(0, 9))
    def revocation(self, really: int) -> None:
        """Now and then the link is revoked."""
        revoked = revoke(self.record) if really == 0 else None
        if revoked is not None:
            self.write(revoked)

    @invariant()
    def no_use_gives_more_than_size_and_slack(self) -> None:
        """Whatever is asked, cut or overlapped; and never more than twice the size where an end was in doubt."""
        assert all(sent <= self.size + self.slack(claim_id) for claim_id, sent in self.sent.items())

    def slack(self, claim_id: str) -> int:
        """How much of it may be sent again, said once more: a rule must not be its own judge."""
        return self.size if claim_id in self.doubted else self.size // 2

    @invariant()
    def holders_are_counted_exactly(self) -> None:
        """Never fewer uses than holders; and none lost once nothing is in flight."""
        counted = self.record.uses if self.record else 0
        assert len(self.sent) <= counted <= self.uses
        if not self.flying:
            assert counted == len(self.sent)

    @invariant()
    def the_two_numbers_stay_in_their_bounds(self) -> None:
        """And they say what was sent and promised, to the byte."""
        for claim in self.record.claims if self.record else ():
            promised = sum(flying.promised for flying in self.flying if flying.claim_id == claim.claim_id)
            kept = self.size if claim.size_bytes is None else claim.paid + claim.over
            assert kept == self.sent[claim.claim_id] + promised
            assert 0 <= claim.paid <= self.size
            assert 0 <= claim.over <= self.slack(claim.claim_id)


TestUses = Uses.TestCase
TestUses.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
