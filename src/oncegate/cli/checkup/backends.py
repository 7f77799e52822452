"""What ``oncegate doctor`` looks at beyond its own files: the ledger, those of other homes, the clocks and the store.

Nothing is changed, but for a ledger that is made where none stands, as at every start. Each part is given up after some
seconds, so that one that hangs hides no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from oncegate.cli.checkup.findings import Finding, failed, warning
from oncegate.cli.checkup.remedies import remedy_for, remedy_of
from oncegate.cli.wiring import open_store
from oncegate.links.instants import instant_text
from oncegate.service.home_ledgers import open_home_ledger
from oncegate.settings import Settings
from oncegate.unfit import Unfit

if TYPE_CHECKING:
    from oncegate.ledgers.protocol import LedgerFacts

CLOCK_WARNING_S = 5.0
CLOCK_FAILURE_S = 300.0
PART_MAX_S = 8.0


async def look_at_homes(settings: Settings) -> list[Finding]:
    """Check each ledger of ``[ledger.homes]`` as the own one."""
    looked = await asyncio.gather(*(look_at_ledger(settings, home) for home in settings.ledger.homes))
    return [
        replace(finding, words=f"home {home}: {finding.words}")
        for home, (found, _) in zip(settings.ledger.homes, looked, strict=True)
        for finding in found
    ]


async def look_at_ledger(settings: Settings, home: str = "") -> tuple[list[Finding], LedgerFacts | None]:
    """Check that the ledger can keep its promise; return the facts of its probe too, for the clock."""
    from oncegate.cli.records import swept_ahead
    from oncegate.ledgers.protocol import LedgerUnfit
    from oncegate.ledgers.sweeping import refused_until_s

    scheme = settings.ledger_url(home).partition(":")[0]
    try:
        ledger = open_home_ledger(settings, home)
    except Unfit as unfit:
        return [_unfit("ledger", unfit, "[ledger] url")], None
    try:
        async with asyncio.timeout(PART_MAX_S):
            facts = await ledger.probe()
    except LedgerUnfit as unfit:
        return [_unfit("ledger", unfit, "[ledger] url")], None
    except TimeoutError:
        return [_silent("ledger", scheme, "[ledger] url")], None
    finally:
        await ledger.aclose()
    found = [Finding(name="ledger", words=f"{scheme}: is fit, born {instant_text(facts.born_ms // 1000)}")]
    if scheme == "memory":
        words = "memory: forgets every use at a restart: tickets made before are refused then"
        found = [warning("ledger", words, 'write [ledger] url = "sqlite:./ledger.db"')]
    until_s = refused_until_s(facts.swept_until_s, int(time.time()))
    if until_s is not None:
        found.append(
            failed("ledger", swept_ahead(until_s), "set the clock, end all gateways, 'oncegate ledger repair'")
        )
    if facts.repair.refused_before_ms:
        words = f"was repaired: tickets made before {instant_text(facts.repair.refused_before_ms // 1000)} are refused"
        found.append(Finding(name="ledger", words=words))
    if facts.accepted:
        words = f"weaker promises are in use: {', '.join(facts.accepted)}"
        found.append(warning("ledger", words, "[ledger] accept takes them: remove what need not be"))
    return found, facts


def look_at_clock(facts: LedgerFacts | None, dates_s: Sequence[float | None]) -> list[Finding]:
    """Compare this clock, by which links live, with the ledger's and with the Date of the public URLs."""
    ahead = [] if facts is None else [("the ledger's", facts.clock_ahead_s)]
    ahead += [("the public URL's", date_s - time.time()) for date_s in dates_s if date_s is not None]
    if not ahead:
        return [warning("clock", "there is no other clock to compare with", "")]
    whose, worst_s = max(ahead, key=lambda pair: abs(pair[1]))
    words = f"{whose} clock is {abs(worst_s):.0f} s {'ahead of' if worst_s > 0 else 'behind'} this one"
    if abs(worst_s) > CLOCK_FAILURE_S:
        return [failed("clock", words, "set the clocks: 'timedatectl set-ntp true'")]
    if abs(worst_s) > CLOCK_WARNING_S:
        return [warning("clock", words, "set the clocks: 'timedatectl set-ntp true'")]
    return [Finding(name="clock", words="agrees with the others")]


async def look_at_store(settings: Settings) -> list[Finding]:
    """Check that the store can be read and written."""
    from oncegate.stores.protocol import StoreFault, StoreUnfit

    try:
        store = open_store(settings)
    except Unfit as unfit:
        return [_unfit("store", unfit, "[store]")]
    scheme = settings.store.url.partition(":")[0]
    said: list[str] = []
    try:
        with _warnings_in(said):
            async with asyncio.timeout(PART_MAX_S):
                await store.probe()
    except StoreUnfit as unfit:
        return [_unfit("store", unfit, "[store]")]
    except StoreFault as fault:
        return [failed("store", str(fault), remedy_for(str(fault), "[store]"))]
    except TimeoutError:
        return [_silent("store", scheme, "[store]")]
    finally:
        await store.aclose()
    found = [Finding(name="store", words=f"{scheme}: can be read" + ("" if said else " and written"))]
    return found + [warning("store", words, "docs/reference/stores.md says what each server keeps") for words in said]


@contextlib.contextmanager
def _warnings_in(said: list[str]) -> Generator[None]:
    """Collect the warnings of parts, which a gateway would log."""

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    log, handler = logging.getLogger("oncegate"), Collecting(logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _silent(name: str, scheme: str, setting: str) -> Finding:
    words = f"{scheme}: no answer within {PART_MAX_S:.0f} s"
    return failed(name, words, remedy_for(words, setting))


def _unfit(name: str, unfit: Unfit, setting: str) -> Finding:
    words = f"{unfit.where}: {unfit.what}" if unfit.where else unfit.what
    return failed(name, words, remedy_of(unfit, setting))
