"""Talks with a server over HTTP, as generators that yield requests and are sent answers, and never touch a socket.

The talk decides what to send, when to repeat it and what an answer means; a driver only carries requests and answers.
The gateway drives with ``driving.drive``, the edge function with ``drive_blocking``: two doors, one rule. Standard
library only, and no asyncio: this module is shipped to the edge.

Source: our choice; the shape is that of httpx ``Auth.auth_flow``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A POST to the server's root, not yet signed.

    Attributes:
        headers: names in lower case; without host, length and signature, which a driver adds.
        body: the whole of it.
        is_repeat: this talk sent the same request before, and got no answer that it could work with.
    """

    headers: Mapping[str, str]
    body: bytes
    is_repeat: bool = False


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


class Pause(NamedTuple):
    """The driver is to wait before it asks for the next step; it sends None back."""

    seconds: float


T = TypeVar("T")
Talk = Generator[HttpRequest | Pause, HttpAnswer | None, T]


def drive_blocking(talk: Talk[T], send: Callable[[HttpRequest], HttpAnswer], sleep: Callable[[float], None]) -> T:
    """Run a talk with calls that block; ``NoAnswer`` of ``send`` is thrown into the talk."""
    try:
        step = next(talk)
        while True:
            if isinstance(step, Pause):
                sleep(step.seconds)
                step = talk.send(None)
                continue
            try:
                answer = send(step)
            except NoAnswer as error:
                step = talk.throw(error)
            else:
                step = talk.send(answer)
    except StopIteration as stop:
        return stop.value
