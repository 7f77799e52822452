"""Checks of a ledger's optional interfaces: sweeping, lists, events."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping

from oncegate.ledgers.protocol import (
    FORGET_NEVER_S,
    Gone,
    KeepsEvents,
    Ledger,
    Row,
    Scans,
    Stands,
    Sweeps,
    Swept,
    Version,
)
from oncegate.ledgers.sweeping import TRIES_KEPT
from oncegate.links.link_id import uuid7
from oncegate.testing.ledger_checks import LedgerChecks, optional_of, version_of
from oncegate.testing.ledger_processes import fresh_link_id
from oncegate.testing.suite import CheckFailed, check

SWEEP_AHEAD_S = 60
HOUR_S = 3_600
STALL_MAX_S = 2.0
CLAIMING = 8
SWEEP_MAX_S = 60.0


class ForgettingChecks(LedgerChecks):
    """What may be forgotten, and what is listed."""

    async def check_sweep_forgets_what_is_due_and_no_more(self) -> None:
        """A sweep deletes a record whose ``forget_after_s`` is the limit; one a second above it stays unchanged."""
        async with self._opened() as ledger:
            sweeps, limit_s = optional_of(ledger, Sweeps), await _unswept_s(ledger)
            due, early, for_ever = fresh_link_id(), fresh_link_id(), fresh_link_id()
            version_of(await ledger.insert(due, b"{}", limit_s))
            kept = {
                early: Stands(b"{}", version_of(await ledger.insert(early, b"{}", limit_s + 1))),
                for_ever: Stands(b"{}", version_of(await ledger.insert(for_ever, b"{}", FORGET_NEVER_S))),
            }
            count = await sweeps.sweep(limit_s, force=True)
            check(count >= 1, f"one record was due, {count} were forgotten")
            what = await ledger.read(due)
            check(what == Gone(), f"forget_after_s was the limit itself, but after the sweep it reads {what}")
            for key, expected in kept.items():
                what = await ledger.read(key)
                check(what == expected, f"not due, but after the sweep it reads {what}")

    async def check_what_may_be_swept_is_refused(self) -> None:
        """After a sweep an insert with ``forget_after_s`` up to the limit is ``Swept``; one above it is stored."""
        async with self._opened() as ledger:
            sweeps, limit_s = optional_of(ledger, Sweeps), await _unswept_s(ledger)
            await sweeps.sweep(limit_s, force=True)
            for forget_after_s in (1, limit_s - 1, limit_s):
                link_id = fresh_link_id()
                what = await ledger.insert(link_id, b"{}", forget_after_s)
                check(what == Swept(), f"swept until {limit_s}; an insert to forget after {forget_after_s}: {what}")
                check(await ledger.read(link_id) == Gone(), "an insert that was refused left a record")
            version_of(await ledger.insert(fresh_link_id(), b"{}", limit_s + 1))

    async def check_the_sweep_limit_never_falls(self) -> None:
        """The limit stays where it was when a clock that is behind sweeps, and when the ledger is opened again."""
        async with self._opened() as ledger:
            sweeps, limit_s = optional_of(ledger, Sweeps), await _unswept_s(ledger)
            await sweeps.sweep(limit_s, force=True)
            await sweeps.sweep(limit_s - 30, force=True)
            what = await ledger.insert(fresh_link_id(), b"{}", limit_s)
            check(what == Swept(), f"swept until {limit_s}, then until 30 s before: an insert was told {what}")
        if self._is_shared:
            async with self._opened() as ledger:
                what = await ledger.insert(fresh_link_id(), b"{}", limit_s)
                check(what == Swept(), f"swept until {limit_s}, then opened again: an insert was told {what}")

    async def check_a_sweep_goes_as_far_as_the_earliest_of_its_tries(self) -> None:
        """With 24 tries stored the limit moves to the earliest of them and now; with 23 no clock can move it."""
        async with self._opened() as ledger:
            sweeps, now_s = optional_of(ledger, Sweeps), await _unswept_s(ledger)
            later_s = tuple(now_s + HOUR_S * number for number in range(2, TRIES_KEPT + 2))
            early_s = now_s - HOUR_S
            swept_s = (await sweeps.sweep_state()).swept_until_s
            for tries_s, expected_s in (
                (later_s[1:], swept_s),
                ((early_s, *later_s[1:]), max(swept_s, early_s)),
                (later_s, now_s),
            ):
                await _plant(sweeps, tries_s)
                await sweeps.sweep(now_s)
                state = await sweeps.sweep_state()
                check(
                    state.swept_until_s == expected_s, f"tries {tries_s}, at {now_s}: swept until {state.swept_until_s}"
                )
                check(state.tries_s == (*tries_s, now_s)[-TRIES_KEPT:], f"a try was made, but {state} is stored")
            what = await ledger.insert(fresh_link_id(), b"{}", now_s)
            check(what == Swept(), f"swept until {now_s}, but an insert was told {what}")

    async def check_of_two_tries_at_once_one_counts(self) -> None:
        """Of two gateways that read the same state one stores its try; the other's changes nothing."""
        async with self._opened() as ledger:
            sweeps = optional_of(ledger, Sweeps)
            before = await sweeps.sweep_state()
            after = before._replace(tries_s=(*before.tries_s, 1)[-TRIES_KEPT:])
            check(await sweeps.keep_sweep(before, after), f"{before} is stored, but was not replaced")
            check(
                not await sweeps.keep_sweep(before, after),
                f"{after} is stored, but was replaced as if it were {before}",
            )
            check(await sweeps.sweep_state() == after, f"{after} was stored, but it reads {await sweeps.sweep_state()}")

    async def check_a_version_does_not_return_after_a_sweep(self) -> None:
        """A record that was swept and made again has a version that the first never had."""
        async with self._opened() as ledger:
            sweeps, limit_s, link_id = optional_of(ledger, Sweeps), await _unswept_s(ledger), fresh_link_id()
            versions: list[Version] = [version_of(await ledger.insert(link_id, b"{}", limit_s))]
            for _ in range(3):
                versions.append(version_of(await ledger.replace(link_id, versions[-1], b"{}", limit_s)))
            await sweeps.sweep(limit_s, force=True)
            again = version_of(await ledger.insert(link_id, b"{}", FORGET_NEVER_S))
            check(again not in versions, f"version {again!r} named a state of the record that was swept: {versions}")

    async def check_a_sweep_does_not_stall_claims(self) -> None:
        """While two thousand records are swept, no claim waits long."""
        async with self._opened() as ledger:
            sweeps, limit_s = optional_of(ledger, Sweeps), await _unswept_s(ledger)
            for _ in range(20):
                await asyncio.gather(*(ledger.insert(fresh_link_id(), b"{}", limit_s) for _ in range(100)))
            sweeping = asyncio.ensure_future(sweeps.sweep(limit_s, force=True))
            while not sweeping.done():
                begun_s = time.monotonic()
                version_of(await ledger.insert(fresh_link_id(), b"{}", FORGET_NEVER_S))
                took_s = time.monotonic() - begun_s
                check(took_s < STALL_MAX_S, f"a claim took {took_s:.1f} s during a sweep")
                await asyncio.sleep(0)
            check(await sweeping >= 2000, f"2000 records were due, {await sweeping} were forgotten")

    async def check_a_sweep_ends_beside_claims_that_never_pause(self) -> None:
        """A sweep looks at what stood when it began, and does not follow the claims, whose ids rise with time."""
        async with self._opened() as ledger:
            sweeps, limit_s, is_over = optional_of(ledger, Sweeps), await _unswept_s(ledger), asyncio.Event()

            async def claim(*, is_plain: bool) -> None:
                while not is_over.is_set():
                    link_id = uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))
                    version_of(
                        await ledger.insert(b"\xff" + link_id[1:] if is_plain else link_id, b"{}", FORGET_NEVER_S)
                    )
                    await asyncio.sleep(0)

            claims = [asyncio.ensure_future(claim(is_plain=number % 2 == 0)) for number in range(CLAIMING)]
            try:
                async with asyncio.timeout(SWEEP_MAX_S):
                    await sweeps.sweep(limit_s, force=True)
            except TimeoutError:
                raise CheckFailed(f"a sweep beside claims did not end within {SWEEP_MAX_S:.0f} s") from None
            finally:
                is_over.set()
                await asyncio.gather(*claims)

    async def check_a_scan_lists_all_in_order(self) -> None:
        """Pages in order of id hold each record once, whole, whatever their size; an empty page is the end."""
        async with self._opened() as ledger:
            scans, prefix = optional_of(ledger, Scans), b"\xfe" + fresh_link_id()[8:15]
            keys = [prefix + number.to_bytes(8, "big") for number in range(1, 60)]
            stored = [
                Row(key, b"{}", version_of(await ledger.insert(key, b"{}", FORGET_NEVER_S - 1)), FORGET_NEVER_S - 1)
                for key in keys
            ]
            for limit in (1, 7, 59, 10_000):
                after, listed = prefix + bytes(8), list[Row]()
                while rows := await scans.scan(after, limit):
                    check(len(rows) <= limit, f"{len(rows)} rows where {limit} were asked for")
                    after = rows[-1].link_id
                    listed += [row for row in rows if row.link_id.startswith(prefix)]
                    if not after.startswith(prefix):
                        break
                check(listed == stored, f"in pages of {limit}: stored {stored}, listed {listed}")
            check(len(await scans.scan(b"", 1)) == 1, "the empty id begins before all records")
            check(not await scans.scan(b"\xff" * 16, 1), "nothing is above the highest id")

    async def check_events_are_listed_in_order(self) -> None:
        """Events come back whole, oldest first, page by page by rising numbers, and by link."""
        async with self._opened() as ledger:
            keeps, link_id = optional_of(ledger, KeepsEvents), fresh_link_id().hex()
            last = [number for number, _ in await keeps.read_events(0, 1_000_000)][-1:]
            events = [{"at": n, "event": "complete", "link_id": link_id, "bytes": n, "good": True} for n in range(5)]
            for start in (0, 2):
                await keeps.append_events(events[start : start + 2])
                await keeps.append_events([{"at": start, "event": "refused", "link_id": None}])
            await keeps.append_events(events[4:])
            listed, after = list[Mapping[str, object]](), last[0] if last else 0
            while page := await keeps.read_events(after, 3):
                listed += [dict(event) for _, event in page]
                check([number for number, _ in page] == sorted({number for number, _ in page}), "numbers must rise")
                after = page[-1][0]
            check([event for event in listed if event["link_id"] == link_id] == events, f"appended {events}: {listed}")
            check(len(listed) == 7, f"7 events were appended, {len(listed)} are listed")
            of_link = [dict(event) for _, event in await keeps.read_events(0, 100, link_id=link_id)]
            check(of_link == events, f"of one link {events} were appended, {of_link} are listed")

    async def check_events_of_a_link_are_its_newest_and_counted(self) -> None:
        """A thousand refusals hide no download: the newest of each name are listed, and all are counted."""
        async with self._opened() as ledger:
            keeps, link_id, other = optional_of(ledger, KeepsEvents), fresh_link_id().hex(), fresh_link_id().hex()
            events = [{"at": n, "event": "download", "link_id": link_id, "bytes": n} for n in range(3)]
            refused = [{"at": n, "event": "refused", "link_id": link_id, "count": n + 1} for n in range(600)]
            await keeps.append_events(events)
            await keeps.append_events([{"at": 0, "event": "download", "link_id": other}])
            await keeps.append_events(refused)
            found = await keeps.events_of_link(link_id, 2)
            check(found.is_whole, "603 events of a link are looked at in whole")
            check(dict(found.counts) == {"download": 3, "refused": 600 * 601 // 2}, f"counted: {dict(found.counts)}")
            newest = [dict(event) for event in found.newest]
            check(newest == events[1:] + refused[-2:], f"the newest two of each name, oldest first: {newest}")
            nothing = await keeps.events_of_link(fresh_link_id().hex(), 2)
            check(not nothing.newest and not nothing.counts and nothing.is_whole, f"of an unknown link: {nothing}")


async def _plant(sweeps: Sweeps, tries_s: tuple[int, ...]) -> None:
    """Store tries as if gateways had made them."""
    before = await sweeps.sweep_state()
    check(await sweeps.keep_sweep(before, before._replace(tries_s=tries_s)), "tries could not be stored")


async def _unswept_s(ledger: Ledger) -> int:
    """Find a limit for a sweep that is above the limits of earlier checks and that the server's clock still allows."""
    limit_s = int(time.time()) + SWEEP_AHEAD_S
    while isinstance(await ledger.insert(fresh_link_id(), b"{}", limit_s), Swept):
        limit_s += 1
    return limit_s
