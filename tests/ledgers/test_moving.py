"""A ledger moved into another while links are opened: nothing is used twice, and nothing that was used comes back."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oncegate.ledgers import claiming
from oncegate.ledgers.markers import marker_of
from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.moving import MovingLedger, copy
from oncegate.ledgers.opening import create_ledger, open_ledger
from oncegate.ledgers.protocol import (
    FORGET_NEVER_S,
    Done,
    Gone,
    InsertOutcome,
    Ledger,
    LedgerUnfit,
    ReadOutcome,
    ReplaceOutcome,
    Stands,
    Unknown,
    Version,
)
from oncegate.ledgers.runner import LedgerRunner
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.ledger_suite import CheckSkipped, LedgerSuite
from oncegate.testing.raw_http import ask
from oncegate.uses.record import EMPTY, Record, RecordUnreadable, from_json
from oncegate.uses.use import Admission, Kind

HISTORIES = 300
LINKS = 4
USES = 2


class Jittery(MemoryLedger):
    """A ledger whose calls come in any order, and lose some answers after the write was made."""

    def __init__(self, seed: int) -> None:
        super().__init__(born_ms=0)
        self._drawn = random.Random(seed)

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Insert, some time; the answer may be lost."""
        return await self._late(lambda: MemoryLedger.insert(self, link_id, record, forget_after_s))

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Replace, some time; the answer may be lost."""
        return await self._late(lambda: MemoryLedger.replace(self, link_id, version, record, forget_after_s))

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Read, some time."""
        return await self._late(lambda: MemoryLedger.read(self, link_id))

    async def _late(self, call: Callable[[], Awaitable[Any]]) -> Any:
        for _ in range(self._drawn.randrange(6)):
            await asyncio.sleep(0)
        outcome = await call()
        for _ in range(self._drawn.randrange(6)):
            await asyncio.sleep(0)
        return Unknown("lost") if self._drawn.random() < 0.05 else outcome


def taking(mark: str) -> claiming.Decide:
    """The rule of a link that opens twice: one more use while there is one."""

    def decide(record: Record | None) -> Admission:
        before = record or EMPTY
        if before.uses >= USES:
            return Admission(kind=Kind.REFUSE)
        after = before._replace(uses=before.uses + 1, marks=(*before.marks, mark)[-8:])
        return Admission(kind=Kind.ADMIT, record=after, mark=mark)

    return decide


async def claim(ledger: Ledger, link_id: bytes, mark: str) -> bool:
    """Drive a claim to its end; whether it was won. To an old gateway a marker is a record that it cannot read."""
    talk = claiming.claim(link_id, FORGET_NEVER_S, taking(mark))
    try:
        step = next(talk)
        while True:
            match step:
                case claiming.Pause():
                    step = talk.send(Unknown("paused"))
                case claiming.Insert():
                    step = talk.send(await ledger.insert(*step))
                case claiming.Replace():
                    step = talk.send(await ledger.replace(*step))
                case claiming.Read():
                    step = talk.send(await ledger.read(step.link_id))
    except StopIteration as stop:
        return stop.value.kind is Kind.ADMIT
    except RecordUnreadable:
        return False


class ReadsBoth(MovingLedger):
    """Wrong on purpose: looks into the old ledger, marks nothing there, and writes the new one."""

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Insert what is found in the old ledger, or else what is asked."""
        before = await self._old.read(link_id)
        if isinstance(before, Stands) and marker_of(before.record) is None:
            record = before.record
        return await self._new.insert(link_id, record, forget_after_s)


async def history(seed: int, kind: type[MovingLedger] = MovingLedger) -> Counter[bytes]:
    """Two old gateways, two that know both ledgers, and a mover that crashes once; who won how often, by link."""
    drawn = random.Random(seed)
    old, new = Jittery(seed), Jittery(seed + 1)
    moving = [kind(old, lambda: new) for _ in range(2)]
    ledgers: list[Ledger] = [old, old, *moving]
    link_ids = [fresh_link_id() for _ in range(LINKS)]
    won: Counter[bytes] = Counter()

    async def open_links(ledger: Ledger, number: int) -> None:
        for turn in range(2 * LINKS):
            for _ in range(drawn.randrange(20)):
                await asyncio.sleep(0)
            link_id = drawn.choice(link_ids)
            won[link_id] += await claim(ledger, link_id, f"{number}-{turn}")

    async def move() -> None:
        for _ in range(drawn.randrange(60)):
            await asyncio.sleep(0)
        while True:
            try:
                if not await copy(old, new, lambda _: None):
                    return
            except OSError:
                continue  # an answer was lost: as after a crash, it is begun again

    crashed = asyncio.ensure_future(move())
    opening = [open_links(ledger, number) for number, ledger in enumerate(ledgers)]
    gathered = asyncio.gather(*opening)
    for _ in range(drawn.randrange(80)):
        await asyncio.sleep(0)
    crashed.cancel()
    await asyncio.gather(move(), gathered)
    await asyncio.gather(crashed, return_exceptions=True)
    await move()  # no gateway is over the old ledger alone any more: what they wrote last is carried over
    for link_id in link_ids:  # when all is moved the new ledger alone decides
        for turn in range(USES + 1):
            won[link_id] += await claim(new, link_id, f"last-{turn}") if won[link_id] else False
    return won


@pytest.mark.anyio
async def test_no_history_uses_a_link_more_often_than_it_may_be() -> None:
    """Answers lost, writes in any order, a mover that crashes, gateways that know one ledger and gateways that know both."""
    for seed in range(HISTORIES):
        won = await history(seed)
        assert max(won.values(), default=0) <= USES, (seed, won)


@pytest.mark.anyio
async def test_the_histories_find_an_order_that_is_wrong() -> None:
    """Without the marker an old gateway writes after the look: the histories must contain that."""
    assert any([max((await history(seed, ReadsBoth)).values(), default=0) > USES for seed in range(100)])


@pytest.mark.anyio
@pytest.mark.parametrize("name", [name for name in LedgerSuite.CHECKS if "swe" not in name and "tries" not in name])
async def test_a_ledger_that_is_moved_is_a_ledger(name: str) -> None:
    """Gateways work over it for as long as the move takes: it keeps every promise but those of sweeping."""
    suite = LedgerSuite(lambda: MovingLedger(MemoryLedger(born_ms=0), lambda: MemoryLedger(born_ms=0)), is_shared=False)
    with contextlib.suppress(CheckSkipped):
        await suite.run(name)


@pytest.mark.anyio
async def test_a_revocation_and_a_give_back_meet_the_record_that_is_not_carried_yet() -> None:
    """They read first: what they see lies in the old ledger, and their write must land in the new one."""
    old, new, link_id = MemoryLedger(born_ms=0), MemoryLedger(born_ms=0), fresh_link_id()
    await old.insert(link_id, b'{"u":1}', FORGET_NEVER_S)
    runner = LedgerRunner(MovingLedger(old, lambda: new))
    talk = claiming.rewrite(
        link_id, FORGET_NEVER_S, lambda record: None if record.is_revoked else record._replace(is_revoked=True)
    )
    assert await runner.run(link_id, talk)
    stands = await new.read(link_id)
    assert isinstance(stands, Stands)
    assert from_json(stands.record).is_revoked
    marked = await old.read(link_id)
    assert isinstance(marked, Stands)
    assert marker_of(marked.record) is not None


@pytest.mark.anyio
async def test_a_list_shows_each_record_once_wherever_it_is() -> None:
    """Page by page, in order, also where a page of the old ledger holds markers alone."""
    old, new = MemoryLedger(born_ms=0), MemoryLedger(born_ms=0)
    moving = MovingLedger(old, lambda: new)
    link_ids = sorted(fresh_link_id() for _ in range(40))
    for number, link_id in enumerate(link_ids):
        await old.insert(link_id, b"{}", FORGET_NEVER_S)
        if number % 3:
            await moving.insert(link_id, b"{}", FORGET_NEVER_S)
    for link_id in link_ids[:10]:
        await moving.insert(link_id, b"{}", FORGET_NEVER_S)
    for limit in (1, 7, 100):
        listed: list[bytes] = []
        while rows := await moving.scan(listed[-1] if listed else b"", limit):
            listed += [row.link_id for row in rows]
        assert listed == link_ids, limit


@pytest.mark.anyio
async def test_a_ledger_with_records_of_its_own_takes_no_other() -> None:
    """Its birth and its limit are its own: tickets from before would be refused, or opened again."""
    new = MemoryLedger(born_ms=1)
    await new.insert(fresh_link_id(), b"{}", FORGET_NEVER_S)
    with pytest.raises(LedgerUnfit, match="holds records already"):
        await MovingLedger(MemoryLedger(born_ms=0), lambda: new).probe()


@pytest.mark.parametrize("url", ["moving:", "moving:sqlite:./a.db", "moving: sqlite:./a.db"])
def test_a_move_names_two_ledgers(url: str, tmp_path: pathlib.Path) -> None:
    """A misspelt one must not become a ledger in a folder with a blank in its name."""
    with pytest.raises(LedgerUnfit):
        open_ledger(url, folder=tmp_path)


@pytest.mark.slow
def test_a_gateway_serves_while_its_ledger_is_moved(home_with: Callable[..., Any]) -> None:
    """The order of the guide, with a link used before, one used meanwhile, and one that was never opened."""
    home = home_with()
    with home.serve():
        before, never = home.fresh(b"x"), home.fresh(b"y")
        assert ask("GET", before).status == 200
    config = home.folder / "oncegate.toml"
    text = config.read_text()
    create_ledger("sqlite:./new.db", folder=home.folder)
    assert '"sqlite:./ledger.db"' in text
    config.write_text(text.replace('"sqlite:./ledger.db"', '"moving:sqlite:./ledger.db sqlite:./new.db"'))
    with home.serve():
        meanwhile = home.fresh(b"z")
        assert ask("GET", meanwhile).status == 200
        assert ask("GET", before).status == 403
        done = home.run("ledger", "copy", "sqlite:./ledger.db", "sqlite:./new.db")
        assert done.returncode == 0, done.stderr
        assert home.run("ledger", "copy", "sqlite:./ledger.db", "sqlite:./new.db").stdout == "0\n"
        assert ask("GET", meanwhile).status == 403
    config.write_text(text)
    with home.serve():  # somebody goes back: what was moved is refused, never opened
        assert ask("GET", before).status == 503
    config.write_text(text.replace("./ledger.db", "./new.db"))
    with home.serve():
        assert ask("GET", before).status == 403
        assert ask("GET", meanwhile).status == 403
        assert ask("GET", never).status == 200
        assert ask("GET", never).status == 403


@pytest.mark.anyio
async def test_many_records_are_copied_page_by_page(tmp_path: pathlib.Path) -> None:
    """A thousand records, and a second walk that finds nothing to do."""
    old, new = MemoryLedger(born_ms=0), MemoryLedger(born_ms=0)
    now_s = int(time.time())
    link_ids = [fresh_link_id() for _ in range(1000)]
    for link_id in link_ids:
        assert isinstance(await old.insert(link_id, b'{"u":1}', now_s + 1000), Done)
    assert await copy(old, new, lambda _: None) == 1000
    assert await copy(old, new, lambda _: None) == 0
    for link_id in link_ids:
        assert await new.read(link_id) != Gone()
