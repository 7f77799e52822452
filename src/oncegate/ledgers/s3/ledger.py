"""The ledger ``s3:``: one small object per link in a bucket, with no other server; for few claims a second.

    s3://bucket/prefix?region=eu-central-1
    s3://bucket/prefix?endpoint=http://127.0.0.1:9000&allow_http=true&region=us-east-1

Of many writers S3 lets one win: ``If-None-Match: *`` where nothing stands, ``If-Match`` in place of one version. The
version of a record is its ETag; each write carries a fresh nonce, so that equal records have different ETags, and a
write that was repeated knows itself again. Servers that keep no conditions are refused by ``fitness.py``.

**Forgetting without transactions.** A sweep first stores its limit, then deletes records that are due by it. An insert
first writes its record, then reads the limit, and answers ``Swept`` where the record is due by it. S3 reads what was
written before: so if this link's record was ever deleted before our write, the limit that allowed it was stored before
that, and our read, after our write, sees it. A write may arrive after the sweep. The same rule covers it:
whoever reads a record that is past the limit answers ``Swept``. Many inserts share one read of the limit (``limit.py``).

S3 cannot be asked which records are due, and a link's id, by which its object is named, says nothing of its end. So once
a day a sweep reads every record: a million records cost about 0.40 $ a day, whatever the number of gateways. A prefix by
day cannot be part of the name: whoever reads knows the id alone, and a ticket that was signed twice, with two ends, would
have two records. An index beside it would cost a PUT for each claim, 5 $ a million: more than twelve walks. What it
deletes it looks at once more just before; S3 has no conditional delete that all servers know, so a record that is
replaced by one with a later time in that instant, a day after its link expired, would be lost.

Source: S3 User Guide, conditional writes and consistency model; docs/aws-protocol.md 2.5.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import replace
from typing import TypeVar

from oncegate.ledgers.birth import Birth
from oncegate.ledgers.protocol import (
    CLOSED,
    Done,
    Gone,
    InsertOutcome,
    Ledger,
    LedgerAway,
    LedgerFacts,
    ReadOutcome,
    Repair,
    ReplaceOutcome,
    Row,
    Stands,
    SweepState,
    Swept,
    Unknown,
    Version,
)
from oncegate.ledgers.s3 import fitness as s3_fitness
from oncegate.ledgers.s3.bucket import FAULTS, Bucket, first_line, open_bucket
from oncegate.ledgers.s3.limit import TRIES_MAX, Stored, SweptUntil, stored_of
from oncegate.ledgers.sweeping import Pace, SweepsByTries
from oncegate.ledgers.under_way import UnderWay

WEAKER_PROMISES: frozenset[str] = frozenset()
ANSWER_WITHIN_S = 4.0
READS_AT_ONCE = 16
WALK_EVERY_S = 86_400
AHEAD_MAX_S = 5  # of the server's clock: what it wrote later than that after a walk began is not looked at
CLOSING_S = 0.1
"""The driver closes its connections in threads of its own, within milliseconds, and tells nobody when it is done."""
RECORDS = "records"

_T = TypeVar("_T")


class S3Ledger(SweepsByTries):
    """Keeps records in a bucket.

    It touches nothing before the first call. It belongs to the event loop of its first call.

    Args:
        bucket: where.
        clock: seconds since 1970 UTC.
        answer_within_s: seconds after which any call ends in ``Unknown``.
    """

    def __init__(
        self, bucket: Bucket, *, clock: Callable[[], float] = time.time, answer_within_s: float = ANSWER_WITHIN_S
    ) -> None:
        self._bucket = bucket
        self._clock = clock
        self._answer_within_s = answer_within_s
        self._birth = Birth("s3")
        self._swept_until_s = -1
        self._limit = SweptUntil(bucket)
        self._under_way = UnderWay()

    async def insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        """Store a record where none is stored; see ``Ledger.insert`` and the module. One PUT, and a GET that many share."""
        return await self._outcome(self._insert(link_id, record, forget_after_s))

    async def replace(self, link_id: bytes, version: Version, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        """Store a record in place of the one with this version; see ``Ledger.replace``."""
        return await self._outcome(self._replace(link_id, str(version), record, forget_after_s))

    async def read(self, link_id: bytes) -> ReadOutcome:
        """Return the stored record."""
        return await self._outcome(self._read(link_id))

    async def probe(self) -> LedgerFacts:
        """Try every condition on the bucket, compare clocks, and note the birth where nobody did.

        Raises:
            LedgerUnfit: two writers can win there, or it cannot be used; the message says what to change.
        """
        return await self._with_limit(await s3_fitness.check(self._bucket, self._clock))

    async def ask_again(self) -> LedgerFacts:
        """Read birth and limit; see ``AsksAgain``. What a server does with conditions is tried at the start alone."""
        return await self._with_limit(await s3_fitness.look_again(self._bucket, self._clock))

    async def _with_limit(self, facts: LedgerFacts) -> LedgerFacts:
        self._birth.check(facts.born_ms)
        try:
            self._swept_until_s = await self._limit.read()
        except FAULTS as error:
            raise LedgerAway(f"s3: the bucket cannot be read: {first_line(error)}") from error
        return replace(facts, swept_until_s=self._swept_until_s)

    async def aclose(self) -> None:
        """Finish the calls under way. Calls after it end in ``Unknown``."""
        await self._under_way.close()
        await self._limit.aclose()
        self._bucket.close()
        await asyncio.sleep(CLOSING_S)

    async def scan(self, after: bytes, limit: int) -> Sequence[Row]:
        """List up to ``limit`` records whose id is above ``after``, in order of id; see ``Scans.scan``.

        Raises:
            OSError: the bucket cannot be read.
        """
        rows: list[Row] = []
        try:
            async for names in self._bucket.names(RECORDS, after=after.hex()):
                # The driver's pages may begin with the offset itself.
                wanted = [name for name in names if name > after.hex()][: limit - len(rows)]
                rows += [row for row in await _at_once(wanted, self._row) if row is not None]
                if len(rows) >= limit:
                    break
        except FAULTS as error:
            raise OSError(first_line(error)) from error
        return rows

    async def sweep_state(self) -> SweepState:
        """Return what is kept of the sweeps so far; see ``Sweeps.sweep_state``."""
        with _faults_as_os_errors():
            return (await self._limit.kept()).state

    async def keep_sweep(self, before: SweepState, after: SweepState) -> bool:
        """Store what a try leaves behind; see ``Sweeps.keep_sweep``."""
        with _faults_as_os_errors():
            kept = await self._limit.kept()
            if kept.state != before or not await self._limit.put(kept, after, kept.walked_until_s):
                return False
        self._swept_until_s = after.swept_until_s
        return True

    async def rebirth(self, born_ms: int, repair: Repair, swept_until_s: int) -> None:
        """Set birth and repair, then the limit; see ``Repairs.rebirth``.

        Two objects, so not in one write: until the second, links are refused by the limit that was.
        """
        with _faults_as_os_errors():
            await self._bucket.overwrite(s3_fitness.BORN, s3_fitness.born_text(born_ms, repair))
            for _ in range(TRIES_MAX):
                if await self._limit.put(await self._limit.kept(), SweepState(swept_until_s), -1):
                    return
        raise OSError("s3: the limit could not be stored: others store theirs")

    async def _check_clock(self, now_s: int) -> None:
        with _faults_as_os_errors():
            await s3_fitness.clock_ahead_s(self._bucket, now_s)

    async def _forget_due(self, limit_s: int, *, force: bool) -> int:
        """Look at every record, but once a day only: S3 cannot be asked what is due, and each look costs a request."""
        with _faults_as_os_errors():
            kept = await self._limit.kept()
            if not force and limit_s < kept.walked_until_s + WALK_EVERY_S:
                return 0
            pace, forgotten = Pace(lambda: self._under_way.is_busy), 0

            async def forget(name: str) -> int:
                return await self._forget(name, limit_s)

            # what is written from now on is not due; to look at it too would be to follow the claims
            async for names in self._bucket.names(RECORDS, until_s=self._clock() + AHEAD_MAX_S):
                await pace.next_step()
                forgotten += sum(await _at_once(names, forget))
            kept = await self._limit.kept()
            await self._limit.put(kept, kept.state, limit_s)
        return forgotten

    async def _insert(self, link_id: bytes, record: bytes, forget_after_s: int) -> InsertOutcome:
        if forget_after_s <= self._swept_until_s:
            found = await self._bucket.get(_name(link_id))
            is_due = found is None or stored_of(found.data).forget_after_s <= self._swept_until_s
            return Swept() if found is None or is_due else Stands(stored_of(found.data).record, found.etag)
        mine = Stored(secrets.token_urlsafe(9), forget_after_s, record)
        for _ in range(TRIES_MAX):
            etag = await self._bucket.create(_name(link_id), mine.to_bytes())
            stands = mine
            if etag is None:
                found = await self._bucket.get(_name(link_id))
                if found is None:
                    continue  # it stood, and was swept before it could be read
                stands, etag = stored_of(found.data), found.etag
            if stands.forget_after_s <= await self._limit.as_of_now():
                return Swept()
            return Done(etag) if stands.nonce == mine.nonce else Stands(stands.record, etag)
        return Unknown("the record came and went")

    async def _replace(self, link_id: bytes, version: str, record: bytes, forget_after_s: int) -> ReplaceOutcome:
        mine = Stored(secrets.token_urlsafe(9), forget_after_s, record)
        etag = await self._bucket.replace(_name(link_id), mine.to_bytes(), version)
        if etag is not None:
            return Done(etag)
        found = await self._bucket.get(_name(link_id))
        if found is None:
            return Gone()
        stands = stored_of(found.data)
        return Done(found.etag) if stands.nonce == mine.nonce else Stands(stands.record, found.etag)

    async def _read(self, link_id: bytes) -> ReadOutcome:
        found = await self._bucket.get(_name(link_id))
        return Gone() if found is None else Stands(stored_of(found.data).record, found.etag)

    async def _outcome(self, call: Coroutine[object, object, _T]) -> _T | Unknown:
        """Make a call within the time limit: a fault is ``Unknown``, here and nowhere else."""
        if self._under_way.is_closed:
            call.close()
            return CLOSED
        with self._under_way.one():
            try:
                async with asyncio.timeout(self._answer_within_s):
                    return await call
            except TimeoutError:
                return Unknown(f"no answer within {self._answer_within_s:g} s")
            except FAULTS as error:
                return Unknown(first_line(error))

    async def _forget(self, name: str, now_s: int) -> int:
        found = await self._bucket.get(f"{RECORDS}/{name}")
        if found is None or stored_of(found.data).forget_after_s > now_s:
            return 0
        again = await self._bucket.head(f"{RECORDS}/{name}")
        if again is None or again["e_tag"] != found.etag:
            return 0  # it was replaced meanwhile; the next sweep looks at what stands then
        await self._bucket.delete(f"{RECORDS}/{name}")
        return 1

    async def _row(self, name: str) -> Row | None:
        found = await self._bucket.get(f"{RECORDS}/{name}")
        if found is None:
            return None
        stored = stored_of(found.data)
        return Row(bytes.fromhex(name), stored.record, found.etag, stored.forget_after_s)


@contextlib.contextmanager
def _faults_as_os_errors() -> Generator[None]:
    """Turn the driver's faults into ``OSError``, as upkeep raises."""
    try:
        yield
    except FAULTS as error:
        raise OSError(first_line(error)) from error


async def _at_once(names: Sequence[str], work: Callable[[str], Awaitable[_T]]) -> list[_T]:
    """Work on names, a few at once, and return what came of each in order."""
    results: dict[str, _T] = {}
    waiting = deque(names)

    async def worker() -> None:
        while waiting:
            name = waiting.popleft()
            results[name] = await work(name)

    await asyncio.gather(*(worker() for _ in range(READS_AT_ONCE)))
    return [results[name] for name in names]


def _name(link_id: bytes) -> str:
    return f"{RECORDS}/{link_id.hex()}"


def open_from_url(url: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
    """Open the ledger; see ``opening.Backend`` and the module."""
    return S3Ledger(open_bucket(url.partition(":")[2], os.environ))


def create_from_url(url: str, *, folder: pathlib.Path) -> None:
    """Do nothing but read the URL: the bucket is given, and the first probe notes the birth."""
    open_bucket(url.partition(":")[2], os.environ)
