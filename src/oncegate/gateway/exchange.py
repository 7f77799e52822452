"""One request and its answer: what is known of it so far, and what was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypedDict

from oncegate.gateway.answers import Message, Receive, Send, send_answer
from oncegate.gateway.open_requests import OpenRequests
from oncegate.links.grant import Grant
from oncegate.links.request import ViewerRequest
from oncegate.server.fates import Fate, Followed
from oncegate.web.answers import Answer, cors_headers

# refused unread, senders met a broken pipe after 0.3 to 2.9 MB: RFC 9112 9.6 tells of "a significant risk that the
# client will not be able to read the last HTTP response"
DRAIN_MAX_BYTES = 1024 * 1024
DRAIN_MAX_S = 1.0


class Client(TypedDict):
    """The extension ``oncegate.client`` of our own server."""

    is_there: Callable[[], Awaitable[bool]]
    has_gone: Callable[[], bool]
    follow: Callable[[Callable[[Fate], None]], Followed | None]


class Exchange:
    """A request on its way; mutable, and of one task only.

    Attributes:
        request: None until it could be read.
        grant: None until it verified.
        status: that was sent; 0 until something was.
        received_bytes: of an upload's body.
        sent_bytes: of the answer's body, handed to the server.
        started_at: when its head had arrived, by a clock that never goes back.
        first_byte_at: when its answer began; None until then.
        size_bytes: of the object that is downloaded.
        is_from_proxy: whether the peer is a trusted proxy.
        sends_files: whether the server takes a file's descriptor in place of its bytes.
        reason: of a refusal.
        outcome: what became of a transfer.
    """

    __slots__ = (
        "_client",
        "_cors_origins",
        "_gone",
        "_has_left",
        "_monotonic",
        "_open_requests",
        "_send",
        "first_byte_at",
        "grant",
        "is_from_proxy",
        "outcome",
        "reason",
        "receive",
        "received_bytes",
        "request",
        "request_id",
        "sends_files",
        "sent_bytes",
        "size_bytes",
        "started_at",
        "status",
        "unread_body",
    )

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        request_id: str,
        monotonic: Callable[[], float],
        cors_origins: tuple[str, ...],
        open_requests: OpenRequests,
        sends_files: bool = False,
        client: Client | None = None,
    ) -> None:
        self.receive: Receive = receive
        self._send = send
        self.request_id: str = request_id
        self.sends_files: bool = sends_files
        self._monotonic = monotonic
        self.started_at: float = monotonic()
        self.first_byte_at: float | None = None
        self._cors_origins = cors_origins
        self._open_requests = open_requests
        self.request: ViewerRequest | None = None
        self.grant: Grant | None = None
        self.status: int = 0
        self.received_bytes: int = 0
        self.sent_bytes: int = 0
        self.size_bytes: int | None = None
        self.reason: str | None = None
        self.outcome: str | None = None
        self.unread_body: bool = False
        self.is_from_proxy: bool = False
        self._gone: asyncio.Future[None] | None = None
        self._has_left = False
        self._client = client

    async def watch(self) -> None:
        """Watch from now on whether the viewer closes the connection; for requests without a body, until ``unwatch``."""
        if self._client is None:  # else it says so when it is asked, and no task has to wait for it
            self._gone = asyncio.ensure_future(self._until_gone())
        await asyncio.sleep(0)  # one turn of the loop, in which the server can say that they have done so already
        await self.ask()

    async def ask(self) -> None:
        """Ask whether a viewer who sends no more still reads, where the server can tell; before an answer has begun."""
        if self._client is not None and not await self._client["is_there"]():
            self._has_left = True

    def follow(self, tell: Callable[[Fate], None]) -> Followed | None:
        """Ask to be told what becomes of the answer, before it begins; None where nobody will tell: they have gone."""
        if self._client is None:
            return None
        followed = self._client["follow"](tell)
        self._has_left = self._has_left or followed is None
        return followed

    def has_gone(self) -> bool:
        """Whether the viewer is known to have closed the connection."""
        if self._client is not None and self._client["has_gone"]():
            return True
        return self._has_left or (self._gone is not None and self._gone.done())

    def unwatch(self) -> None:
        """Watch no more."""
        if self._gone is not None:
            self._gone.cancel()

    async def _until_gone(self) -> None:
        # the first message is the request's empty body
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def send(self, message: Message) -> None:
        """Send a message of an answer whose head was built elsewhere."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.first_byte_at = self._monotonic()
            if self._cors_origins:
                message["headers"] = [*message["headers"], *cors_headers(self.request, self._cors_origins)]
        await self._send(message)

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer; what the viewer is still sending is read a little, so that the answer arrives."""
        # a client that expects a 100 (Continue) has sent nothing yet, and reading would make the server ask for it
        if self.unread_body and (self.request is None or self.request.header(b"expect") is None):
            with self._open_requests.reading_on() as may_read:
                if may_read:
                    await self._read_a_little()
        is_head = self.request is not None and self.request.method == "HEAD"
        self.sent_bytes = 0 if is_head else len(answer.body)
        await send_answer(self.send, answer, with_body=not is_head)

    async def _read_a_little(self) -> None:
        """Read on for a moment: otherwise the connection is reset while the viewer writes, and they see no answer."""
        self.unread_body = False
        left = DRAIN_MAX_BYTES
        try:
            async with asyncio.timeout(DRAIN_MAX_S):
                while left > 0:
                    message = await self.receive()
                    left -= len(message.get("body", b""))
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            return
