"""Transfers: send an object with back-pressure and bounded memory, and know at any moment what was handed over.

A transfer ends in one of three ways: all was handed to the server; it broke (the store failed, the viewer left, no
progress for ``stall_timeout``, or its holder asked for the bytes elsewhere), and then the connection is cut, never
ended cleanly; or the first byte could not be read, and nothing was sent at all.

Facts about granian behind this (its embedded server, 2.8): ``send`` waits while the viewer is slow, but neither raises
nor waits once he has left, so ``receive`` is watched; returning in mid-body cuts the connection; a chunk of 256 KiB
costs a third of the CPU of 16 KiB, and seven times the memory while a reader stalls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator

from oncegate.gateway.answers import Header, Receive, Send
from oncegate.stores.protocol import ObjectChanged, OpenObject, StoreFault

WHOLE_MAX_BYTES = 64 * 1024
"""Up to here an object goes out in one message."""
LARGE_CHUNK_BYTES = 256 * 1024
SMALL_CHUNK_BYTES = 16 * 1024
LARGE_CHUNK_TRANSFERS_MAX = 64


class Transfer:
    """Bytes that were promised to a holder and are on their way."""

    __slots__ = ("_task", "claim_id", "cut_why", "handed_bytes", "progress_at", "promised_bytes", "settled")

    def __init__(self, claim_id: str, promised_bytes: int, now: float) -> None:
        self.claim_id = claim_id
        self.promised_bytes = promised_bytes
        self.handed_bytes = 0
        self.progress_at = now
        self.cut_why = ""
        self.settled: asyncio.Event | None = None
        self._task = asyncio.current_task()

    @property
    def unsent_bytes(self) -> int:
        """Promised and not yet handed to the server."""
        return self.promised_bytes - self.handed_bytes

    def cut(self, why: str) -> None:
        """End it from outside; whoever runs it settles it."""
        if not self.cut_why and self._task is not None:
            self.cut_why = why
            self._task.cancel()

    def leave(self) -> None:
        """No bytes move any more; what remains is to settle it, which nobody must cut."""
        self._task = None


class Transfers:
    """All transfers of this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_claim: dict[str, list[Transfer]] = {}
        self._count = self._large = 0
        self._none = asyncio.Event()
        self._none.set()

    def __len__(self) -> int:
        return self._count

    def begin(self, claim_id: str, promised_bytes: int) -> Transfer:
        """Register a transfer of this task."""
        transfer = Transfer(claim_id, promised_bytes, self._clock())
        self._by_claim.setdefault(claim_id, []).append(transfer)
        self._count += 1
        self._none.clear()
        return transfer

    def end(self, transfer: Transfer) -> None:
        """Forget a transfer once it is settled."""
        of_claim = self._by_claim[transfer.claim_id]
        of_claim.remove(transfer)
        if not of_claim:
            del self._by_claim[transfer.claim_id]
        self._count -= 1
        if not self._count:
            self._none.set()
        if transfer.settled is not None:
            transfer.settled.set()

    def unsent_bytes(self, claim_id: str) -> int:
        """Bytes of a claim that are promised and still to be sent here."""
        return sum(transfer.unsent_bytes for transfer in self._by_claim.get(claim_id, ()))

    async def cut_claim(self, claim_id: str, patience_s: float) -> None:
        """Cut every transfer of a claim here, and wait until each is settled, or for so long."""
        cut = list(self._by_claim.get(claim_id, ()))
        for transfer in cut:
            transfer.settled = transfer.settled or asyncio.Event()
            transfer.cut("continued elsewhere")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                for transfer in cut:
                    if transfer.settled is not None:
                        await transfer.settled.wait()

    async def until_none(self) -> None:
        """Wait until every transfer has ended and is settled."""
        await self._none.wait()

    def cut_stalled(self, limit_s: float) -> None:
        """Cut what has made no progress for so long."""
        oldest = self._clock() - limit_s
        for of_claim in list(self._by_claim.values()):
            for transfer in of_claim:
                if transfer.progress_at < oldest:
                    transfer.cut("stalled")

    def progress(self, transfer: Transfer, size_bytes: int) -> None:
        """Note bytes; called before they are handed over, so that they are never under-counted."""
        transfer.handed_bytes += size_bytes
        transfer.progress_at = self._clock()

    def touch(self, transfer: Transfer) -> None:
        """Note that something moved."""
        transfer.progress_at = self._clock()

    @contextlib.contextmanager
    def chunk_bytes(self) -> Generator[int]:
        """How large a transfer's pieces may be while it runs."""
        large = self._large < LARGE_CHUNK_TRANSFERS_MAX
        self._large += large
        try:
            yield LARGE_CHUNK_BYTES if large else SMALL_CHUNK_BYTES
        finally:
            self._large -= large


class FirstByteFailed(Exception):
    """The store failed before anything was sent; the cause is attached."""


async def deliver(
    transfers: Transfers,
    transfer: Transfer,
    opened: OpenObject,
    span: tuple[int, int],
    *,
    status: int,
    headers: list[Header],
    send: Send,
    receive: Receive,
) -> bool:
    """Send a part of an object, or all of it.

    Args:
        transfers: of this process.
        transfer: this one; its ``handed_bytes`` is true at every moment.
        opened: the object.
        span: first byte and end (exclusive).
        status: of the answer.
        headers: of the answer, whole.
        send: ASGI.
        receive: ASGI.

    Returns:
        Whether all was handed to the server.

    Raises:
        FirstByteFailed: the store failed before the first byte; nothing was sent.
    """
    start, end = span
    length = end - start
    if length <= WHOLE_MAX_BYTES:
        body = await _first_piece(opened.read(start, end, WHOLE_MAX_BYTES)) if length else b""
        transfers.progress(transfer, length)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True
    with transfers.chunk_bytes() as chunk_bytes:
        pieces = opened.read(start, end, chunk_bytes)
        piece: bytes | None = await _first_piece(pieces)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        gone = asyncio.ensure_future(_viewer_left(receive))
        try:
            while piece is not None and not gone.done():
                transfers.progress(transfer, len(piece))
                is_last = not transfer.unsent_bytes
                await send({"type": "http.response.body", "body": piece, "more_body": not is_last})
                transfers.touch(transfer)
                if is_last:
                    return True
                piece = await anext(pieces, None)
            return False
        finally:
            gone.cancel()
            await pieces.aclose()


async def _first_piece(pieces: AsyncGenerator[bytes]) -> bytes:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        raise FirstByteFailed from ObjectChanged("it ended before its first byte")
    except StoreFault as error:
        raise FirstByteFailed from error


async def _viewer_left(receive: Receive) -> None:
    """Return when the viewer has closed the connection; the first message is the request's empty body."""
    while (await receive())["type"] != "http.disconnect":
        pass
