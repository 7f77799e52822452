"""One request as ASGI 3: what an application sees of a turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from oncegate.server.sending import AnswerBroken
from oncegate.server.turn import Answer, Turn

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


def answers(app: Application) -> Answer:
    """Return what answers a request by an application."""

    async def answer(turn: Turn) -> None:
        call = _Call(turn)
        await app(_scope(turn), call.receive, call.send)

    return answer


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
        elif kind == "http.response.start":
            self._turn.start(message["status"], message.get("headers", ()))
        else:
            raise AnswerBroken("a message that is no part of an answer")


def _scope(turn: Turn) -> MutableMapping[str, Any]:
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
        "client": turn.peer,
        "server": turn.local,
    }
