"""One request as ASGI 3: what an application sees of a turn, and what becomes of an application that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from oncegate.server.sending import AnswerBroken
from oncegate.server.turn import Turn
from oncegate.server.wire import Wire

_log = logging.getLogger("oncegate.server")

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


async def answer_by(app: Application, turn: Turn, wire: Wire) -> None:
    """Let an application answer one request.

    One that fails before its answer has begun is answered for with 500; after that its answer stays incomplete, and the
    connection is cut. What it raised is logged by its type alone: its text may hold a URL.
    """
    call = _Call(turn)
    try:
        await app(_scope(turn, wire), call.receive, call.send)
        fault = "" if turn.sending.is_complete or turn.is_gone else "it returned before its answer was complete"
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001  the outermost guard of a connection
        fault = type(error).__name__
    if fault and not turn.sending.is_begun:
        _log.error("an application failed: %s", fault)
        await turn.fail()


class _Call:
    """The two functions that an application is given."""

    __slots__ = ("_is_body_read", "_turn")

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._is_body_read = False

    async def receive(self) -> Message:
        """Return the body, piece by piece; then wait until the client has gone, or the answer is complete."""
        turn = self._turn
        if not self._is_body_read and not turn.sending.is_complete:
            data = await turn.read()
            if data is not None:
                self._is_body_read = not turn.has_more
                return {"type": "http.request", "body": data, "more_body": turn.has_more}
        await turn.until_over()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        kind = message["type"]
        if kind == "http.response.body":
            await self._turn.write(message.get("body", b""), is_last=not message.get("more_body", False))
        elif kind == "http.response.zerocopysend":
            start: int = message["offset"]
            span = (start, start + message["count"])
            await self._turn.write_file(message["file"], span, is_last=not message.get("more_body", False))
        elif kind == "http.response.start":
            self._turn.start(message["status"], message.get("headers", ()))
        else:
            raise AnswerBroken("a message that is no part of an answer")


def _scope(turn: Turn, wire: Wire) -> MutableMapping[str, Any]:
    head = turn.head
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": head.version,
        "method": head.method,
        "scheme": "http",
        "path": unquote(head.path.decode("latin-1")) if b"%" in head.path else head.path.decode("latin-1"),
        "raw_path": head.path,
        "query_string": head.query,
        "root_path": "",
        "headers": head.headers,
        "client": wire.peer,
        "server": wire.local,
        "extensions": {
            # with a descriptor as ``file``, and always with ``offset`` and ``count``
            "http.response.zerocopysend": {},
            # ``is_there``: whether the client still reads, to be awaited before the answer begins; ``follow``: tells what
            # becomes of the answer, asked for before it begins too; ``has_gone``: whether it is known by now that the
            # client has gone
            "oncegate.client": {"is_there": wire.is_there, "follow": wire.follow, "has_gone": turn.has_gone},
        },
    }
