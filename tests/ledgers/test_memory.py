"""The ledger in memory; the conformance suite has the rest (test_ledger_suite.py)."""

import asyncio
import time

import pytest

from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, KeepsEvents, Scans, Sweeps, Unknown

LINK = bytes(range(16))


def test_it_is_born_when_made():
    """Tickets from before it was made are refused: it cannot know whether they were used."""
    before_ms = time.time_ns() // 1_000_000
    facts = asyncio.run(MemoryLedger().probe())
    assert before_ms <= facts.born_ms <= time.time_ns() // 1_000_000


def test_it_has_all_interfaces():
    """Tests of what lists, sweeps and reports run on it."""
    ledger = MemoryLedger()
    assert isinstance(ledger, Scans)
    assert isinstance(ledger, Sweeps)
    assert isinstance(ledger, KeepsEvents)


@pytest.mark.anyio
async def test_events_are_bounded() -> None:
    """A demonstration that runs for weeks must not fill the memory: the oldest go, numbers go on."""
    ledger = MemoryLedger(events_max=3)
    await ledger.append_events([{"at": number, "event": "complete"} for number in range(5)])
    assert [(number, event["at"]) for number, event in await ledger.read_events(0, 10)] == [(3, 2), (4, 3), (5, 4)]


@pytest.mark.anyio
async def test_refusals_make_no_room_of_receipts() -> None:
    """What happened to a link is told for longer than what did not."""
    ledger = MemoryLedger(events_max=3)
    await ledger.append_events([{"at": 0, "event": "download"}, *({"at": n, "event": "refused"} for n in range(1, 9))])
    assert [(number, event["at"]) for number, event in await ledger.read_events(0, 10)] == [
        (1, 0),
        (7, 6),
        (8, 7),
        (9, 8),
    ]


@pytest.mark.anyio
async def test_an_event_is_a_copy() -> None:
    """What the caller does with its dictionary afterwards does not change what was recorded."""
    ledger, event = MemoryLedger(), {"at": 1, "event": "complete"}
    await ledger.append_events([event])
    event["event"] = "broken"
    assert await ledger.read_events(0, 1) == [(1, {"at": 1, "event": "complete"})]


@pytest.mark.anyio
async def test_a_record_replaced_during_a_sweep_stays() -> None:
    """The sweep works in steps; what claims made not due meanwhile must not be forgotten."""
    ledger = MemoryLedger()
    for number in range(600):
        await ledger.insert(number.to_bytes(16, "big"), b"{}", 100)
    last = (599).to_bytes(16, "big")
    sweeping = asyncio.ensure_future(ledger.sweep(100, force=True))
    await asyncio.sleep(0)
    assert isinstance(await ledger.replace(last, 600, b"{}", FORGET_NEVER_S), Done)
    assert await sweeping == 599
    assert [row.link_id for row in await ledger.scan(b"", 10)] == [last]


@pytest.mark.anyio
async def test_closing_forgets_everything() -> None:
    """It is gone when it is closed, and says so."""
    ledger = MemoryLedger()
    await ledger.insert(LINK, b"{}", FORGET_NEVER_S)
    await ledger.aclose()
    assert isinstance(await ledger.read(LINK), Unknown)
    assert list(await ledger.scan(b"", 10)) == []
