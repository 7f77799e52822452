"""One request as the gateway is given it: by our own server as it is, by any other server through ASGI 3."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol

from oncegate.links.refusal import Reason, Refused
from oncegate.server.fates import Fate, Followed
from oncegate.server.limits import HEAD_MAX_BYTES
from oncegate.server.peers import Peer
from oncegate.server.pieces import Head
from oncegate.web.answers import Header

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]

FILES = "http.response.zerocopysend"
"""The ASGI extension that sends a file by its descriptor."""


class Call(Protocol):
    """A request under way; ``server.turn.Turn`` is one."""

    @property
    def peer(self) -> Peer:
        """Address and port of who connects; None on a socket that has none."""
        ...

    @property
    def sends_files(self) -> bool:
        """Whether ``write_file`` may be used."""
        ...

    async def read(self) -> bytes | None:
        """Return what came of the body, at least a byte; empty at its end, None where the client left before it."""
        ...

    def start(self, status: int, headers: list[Header]) -> None:
        """Begin the answer; it is sent with the first of its body."""
        ...

    async def write(self, data: bytes, *, is_last: bool) -> None:
        """Write a piece of the answer's body; unless it is the last, wait until the client takes more."""
        ...

    async def write_file(self, descriptor: int, span: tuple[int, int], *, is_last: bool) -> None:
        """Send a part of a file as a piece of the answer's body, up to ``span``'s end (exclusive)."""
        ...

    async def is_there(self) -> bool:
        """Whether the client still reads; asked before the answer begins."""
        ...

    def has_gone(self) -> bool:
        """Whether the client is known to have gone."""
        ...

    def follow(self, tell: Callable[[Fate], None]) -> Followed | None:
        """Tell once what becomes of the answer, asked for before it begins; None where nobody will tell."""
        ...


class AsgiCall:
    """A request that another server hands over by ASGI 3.

    Attributes:
        peer: address and port of who connects; None where the server does not say.
        sends_files: whether the server takes a file's descriptor in place of its bytes.
    """

    def __init__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        client: Sequence[Any] | None = scope.get("client")
        self.peer: Peer = (str(client[0]), int(client[1] or 0)) if client else None
        self.sends_files: bool = FILES in (scope.get("extensions") or {})
        self._receive = receive
        self._send = send
        self._is_read = False
        self._start: Message | None = None
        self._gone: asyncio.Future[None] | None = None

    async def read(self) -> bytes | None:
        """Return what came of the body; see ``Call.read``."""
        while not self._is_read:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return None
            self._is_read = not message.get("more_body")
            if data := message.get("body", b""):
                return data
        return b""

    def start(self, status: int, headers: list[Header]) -> None:
        """Begin the answer."""
        self._start = {"type": "http.response.start", "status": status, "headers": headers}

    async def write(self, data: bytes, *, is_last: bool) -> None:
        """Write a piece of the answer's body."""
        await self._begin()
        await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})

    async def write_file(self, descriptor: int, span: tuple[int, int], *, is_last: bool) -> None:
        """Send a part of a file."""
        await self._begin()
        where = {"file": descriptor, "offset": span[0], "count": span[1] - span[0]}
        await self._send({"type": FILES, **where, "more_body": not is_last})

    async def _begin(self) -> None:
        start, self._start = self._start, None
        if start is not None:
            await self._send(start)

    async def is_there(self) -> bool:
        """Whether the client is not known to have gone; from the first call on that is watched for."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._until_gone())
            await asyncio.sleep(0)  # a turn of the loop, in which the server can say that they have gone already
        return not self._gone.done()

    async def _until_gone(self) -> None:
        # the first message is the request's empty body
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def has_gone(self) -> bool:
        """Whether the client is known to have gone."""
        return self._gone is not None and self._gone.done()

    def follow(self, tell: Callable[[Fate], None]) -> None:
        """Tell nothing: no other server says what became of an answer."""

    def close(self) -> None:
        """Watch no more for the client's end."""
        if self._gone is not None:
            self._gone.cancel()


def head_of(scope: Mapping[str, Any]) -> Head:
    """Return the head of an ASGI request.

    Raises:
        Refused: HEAD_TOO_LARGE: our own server has a limit, others may have none.
    """
    headers: list[Header] = list(scope["headers"])
    path, query = bytes(scope["raw_path"]), bytes(scope["query_string"])
    if len(path) + len(query) + sum(len(name) + len(value) for name, value in headers) > HEAD_MAX_BYTES:
        raise Refused(Reason.HEAD_TOO_LARGE)
    version = str(scope.get("http_version", "1.1"))
    method = str(scope["method"])
    return Head(method, path, query, version, headers, keeps_alive=True, has_body=True, expects_continue=False)
