"""Transfers: send an object with back-pressure and bounded memory, and know at any moment what was handed over.

What then becomes of it is for ``ending.py``. Here a transfer ends in one of three ways: all was handed to the server; it
broke (the store failed, the viewer left, no progress for ``stall_timeout``, or its holder asked for the bytes elsewhere),
and then the connection is cut, never ended cleanly; or the first byte could not be read, and nothing was sent at all.

Writing waits while the viewer is slow, but neither raises nor waits once they have left, so that is asked for; returning in
mid-body cuts the connection. A piece of 256 KiB costs a third of the CPU of
16 KiB, and more memory while a reader stalls.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Generator, Iterable

from oncegate.gateway.exchange import Exchange
from oncegate.stores.protocol import ObjectChanged, OpenDescriptor, OpenObject, ReadsNow, StoreFault
from oncegate.web.answers import Header

WHOLE_MAX_BYTES = 64 * 1024
"""Up to here an object goes out in one message."""
LARGE_CHUNK_BYTES = 256 * 1024
SMALL_CHUNK_BYTES = 16 * 1024
FILE_STEP_BYTES = 1024 * 1024
"""Of a file that goes out by its descriptor: what is counted as handed over before it is. Steps of 256 KiB cost a large
file a seventh more."""
# with 1,000 stalled readers: 32 hold 1 MiB each and the others 131 KiB, 209 MiB in all (docs/performance.md)
LARGE_CHUNK_TRANSFERS_MAX = 32

END_KNOWN_S = 1.0
"""For so long a holder waits for the end of an earlier transfer of theirs, before they are told that it is under way."""
UNREAD_S = 2.0
"""For so long after its last byte somebody who asks again waits for the end of a transfer that has arrived."""
UNWATCHED_MAX_BYTES = 2 * 1024 * 1024
WAITED_S = 0.0005
WATCH_S = 0.001
"""A write that waited shows a viewer who reads. One that never waits may be a fast viewer, or nobody: the server's
thread needs this one to stand still for a moment to say so, and until then gigabytes would count as handed over."""


class Transfer:
    """Bytes that were promised to a holder and are on their way."""

    __slots__ = ("_asked_bytes", "_task", "claim_id", "cut_why", "etag", "handed_bytes", "has_arrived", "on_end",
                 "progress_at", "promised_bytes", "settled", "start")  # fmt: skip

    def __init__(self, claim_id: str, etag: str, span: tuple[int, int], now: float) -> None:
        self.claim_id: str = claim_id
        self.etag: str = etag
        self.start: int = span[0]
        self.promised_bytes: int = span[1] - span[0]
        self._asked_bytes = self.promised_bytes
        self.handed_bytes: int = 0
        self.progress_at: float = now
        self.cut_why: str = ""
        self.has_arrived: Callable[[], bool] = _nobody_knows
        self.on_end: Callable[[], object] | None = None
        self.settled: asyncio.Event | None = None
        self._task = asyncio.current_task()

    @property
    def unsent_bytes(self) -> int:
        """Promised and not yet handed to the server."""
        return self.promised_bytes - self.handed_bytes

    @property
    def is_shortened(self) -> bool:
        """Whether its end was promised to another request of its holder."""
        return self.promised_bytes < self._asked_bytes

    def overlap_bytes(self, span: tuple[int, int]) -> int:
        """How much of a span it still has to send."""
        return max(0, min(self.start + self.promised_bytes, span[1]) - max(self.start + self.handed_bytes, span[0]))

    def cut(self, why: str) -> None:
        """End it from outside; whoever runs it settles what is still promised."""
        # once: a second cancel would strike while the first is being settled
        if not self.cut_why and self._task is not None:
            self.cut_why = why
            self._task.cancel()

    def leave(self) -> None:
        """No bytes move any more; what remains is to settle it, which nobody must cut."""
        self._task = None

    @property
    def has_left(self) -> bool:
        """It is being settled."""
        return self._task is None


def _nobody_knows() -> bool:
    return True


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

    def begin(self, claim_id: str, etag: str, span: tuple[int, int]) -> Transfer:
        """Register a transfer of this task: first byte and end (exclusive) of this version of the object."""
        transfer = Transfer(claim_id, etag, span, self._clock())
        self._by_claim.setdefault(claim_id, []).append(transfer)
        self._count += 1
        self._none.clear()
        return transfer

    def end(self, transfer: Transfer) -> None:
        """Forget a transfer once it is settled."""
        if transfer.on_end is not None:
            transfer.on_end()
        transfer.has_arrived = _nobody_knows  # who would tell holds this transfer: a circle for the collector
        of_claim = self._by_claim[transfer.claim_id]
        of_claim.remove(transfer)
        if transfer.settled is not None:
            transfer.settled.set()
        if not of_claim:
            del self._by_claim[transfer.claim_id]
        self._count -= 1
        if not self._count:
            self._none.set()

    def takeable_bytes(self, claim_id: str, etag: str, span: tuple[int, int]) -> int:
        """Bytes promised and not yet sent, of those transfers of a claim that would have to send what is asked for now.

        Where none would, of all: then their holder wants another part first. Never of another version of the object:
        it is settled by its own size.
        """
        return sum(transfer.unsent_bytes for transfer in self._takeable(claim_id, etag, span))

    def _takeable(self, claim_id: str, etag: str, span: tuple[int, int]) -> list[Transfer]:
        # those that are being settled count as well: take() gets nothing of them, but who counts on their bytes asks
        # again, in his turn behind the settlement, where he would be told 403 now
        running = [transfer for transfer in self._by_claim.get(claim_id, ()) if transfer.etag == etag]
        return [transfer for transfer in running if transfer.overlap_bytes(span)] or running

    def take(self, claim_id: str, wanted_bytes: int, etag: str, span: tuple[int, int]) -> int:
        """Take back promises from the ends of a claim's running transfers, for another request of the same holder.

        Download managers open the whole object, then its parts beside it: so the transfers that still have to send
        what is asked for now lose their ends first. One that has nothing left to send is cut.

        Args:
            claim_id: whose they are.
            wanted_bytes: at most so many are taken.
            etag: of the object that is asked for.
            span: what is asked for now: first byte and end (exclusive).

        Returns:
            How many were taken; to be given back to the ledger by the caller.
        """
        taken = 0
        for transfer in sorted(self._takeable(claim_id, etag, span), key=lambda t: t.overlap_bytes(span), reverse=True):
            if transfer.has_left:
                continue  # it gives back all of its rest itself: taken too, that would be given back twice
            part = min(transfer.unsent_bytes, wanted_bytes - taken)
            transfer.promised_bytes -= part
            taken += part
            if part and not transfer.unsent_bytes:
                transfer.cut("continued elsewhere")
        return taken

    def is_unended(self, claim_id: str) -> bool:
        """Whether a transfer of a claim runs, or was handed over and may not have arrived.

        One that has arrived may still turn out unread; that is waited for ``UNREAD_S``, and no longer.
        """
        recent = self._clock() - UNREAD_S
        return any(
            not transfer.has_left or transfer.progress_at > recent or not transfer.has_arrived()
            for transfer in self._by_claim.get(claim_id, ())
        )

    async def until_one_settles(self, claim_id: str, limit_s: float) -> bool:
        """Wait for a transfer of a claim that moves no more bytes and is not settled; False: none is within the limit.

        Programs that are cut off ask again within milliseconds, and the end of their connection takes as long to be known.
        """
        left = [transfer for transfer in self._by_claim.get(claim_id, ()) if claim_id and transfer.has_left]
        settled: list[asyncio.Event] = []
        for transfer in left:
            transfer.settled = transfer.settled or asyncio.Event()
            settled.append(transfer.settled)
        return await until_one_is_set(settled, limit_s)

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

    def touch(self, transfer: Transfer) -> float:
        """Note that something moved; return the seconds since the last time."""
        before, transfer.progress_at = transfer.progress_at, self._clock()
        return transfer.progress_at - before

    @contextlib.contextmanager
    def chunk_bytes(self) -> Generator[int]:
        """How large a transfer's pieces may be while it runs."""
        large = self._large < LARGE_CHUNK_TRANSFERS_MAX
        self._large += large
        try:
            yield LARGE_CHUNK_BYTES if large else SMALL_CHUNK_BYTES
        finally:
            self._large -= large


async def until_one_is_set(events: Iterable[asyncio.Event], limit_s: float) -> bool:
    """Wait until one of these is set; False: there are none, or none is within the limit, in seconds."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    if not waiting:
        return False
    try:
        done, _ = await asyncio.wait(waiting, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for wait in waiting:
            wait.cancel()


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
    exchange: Exchange,
) -> bool:
    """Send a part of an object, or all of it.

    Args:
        transfers: of this process.
        transfer: this one; its ``handed_bytes`` is true at every moment.
        opened: the object.
        span: first byte and end (exclusive).
        status: of the answer.
        headers: of the answer, whole.
        exchange: of which it is the answer.

    Returns:
        Whether all was handed to the server.

    Raises:
        FirstByteFailed: the store failed before the first byte; nothing was sent.
    """
    start, end = span
    length = end - start
    if exchange.has_gone():
        return False
    if length <= WHOLE_MAX_BYTES:
        # not watched: one message lies in socket buffers at once, whether or not the viewer is still there
        body = await _whole(opened, start, end) if length else b""
        transfers.progress(transfer, length)
        exchange.start(status, headers)
        await exchange.write(body, is_last=True)
        return True
    at = start
    if exchange.sends_files and isinstance(opened, OpenDescriptor):
        begin = functools.partial(exchange.start, status, headers)
        at += await _send_file(transfers, transfer, opened, span, begin=begin, exchange=exchange)
        if at > start and (exchange.has_gone() or not transfer.unsent_bytes):
            return False
    with transfers.chunk_bytes() as chunk_bytes:
        pieces = opened.read(at, end, chunk_bytes)
        piece: bytes | None = await (_first_piece(pieces) if at == start else anext(pieces, None))
        if at == start:
            exchange.start(status, headers)
        unwatched_bytes = 0
        try:
            # promised_bytes may shrink under way: then the end is somebody else's, and this one is never ended cleanly
            while piece is not None and transfer.unsent_bytes and not exchange.has_gone():
                # its end may have been promised to another request while it was read
                piece = piece[: transfer.unsent_bytes]
                transfers.progress(transfer, len(piece))
                is_last = transfer.handed_bytes == length
                await exchange.write(piece, is_last=is_last)
                unwatched_bytes = 0 if transfers.touch(transfer) > WAITED_S else unwatched_bytes + len(piece)
                if is_last:
                    return True
                if unwatched_bytes >= UNWATCHED_MAX_BYTES:
                    unwatched_bytes = 0
                    await asyncio.sleep(WATCH_S)
                piece = await anext(pieces, None)
            return False
        finally:
            await pieces.aclose()


async def _send_file(
    transfers: Transfers,
    transfer: Transfer,
    file: OpenDescriptor,
    span: tuple[int, int],
    *,
    begin: Callable[[], None],
    exchange: Exchange,
) -> int:
    """Send all but the end of a span by its file's descriptor; return how many bytes, 0 where nothing was sent.

    The end is left to be read: only what is read is known to belong to the version that was looked at.
    """
    start, end = span
    at, stop = start, end - WHOLE_MAX_BYTES
    while at < stop and transfer.unsent_bytes and not exchange.has_gone():
        size = min(FILE_STEP_BYTES, stop - at, transfer.unsent_bytes)
        try:
            descriptor = await file.descriptor(at, at + size)
        except StoreFault as error:
            if at > start:
                raise
            raise FirstByteFailed from error
        if descriptor is None:
            break
        if at == start:
            begin()
        # its end may have been promised to another request meanwhile
        size = min(size, transfer.unsent_bytes)
        if not size:
            break
        transfers.progress(transfer, size)
        await exchange.write_file(descriptor, (at, at + size))
        transfers.touch(transfer)
        at += size
    return at - start


async def _whole(opened: OpenObject, start: int, end: int) -> bytes:
    """Read what goes out in one message."""
    try:
        at_hand = opened.read_now(start, end) if isinstance(opened, ReadsNow) else None
    except StoreFault as error:
        raise FirstByteFailed from error
    if at_hand is not None:
        return at_hand
    pieces = opened.read(start, end, WHOLE_MAX_BYTES)
    body = await _first_piece(pieces)
    await pieces.aclose()  # left to the garbage collector it would be closed by a task of its own: 3 us more
    return body


async def _first_piece(pieces: AsyncGenerator[bytes]) -> bytes:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        raise FirstByteFailed from ObjectChanged("it ended before its first byte")
    except StoreFault as error:
        raise FirstByteFailed from error
