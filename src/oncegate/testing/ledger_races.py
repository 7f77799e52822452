"""Checks of a ledger: of many writers exactly one wins, whether they share a batch, a process or only the server."""

from __future__ import annotations

import asyncio
import json

from oncegate.ledgers.protocol import FORGET_NEVER_S, Done
from oncegate.testing.ledger_checks import LedgerChecks, check_one_winner, record_number, standing_of, version_of
from oncegate.testing.ledger_processes import Job, fresh_link_id, record_of, run_together
from oncegate.testing.suite import check


class RaceChecks(LedgerChecks):
    """Many writers, one winner."""

    async def check_of_many_inserts_one_wins(self) -> None:
        """Of many inserts of one id exactly one is done, and all others are shown the winner's record."""
        async with self._opened() as ledger:
            for _ in range(self._rounds):
                link_id = fresh_link_id()
                outcomes = await asyncio.gather(
                    *(ledger.insert(link_id, record_number(caller), FORGET_NEVER_S) for caller in range(self._callers))
                )
                check_one_winner(link_id, [(record_number(caller), outcome) for caller, outcome in enumerate(outcomes)])

    async def check_a_key_twice_in_one_batch_has_one_winner(self) -> None:
        """Many writes at once, each key several times: a batch must not tell two callers of a key that both won."""
        async with self._opened() as ledger:
            for _ in range(self._rounds):
                keys = [fresh_link_id() for _ in range(8)]
                calls = [(keys[call % 8], record_number(call)) for call in range(self._callers)]
                outcomes = await asyncio.gather(*(ledger.insert(*call, FORGET_NEVER_S) for call in calls))
                for key in keys:
                    of_key = [
                        (call[1], outcome) for call, outcome in zip(calls, outcomes, strict=True) if call[0] == key
                    ]
                    check_one_winner(key, of_key)

    async def check_of_many_replaces_one_wins(self) -> None:
        """Of many replaces that name one version exactly one is done."""
        async with self._opened() as ledger:
            link_id = fresh_link_id()
            version = version_of(await ledger.insert(link_id, record_number(-1), FORGET_NEVER_S))
            for _ in range(self._rounds):
                outcomes = await asyncio.gather(
                    *(ledger.replace(link_id, version, record_number(n), FORGET_NEVER_S) for n in range(self._callers))
                )
                check_one_winner(link_id, [(record_number(caller), outcome) for caller, outcome in enumerate(outcomes)])
                version = next(outcome.version for outcome in outcomes if isinstance(outcome, Done))

    async def check_opposite_orders_do_not_block_each_other(self) -> None:
        """Two openings write the same keys in opposite order: all are answered, and each key has one winner.

        Batches that lock rows in the order in which they came deadlock here.
        """
        self._needs_sharing()
        async with self._opened() as one, self._opened() as other:
            for _ in range(self._rounds):
                keys = [fresh_link_id() for _ in range(self._callers)]
                calls = [(one, key, b'{"by":"one"}') for key in keys]
                calls += [(other, key, b'{"by":"other"}') for key in reversed(keys)]
                outcomes = await asyncio.gather(*(at.insert(key, what, FORGET_NEVER_S) for at, key, what in calls))
                for key in keys:
                    of_key = [(call[2], what) for call, what in zip(calls, outcomes, strict=True) if call[1] == key]
                    check_one_winner(key, of_key)

    async def check_of_many_processes_one_wins(self) -> None:
        """Several processes try the same ids: each id is won once, and the losers are shown the winner's record."""
        self._needs_sharing()
        keys = tuple(fresh_link_id() for _ in range(self._rounds * 16))
        jobs = [Job(self._open_ledger, "insert", f"process {n}", link_ids=keys) for n in range(self._processes)]
        said = await asyncio.to_thread(run_together, jobs)
        for key in keys:
            answers = [
                (job.name, line)
                for job, lines in zip(jobs, said, strict=True)
                for line in lines
                if line[0] == key.hex()
            ]
            winners = [name for name, line in answers if line[1] == "Done"]
            check(len(answers) == len(jobs), f"{key.hex()}: {len(answers)} answers for {len(jobs)} processes")
            check(len(winners) == 1, f"{key.hex()} was won by {winners or 'nobody'}: {answers}")
            for _, line in answers:
                shown = record_of(winners[0]).decode()
                check(line[1] == "Done" or line[1:] == ["Stands", shown], f"{key.hex()}: a loser was told {line}")

    async def check_of_many_processes_each_replace_counts(self) -> None:
        """Several processes add to one number: at the end it is the count of the writes that were answered done."""
        self._needs_sharing()
        link_id, times = fresh_link_id(), self._rounds * 2
        async with self._opened() as ledger:
            version_of(await ledger.insert(link_id, b'{"n": 0}', FORGET_NEVER_S))
            names = [f"process {n}" for n in range(self._processes)]
            jobs = [Job(self._open_ledger, "count", name, link_ids=(link_id,), times=times) for name in names]
            said = await asyncio.to_thread(run_together, jobs)
            done = sum(int(line[0]) for lines in said for line in lines)
            number = json.loads(standing_of(await ledger.read(link_id)).record)["n"]
            check(number == done == times * len(jobs), f"{done} writes were answered done, the number is {number}")
