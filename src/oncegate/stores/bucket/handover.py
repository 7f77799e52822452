"""Hands the pieces of an upload to one request that is under way while they come.

The request is never cancelled, which would leave parts of it in the driver: to give it up, its body raises. What waits
for a piece to be taken waits for the end of the request too, so that a request that failed is noticed at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Generic, TypeVar

from oncegate.stores.protocol import StoreFault

T = TypeVar("T")


class Handover(Generic[T]):
    """One request with a body that comes piece by piece; it is begun at once.

    Args:
        request: makes it, with the body given; raises ``StoreFault``, or what the body raises.
    """

    def __init__(self, request: Callable[[AsyncGenerator[bytes]], Coroutine[object, object, T]]) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._is_given_up = False
        self._answer = asyncio.ensure_future(request(self._body()))

    async def hand(self, piece: bytes) -> None:
        """Hand over a piece; waits while the request has enough.

        Raises:
            StoreFault: the request failed, or ended before its body did.
        """
        await self._hand(piece)
        if self._answer.done():
            await self._answer  # raises what went wrong
            raise StoreFault("the store took the upload for ended")

    async def finish(self) -> T:
        """End the body, and return what the request does. Raises ``StoreFault``."""
        await self._hand(None)
        return await self._answer

    async def give_up(self) -> None:
        """Let the body raise, and wait until the request is over, however it ends."""
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
            raise GivenUp


class GivenUp(ValueError):
    """Raised inside a request whose upload was given up; the driver then removes what it has sent."""
