"""A world in which everything goes wrong that can, around the real rules of a use: the harness of the simulations.

The real parts: ``uses/use.py`` and ``uses/edge_use.py``, records as JSON, and the talks of ``ledgers/claiming.py``. The simulated parts: a
ledger that loses answers before, after or long before the write, gateways that crash anywhere and whose clocks
differ, and the turns and the patience of ``LedgerRunner``. One seed is one history; a fault names what was broken.

Between a gateway and a viewer lies a network, as ``simulated_network.py`` has it: what was handed over may never be sent,
what was sent may never arrive, and what was acknowledged is the viewer's word. Some viewers lie.

Here are the world and downloads; ``upload_simulation.py`` has uploads.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TypeVar
from unittest import mock

from simulated_network import Line, Transfer, Viewer

from oncegate.ledgers import claiming
from oncegate.ledgers.claiming import Insert, Pause, Read, Replace
from oncegate.ledgers.protocol import Done, Gone, Stands, Swept, Unknown
from oncegate.links.refusal import Reason
from oncegate.uses import edge_use, use
from oncegate.uses import record as records
from oncegate.uses.delivered import Sent, Settlement, may_be_remembered, settlement_of
from oncegate.uses.record import Doubt, Record, from_json

T = TypeVar("T")
LINK = b"a link's 16 byte"
NOW_S = 1_767_290_400
FORGET_AFTER_S = NOW_S + 8 * 86_400
STEPS_MAX = 40_000
RULES = use.Rules()
NOT_KNOWN = use.Admission(kind=use.Kind.BUSY, reason=Reason.LEDGER_UNKNOWN)


class LossyLedger:
    """One link's record, and answers that get lost: before the write, after it, or with the write still to come."""

    def __init__(self, rnd: random.Random) -> None:
        self._rnd = rnd
        self._late: list[Insert | Replace] = []
        self._version = 0
        self._stands: Stands | None = None
        self._swept_until_s = 0
        self.lost_share = 0.15
        self.writes = 0
        self.largest_bytes = 0
        self.marks: set[str] = set()  # all that ever were stored
        self.faults: list[str] = []

    @property
    def record(self) -> Record | None:
        """What stands there."""
        return from_json(self._stands.record) if self._stands else None

    @property
    def is_swept(self) -> bool:
        """Whether the link's record may be gone."""
        return self._swept_until_s >= FORGET_AFTER_S

    def carry(self, step: Insert | Replace | Read) -> claiming.Outcome:
        """Do one step, or lose it."""
        if self._rnd.random() >= self.lost_share:
            return self._do(step)
        if not isinstance(step, Read):
            fate = self._rnd.randrange(3)
            if fate == 0:
                self._do(step)
            elif fate == 1:
                self._late.append(step)
        return Unknown("lost")

    def land_one(self) -> bool:
        """Let one lost write happen after all."""
        if self._late:
            self._do(self._late.pop(self._rnd.randrange(len(self._late))))
            return True
        return False

    def sweep(self, now_s: int) -> None:
        """Forget, as ``Sweeps.sweep`` does; ``now_s`` may be days wrong."""
        self._swept_until_s = max(self._swept_until_s, now_s)
        if self._swept_until_s >= FORGET_AFTER_S:
            self._stands = None

    def _do(self, step: Insert | Replace | Read) -> claiming.Outcome:
        if isinstance(step, Read):
            return self._stands or Gone()
        if isinstance(step, Insert):
            if self._stands:
                return self._stands
            if step.forget_after_s <= self._swept_until_s:
                return Swept()
        elif self._stands is None or self._stands.version != step.version:
            return self._stands or Gone()
        self._version += 1
        self.writes += 1
        self.largest_bytes = max(self.largest_bytes, len(step.record))
        self.marks.update(from_json(step.record).marks)
        if self._stands:
            self._watch_revoked(from_json(self._stands.record), from_json(step.record))
        self._stands = Stands(step.record, self._version)
        return Done(self._version)

    def _watch_revoked(self, before: Record, after: Record) -> None:
        """After revocation nothing may be promised any more, by whomever and however late it lands."""
        if not before.is_revoked:
            return
        charged = {claim.claim_id: _charged(claim) for claim in before.claims}
        grew = any(_charged(claim) > charged.get(claim.claim_id, -1) for claim in after.claims)
        leased = after.lease is not None and (before.lease is None or after.lease.claim_id != before.lease.claim_id)
        if not after.is_revoked or grew or leased:
            self.faults.append("a write after revocation promised something")


def as_read_before(text: bytes) -> bytes:
    """A record as the version before reads it: whatever stands behind ``over``, a claim is parallel."""
    document = json.loads(text)
    for claim in document.get("c", ()):
        claim[8:] = [1] if claim[8:] else []
    return json.dumps(document, separators=(",", ":")).encode()


def _charged(claim: records.Claim) -> float:
    return float("inf") if claim.size_bytes is None else claim.paid + claim.over


def may_lose_its_end(transfer: Transfer) -> bool:
    """One that ended gives back all of its rest itself: taken too, it would be given back twice."""
    return not transfer.has_left


def is_of_version(transfer: Transfer, etag: str) -> bool:
    """Promises of an object that was replaced meanwhile are settled by its size, which the new request never saw."""
    return transfer.etag == etag


@dataclass(eq=False)
class Gateway:
    """One process: its clock, its running transfers, and the turns of its ``LedgerRunner``."""

    name: str
    skew_s: int
    boots: int = 0
    running: list[Transfer] = field(default_factory=list)
    remembers_it: bool = False
    is_old: bool = False  # of the version before, which neither asks the kernel nor knows of doubt
    turns: deque[object] = field(default_factory=deque)

    @property
    def process(self) -> str:
        """As the record names it: four characters, others after a restart."""
        return f"{self.name}{self.boots:02d}"

    def takeable(self, claim_id: str, etag: str, span: tuple[int, int]) -> list[Transfer]:
        """Whose promises another request of the same holder may have: who would have to send the same, else all."""
        of_claim = [transfer for transfer in self.running if transfer.claim_id == claim_id]
        running = [transfer for transfer in of_claim if is_of_version(transfer, etag)]
        return [transfer for transfer in running if transfer.overlap(span)] or running

    def take(self, claim_id: str, wanted: int, etag: str, span: tuple[int, int]) -> int:
        """Take promises from the ends of running transfers; how many are then given back by whoever took them."""
        taken = 0
        for transfer in sorted(self.takeable(claim_id, etag, span), key=lambda t: t.overlap(span), reverse=True):
            if may_lose_its_end(transfer):
                part = min(transfer.unsent, wanted - taken)
                transfer.promised -= part
                taken += part
        return taken

    def restart(self) -> None:
        """Lose everything that was only in memory."""
        self.boots += 1
        self.running = []
        self.remembers_it = False
        self.turns = deque()


@dataclass(eq=False)
class Instance(Gateway):
    """One instance of the edge function: an event at a time, and what it remembers of answers that never came."""

    unanswered: tuple[str, ...] = ()

    def restart(self) -> None:
        """Another instance takes its place."""
        super().restart()
        self.unanswered = ()


Doing = Generator[claiming.Step | None, claiming.Outcome | None, object]


@dataclass(eq=False)
class Task:
    """Something that a gateway is doing."""

    gateway: Gateway
    doing: Doing
    answer: claiming.Outcome | None = None


class World:
    """Gateways, one ledger, one link, time, and a dice that decides who is next and what breaks."""

    def __init__(self, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.now_s = NOW_S
        self.ledger = LossyLedger(self.rnd)
        self.gateways = [Gateway(f"g{i}", self.rnd.choice((-2, 0, 2))) for i in range(3)]
        self.tasks: list[Task] = []
        self.can_crash = False
        self.crashes = 0
        self.is_revoked = False
        self._drawn = 0

    def draw(self, length: int) -> str:
        """A fresh id or mark of so many characters."""
        self._drawn += 1
        return f"{self._drawn:0{length}d}"

    def clock(self, gateway: Gateway) -> Callable[[], int]:
        """What a gateway takes for the time."""
        return lambda: self.now_s + gateway.skew_s

    def spawn(self, gateway: Gateway, doing: Doing) -> None:
        """Let a gateway do something."""
        self.tasks.append(Task(gateway, doing))

    def steps(self, count: int) -> None:
        """Let time pass."""
        for _ in range(count):
            if self.tasks:
                self._step()

    def abandon(self, gateway: Gateway) -> None:
        """What becomes of transfers whose process dies: the kernel goes on without it."""

    def rest(self) -> bool:
        """Go on until nothing is left to do, then let every lost write land."""
        self.steps(STEPS_MAX)
        is_at_rest = not self.tasks
        while self.ledger.land_one():
            pass
        return is_at_rest

    def become_fair(self) -> None:
        """From now on nothing is lost and nobody crashes."""
        self.can_crash = False
        self.ledger.lost_share = 0.0

    def _step(self) -> None:
        rnd = self.rnd
        task = rnd.choice(self.tasks)
        if rnd.random() < 0.15:
            self.ledger.land_one()
        try:
            step = task.doing.send(task.answer)
        except StopIteration:
            self.tasks.remove(task)
            return
        if step is None or isinstance(step, Pause):
            task.answer = None
        elif self.can_crash and rnd.random() < 0.01:
            if rnd.random() < 0.5:  # before the write, or after it and before its answer
                self.ledger.carry(step)
            self._crash(task.gateway)
            return
        else:
            task.answer = self.ledger.carry(step)
            if task.gateway.is_old and isinstance(task.answer, Stands):
                task.answer = replace(task.answer, record=as_read_before(task.answer.record))
        if self.can_crash and rnd.random() < 0.003:
            self._crash(task.gateway)
        if rnd.random() < 0.1:
            self.now_s += rnd.choice((0, 1, 5))

    def _crash(self, gateway: Gateway) -> None:
        self.crashes += 1
        self.abandon(gateway)
        for task in [task for task in self.tasks if task.gateway is gateway]:
            task.doing.close()
            self.tasks.remove(task)
        gateway.restart()


# What LedgerRunner does, with a number of tries in place of seconds.


def take_turn(world: World, turns: deque[object], patience: float) -> Generator[None, object, object | None]:
    """Wait until no other write about the link is under way in this gateway; None where patience ended first."""
    mine = object()
    turns.append(mine)
    while turns[0] is not mine:
        if patience <= 0:
            turns.remove(mine)
            return None
        patience -= 1
        yield None
    return mine


def claim(
    world: World,
    gateway: Gateway,
    decide: claiming.Decide,
    undo: Callable[[use.Admission], claiming.Talk[bool]],
    *,
    reads_first: bool = False,
) -> Generator[claiming.Step | None, claiming.Outcome, use.Admission]:
    """``LedgerRunner.claim``: in turn, and with a viewer who is sent away after some answers were lost."""
    turns = gateway.turns
    mine = yield from take_turn(world, turns, world.rnd.choice((5, 100)))
    if mine is None:
        return NOT_KNOWN
    talk = claiming.claim(LINK, FORGET_AFTER_S, decide, reads_first=reads_first)
    patience = world.rnd.choice((0, 1, 2))
    try:
        step = next(talk)
        while not isinstance(step, Pause) or patience > 0:
            patience -= isinstance(step, Pause)
            step = talk.send((yield step))
    except StopIteration as stop:
        turns.remove(mine)
        return stop.value
    world.spawn(gateway, go_on(talk, turns, mine, undo))
    return NOT_KNOWN


def go_on(
    talk: claiming.Talk[use.Admission],
    turns: deque[object],
    mine: object,
    undo: Callable[[use.Admission], claiming.Talk[bool]],
) -> Doing:
    """``LedgerRunner._claim_slowly``: the viewer is gone; what is won is given back in the same turn."""
    admission = yield from talk
    if admission.record is not None:
        yield from undo(admission)
    turns.remove(mine)


def run(world: World, gateway: Gateway, talk: claiming.Talk[object]) -> Doing:
    """``LedgerRunner.run``."""
    turns = gateway.turns
    mine = yield from take_turn(world, turns, float("inf"))
    yield from talk
    turns.remove(mine)


def revoke(world: World, gateway: Gateway) -> Doing:
    """The control API's revocation; from its answer on nothing new may be promised anywhere."""
    yield from run(world, gateway, claiming.insert_or_rewrite(LINK, FORGET_AFTER_S, use.revoke))
    world.is_revoked = True


# Downloads.


class DownloadWorld(World):
    """A world with an object of some size behind the link."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.size = self.rnd.choice((0, 1, 40, 1000, 1000))
        self.uses = self.rnd.choice((1, 1, 1, 3))
        self.etag = "e0000000"
        self.sizes: dict[str, int] = {}
        self.instances = [Instance("@", self.rnd.choice((-2, 0, 2))) for _ in range(2)]
        self.abandoned = 0
        self.given_up = 0  # give-backs that met eight new marks, and so may not know whether they had been written
        self.keeps_open = self.rnd.random() < 0.5  # a file that was replaced is still read to its end
        self.sent: Counter[str] = Counter()  # what was on the wire: whoever opened the link may have that
        self.reached: set[str] = set()  # claims of which at least a head was sent
        self.doubted: set[str] = set()
        self.ends: Counter[str] = Counter()
        self.slack_max = SLACK_MAX
        self.has_old = False
        self.receivers: defaultdict[str, set[Viewer]] = defaultdict(set)
        self.faults: list[str] = []

    def download(
        self, gateway: Gateway, viewer: Viewer, span: tuple[int, int] | None, *, leaves_after: int | None, fails: bool
    ) -> Doing:
        """A viewer request from look to settle; he leaves after some bytes, or the store fails at the first."""
        size, etag, cookie = self.size, self.etag, viewer.cookie
        if span is not None and span[1] > size:
            return  # 416: it was meant for what stood there before
        asked = span or (0, size)
        promised = asked[1] - asked[0]
        was_revoked = self.is_revoked

        def decide(record: Record | None) -> use.Admission:
            ids = [claim.claim_id for claim in record.claims] if record else []
            unsent = {id_: sum(other.unsent for other in gateway.takeable(id_, etag, asked)) for id_ in ids}
            ask = use.DownloadAsk(
                uses=self.uses,
                size_bytes=size,
                etag=etag,
                span=span,
                cookie=cookie,
                address=viewer.address,
                gateway=gateway.process,
                claim_id=self.draw(16),
                mark=self.draw(8),
                running=unsent,
                unended=frozenset(transfer.claim_id for transfer in gateway.running),
            )
            return use.admit_download(record, ask, self.now_s + gateway.skew_s, RULES)

        def undo(admission: use.Admission) -> claiming.Talk[bool]:
            return self.give_back(gateway, admission.claim_id, promised, size, etag)

        if gateway.remembers_it:
            self._judge_memory(decide)
            return
        admission = yield from claim(self, gateway, decide, undo)
        for _ in range(3):
            if admission.kind is not use.Kind.CUT:
                break
            taken = gateway.take(admission.claim_id, admission.cut_bytes, etag, asked)
            talk = self.give_back(gateway, admission.claim_id, taken, size, etag, is_parallel=True)
            yield from run(self, gateway, talk)
            admission = yield from claim(self, gateway, decide, undo)
        if admission.kind is not use.Kind.ADMIT:
            return
        if was_revoked:
            self.faults.append("a request that began after revocation was admitted")
        self.sizes.setdefault(admission.claim_id, size)
        transfer = Transfer(admission.claim_id, etag, asked[0], promised)
        gateway.running.append(transfer)
        sent = Sent(promised, 0, None, is_head_sent=False)
        if not fails:
            if viewer.keeps_cookies:
                viewer.cookie = admission.claim_id
            sent = yield from self._transfer(transfer, viewer, etag, leaves_after)
        transfer.has_left = True
        settlement = settlement_of(sent) if not gateway.is_old else settlement_before(transfer)
        transfer.handed = transfer.promised - settlement.back_bytes
        is_first = admission.mark == admission.claim_id
        gateway.remembers_it |= not gateway.is_old and may_be_remembered(
            sent, uses=self.uses, is_first_claim=is_first, is_whole=span is None
        )
        if settlement.is_due:
            if settlement.doubt:
                self.doubted.add(transfer.claim_id)
            back = settlement.back_bytes
            talk = self.give_back(gateway, admission.claim_id, back, size, etag, doubt=settlement.doubt)
            yield from run(self, gateway, talk)
        gateway.running.remove(transfer)

    def _judge_memory(self, decide: claiming.Decide) -> None:
        """A process that remembers a link as used must refuse nobody whom the rules would admit."""
        kind = decide(self.ledger.record).kind
        if kind in {use.Kind.ADMIT, use.Kind.CUT} and not self.ledger.is_swept:
            self.faults.append(f"memory: it refuses what the record would {kind.value}")

    def abandon(self, gateway: Gateway) -> None:
        """What the kernel was given goes out."""
        for transfer in gateway.running:
            if not transfer.has_left and transfer.handed:
                self.put_on_wire(transfer, transfer.handed)

    def put_on_wire(self, transfer: Transfer, until: int) -> None:
        """A head is sent, and bytes up to this one."""
        self.sent[transfer.claim_id] += max(0, until - transfer.wire)
        transfer.wire = max(until, transfer.wire)
        transfer.is_head_sent = True
        self.reached.add(transfer.claim_id)

    def download_at_edge(
        self, first: Instance, second: Instance, viewer: Viewer, *, fails: bool, is_repeated: bool
    ) -> Doing:
        """An event of viewer request and, where it was passed on, the bucket's answer and its event."""
        event = self.draw(edge_use.EVENT_CHARACTERS)
        was_revoked = self.is_revoked
        answers: list[use.Admission | None] = []

        def run_again(instance: Instance) -> Doing:
            answers.append((yield from self.run_at_edge(instance, viewer, event)))

        if is_repeated:
            self.abandoned += 1  # a run may be admitted whose answer nobody goes by
            self.spawn(second, run_again(second))
        answers.append((yield from self.run_at_edge(first, viewer, event)))
        for _ in range(self.rnd.choice((0, 50)) if is_repeated else 0):
            yield None
        admission = self.rnd.choice(answers)
        if admission is None or admission.kind is not use.Kind.ADMIT:
            return
        if was_revoked:
            self.faults.append("a request that began after revocation was admitted")
        claim_id = admission.claim_id
        self.sizes.setdefault(claim_id, self.size)
        if not fails:
            self.receivers[claim_id].add(viewer)
            self.reached.add(claim_id)
            self.sent[claim_id] += self.size
            viewer.got += self.size
            return
        yield None
        instance = self.rnd.choice(self.instances)
        talk = claiming.rewrite(LINK, FORGET_AFTER_S, lambda record: edge_use.give_back_whole(record, claim_id))
        is_back = yield from self.drive_at_edge(instance, talk)
        if is_back is None:
            self.abandoned += 1
        elif is_back and is_repeated and self.rnd.random() < 0.5:
            self.spawn(instance, self.run_too_late(instance, viewer, event))

    def run_too_late(self, instance: Instance, viewer: Viewer, event: str) -> Doing:
        """A run of an event whose use was given back; nobody goes by its answer, so it must take nothing."""
        admission = yield from self.run_at_edge(instance, viewer, event)
        if admission is not None and admission.kind is use.Kind.ADMIT:
            marks = self.ledger.record.marks if self.ledger.record else ()
            if len(marks) < records.MARKS_MAX:
                self.faults.append("edge: an event that was given back was admitted again")

    def run_at_edge(
        self, instance: Instance, viewer: Viewer, event: str
    ) -> Generator[claiming.Step | None, claiming.Outcome, use.Admission | None]:
        """One run of the function; None: it answered 503, and its instance remembers the claim."""
        mine = yield from take_turn(self, instance.turns, float("inf"))
        ask = edge_use.EdgeAsk(
            uses=self.uses, address=viewer.address, claim_id=event + self.draw(4), unanswered=instance.unanswered
        )
        has_run_before = False

        def decide(record: Record | None) -> use.Admission:
            nonlocal has_run_before
            has_run_before = has_run_before or ask.has_run_before(record)
            return edge_use.admit_whole(record, ask, self.now_s + instance.skew_s)

        talk = claiming.claim(LINK, FORGET_AFTER_S, decide)
        admission = yield from self.drive_at_edge(instance, talk)
        if admission is None:
            if not has_run_before:
                instance.unanswered = (*instance.unanswered, ask.claim_id)
            self.abandoned += 1
        elif admission.kind is use.Kind.ADMIT:
            instance.unanswered = ()
        instance.turns.remove(mine)
        return admission

    def drive_at_edge(
        self, instance: Instance, talk: claiming.Talk[T]
    ) -> Generator[claiming.Step | None, claiming.Outcome, T | None]:
        """Until it is known or the time is up; nothing goes on afterwards."""
        patience = self.rnd.choice((0, 1, 2))
        try:
            step = next(talk)
            while not isinstance(step, Pause) or patience > 0:
                patience -= isinstance(step, Pause)
                step = talk.send((yield step))
        except StopIteration as stop:
            found: T = stop.value
            return found
        talk.close()
        return None

    def give_back(
        self,
        gateway: Gateway,
        claim_id: str,
        back_bytes: int,
        size_bytes: int,
        etag: str,
        *,
        is_parallel: bool = False,
        doubt: Doubt = Doubt.NONE,
    ) -> claiming.Talk[bool]:
        """The talk that settles; its mark is drawn once."""
        what = claiming.GiveBack(
            LINK, FORGET_AFTER_S, claim_id, self.draw(8), back_bytes, size_bytes, etag, is_parallel, doubt
        )
        is_given = yield from claiming.give_back(what, self.clock(gateway))
        claims = () if self.ledger.record is None else self.ledger.record.claims
        if not is_given and what.mark not in self.ledger.marks and any(c.claim_id == claim_id for c in claims):
            self.given_up += 1
        return is_given

    def _transfer(
        self, transfer: Transfer, viewer: Viewer, etag: str, leaves_after: int | None
    ) -> Generator[None, object, Sent]:
        """Hand over, while the kernel sends what it has; then see how the connection ends."""
        rnd, whole = self.rnd, transfer.promised
        until = whole if leaves_after is None else min(leaves_after, whole)
        line = Line.drawn(rnd, viewer, whole)
        fails_at = whole if viewer.has_luck or rnd.random() < 0.95 else rnd.randint(0, whole)
        while transfer.handed < min(until, transfer.promised) and (self.etag == etag or self.keeps_open):
            if transfer.handed >= fails_at:
                break
            chunk = min(rnd.randint(1, max(1, self.size // 3)), min(until, transfer.promised) - transfer.handed)
            transfer.handed += chunk  # counted before it is handed over
            self._carry_some(transfer, viewer, line)
            yield None
        is_failed = transfer.handed < min(until, transfer.promised)
        for _ in range(0 if is_failed or transfer.promised < whole else rnd.randint(0, 3)):
            self._carry_some(transfer, viewer, line)  # all is handed over, and nobody knows yet what becomes of it
            yield None
        is_cut = transfer.promised < whole
        if is_failed or is_cut:
            # ended by the gateway, so nobody sees what the kernel still sends of it
            if transfer.handed:
                self._carry(transfer, viewer, transfer.handed)
        elif leaves_after is None and not line.is_broken:
            self._carry(transfer, viewer, whole)
        sent = line.account(rnd, transfer, viewer, leaves=leaves_after is not None, is_failed=is_failed, is_cut=is_cut)
        viewer.got += line.received
        self.ends[line.end] += 1
        return sent

    def _carry_some(self, transfer: Transfer, viewer: Viewer, line: Line) -> None:
        most = line.most(transfer)
        if most >= 0:
            self._carry(transfer, viewer, self.rnd.randint(min(transfer.wire, most), max(transfer.wire, most)))

    def _carry(self, transfer: Transfer, viewer: Viewer, until: int) -> None:
        self.put_on_wire(transfer, until)
        self.receivers[transfer.claim_id].add(viewer)

    @property
    def holders(self) -> set[str]:
        """Claims that gave somebody something: bytes, or the head of an object that has none."""
        return {claim_id for claim_id in self.reached if self.sent[claim_id] or self.sizes[claim_id] == 0}


def settlement_before(transfer: Transfer) -> Settlement:
    """What the version before settles: what was not handed over."""
    is_begun = transfer.handed > 0 or transfer.is_head_sent
    return Settlement(transfer.unsent, Doubt.NONE, is_due=transfer.unsent > 0 or not is_begun)


SLACK_MAX, SLACK_MAX_SMALL = 16 * 1024 * 1024, 300


def slack(size_bytes: int, most_bytes: int, *, is_doubted: bool = False) -> int:
    """The promises, said again: a rule must not be its own judge."""
    return min(most_bytes, size_bytes if is_doubted else size_bytes // 2)


def simulate_downloads(seed: int, *, has_old: bool = False, at_edge: float | None = None) -> DownloadWorld:
    """Live through one history of one download link; with ``has_old`` one gateway of three is of the version before.

    ``at_edge`` is the share of requests that come through CloudFront; left out, it is drawn.

    Objects have 1,000 bytes at most, so in every second history the most that may be sent again is smaller than usual.
    """
    world = DownloadWorld(seed)
    world.slack_max = SLACK_MAX_SMALL if seed % 2 else SLACK_MAX
    world.gateways[0].is_old = world.has_old = has_old
    with mock.patch.object(use, "SLACK_MAX_BYTES", world.slack_max):
        _live(world, at_edge)
        world.faults += _faults_of_downloads(world)
    return world


def _live(world: DownloadWorld, at_edge: float | None) -> None:
    rnd = world.rnd
    world.can_crash = rnd.random() < 0.5
    is_stressed = rnd.random() < 0.1
    if is_stressed:
        world.uses = rnd.choice((1, 1, 12))
    is_attack, is_swept, is_revoked, is_replaced = (rnd.random() < share for share in (0.5, 0.05, 0.15, 0.1))
    first, second = "203.0.113.178", rnd.choice(("203.0.113.178", "198.51.100.100", None))
    lie = rnd.choice(("", "", "drops its acknowledgements", "resets at the end"))
    viewers = [Viewer(first, rnd.random() < 0.5, lie=lie), Viewer(second, rnd.random() < 0.5, lie=lie)]
    # asks for parts at once, all at one gateway, and leaves most of them early
    is_manager = rnd.random() < 0.2
    drawn = rnd.choice((0.0, 0.0, 0.3, 1.0))
    at_edge = drawn if at_edge is None else at_edge
    for _ in range(rnd.randint(20, 50) if is_stressed else rnd.randint(2, 12)):
        gateway, viewer = rnd.choice(world.gateways[: 1 if is_manager else None]), rnd.choice(viewers)
        if rnd.random() < at_edge:
            first, second = rnd.sample(world.instances, 2)
            fails, is_repeated = rnd.random() < 0.3, rnd.random() < 0.2
            doing = world.download_at_edge(first, second, viewer, fails=fails, is_repeated=is_repeated)
            world.spawn(first, doing)
            world.steps(rnd.choice((0, 3, 30)))
            continue
        span, leaves_after = (_parts if is_manager else _attack if is_attack else _usual)(rnd, world.size)
        fails = rnd.random() < 0.2
        world.spawn(gateway, world.download(gateway, viewer, span, leaves_after=leaves_after, fails=fails))
        world.steps(rnd.choice((0, 3, 30)))
        if rnd.random() < 0.1:
            world.now_s += rnd.choice((10, 1000))
        if is_replaced and rnd.random() < 0.2:
            world.etag, world.size = f"e{world.draw(7)}", rnd.choice((world.size, 1, 40, 1000))
        if is_revoked and rnd.random() < 0.2:
            world.spawn(gateway, revoke(world, gateway))
        if is_swept and rnd.random() < 0.2:
            world.ledger.sweep(FORGET_AFTER_S + rnd.choice((-1, 0)))


def _usual(rnd: random.Random, size: int) -> tuple[tuple[int, int] | None, int | None]:
    spans = ((0, size), (size // 2, size), (0, size // 2), (size // 4, size // 2))
    leaves_after = rnd.choice((None, None, None, size // 2, 1))
    return _satisfiable(rnd.choice((None, None, *spans))), leaves_after


def _parts(rnd: random.Random, size: int) -> tuple[tuple[int, int] | None, int | None]:
    quarter = rnd.randrange(4)
    start, end = size * quarter // 4, rnd.choice((size, size * (quarter + 1) // 4))
    return _satisfiable((start, end)), rnd.choice((None, (end - start) // 2, (end - start) // 2, 1))


def _attack(rnd: random.Random, size: int) -> tuple[tuple[int, int] | None, int | None]:
    start = rnd.choice((0, 0, size // 3))
    leaves_after = rnd.choice((None, size - 1, size // 2, 1))
    return _satisfiable(rnd.choice((None, (start, size), (start, size - 1)))), leaves_after


def _satisfiable(span: tuple[int, int] | None) -> tuple[int, int] | None:
    return span if span and span[0] < span[1] else None


def _faults_of_downloads(world: DownloadWorld) -> list[str]:
    faults = [] if world.rest() else ["it does not come to rest"]
    faults += world.ledger.faults
    for claim_id, sent in world.sent.items():
        size = world.sizes[claim_id]
        if sent > size + slack(size, world.slack_max, is_doubted=claim_id in world.doubted):
            faults.append(f"bytes: one use gave {sent} of {size}")
        addresses = {viewer.address for viewer in world.receivers[claim_id]}
        if len(world.receivers[claim_id]) > 1 and (len(addresses) > 1 or None in addresses):
            faults.append("holder: two strangers had bytes of one use")
    holders = world.holders
    if len(holders) > world.uses:
        faults.append(f"holders: {len(holders)} of {world.uses} uses")
    if world.ledger.is_swept:
        return faults
    return faults + _faults_of_record(world, world.ledger.record or records.EMPTY)


def _faults_of_record(world: DownloadWorld, record: Record) -> list[str]:
    faults: list[str] = []
    holders = world.holders
    if record.uses < len(holders):
        faults.append(f"record: it says {record.uses} uses, and there were {len(holders)} holders")
    # what an instance of the edge never knew may stay spent, and so may what the version before handed over, and what
    # was to be given back while eight others wrote
    is_lost_by_design = world.crashes or world.abandoned or world.has_old or world.given_up
    if not is_lost_by_design and record.uses > len(holders):
        faults.append(f"lost: it says {record.uses} uses, and there were {len(holders)} holders, without a crash")
    for claim in record.claims:
        size = world.sizes.get(claim.claim_id, world.size)
        kept, sent = _kept(claim, size), world.sent[claim.claim_id]
        if kept < sent or (kept > sent and not is_lost_by_design):
            faults.append(f"record: a claim says {kept} bytes, and {sent} were sent, {world.crashes} crashes")
    if world.uses == 1 and world.ledger.largest_bytes >= 220:
        faults.append(f"size: a record of {world.ledger.largest_bytes} bytes")
    if not is_lost_by_design and len(holders) < world.uses and not record.is_revoked:
        world.become_fair()
        fresh = Viewer("192.0.2.9", keeps_cookies=True, has_luck=True)
        world.spawn(world.gateways[0], world.download(world.gateways[0], fresh, None, leaves_after=None, fails=False))
        if not world.rest() or fresh.got != world.size or len(world.holders) != len(holders) + 1:
            faults.append("lost: a use is left, and a fresh viewer does not get the object")
    return faults


def _kept(claim: records.Claim, size: int) -> int:
    return size if claim.size_bytes is None else claim.paid + claim.over
