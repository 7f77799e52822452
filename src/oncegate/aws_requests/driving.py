"""Drives talks over HTTP in an event loop, as the gateway does; the edge function has ``flow.drive_blocking``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from oncegate.aws_requests.flow import HttpAnswer, HttpRequest, NoAnswer, Pause, Talk

T = TypeVar("T")


async def drive(talk: Talk[T], send: Callable[[HttpRequest], Awaitable[HttpAnswer]]) -> T:
    """Run a talk in an event loop; ``NoAnswer`` of ``send`` is thrown into the talk."""
    try:
        step = next(talk)
        while True:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = talk.send(None)
                continue
            try:
                answer = await send(step)
            except NoAnswer as error:
                step = talk.throw(error)
            else:
                step = talk.send(answer)
    except StopIteration as stop:
        return stop.value
