"""The use of one upload: its lease, and the writes that take the use and give it back. The rules are in uses/upload.py.

A link to one key: the object is stored first, then the use is taken. The other way round a crash between the two would
leave a used link and no object; this way the link opens again after its lease, and gets 412 while the object stands.

A link to many keys: the use is taken first, then the object is stored, and the use is given back where the store is
known to have refused. After a crash, or where the store did not say, whoever comes an hour later looks at the key.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator

from oncegate.gateway.parts import Parts, fresh_claim_id, fresh_mark
from oncegate.gateway.records import record_of
from oncegate.ledgers.claiming import Talk, rewrite
from oncegate.ledgers.protocol import forget_after
from oncegate.ledgers.runner import WAIT_MAX_S
from oncegate.links.grant import Grant
from oncegate.links.refusal import Reason, Refused
from oncegate.uses.record import PLACING_MAX, Placing, Record
from oncegate.uses.upload import (
    UploadAsk,
    admit_placing,
    admit_upload,
    not_placed,
    placed,
    renew_lease,
    upload_failed,
    upload_stored,
)
from oncegate.uses.use import Admission, Kind


async def refusal_where_stands(parts: Parts, grant: Grant) -> Reason:
    """Why a PUT is refused where an object stands that the link may not replace; one read, no write.

    Whoever sends a second file through a used link is told so, whether or not the first one's object is still there.

    Returns:
        USED, REVOKED; OBJECT_STANDS of a link that has a use left.

    Raises:
        Refused: LEDGER_UNKNOWN.
    """
    if not grant.is_counted:
        return Reason.OBJECT_STANDS
    record = await record_of(parts, grant)
    ask = UploadAsk(uses=grant.uses, may_replace=False, stands="", claim_id="", is_any_key=grant.is_any_key)
    reason = admit_upload(record, ask, parts.now_s(), parts.rules).reason
    return Reason.OBJECT_STANDS if reason is None or reason is Reason.UPLOAD_RUNNING else reason


class UploadUse:
    """One upload's dealings with the ledger; of a link that is not counted it has none.

    Args:
        parts: of the gateway.
        grant: the link.
        stands: ETag of the object at the key; empty where there is none.
    """

    def __init__(self, parts: Parts, grant: Grant, stands: str) -> None:
        self._parts = parts
        self._grant = grant
        self._ask = UploadAsk(
            uses=grant.uses,
            may_replace=grant.limits.may_replace,
            stands=stands,
            claim_id=fresh_claim_id(),
            is_any_key=grant.is_any_key,
        )
        self.replaces: str = stands if grant.limits.may_replace else ""
        """ETag of the object that this upload may take the place of; empty: of none."""

    @property
    def claim_id(self) -> str:
        """Name of the upload among the transfers of this process."""
        return self._ask.claim_id

    async def claim(self) -> None:
        """Take the lease.

        Raises:
            Refused: USED, REVOKED, UPLOAD_RUNNING, LEDGER_UNKNOWN, FORGOTTEN; OBJECT_STANDS: what stands is no longer
                the version that the link may replace.
        """
        if not self._grant.is_counted:
            return
        admission = await self._ask_ledger(self._admit, undo=self._let_go)
        for _ in range(PLACING_MAX):
            if admission.unknown is None:
                break
            await self._find_out(admission.unknown)
            admission = await self._ask_ledger(self._admit, undo=self._let_go)
        self._parts.meters.claim(admission.kind.value)
        _must_be_admitted(admission)
        # the link's first claim saw another version: what somebody else put there since is not this link's to replace
        if (admission.replaces or "") != self._ask.stands:
            self.let_go()
            raise Refused(Reason.OBJECT_STANDS)

    @contextlib.contextmanager
    def kept(self) -> Generator[None]:
        """Renew the lease while the block runs, whether or not bytes come: the upload lives until it ends or is cut."""
        renewing = asyncio.ensure_future(self._renew_for_ever()) if self._grant.is_counted else None
        try:
            yield
        finally:
            if renewing is not None:
                renewing.cancel()

    async def take_before_placing(self) -> None:
        """Take the use of a link to many keys, now that the body is whole and right.

        Raises:
            Refused: UPLOAD_RUNNING: another upload has the lease by now; USED, REVOKED, LEDGER_UNKNOWN.
        """
        if not self._takes_first:
            return
        mark = fresh_mark()

        def decide(record: Record | None) -> Admission:
            return admit_placing(record, self._ask, self._grant.object_key, mark, self._parts.now_s())

        _must_be_admitted(await self._ask_ledger(decide, undo=self._not_placed, reads_first=True))

    def give_back(self) -> None:
        """Give back what ``take_before_placing`` took: the store is known to have refused."""
        if self._takes_first:
            self._in_background(self._not_placed())

    async def stored(self, etag: str) -> None:
        """Note that the object stands; the talk goes on until that is known, and nobody waits for it longer than usual."""
        if not self._grant.is_counted:
            return
        claim_id = self._ask.claim_id
        noting = self._rewrite(
            (lambda record: placed(record, claim_id))
            if self._takes_first
            else (lambda record: upload_stored(record, claim_id, etag))
        )
        await asyncio.wait({self._in_background(noting)}, timeout=WAIT_MAX_S)

    def let_go(self) -> None:
        """End the lease, so that the link does not answer 409 until it runs out."""
        if self._grant.is_counted:
            self._in_background(self._let_go())

    @property
    def _takes_first(self) -> bool:
        return self._grant.is_counted and self._grant.is_any_key

    def _admit(self, record: Record | None) -> Admission:
        return admit_upload(record, self._ask, self._parts.now_s(), self._parts.rules)

    async def _find_out(self, unknown: Placing) -> None:
        """Look whether an upload of which nothing was heard for an hour was stored, and note it.

        Raises:
            Refused: LEDGER_UNKNOWN.
            StoreFault: the store cannot be asked.
        """
        opened = await self._parts.store.look(unknown.object_key)
        stands = ""
        if opened is not None:
            stands = opened.info.etag
            await opened.aclose()
        end = not_placed if stands == unknown.replaces else placed
        noting = self._in_background(self._rewrite(lambda record: end(record, unknown.claim_id)))
        await asyncio.wait({noting}, timeout=WAIT_MAX_S)
        if not noting.done():
            raise Refused(Reason.LEDGER_UNKNOWN)

    async def _renew_for_ever(self) -> None:
        rules = self._parts.rules
        while True:
            await asyncio.sleep(rules.lease_s / 3)  # a third: two renewals may fail before another upload is let in
            renewing = self._rewrite(
                lambda record: renew_lease(record, self._ask.claim_id, self._parts.now_s(), self._parts.rules)
            )
            await asyncio.wait({self._in_background(renewing)})

    async def _ask_ledger(
        self, decide: Callable[[Record | None], Admission], *, undo: Callable[[], Talk[bool]], reads_first: bool = False
    ) -> Admission:
        return await self._parts.runner.claim(
            self._grant.link_id,
            forget_after(self._grant.expires_s),
            decide,
            undo=lambda _: undo(),
            reads_first=reads_first,
        )

    def _in_background(self, talk: Talk[bool]) -> asyncio.Task[object]:
        return self._parts.runner.run_in_background(self._grant.link_id, talk)

    def _not_placed(self) -> Talk[bool]:
        return self._rewrite(lambda record: not_placed(record, self._ask.claim_id))

    def _let_go(self) -> Talk[bool]:
        return self._rewrite(lambda record: upload_failed(record, self._ask.claim_id))

    def _rewrite(self, change: Callable[[Record], Record | None]) -> Talk[bool]:
        return rewrite(self._grant.link_id, forget_after(self._grant.expires_s), change)


def _must_be_admitted(admission: Admission) -> None:
    if admission.kind is not Kind.ADMIT:
        raise Refused(admission.reason or Reason.BUSY)
