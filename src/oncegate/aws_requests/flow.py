"""Talk with a server over HTTP as a generator: it yields requests and is sent answers, and never touches a socket.

What to send, when to repeat and what an answer means stands in the flow, once; a driver only carries. The gateway
drives with ``drive``, the edge function with ``drive_blocking``: two doors, one rule. Standard library only.

Source: our choice; the shape is that of httpx ``Auth.auth_flow``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A POST to the server's root, not yet signed.

    Attributes:
        headers: names in lower case; without host, length and signature, which a driver adds.
        body: the whole of it.
    """

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back, whole.

    Attributes:
        status: of the answer.
        body: the whole of it.
        date_s: the server's ``Date`` in seconds since 1970 UTC; None where it gave none.
    """

    status: int
    body: bytes
    date_s: int | None


class NoAnswer(Exception):
    """The request may or may not have been carried out, now or later. The text is for the log."""


class Wait(NamedTuple):
    """Please wait before the next step."""

    seconds: float


T = TypeVar("T")
Flow = Generator[HttpRequest | Wait, HttpAnswer | None, T]


async def drive(flow: Flow[T], send: Callable[[HttpRequest], Awaitable[HttpAnswer]]) -> T:
    """Run a flow in an event loop; ``NoAnswer`` of ``send`` is thrown into the flow."""
    try:
        step = next(flow)
        while True:
            if isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
                step = flow.send(None)
                continue
            try:
                answer = await send(step)
            except NoAnswer as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        return stop.value


def drive_blocking(flow: Flow[T], send: Callable[[HttpRequest], HttpAnswer], sleep: Callable[[float], None]) -> T:
    """Run a flow with calls that block; ``NoAnswer`` of ``send`` is thrown into the flow."""
    try:
        step = next(flow)
        while True:
            if isinstance(step, Wait):
                sleep(step.seconds)
                step = flow.send(None)
                continue
            try:
                answer = send(step)
            except NoAnswer as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        return stop.value
