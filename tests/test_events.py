"""The journal: refusals and previews are counted by link, reason and minute, and nothing else is."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncegate import events
from oncegate.events import Event, Journal

COUNTED_S = 0.2


class Kept:
    """A journal whose audited events a test sees."""

    def __init__(self, counted_s: float = COUNTED_S) -> None:
        self.events: list[Event] = []
        self.journal = Journal(descriptor=os.open(os.devnull, os.O_WRONLY), keep=self._keep, counted_s=counted_s)

    async def _keep(self, batch: Sequence[Event]) -> None:
        self.events += batch

    def refuse(self, link_id: str = "a", reason: str = "used", address: str = "192.0.2.1") -> None:
        """Note a refusal."""
        self.journal.write("refused", link_id=link_id, reason=reason, address=address)

    async def until(self, count: int) -> None:
        """Wait until so many events are kept."""
        async with asyncio.timeout(20):
            while len(self.events) < count:
                await asyncio.sleep(0.01)


@pytest.mark.anyio
async def test_a_thousand_refusals_are_two_events() -> None:
    """Whoever holds a used link asks a thousand times a second, and their events would push out everybody's receipts."""
    kept = Kept()
    for _ in range(1_000):
        kept.refuse()
    await kept.until(2)
    await kept.journal.aclose()
    assert [event.get("count", 1) for event in kept.events] == [1, 999]


@pytest.mark.anyio
async def test_the_first_is_written_at_once() -> None:
    """An issuer who asks for the status right after a preview must see it."""
    kept = Kept(counted_s=3600)
    kept.refuse()
    await kept.until(1)
    assert "count" not in kept.events[0]
    await kept.journal.aclose()
    assert len(kept.events) == 1


@pytest.mark.anyio
async def test_each_link_and_reason_is_counted_for_itself() -> None:
    """A count that mixes links would be somebody else's; one that mixes reasons would hide the rare one."""
    kept = Kept(counted_s=3600)
    for _ in range(2):
        kept.refuse("a", "used")
        kept.refuse("a", "expired")
        kept.refuse("b", "used")
        kept.journal.write("preview", link_id="a", why="agent")
    await kept.journal.aclose()
    assert len(kept.events) == 8
    assert all("count" not in event for event in kept.events)


@pytest.mark.anyio
async def test_transfers_are_never_counted_together() -> None:
    """Each is a receipt with its own bytes and end."""
    kept = Kept(counted_s=3600)
    for moved in range(3):
        kept.journal.write("download", link_id="a", outcome="complete", bytes=moved)
    await kept.journal.aclose()
    assert [event["bytes"] for event in kept.events] == [0, 1, 2]


@pytest.mark.anyio
async def test_what_was_counted_is_written_at_the_end() -> None:
    """A gateway that stops within the minute must not take its count with it."""
    kept = Kept(counted_s=3600)
    for number in range(5):
        kept.refuse(address=f"192.0.2.{number}")
    await kept.journal.aclose()
    assert [(event.get("count", 1), event["address"]) for event in kept.events] == [(1, "192.0.2.0"), (4, "192.0.2.4")]


@pytest.mark.anyio
async def test_a_flood_goes_on_being_one_event_a_minute() -> None:
    """If the count began anew with an event of its own, a flood would make two a minute for each link."""
    kept = Kept()
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 4 * COUNTED_S:
        kept.refuse()
        await asyncio.sleep(0.002)
    lasted_s = loop.time() - began
    await kept.journal.aclose()
    assert len(kept.events) <= lasted_s / COUNTED_S + 2
    assert sum(int(event.get("count") or 1) for event in kept.events) > len(kept.events)


@pytest.mark.anyio
async def test_counts_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are as many as somebody signs: at the limit the oldest count is written, and nothing is lost."""
    monkeypatch.setattr(events, "COUNTED_MAX", 2)
    kept = Kept(counted_s=3600)
    for link_id in ("a", "a", "b", "c"):
        kept.refuse(link_id)
    await kept.journal.aclose()
    assert [event["link_id"] for event in kept.events] == ["a", "b", "a", "c"]


VALUES = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"))


@given(
    name=st.sampled_from(sorted(events.ROWS)),
    values=st.lists(VALUES, min_size=12, max_size=12),
    now=st.integers(0, 2**33).map(float),
)
def test_a_line_is_what_a_json_encoder_writes(name: str, values: list[events.Value], now: float) -> None:
    """The text between the values is made once for each kind of row: no value may end its own place in it."""
    row = events.ROWS[name]
    event: Event = {"at": int(now), "event": name, **dict(zip(sorted(row.fields), values, strict=False))}
    line = events.json_line(now, row.level, event)
    assert line.endswith("\n")
    assert not set(line[:-1]) & {"\n", "\r", "\u2028", "\u2029"}
    read = json.loads(line)
    assert list(read.items())[2:] == list(event.items())
    assert (read["level"], read["time"][:10]) == (row.level, dt.datetime.fromtimestamp(now, dt.UTC).isoformat()[:10])
    plain = json.dumps(read, ensure_ascii=False, separators=(",", ":"))
    assert line[:-1] == plain.replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")
