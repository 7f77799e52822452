"""A listener of ``oncegate.server`` in a thread of this process, over an application that does what its path says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Generator, MutableMapping
from typing import Any

import uvloop

from oncegate.server.asgi import answers
from oncegate.server.door import Room
from oncegate.server.fates import Fate
from oncegate.server.listener import Listener
from oncegate.server.turn import Turn
from oncegate.settings.addresses import Address
from oncegate.settings.sockets import Listen
from oncegate.testing.raw_http import RawConnection

PIECE = bytes(64 * 1024)
FILE_STEP = 256 * 1024
WAIT_S = 60.0
ANYWHERE = Address("127.0.0.1", 0)


class Told:
    """What an application has seen; each value is waited for."""

    def __init__(self) -> None:
        self._seen: list[str] = []
        self._changed = threading.Condition()

    def say(self, what: str) -> None:
        """Note something."""
        with self._changed:
            self._seen.append(what)
            self._changed.notify_all()

    def heard(self, what: str) -> bool:
        """Whether it is said, soon."""
        with self._changed:
            return self._changed.wait_for(lambda: what in self._seen, WAIT_S)

    def pause(self, seconds: float) -> None:
        """Wait for that long, whatever is said."""
        with self._changed:
            self._changed.wait_for(lambda: False, seconds)

    def forget(self) -> None:
        """Forget what was said."""
        with self._changed:
            self._seen.clear()

    @property
    def all(self) -> list[str]:
        """Everything, in order."""
        with self._changed:
            return [*self._seen]


class Program:
    """The application."""

    def __init__(self) -> None:
        self.told = Told()
        self.scopes: list[dict[str, Any]] = []
        self.sent_bytes = 0
        self.descriptor = -1
        self.fates: list[Fate] = []
        self.go: asyncio.Event

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer as the path says."""
        self.scopes.append(dict(scope))
        path = scope["path"].strip("/*") or "whole"
        self.told.say(f"begin {path}")
        try:
            await getattr(self, path)(receive, send, scope["query_string"])
        finally:
            self.told.say(f"end {path}")

    async def answer(self, turn: Turn) -> None:
        """Answer by ASGI, or without it what that has no words for."""
        path = turn.head.path.strip(b"/").decode()
        if path not in ("file", "followed"):
            await answers(self)(turn)
            return
        self.told.say(f"begin {path}")
        try:
            await getattr(self, path)(turn)
        finally:
            self.told.say(f"end {path}")

    async def _answer(
        self, send: Any, body: bytes, *, status: int = 200, headers: Any = (), more: bool = False
    ) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": more})

    async def echo(self, receive: Any, send: Any, _: bytes) -> None:
        """The body."""
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.told.say("broken body")
                return
            body += message["body"]
            if not message["more_body"]:
                await self._answer(send, body)
                return

    async def whole(self, _: Any, send: Any, query: bytes) -> None:
        """The query."""
        await self._answer(send, query or b"whole", headers=[(b"content-length", b"%d" % len(query or b"whole"))])

    async def status(self, _: Any, send: Any, query: bytes) -> None:
        """A status with a body, which some must not have."""
        await self._answer(send, b"body", status=int(query))

    async def pieces(self, _: Any, send: Any, query: bytes) -> None:
        """Three pieces without a length."""
        await self._answer(send, b"one", more=True)
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": True})
        if query == b"break":
            return
        await send({"type": "http.response.body"})

    async def large(self, _: Any, send: Any, query: bytes) -> None:
        """So many pieces of 64 KiB."""
        count = int(query)
        headers = [(b"content-length", b"%d" % (count * len(PIECE)))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(count):
            await send({"type": "http.response.body", "body": PIECE, "more_body": number < count - 1})
            self.sent_bytes += len(PIECE)

    async def file(self, turn: Turn) -> None:
        """A file, by its descriptor, behind three bytes and in front of three; what is announced says the query."""
        query = turn.head.query
        size = os.fstat(self.descriptor).st_size
        count = int(query or size)
        headers = [(b"content-length", b"%d" % (count + 6))] if query != b"0" else []
        turn.start(200, headers)
        await turn.write(b"abc", is_last=False)
        for at in range(0, count or 1, FILE_STEP):
            step = min(FILE_STEP, count - at)
            await turn.write_file(self.descriptor, (at, at + step), is_last=False)
            self.sent_bytes += step
        await turn.write(b"xyz", is_last=True)

    async def followed(self, turn: Turn) -> None:
        """So many pieces of 1 KiB, once they may go, and what becomes of them; with ``+`` more is announced than comes."""
        query = turn.head.query
        turn.follow(self._keep)
        self.told.say("follows")
        await self.go.wait()
        self.go.clear()
        body = bytes(1024 * int(query.rstrip(b"+")))
        is_short = query.endswith(b"+")
        turn.start(200, [(b"content-length", b"%d" % (len(body) + is_short))])
        await turn.write(body, is_last=not is_short)

    def _keep(self, fate: Fate) -> None:
        self.fates.append(fate)
        self.told.say(f"fate {len(self.fates)}")

    async def refuse(self, _: Any, send: Any, __: bytes) -> None:
        """403, without a look at the body."""
        await self._answer(send, b"no", status=403)

    async def wait(self, _: Any, send: Any, __: bytes) -> None:
        """An answer once it may go."""
        await self.go.wait()
        self.go.clear()
        await self._answer(send, b"waited")

    async def stuck(self, _: Any, __: Any, ___: bytes) -> None:
        """Wait for nothing."""
        await asyncio.Event().wait()

    async def leave(self, receive: Any, _: Any, __: bytes) -> None:
        """Wait until the client has gone."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.told.say("gone")

    async def nothing(self, _: Any, __: Any, ___: bytes) -> None:
        """No answer."""

    async def fail(self, _: Any, send: Any, query: bytes) -> None:
        """Raise, in the middle of an answer."""
        if query:
            await self._answer(send, b"some", headers=[(b"content-length", b"100")], more=True)
        raise LookupError("a secret")

    async def wrong(self, _: Any, send: Any, query: bytes) -> None:
        """A body that is not as long as it says."""
        await self._answer(send, b"12345", headers=[(b"content-length", query)])

    async def split(self, _: Any, send: Any, query: bytes) -> None:
        """A header that would be two."""
        evil = {
            b"value": (b"x-a", b"a\r\nset-cookie: a"),
            b"name": (b"x-a: b\r\nx-c", b"d"),
            b"lf": (b"x-a", b"a\nb"),
            b"nul": (b"x-a", b"a\0b"),
        }
        await self._answer(send, b"split", headers=[evil[query]])


class Serving:
    """A listener that answers."""

    def __init__(self, program: Program, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self.program = program
        self.told = program.told
        self.listener = listener
        self.url = f"http://{listener.address}"
        self._loop = loop

    def connect(self, **wishes: Any) -> RawConnection:
        """Open a connection."""
        return RawConnection(self.url, **wishes)

    def go(self) -> None:
        """Let those who wait answer."""
        self._loop.call_soon_threadsafe(self.program.go.set)

    def stop(self, patience_s: float) -> Callable[[], bool]:
        """Begin to stop; what is returned waits for it."""
        stopping = asyncio.run_coroutine_threadsafe(self.listener.stop(patience_s), self._loop)
        return lambda: stopping.result(WAIT_S)


@contextlib.contextmanager
def serving(
    listen: Listen = ANYWHERE,
    *,
    on: Callable[[Any], None] = uvloop.run,
    stall_s: float = 60,
    silent_s: float | None = None,
    **room: Any,
) -> Generator[Serving]:
    """Serve while the block runs."""
    program, ready, over = Program(), threading.Event(), asyncio.Event()
    made: list[Serving] = []

    async def main() -> None:
        program.go = asyncio.Event()
        listener = Listener(program.answer, listen, stall_s=stall_s, silent_s=silent_s, room=Room(**room))
        await listener.start()
        made.append(Serving(program, listener, asyncio.get_running_loop()))
        ready.set()
        await over.wait()
        await listener.stop(0)

    thread = threading.Thread(target=on, args=(main(),))
    thread.start()
    try:
        assert ready.wait(WAIT_S)
        yield made[0]
    finally:
        made[0]._loop.call_soon_threadsafe(over.set)
        thread.join(WAIT_S)
