"""Several processes on one store, for the checks that one process cannot make: races between them, and a kill.

Each process opens the store by itself. The function that opens it is pickled by name, so a process must be able to
import it: a function of a module on ``sys.path``, or a ``functools.partial`` of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from oncegate.stores.protocol import Store
from oncegate.testing import processes
from oncegate.testing.processes import Line, say
from oncegate.testing.store_checks import begin, try_to_put, write

# obstore's threads may abort a process whose interpreter is ending, when all has been said already; so it ends at once
_PROGRAM = (
    "import os, sys; from oncegate.testing.store_processes import child; child(); sys.stdout.flush(); os._exit(0)"
)


Race = tuple[str, int, str | None]


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does.

    Attributes:
        open_store: opens the store.
        kind: ``race`` makes uploads, all at once, and says what came of each; ``hold`` begins uploads, says so, and
            waits to be killed.
        races: of ``race``: key, length and ETag to replace (or None) of each; one upload for each of ``fills``.
        fills: of ``race``: the byte that each upload consists of.
        held: of ``hold``: key, announced length and written length of each.
    """

    open_store: Callable[[], Store]
    kind: Literal["race", "hold"]
    races: tuple[Race, ...] = ()
    fills: tuple[int, ...] = ()
    held: tuple[tuple[str, int, int], ...] = ()


def run_together(jobs: Sequence[Job]) -> list[list[Line]]:
    """Run one process for each job, let all go at once, and return the lines of each. Blocks.

    Raises:
        RuntimeError: a process failed; what it said on stderr is in the message.
    """
    return processes.run_together(_PROGRAM, jobs)


def kill_while_holding(job: Job) -> None:
    """Run a ``hold`` job, and kill it (SIGKILL) when all its uploads are where they should be. Blocks."""
    processes.run_and_kill(_PROGRAM, job, after_lines=1)


def child() -> None:
    """Do the job that stands on stdin; the program of each process."""
    asyncio.run(_do(cast("Job", processes.job())))


async def _do(job: Job) -> None:
    store = job.open_store()
    await store.probe()
    processes.ready()
    match job.kind:
        case "race":
            await asyncio.gather(*(_upload(store, race, fill) for race in job.races for fill in job.fills))
        case "hold":
            uploads = [await begin(store, key, size_bytes=size_bytes) for key, size_bytes, _ in job.held]
            for upload, (_, _, written_bytes) in zip(uploads, job.held, strict=True):
                await write(upload, b"k" * written_bytes)
            say("held")
            await asyncio.Event().wait()
    await store.aclose()


async def _upload(store: Store, race: Race, fill: int) -> None:
    key, size_bytes, replaces = race
    say(key, fill, await try_to_put(store, key, bytes([fill]) * size_bytes, replaces=replaces))
