"""The ticket: the ``once`` parameter inside a link's signed bytes, which makes it single-use.

    once=g.01890a5d-ac96-... is written as   once=g.AYkKXayWd0qh...        one GET
                                             once=p3.AYkKXayWd0qh...       three PUTs
                                             once=g.AYkKXayWd0qh....eu1    of the ledger called eu1

Grammar: ``g`` or ``p``; how many uses (1 to 9999, no leading zero, 1 is left out); a dot; a UUIDv7 as 22 base64url
characters whose four spare bits are zero; optionally a dot and the home. A ``once`` with any other
value is refused; it is never taken for a plain link (docs/request.md).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass

from oncegate.links.errors import BadRequest
from oncegate.links.grant import Operation
from oncegate.links.link_id import is_uuid7, text_of_id
from oncegate.links.refusal import Reason, Refused

USES_MAX = 9999
# A nonce of the far future would be younger than every ledger, even one that lost its memory. A day is for wrong clocks.
NONCE_AHEAD_MAX_MS = 86_400_000
# The last character is one of four: base64 ignores spare bits, so each nonce would otherwise have 16 spellings.
_TICKET = re.compile(rb"([gp])([1-9][0-9]{0,3})?\.([A-Za-z0-9_-]{21}[AQgw])(?:\.([a-z0-9]{1,12}))?")
FROM_BASE64URL = bytes.maketrans(b"-_", b"+/")
_OPERATIONS = {b"g": Operation.GET, b"p": Operation.PUT}  # an enum called with its value takes five times as long
_HOME = re.compile(r"[a-z0-9]{1,12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A ticket.

    Attributes:
        operation: ``GET`` admits GET and HEAD, ``PUT`` admits PUT.
        uses: 1 to 9999.
        nonce: 16 bytes, a UUIDv7; the link's id.
        home: name of the ledger that counts its uses; empty where there is only one.
    """

    operation: Operation
    uses: int
    nonce: bytes
    home: str = ""

    def __post_init__(self) -> None:
        if type(self.operation) is not Operation or not is_uuid7(self.nonce):
            raise ValueError("not a ticket")
        if not 1 <= self.uses <= USES_MAX:
            raise BadRequest("uses", f"a link opens 1 to {USES_MAX} times")
        if self.home and not _HOME.fullmatch(self.home):
            raise BadRequest("home", "a home is 1 to 12 of a-z and 0-9")

    @property
    def made_ms(self) -> int:
        """When it was made, by its maker's clock: milliseconds since 1970 UTC."""
        return int.from_bytes(self.nonce[:6])

    def __str__(self) -> str:
        """The value of ``once``."""
        uses = str(self.uses) if self.uses > 1 else ""
        home = f".{self.home}" if self.home else ""
        return f"{self.operation.value}{uses}.{text_of_id(self.nonce)}{home}"


def read_ticket(text: bytes, *, now_s: int, homes: Collection[str]) -> Ticket:
    """Read the value of ``once``.

    Args:
        text: raw, as it is in the URL.
        now_s: seconds since 1970 UTC.
        homes: the ledgers that this installation asks; a ticket that names another is refused, one that names none
            is for the installation's own.

    Raises:
        Refused: MALFORMED_TICKET, TICKET_AHEAD, WRONG_HOME.
    """
    found = _TICKET.fullmatch(text)
    if not found:
        raise Refused(Reason.MALFORMED_TICKET)
    operation, uses, nonce, named = found.groups()
    try:
        ticket = Ticket(
            operation=_OPERATIONS[operation],
            uses=int(uses or 1),
            nonce=binascii.a2b_base64(nonce.translate(FROM_BASE64URL) + b"=="),  # spare bits are zero in A, Q, g, w
            home=(named or b"").decode(),
        )
    except ValueError:
        raise Refused(Reason.MALFORMED_TICKET) from None
    if ticket.made_ms > now_s * 1000 + NONCE_AHEAD_MAX_MS:
        raise Refused(Reason.TICKET_AHEAD)
    # another ledger counts its uses; in this one it would always be unused
    if ticket.home and ticket.home not in homes:
        raise Refused(Reason.WRONG_HOME)
    return ticket
