"""What surrounds the control application: limits, headers of every answer, one line in the log, no word of a fault.

A plain ASGI callable. Answers of this listener hold links, so no cache may keep them. No exception leaves it: its text
may hold a value of the configuration (a URL with a password), so the log gets its type and place alone.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import MutableMapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oncegate.control.parts import ControlParts
from oncegate.control.problems import INTERNAL, ProblemAnswer, problem_response
from oncegate.server.limits import HEAD_MAX_BYTES

BODY_MAX_BYTES = 65_536
BODY_MAX_S = 10.0
ANSWER_MAX_S = 30.0
_UNNOTED = frozenset({"/healthz", "/readyz", "/metrics"})
"""Machines call these every few seconds; their lines would bury the others."""


class Envelope:
    """Runs one application within limits."""

    def __init__(self, app: ASGIApp, parts: ControlParts) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; anything else (lifespan) is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = _Call(scope, receive, send, request_id=self._parts.random_bytes(8).hex())
        began = time.monotonic()
        try:
            await self._answer(call)
        finally:
            self._note(call, ms=int((time.monotonic() - began) * 1000))

    async def _answer(self, call: _Call) -> None:
        refusal = _refusal_of_head(call.scope)
        try:
            if refusal is None:
                async with asyncio.timeout(ANSWER_MAX_S):
                    await self._app(call.scope, call.receive, call.send)
        except TimeoutError:
            refusal = ProblemAnswer(503, "This took too long. What was asked for may still happen.")
        except Exception as error:  # noqa: BLE001  the outermost guard of this listener
            self._parts.journal.write("fault", where="control", what=_place_of(error), request_id=call.request_id)
            refusal = INTERNAL
        # an answer that has begun can only be broken off
        if refusal is not None and not call.status:
            await problem_response(refusal)(call.scope, call.receive, call.send)

    def _note(self, call: _Call, *, ms: int) -> None:
        if call.route in _UNNOTED:
            return
        client = call.scope.get("client")
        self._parts.journal.write(
            "request",
            method=str(call.scope["method"])[:16],
            status=call.status,
            ms=ms,
            address=str(client[0]) if client else None,
            request_id=call.request_id,
            outcome=f"control {call.route or 'no route'}",
        )


class _Call:
    """One request and what was sent of its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, request_id: str) -> None:
        self.scope = scope
        self.request_id = request_id
        self.status = 0
        self._receive = receive
        self._send = send
        self._read_bytes = 0
        self._reads_body = True

    @property
    def route(self) -> str:
        """The template of the path, which holds nothing that was sent."""
        return str(getattr(self.scope.get("route"), "path", ""))

    async def receive(self) -> Message:
        """Read on, within the limits of a body."""
        # the body is complete; this call waits for the caller to leave, for which there is no limit
        if not self._reads_body:
            return await self._receive()
        try:
            async with asyncio.timeout(BODY_MAX_S):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408) from None
        self._read_bytes += len(message.get("body", b""))
        self._reads_body = bool(message.get("more_body"))
        if self._read_bytes > BODY_MAX_BYTES:
            raise HTTPException(413)
        return message

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
                (b"x-request-id", self.request_id.encode()),
            ]
        await self._send(message)


def _refusal_of_head(scope: Scope) -> ProblemAnswer | None:
    """Refuse by the head alone what is too large to be read."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if sum(len(name) + len(value) for name, value in headers) > HEAD_MAX_BYTES:
        return ProblemAnswer(431, f"The headers are larger than {HEAD_MAX_BYTES} bytes.")
    length = dict(headers).get(b"content-length", b"0")
    # int() fails at 4,300 digits; 20 are enough to be too many bytes
    if not length.isdigit() or int(length[:20]) > BODY_MAX_BYTES:
        return ProblemAnswer(413, f"A body of this API has at most {BODY_MAX_BYTES} bytes.")
    return None


def _place_of(error: BaseException) -> str:
    """Name the exception and where it was raised, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "nowhere"
    return f"{type(error).__name__} at {place}"
