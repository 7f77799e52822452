"""Uploads in the world of ``use_simulation``: leases, and a store whose answers are lost like the ledger's.

The lease only spares work; what makes an upload once is the store's condition (docs/promises.md), so here leases run
out all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from use_simulation import (  # in sys.modules by conftest.py
    FORGET_AFTER_S,
    LINK,
    RULES,
    Doing,
    Gateway,
    World,
    claim,
    revoke,
    run,
)

from oncegate.ledgers import claiming
from oncegate.uses import record as records
from oncegate.uses import upload, use
from oncegate.uses.record import Record


class Store:
    """Where one object can stand. A commit's answer may be lost; whose object stands can always be seen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.etag = ""
        self.stored_by = ""
        self.stored: list[str] = []

    def commit(self, claim_id: str, replaces: str) -> bool | None:
        """Put a staged object in place of that version only; None: nobody knows."""
        fate = self._world.rnd.random()
        if fate < 2 * self._world.ledger.lost_share / 3:
            if fate < self._world.ledger.lost_share / 3:
                self._put(claim_id, replaces)
            return None
        return self._put(claim_id, replaces)

    def allows(self, replaces: str) -> bool:
        """The condition: what stands is the version that may be replaced; empty: nothing stands."""
        return self.etag == replaces

    def _put(self, claim_id: str, replaces: str) -> bool:
        if self.stored_by == claim_id:  # asked again after a lost answer: the staged object is gone, ours stands
            return True
        if not self.allows(replaces):
            return False
        self.stored.append(claim_id)
        self.etag, self.stored_by = f"v{len(self.stored):07d}", claim_id
        return True


class UploadWorld(World):
    """A world with a store, and a link that may put one object there."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.store = Store(self)
        self.may_replace = self.rnd.random() < 0.4
        self.uses = self.rnd.choice((1, 1, 3)) if self.may_replace else 1
        if self.may_replace and self.rnd.random() < 0.7:
            self.store.etag, self.store.stored_by = "v-before", "another link"
        self.answers: list[int] = []
        self.faults: list[str] = []

    def upload(self, gateway: Gateway, *, breaks_after: int | None) -> Doing:
        """A PUT from look to ``upload_stored``."""
        stands, was_revoked = self.store.etag, self.is_revoked
        if stands and not self.may_replace:
            return 412

        def decide(record: Record | None) -> use.Admission:
            ask = upload.UploadAsk(uses=self.uses, may_replace=self.may_replace, stands=stands, claim_id=self.draw(16))
            return upload.admit_upload(record, ask, self.now_s + gateway.skew_s, RULES)

        def undo(admission: use.Admission) -> claiming.Talk[bool]:
            return _rewrite(lambda record: upload.upload_failed(record, admission.claim_id))

        admission = yield from claim(self, gateway, decide, undo)
        if admission.kind is not use.Kind.ADMIT:
            return 503
        if was_revoked:
            self.faults.append("a request that began after revocation was admitted")
        claim_id = admission.claim_id
        if not (yield from self._receive(gateway, claim_id, breaks_after)):
            yield from run(self, gateway, undo(admission))
            return 400
        while (is_stored := self.store.commit(claim_id, admission.replaces or "")) is None:
            yield None
        etag = self.store.etag
        yield None
        if not is_stored:
            yield from run(self, gateway, undo(admission))
            return 412
        yield from run(self, gateway, _rewrite(lambda record: upload.upload_stored(record, claim_id, etag)))
        self.answers.append(200)
        return 200

    def _receive(
        self, gateway: Gateway, claim_id: str, breaks_after: int | None
    ) -> Generator[claiming.Step | None, claiming.Outcome | None, bool]:
        for chunk in range(self.rnd.randint(1, 8)):
            yield None
            if breaks_after is not None and chunk >= breaks_after:
                return False
            if self.rnd.random() < 0.3:
                now_s = self.now_s + gateway.skew_s
                talk = _rewrite(lambda record, now_s=now_s: upload.renew_lease(record, claim_id, now_s, RULES))
                yield from run(self, gateway, talk)
        return True


def _rewrite(change: Callable[[Record], Record | None]) -> claiming.Talk[bool]:
    return claiming.rewrite(LINK, FORGET_AFTER_S, change)


def simulate_uploads(seed: int) -> UploadWorld:
    """Live through one history of one upload link."""
    world = UploadWorld(seed)
    rnd = world.rnd
    world.can_crash = rnd.random() < 0.5
    is_swept, is_revoked = (rnd.random() < share for share in (0.05, 0.1))
    for _ in range(rnd.randint(1, 8)):
        gateway = rnd.choice(world.gateways)
        world.spawn(gateway, world.upload(gateway, breaks_after=rnd.choice((None, None, 1))))
        world.steps(rnd.choice((0, 3, 25)))
        if rnd.random() < 0.25:
            world.now_s += rnd.choice((10, 70))
        if is_revoked and rnd.random() < 0.2:
            world.spawn(gateway, revoke(world, gateway))
        if is_swept and rnd.random() < 0.2:
            world.ledger.sweep(FORGET_AFTER_S)
    world.faults += _faults_of_uploads(world)
    return world


def _faults_of_uploads(world: UploadWorld) -> list[str]:
    faults = [] if world.rest() else ["it does not come to rest"]
    faults += world.ledger.faults
    stored = len(world.store.stored)
    if stored > world.uses:
        faults.append(f"stored: {stored} objects by {world.uses} uses")
    if len(world.answers) != stored and world.crashes == 0:
        faults.append(f"answers: {len(world.answers)} viewers heard 200, and {stored} objects were stored")
    if world.ledger.is_swept:
        return faults
    record = world.ledger.record or records.EMPTY
    if record.uses > stored:
        faults.append(f"lost: {record.uses} uses were spent, and {stored} objects were stored")
    if record.uses < stored and world.crashes == 0:
        faults.append(f"stored: {stored} objects, and {record.uses} uses were spent, without a crash")
    if world.uses == 1 and world.ledger.largest_bytes >= 220:
        faults.append(f"size: a record of {world.ledger.largest_bytes} bytes")
    if record.is_revoked or (stored and world.crashes) or stored == world.uses:
        return faults
    world.become_fair()
    world.now_s += RULES.lease_s + 5
    world.spawn(world.gateways[0], world.upload(world.gateways[0], breaks_after=None))
    if not world.rest() or len(world.store.stored) != stored + 1:
        faults.append("lost: after the lease a use is left, and a fresh upload does not succeed")
    return faults
