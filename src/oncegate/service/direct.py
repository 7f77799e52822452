"""A link for who invokes the function itself: eight members as the published signer took them, and no HTTP.

What differs on purpose: the times are UTC, not those of the machine; the name of the file is escaped; the link opens
once; an end beyond ``[links] max_lifetime`` is refused. Who may invoke the function may make any link: the right to
``lambda:InvokeFunction`` is all that is asked.

Source: docs/aws-protocol.md, the signer of the second published design; EventBridge User Guide, "Events".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from oncegate.control.bodies.making import LinkOrder
from oncegate.control.callers import Caller
from oncegate.control.issuing import issue_link
from oncegate.control.parts import ControlParts
from oncegate.control.tokens import Token
from oncegate.links.errors import BadRequest
from oncegate.links.instants import instant_text

FILE_NAME = "fileName"
TIMES = ("Year", "Month", "Day", "Hour", "Minute", "Second", "Micro")
_INVOKER = Caller(Token(id="00000000", name="direct invocation", scopes=("links:write",), made_s=0), b"")
"""Its secret is nothing: no call of it has an idempotency key."""


async def sign_directly(parts: ControlParts, event: Mapping[str, Any]) -> str:
    """Make a download link.

    Args:
        parts: of the control API.
        event: with ``fileName`` and the members of ``TIMES`` as text; or an event of EventBridge with them as detail.

    Returns:
        The URL.

    Raises:
        BadRequest: a member is missing or cannot be used; it is named, and nothing that was sent is repeated.
    """
    wanted = _wanted_of(event)
    key = wanted.get(FILE_NAME)
    if not isinstance(key, str) or not 1 <= len(key) <= 1_024:
        raise BadRequest(FILE_NAME, "it is the key of an object, 1 to 1,024 characters")
    order = LinkOrder.model_validate({"key": key, "expires_at": _end_of(wanted)})
    return (await issue_link(parts, order, caller=_INVOKER)).url


def _wanted_of(event: Mapping[str, Any]) -> Mapping[str, Any]:
    detail = event.get("detail")
    return cast("Mapping[str, Any]", detail) if "detail-type" in event and isinstance(detail, Mapping) else event


def _end_of(wanted: Mapping[str, Any]) -> str:
    """As an order names it; cut to the second, because a policy has no smaller unit."""
    numbers = [_number(wanted, name) for name in TIMES]
    try:
        end = datetime(*numbers, tzinfo=UTC)  # type: ignore[misc,arg-type]  # seven numbers, as named above
    except (ValueError, OverflowError):
        raise BadRequest("Year", "there is no such moment") from None
    return instant_text(int(end.timestamp()))


def _number(wanted: Mapping[str, Any], name: str) -> int:
    text = str(wanted.get(name, ""))
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise BadRequest(name, "it is a number, as text: '7' or '07'")
    return int(text)
