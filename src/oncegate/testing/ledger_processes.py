"""Several processes on one ledger, for the checks that one process cannot make: races between them, and a kill.

Each process opens the ledger by itself. The function that opens it is pickled by name, so a process must be able to
import it: a function of a module on ``sys.path``, or a ``functools.partial`` of one.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from oncegate.ledgers.protocol import FORGET_NEVER_S, Done, Ledger, Stands
from oncegate.testing import processes
from oncegate.testing.processes import Line, say

AT_ONCE = 16
_PROGRAM = "from oncegate.testing.ledger_processes import child; child()"


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does.

    Attributes:
        open_ledger: opens the ledger.
        kind: ``insert`` tries each id once and says what came of it; ``count`` adds to one record's number again and
            again; ``claim`` inserts fresh ids until it is killed, and names each that was answered ``Done``.
        name: stands in the records that this process writes.
        link_ids: of ``insert``, any number; of ``count``, one that stands.
        times: of ``count``, how often it adds.
    """

    open_ledger: Callable[[], Ledger]
    kind: Literal["insert", "count", "claim"]
    name: str
    link_ids: tuple[bytes, ...] = ()
    times: int = 0


def fresh_link_id() -> bytes:
    """Draw an id as a ticket has it: a UUIDv7, its first six bytes the time in milliseconds."""
    drawn = bytearray(secrets.token_bytes(16))
    drawn[0:6] = (time.time_ns() // 1_000_000).to_bytes(6, "big")
    drawn[6] = 0x70 | drawn[6] & 0x0F
    drawn[8] = 0x80 | drawn[8] & 0x3F
    return bytes(drawn)


def run_together(jobs: Sequence[Job]) -> list[list[Line]]:
    """Run one process for each job, let all go at once, and return the lines of each. Blocks.

    Raises:
        RuntimeError: a process failed; what it said on stderr is in the message.
    """
    return processes.run_together(_PROGRAM, jobs)


def kill_while_claiming(job: Job, *, after_lines: int) -> list[Line]:
    """Run a ``claim`` job, kill it (SIGKILL) when it has said that many lines, and return all that it said. Blocks."""
    return processes.run_and_kill(_PROGRAM, job, after_lines=after_lines)


def child() -> None:
    """Do the job that stands on stdin; the program of each process."""
    asyncio.run(_do(cast("Job", processes.job())))


# In the process.


async def _do(job: Job) -> None:
    ledger = job.open_ledger()
    await ledger.probe()
    await ledger.read(fresh_link_id())  # connections are made now, not in the race
    processes.ready()
    match job.kind:
        case "insert":
            for start in range(0, len(job.link_ids), AT_ONCE):
                await asyncio.gather(*(_insert(ledger, job, key) for key in job.link_ids[start : start + AT_ONCE]))
        case "count":
            say(await _count(ledger, job))
        case "claim":
            await asyncio.gather(*(_claim_for_ever(ledger, job) for _ in range(AT_ONCE)))
    await ledger.aclose()


async def _insert(ledger: Ledger, job: Job, link_id: bytes) -> None:
    outcome = await ledger.insert(link_id, record_of(job.name), FORGET_NEVER_S)
    stands = outcome.record.decode() if isinstance(outcome, Stands) else ""
    say(link_id.hex(), type(outcome).__name__, stands)


async def _count(ledger: Ledger, job: Job) -> int:
    """Add 1 ``times`` times, trying again when another was first; return how many writes were answered ``Done``."""
    done = 0
    found = await ledger.read(job.link_ids[0])
    while done < job.times:
        if not isinstance(found, Stands):
            raise TypeError(f"the record to count in: {found}")
        number = int(json.loads(found.record)["n"]) + 1
        record = json.dumps({"n": number}).encode()
        found = await ledger.replace(job.link_ids[0], found.version, record, FORGET_NEVER_S)
        if isinstance(found, Done):
            done += 1
            found = Stands(record, found.version)
    return done


async def _claim_for_ever(ledger: Ledger, job: Job) -> None:
    while True:
        link_id = fresh_link_id()
        if isinstance(await ledger.insert(link_id, record_of(job.name), FORGET_NEVER_S), Done):
            say(link_id.hex())


def record_of(name: str) -> bytes:
    """Return the record that a process of this name writes."""
    return json.dumps({"by": name}).encode()
