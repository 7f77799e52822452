"""The batches of the ledger ``redis:``: what the scripts are told, and what their answers mean."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import cast

from oncegate.ledgers.birth import Birth
from oncegate.ledgers.protocol import (
    Done,
    Gone,
    Insert,
    InsertOutcome,
    ReadOutcome,
    Replace,
    ReplaceOutcome,
    Stands,
    Swept,
    Unknown,
)
from oncegate.ledgers.redis.connection import LedgerFault, RedisConnection, Reply
from oncegate.ledgers.redis.scripts import (
    DONE,
    GONE,
    INSERT,
    READ,
    REPLACE,
    SWEPT,
    VERSION_CHARS,
    Script,
    Scripts,
    row_of,
)

_Outcome = Done | Stands | Gone | Swept | Unknown


class RedisBatches:
    """Carries out whole batches; see ``server_ledger.Sends``.

    Args:
        prefix: of all keys.
        birth: of the ledger that this process began with.
        inserting: for inserts alone.
        replacing: for replaces alone.
        reading: for reads alone.
        wait: replicas that must have a write before it is answered; 0 waits for none.
    """

    def __init__(
        self,
        prefix: str,
        birth: Birth,
        *,
        inserting: RedisConnection,
        replacing: RedisConnection,
        reading: RedisConnection,
        wait: int,
    ) -> None:
        self._meta, self._ids, self._due, self._nothing, self._record = (
            f"{prefix}{name}".encode() for name in ("meta", "ids", "due", "nothing", "r:")
        )
        self._birth = birth
        self._reading = reading
        self._inserts, self._replaces = Scripts(inserting, wait=wait), Scripts(replacing, wait=wait)
        self._reads = Scripts(reading)
        self._wait = wait

    async def insert(self, asks: Sequence[Insert]) -> Sequence[InsertOutcome]:
        """Insert them all."""
        versions = _fresh_versions(len(asks))
        args: list[bytes | int | str] = [int(self._wait > 0), len(self._record) + 1]
        args.append(min(ask.forget_after_s for ask in asks))
        for ask, version in zip(asks, versions, strict=True):
            args += [ask.forget_after_s, _stored(version, ask)]
        outcomes = await self._run(self._inserts, INSERT, self._ids, [ask.link_id for ask in asks], args, versions)
        # The casts here: each script answers with its own kinds, which a union of all cannot say.
        return cast("Sequence[InsertOutcome]", outcomes)

    async def replace(self, asks: Sequence[Replace]) -> Sequence[ReplaceOutcome]:
        """Replace them all."""
        versions = _fresh_versions(len(asks))
        args: list[bytes | int | str] = [int(self._wait > 0), len(self._record) + 1]
        for ask, version in zip(asks, versions, strict=True):
            args += [str(ask.version), ask.forget_after_s, _stored(version, ask)]
        outcomes = await self._run(self._replaces, REPLACE, self._ids, [ask.link_id for ask in asks], args, versions)
        return cast("Sequence[ReplaceOutcome]", outcomes)

    async def read(self, asks: Sequence[bytes]) -> Sequence[ReadOutcome]:
        """Read them all."""
        outcomes = await self._run(self._reads, READ, self._nothing, asks, [], [""] * len(asks))
        return cast("Sequence[ReadOutcome]", outcomes)

    async def _run(
        self,
        scripts: Scripts,
        script: Script,
        second_key: bytes,
        link_ids: Sequence[bytes],
        args: Sequence[bytes | int | str],
        versions: Sequence[str],
    ) -> Sequence[_Outcome]:
        keys = [self._meta, second_key, self._due, *[self._record + link_id for link_id in link_ids]]
        try:
            born_ms = await self._birth.known_ms(lambda: self._reading.call([("PING",)]))
            answers = await scripts.run(script, keys, [born_ms, *args], waits=True)
            return _outcomes(answers, versions)
        except LedgerFault as fault:
            return [fault.outcome] * len(link_ids)


def _fresh_versions(count: int) -> Sequence[str]:
    """Draw versions, together: a call of the system for each would take a tenth of the client's time."""
    drawn = secrets.token_hex(VERSION_CHARS // 2 * count)
    return [drawn[at : at + VERSION_CHARS] for at in range(0, len(drawn), VERSION_CHARS)]


def _stored(version: str, ask: Insert | Replace) -> bytes:
    """Return the string that is stored for a record."""
    return b"%b%d:%b" % (version.encode(), ask.forget_after_s, ask.record)


def _outcomes(answers: Reply, versions: Sequence[str]) -> Sequence[_Outcome]:
    """Read the answers to a batch; one number stands for all done."""
    if answers == DONE:
        return [Done(version) for version in versions]
    if not isinstance(answers, list) or len(answers) != len(versions):
        raise LedgerFault("the answers do not match what was asked")
    return [_outcome(answer, version) for answer, version in zip(answers, versions, strict=True)]


def _outcome(answer: Reply, version: str) -> _Outcome:
    if answer == DONE:
        return Done(version)
    if answer == GONE:
        return Gone()
    if answer == SWEPT:
        return Swept()
    row = row_of(b"", answer)
    return Stands(row.record, row.version)
