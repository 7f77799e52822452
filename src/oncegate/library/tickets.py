"""Fresh tickets: the clock and the random bytes that ``links.ticket`` is given. Standard library only, for quick starts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Literal

from oncegate.links.errors import BadRequest
from oncegate.links.grant import Operation
from oncegate.links.link_id import uuid7
from oncegate.links.ticket import Ticket

_OPERATIONS: Mapping[str, Operation] = {operation.word: operation for operation in Operation}


def ticket(operation: Literal["get", "put"] = "get", *, uses: int = 1, home: str | None = None) -> str:
    """A fresh ``once=...``, for another CloudFront or S3 signer: put it into the URL before that is signed.

    Args:
        operation: ``get`` admits GET and HEAD, ``put`` admits PUT.
        uses: how often the link opens, 1 to 9999.
        home: which ledger is the authority, where an installation has several; 1 to 12 of a-z and 0-9.

    Raises:
        BadRequest: no ticket can say this.
    """
    if operation not in _OPERATIONS:
        raise BadRequest("operation", "write get or put")
    return f"once={draw_ticket(_OPERATIONS[operation], uses=uses, home=home or '')}"


def draw_ticket(operation: Operation, *, uses: int = 1, home: str = "") -> Ticket:
    """A ticket that nobody else has.

    Args:
        operation: what it admits.
        uses: how often, 1 to 9999.
        home: of the ledger that is the authority; empty where there is one only.

    Raises:
        BadRequest: no ticket can say this.
    """
    nonce = uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))
    return Ticket(operation=operation, uses=uses, nonce=nonce, home=home)
