"""What a gateway does for its ledger while it runs: asks whether it is still fit, and forgets what is long over.

And for its store, where links may ask for it: removes the objects of links that give nothing any more.

Of many gateways one sweeps: whoever finds that somebody tried within the hour sleeps on, also at its start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

from oncegate.gateway.parts import Parts
from oncegate.gateway.removals import remove_due
from oncegate.ledgers.health import LedgerHealth
from oncegate.ledgers.protocol import Ledger, LedgerUnfit, Scans, Sweeps
from oncegate.ledgers.sweeping import TRY_EVERY_S, next_try_in_s

ASK_EVERY_S = 60.0
ASK_SOON_S = 5.0
"""After the ledger was found unfit, so that it serves again soon after it was mended."""
JITTER_S = 300.0
AFTER_FAULT_S = 300.0
REMOVE_EVERY_S = 60.0
GATHER_S = 0.5
"""Objects that are delivered within it are looked for together."""

_log = logging.getLogger("oncegate.gateway")


async def stay_fit(health: LedgerHealth, ledger: Ledger) -> None:
    """Ask the ledger every minute whether it still keeps its promise; what is found is in ``health``."""
    while True:
        await asyncio.sleep(ASK_EVERY_S if health.unfit is None else ASK_SOON_S)
        try:
            await health.ask_again(ledger)
        except Exception:  # noqa: BLE001  if this task died, nobody would notice a ledger that became unfit
            _log.exception("the ledger could not be asked whether it is fit; asking again in a minute")


async def keep_swept(parts: Parts, ledger: Ledger) -> None:
    """Try to sweep the ledger once an hour, unless another gateway has."""
    if not isinstance(ledger, Sweeps):
        return
    while True:
        # An outage must not end sweeping for good: ledgers raise OSError (and TimeoutError) while out of reach.
        try:
            wait_s = next_try_in_s(await ledger.sweep_state(), parts.now_s())
            await asyncio.sleep(wait_s + random.uniform(0, JITTER_S if wait_s else 1.0))  # noqa: S311  no secret
            if next_try_in_s(await ledger.sweep_state(), parts.now_s()):
                continue  # another was first
            records = await ledger.sweep(parts.now_s())
            if records:
                parts.journal.write("swept", records=records, leftovers=0)
            await asyncio.sleep(TRY_EVERY_S)
        except (LedgerUnfit, OSError) as fault:
            _log.warning("the ledger was not swept: %s", fault)
            await asyncio.sleep(AFTER_FAULT_S)


async def keep_removing(parts: Parts, ledger: Ledger) -> None:
    """Every minute, at the start, and when one was delivered: remove the objects that are due, where links may ask for it.

    Not while the ledger is unfit: a clock that differs from its server's is no reason to remove anything.
    """
    if parts.settings.links.delete_after != "allow" or not isinstance(ledger, Scans):
        return
    while True:
        parts.removal_wanted.clear()
        try:
            if parts.runner.health.unfit is None:
                await remove_due(parts, ledger)
        except Exception:  # noqa: BLE001  if this task died, objects that were promised to go would stay for ever
            _log.exception("the objects that are due were not all removed; trying again in a minute")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REMOVE_EVERY_S):
                await parts.removal_wanted.wait()
                await asyncio.sleep(GATHER_S)
