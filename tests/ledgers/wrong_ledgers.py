"""Ledgers that are wrong on purpose, each in a way that has happened: the suite must find every one."""

from __future__ import annotations

import asyncio
import json
import pathlib
import time

from oncegate.ledgers.memory import MemoryLedger
from oncegate.ledgers.protocol import Done, Gone, LedgerFacts, Stands, Unknown

BORN_MS = 1_700_000_000_000


class ReadsThenWrites(MemoryLedger):
    """Looks first and writes later, as a SELECT followed by an INSERT does; others come in between."""

    async def insert(self, link_id, record, forget_after_s):
        """Store a record, without looking again."""
        if (found := self._rows.get(link_id)) is not None:
            return Stands(found.record, found.version)
        await asyncio.sleep(0)
        return self._put(link_id, record, forget_after_s)


class TellsAWonKeyTwice(MemoryLedger):
    """Makes one batch of all that wait, and tells every caller of a won key that it won."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = []

    async def insert(self, link_id, record, forget_after_s):
        """Wait for the batch, then look whether the key was among the won ones."""
        future = asyncio.get_running_loop().create_future()
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write_batch)
        self._waiting.append((link_id, record, forget_after_s, future))
        return await future

    def _write_batch(self) -> None:
        waiting, self._waiting = self._waiting, []
        won = {}
        for link_id, record, forget_after_s, _ in waiting:
            if link_id not in self._rows:
                won[link_id] = self._put(link_id, record, forget_after_s)
        for link_id, _, _, future in waiting:
            found = self._rows[link_id]
            if not future.done():
                future.set_result(won.get(link_id) or Stands(found.record, found.version))


class LocksOneProcessOnly:
    """Keeps a file for each record under a lock that only its own process knows."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._lock = asyncio.Lock()
        self._is_closed = False

    async def insert(self, link_id, record, forget_after_s):
        """Look whether the file is there, and write it where not."""
        if self._is_closed:
            return Unknown("closed")
        async with self._lock:
            if (found := self._find(link_id)) is not None:
                return found
            time.sleep(0.0005)  # as long as a disk takes
            return self._put(link_id, record, 1)

    async def replace(self, link_id, version, record, forget_after_s):
        """Look at the file's version, and write the next."""
        if self._is_closed:
            return Unknown("closed")
        async with self._lock:
            found = self._find(link_id)
            if found is None:
                return Gone()
            if found.version != version:
                return found
            time.sleep(0.0005)
            return self._put(link_id, record, found.version + 1)

    async def read(self, link_id):
        """Look at the file."""
        return Unknown("closed") if self._is_closed else self._find(link_id) or Gone()

    async def probe(self):
        """Say when it was born."""
        return LedgerFacts(born_ms=BORN_MS)

    async def aclose(self) -> None:
        """Finish the writes that wait, and answer no more."""
        async with self._lock:
            self._is_closed = True

    def _put(self, link_id, record, version):
        unfinished = self._folder / f"{link_id.hex()}-{id(self)}"
        unfinished.write_text(json.dumps([version, record.decode()]))
        unfinished.rename(self._folder / link_id.hex())
        return Done(version)

    def _find(self, link_id):
        try:
            version, record = json.loads((self._folder / link_id.hex()).read_text())
        except FileNotFoundError:
            return None
        return Stands(record.encode(), version)
