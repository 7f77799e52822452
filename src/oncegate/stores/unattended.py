"""Work of a store that goes on when whoever waited for it is cancelled, as a viewer who leaves does to an upload."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

_Result = TypeVar("_Result")


async def result_of(work: asyncio.Future[_Result]) -> _Result:
    """Wait for work, and return or raise what it ends with. Cancelling the caller does not stop it.

    In place of ``asyncio.shield``: from Python 3.13 on that logs the fault of work whose caller was cancelled.
    """
    try:
        await asyncio.wait({work})
    except asyncio.CancelledError:
        work.add_done_callback(_take_notice)
        raise
    return work.result()


def _take_notice(done: asyncio.Future[Any]) -> None:
    """Take the fault of work that nobody waits for: asyncio would log it as one that was overlooked."""
    if not done.cancelled():
        done.exception()
