"""Passes the pieces of an upload, while they arrive, to one request that is under way.

The request is never cancelled, since that would leave parts of it in the driver: to give it up, its body raises. A
caller who waits to hand on a piece is woken by the end of the request too, so that a failed request is noticed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Generic, TypeVar

from oncegate.stores.protocol import StoreFault

T = TypeVar("T")


class Handover(Generic[T]):
    """One request whose body arrives piece by piece; the constructor begins it.

    Args:
        request: makes the request with the given body; raises ``StoreFault``, or what the body raises.
    """

    def __init__(self, request: Callable[[AsyncGenerator[bytes]], Coroutine[object, object, T]]) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._is_given_up = False
        self._answer = asyncio.ensure_future(request(self._body()))

    async def hand(self, piece: bytes) -> None:
        """Pass a piece on, to a queue that holds one; wait while the piece before it has not been taken.

        Raises:
            StoreFault: the request failed, or ended before its body.
        """
        await self._hand(piece)
        if self._answer.done():
            await self._answer  # raises what went wrong
            raise StoreFault("the store took the upload for ended")

    async def finish(self) -> T:
        """End the body, and return the request's result. Raises ``StoreFault``."""
        await self._hand(None)
        return await self._answer

    async def give_up(self) -> None:
        """Make the body raise, and wait for the end of the request, however it ends."""
        self._is_given_up = True
        while not self._answer.done():
            with contextlib.suppress(asyncio.QueueFull):
                self._pieces.put_nowait(None)
            await asyncio.wait({self._answer}, timeout=0.1)
        self._answer.exception()

    async def _hand(self, piece: bytes | None) -> None:
        handing = asyncio.ensure_future(self._pieces.put(piece))
        try:
            await asyncio.wait({handing, self._answer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handing.cancel()

    async def _body(self) -> AsyncGenerator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece
        if self._is_given_up:
            raise _GivenUp


class _GivenUp(ValueError):
    """Raised in the body of a request that is given up, so that the request ends without storing an object.

    A ValueError because the driver's own are: the request then ends as one that failed (``faults.DRIVER_ERRORS``).
    """
