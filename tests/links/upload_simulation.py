"""Uploads in the world of ``use_simulation``: leases, and a store whose answers are lost like the ledger's.

The lease only spares work, so here leases run out all the time. What makes an upload once is the store's condition where
the link is for one key, and the ledger where the holder chooses among several (docs/promises.md).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

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
from oncegate.uses import upload as use_upload
from oncegate.uses import use
from oncegate.uses.record import Record

KEYS = ("a", "b", "c")


class Store:
    """Where one object can stand. A commit's answer may be lost; whose object stands can always be seen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._late: list[tuple[str, str]] = []
        self.etag = ""
        self.stored_by = ""
        self.stored: list[str] = []

    def commit(self, claim_id: str, replaces: str) -> bool | None:
        """Put a staged object in place of that version only; None: nobody knows, and it may still happen."""
        lost_share = self._world.ledger.lost_share
        fate = self._world.rnd.random()
        if fate >= lost_share:
            return self._put(claim_id, replaces)
        if fate < lost_share / 3:
            self._put(claim_id, replaces)
        elif fate < 2 * lost_share / 3:
            self._late.append((claim_id, replaces))
        return None

    def land_all(self) -> None:
        """Let every lost commit happen after all; no request to a store takes an hour."""
        while self._late:
            self._put(*self._late.pop(0))

    def allows(self, replaces: str) -> bool:
        """The condition: what stands is the version that may be replaced; empty: nothing stands."""
        return self.etag == replaces

    def _put(self, claim_id: str, replaces: str) -> bool:
        if claim_id in self.stored:  # asked again after a lost answer: the staged object is gone, ours stood
            return True
        if not self.allows(replaces):
            return False
        self.stored.append(claim_id)
        self.etag, self.stored_by = f"v{len(self.stored):07d}", claim_id
        return True


def spends_first(world: UploadWorld) -> bool:
    """The rule for links to many keys: no store's condition counts their uses."""
    return world.is_any_key


class UploadWorld(World):
    """A world with a store, and a link that may put one object there, at one key or at any of several."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.is_any_key = self.rnd.random() < 0.5
        self.stores = {key: Store(self) for key in (KEYS if self.is_any_key else KEYS[:1])}
        self.may_replace = self.rnd.random() < 0.4
        self.uses = self.rnd.choice((1, 1, 3)) if self.may_replace or self.is_any_key else 1
        if self.may_replace and self.rnd.random() < 0.7:
            for store in self.stores.values():
                store.etag, store.stored_by = "v-before", "another link"
        # a clock that is far ahead gives leases that seem to run for hours
        if not self.is_any_key and self.rnd.random() < 0.3:
            self.gateways[2].skew_s = 9 * 3600
        self.placing = self.mistaken = 0
        self.answers: list[int] = []
        self.faults: list[str] = []

    @property
    def stored(self) -> list[str]:
        """Whose objects were stored, at any key."""
        return [claim_id for store in self.stores.values() for claim_id in store.stored]

    def upload(self, gateway: Gateway, *, breaks_after: int | None, key: str | None = None) -> Doing:
        """A PUT from look to the write that says that it stands."""
        key = key or self.rnd.choice(list(self.stores))
        stands, was_revoked = self.stores[key].etag, self.is_revoked
        if stands and not self.may_replace:
            return 412
        ask = use_upload.UploadAsk(
            uses=self.uses,
            may_replace=self.may_replace,
            stands=stands,
            claim_id=self.draw(16),
            is_any_key=self.is_any_key,
        )
        admission = yield from self._claim(gateway, ask)
        if admission.kind is not use.Kind.ADMIT:
            return 503
        if was_revoked:
            self.faults.append("a request that began after revocation was admitted")
        if (admission.replaces or "") != stands:
            yield from run(self, gateway, _let_go(ask.claim_id))
            return 412
        if not (yield from self._receive(gateway, ask.claim_id, breaks_after)):
            yield from run(self, gateway, _let_go(ask.claim_id))
            return 400
        if spends_first(self):
            return (yield from self._spend_and_place(gateway, ask, key, admission.replaces or ""))
        return (yield from self._place_and_spend(gateway, ask.claim_id, key, admission.replaces or ""))

    def _claim(self, gateway: Gateway, ask: use_upload.UploadAsk) -> Generator[Any, Any, use.Admission]:
        """Take the lease; where an upload is unknown since long ago, look whether its object stands, and ask again."""

        def decide(record: Record | None) -> use.Admission:
            return use_upload.admit_upload(record, ask, self.now_s + gateway.skew_s, RULES)

        while True:
            admission = yield from claim(self, gateway, decide, lambda admission: _let_go(admission.claim_id))
            unknown = admission.unknown
            if unknown is None:
                return admission
            stands = self.stores[unknown.object_key].etag
            end = use_upload.not_placed if stands == unknown.replaces else use_upload.placed
            # another upload stored at that key meanwhile: nobody can tell, so the use stays spent
            self.mistaken += end is use_upload.placed and unknown.claim_id not in self.stored
            yield from run(self, gateway, _rewrite(lambda record, end=end, of=unknown: end(record, of.claim_id)))

    def _receive(
        self, gateway: Gateway, claim_id: str, breaks_after: int | None
    ) -> Generator[claiming.Step | None, claiming.Outcome | None, bool]:
        for chunk in range(self.rnd.randint(1, 8)):
            yield None
            if breaks_after is not None and chunk >= breaks_after:
                return False
            if self.rnd.random() < 0.3:
                now_s = self.now_s + gateway.skew_s
                talk = _rewrite(lambda record, now_s=now_s: use_upload.renew_lease(record, claim_id, now_s, RULES))
                yield from run(self, gateway, talk)
        return True

    def _place_and_spend(self, gateway: Gateway, claim_id: str, key: str, replaces: str) -> Doing:
        """One key: the store's condition first, then the ledger."""
        store = self.stores[key]
        while (is_stored := store.commit(claim_id, replaces)) is None:
            yield None
        etag = store.etag
        yield None
        if not is_stored:
            yield from run(self, gateway, _let_go(claim_id))
            return 412
        yield from run(self, gateway, _rewrite(lambda record: use_upload.upload_stored(record, claim_id, etag)))
        self.answers.append(200)
        return 200

    def _spend_and_place(self, gateway: Gateway, ask: use_upload.UploadAsk, key: str, replaces: str) -> Doing:
        """Many keys: the ledger first, then the store, and back where the store refused."""

        def decide(record: Record | None) -> use.Admission:
            return use_upload.admit_placing(record, ask, key, self.draw(8), self.now_s + gateway.skew_s)

        def undo(_: use.Admission) -> claiming.Talk[bool]:
            return _rewrite(lambda record: use_upload.not_placed(record, ask.claim_id))

        self.placing += 1
        try:
            admission = yield from claim(self, gateway, decide, undo, reads_first=True)
            if admission.kind is not use.Kind.ADMIT:
                yield from run(self, gateway, _let_go(ask.claim_id))
                return 409
            is_stored = self.stores[key].commit(ask.claim_id, replaces)
            yield None
        finally:
            self.placing -= 1
        if is_stored is None:
            return 502  # whoever comes an hour later looks
        end = use_upload.placed if is_stored else use_upload.not_placed
        yield from run(self, gateway, _rewrite(lambda record: end(record, ask.claim_id)))
        if is_stored:
            self.answers.append(200)
        return 200 if is_stored else 412

    def pass_an_hour(self) -> None:
        """Let so much time pass that no request to a store is under way any more."""
        if not self.placing:  # as long as no process was stopped between taking a use and asking the store
            for store in self.stores.values():
                store.land_all()
            self.now_s += use_upload.UNKNOWN_FOR_S + 10


def _rewrite(change: Callable[[Record], Record | None]) -> claiming.Talk[bool]:
    return claiming.rewrite(LINK, FORGET_AFTER_S, change)


def _let_go(claim_id: str) -> claiming.Talk[bool]:
    return _rewrite(lambda record: use_upload.upload_failed(record, claim_id))


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
        if rnd.random() < 0.1:
            world.pass_an_hour()
        if is_revoked and rnd.random() < 0.2:
            world.spawn(gateway, revoke(world, gateway))
        if is_swept and rnd.random() < 0.2:
            world.ledger.sweep(FORGET_AFTER_S)
    world.faults += _faults_of_uploads(world)
    return world


def _faults_of_uploads(world: UploadWorld) -> list[str]:
    faults = [] if world.rest() else ["it does not come to rest"]
    world.pass_an_hour()
    faults += world.ledger.faults
    stored = len(world.stored)
    if stored > world.uses:
        faults.append(f"stored: {stored} objects by {world.uses} uses")
    if world.crashes == 0 and len(world.answers) != stored and not world.is_any_key:
        faults.append(f"answers: {len(world.answers)} viewers heard 200, and {stored} objects were stored")
    if len(world.answers) > stored:
        faults.append(f"answers: {len(world.answers)} viewers heard 200, and {stored} objects were stored")
    if world.ledger.is_swept:
        return faults
    record = world.ledger.record or records.EMPTY
    known = record.uses - len(record.placing)
    if known > stored + world.mistaken:
        faults.append(f"lost: {known} uses were spent, and {stored} objects were stored")
    if record.uses < stored and (world.crashes == 0 or world.is_any_key):
        faults.append(f"stored: {stored} objects, and {record.uses} uses were spent")
    if world.uses == 1 and world.ledger.largest_bytes >= 220:
        faults.append(f"size: a record of {world.ledger.largest_bytes} bytes")
    if record.is_revoked or (stored and world.crashes and not world.is_any_key) or stored == world.uses:
        return faults
    return faults + _faults_of_the_next(world, stored)


def _faults_of_the_next(world: UploadWorld, stored: int) -> list[str]:
    """A use is left: after the lease, and an hour after whatever is unknown, a fresh upload must succeed."""
    world.become_fair()
    world.now_s += RULES.lease_s + 5
    free = [key for key, store in world.stores.items() if world.may_replace or not store.etag]
    if not free:
        return []
    world.spawn(world.gateways[0], world.upload(world.gateways[0], breaks_after=None, key=free[0]))
    is_at_rest = world.rest()
    if stored + world.mistaken < world.uses and not (is_at_rest and len(world.stored) == stored + 1):
        return ["lost: after the lease a use is left, and a fresh upload does not succeed"]
    return []
