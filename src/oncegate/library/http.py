"""Calls of the control API over httpx: the arguments of a request, and the value of its answer. Of both clients."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import httpx

from oncegate.library.calls import ApiError, Call
from oncegate.links.errors import BadRequest

T = TypeVar("T")

TIMEOUT_S = 10.0


def headers_of(token: str) -> dict[str, str]:
    """The headers that every call carries."""
    return {"Authorization": f"Bearer {token}"}


def arguments_of(call: Call[Any]) -> dict[str, Any]:
    """The arguments of ``httpx``'s request; GET and DELETE send no body."""
    body = {} if call.body is None else {"json": call.body}
    return {"params": dict(call.query), "headers": dict(call.headers), **body}


def known_id(link_id: str | None) -> str:
    """The id of a link, once somebody knows it.

    Raises:
        BadRequest: nobody does.
    """
    if link_id is None:
        raise BadRequest("url_or_id", "the signature of this URL does not verify now, so its link is not known")
    return link_id


def no_answer(error: httpx.HTTPError) -> ApiError:
    """What a fault of the connection is to a caller."""
    return ApiError(0, "No answer", str(error) or type(error).__name__)


def read(call: Call[T], answer: httpx.Response) -> T:
    """Make the value of an answer.

    Raises:
        ApiError: it is an error, or no answer of the control API.
    """
    try:
        body: Any = answer.json()
    except ValueError:
        body = None
    members = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    if answer.is_success:
        try:
            return call.read(members)
        except (KeyError, TypeError, ValueError) as error:
            raise ApiError(answer.status_code, answer.reason_phrase, "this is no answer of the control API") from error
    detail = members.get("detail") or "the answer holds no problem document; is this the control listener?"
    title = str(members.get("title") or answer.reason_phrase)
    raise ApiError(answer.status_code, title, str(detail), errors=members.get("errors") or ())
