"""What the bytes of a client are read into: the head of a request, the pieces of its body, its end, or a refusal."""

from __future__ import annotations

from typing import Final, NamedTuple


class BadRequest(Exception):
    """What was received is no request that is taken; nothing behind it can be read.

    Attributes:
        status: to answer, 400 to 505.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status: int = status


class Head(NamedTuple):
    """The head of a request.

    Attributes:
        method: as it was sent.
        path: of the target, percent-encoded, byte for byte; ``*`` for OPTIONS alone.
        query: of the target, behind the first ``?``.
        version: ``1.0`` or ``1.1``.
        headers: names in lower case, values without white space around them; in the order in which they came.
        keeps_alive: whether the client would send another request on this connection.
        has_body: whether a body follows; its pieces are the next events, and ``END``.
        expects_continue: whether the client waits for 100 (Continue) before it sends the body.
    """

    method: str
    path: bytes
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    keeps_alive: bool
    has_body: bool
    expects_continue: bool


class End:
    """The end of a body."""


END: Final = End()
Event = Head | bytes | End
