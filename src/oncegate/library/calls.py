"""The calls of the control API as values: what to send and how to read the answer. No network here.

``Client`` and ``AsyncClient`` both carry them, so each call is written once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Required, TypedDict, TypeVar
from urllib.parse import quote

from oncegate.library.answers import Event, Explanation, LinkStatus, MadeLink, StoredObject, read_event
from oncegate.library.members import read_answer
from oncegate.links.errors import BadRequest, OncegateError

T = TypeVar("T")

PAGE = 1_000
"""Rows asked for at once, the most that the API gives."""
_LINK_ID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")
_TICKET = re.compile(r"[?&]once=[gp][0-9]{0,4}\.([A-Za-z0-9_-]{21}[AQgw])(?=[.&#]|$)")


class ApiError(OncegateError):
    """The control API answered an error, or did not answer.

    Attributes:
        status: of the answer; 0 where there was none.
        title: the status in words.
        detail: what is the matter, for the caller.
        errors: what is wrong with which member of the request, as the API lists it.
    """

    def __init__(self, status: int, title: str, detail: str, *, errors: Sequence[Mapping[str, str]] = ()) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.errors: tuple[Mapping[str, str], ...] = tuple(errors)
        super().__init__(status, title, detail)

    def __str__(self) -> str:
        """Status, title and detail in one line."""
        found = "; ".join(f"{row.get('where')}: {row.get('what')}" for row in self.errors)
        return f"{self.status} {self.title}: {self.detail}" + (f" ({found})" if found else "")


class LinkOrder(TypedDict, total=False):
    """What a link should allow; what is left out is decided by the API.

    Attributes:
        key: object key, decoded.
        operation: ``get`` (default) or ``put``.
        expires_in: how long it lives: seconds, a timedelta, or text such as ``15m``; not beside ``expires_at``.
        expires_at: an aware datetime; the link is refused at this second and after.
        not_before: an aware datetime; the link is refused at this second and before.
        uses: how often it opens, 1 to 9999.
        source_ip: IPv4 address or network that may use it.
        filename: what a browser saves the object as.
        inline: a browser may show the object, where its type is safe to show.
        max_bytes: largest upload that is taken.
        content_type: of an upload: ``type/subtype`` or ``type/*``.
        overwrite: an upload may replace an object.
        confirm: ``always`` or ``never``: whether a person is asked first, whatever the gateway is set to.
        from_: who sends the link, for its page (``from`` is a word of Python).
        note: what the sender says to the reader, for its page.
        delete_after: the object is removed once the link gives nothing any more.
        scheme: ``cloudfront`` (default), ``cloudfront-custom`` or ``s3``.
        label: a note of yours; a link with one is listed before it is opened.
    """

    key: Required[str]
    operation: str
    expires_in: int | str | timedelta
    expires_at: datetime
    not_before: datetime
    uses: int
    source_ip: str
    filename: str
    inline: bool
    max_bytes: int
    content_type: str
    overwrite: bool
    confirm: str
    from_: str
    note: str
    delete_after: bool
    scheme: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One call.

    Attributes:
        method: of HTTP.
        path: on the control listener, percent-encoded.
        read: makes the value of the answer's JSON.
        query: parameters by name.
        body: JSON to send; None: no body.
        headers: further ones.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    query: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """A page of a list.

    Attributes:
        rows: of this page.
        next: what the next page begins after; None: this is the last.
    """

    rows: Sequence[T]
    next: str | int | None


def make_link(order: LinkOrder, idempotency_key: str | None) -> Call[MadeLink]:
    """``POST /v1/links``."""
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    body = {name.removesuffix("_"): _as_json(name, value) for name, value in order.items() if value is not None}
    return Call(
        method="POST", path="/v1/links", body=body, headers=headers, read=lambda row: read_answer(MadeLink, row)
    )


def get_link(link_id: str) -> Call[LinkStatus]:
    """``GET /v1/links/{id}``."""
    return Call(method="GET", path=_path_of(link_id), read=lambda row: read_answer(LinkStatus, row))


def list_links(after: str | int | None) -> Call[Page[LinkStatus]]:
    """``GET /v1/links``."""
    return _list("/v1/links", "links", lambda row: read_answer(LinkStatus, row), after=after)


def revoke_link(link_id: str, expires_at: datetime | None) -> Call[LinkStatus]:
    """``DELETE /v1/links/{id}``."""
    query: dict[str, str | int] = {} if expires_at is None else {"expires_at": _instant("expires_at", expires_at)}
    return Call(method="DELETE", path=_path_of(link_id), query=query, read=lambda row: read_answer(LinkStatus, row))


def explain_link(
    url: str,
    *,
    method: str | None = None,
    address: str | None = None,
    headers: Mapping[str, str] | None = None,
    at: datetime | None = None,
) -> Call[Explanation]:
    """``POST /v1/explain``."""
    instant = None if at is None else _instant("at", at)
    given = {"url": url, "method": method, "address": address, "headers": headers, "at": instant}
    body = {name: value for name, value in given.items() if value is not None}
    return Call(method="POST", path="/v1/explain", body=body, read=lambda row: read_answer(Explanation, row))


def list_objects(prefix: str, after: str | int | None) -> Call[Page[StoredObject]]:
    """``GET /v1/objects``."""
    return _list("/v1/objects", "objects", lambda row: read_answer(StoredObject, row), after=after, prefix=prefix)


def list_events(link: str | None, after: str | int | None) -> Call[Page[Event]]:
    """``GET /v1/events``."""
    return _list("/v1/events", "events", read_event, after=after, link=link)


def link_id_in(url_or_id: str) -> str | None:
    """The id of a link, or the one in a URL's ticket; None for the URL of a plain link, whose id only a verifier knows.

    Raises:
        BadRequest: neither an id nor a URL.
    """
    if _LINK_ID.fullmatch(url_or_id):
        return url_or_id
    if not url_or_id.startswith(("https://", "http://")):
        raise BadRequest("url_or_id", "write the id of a link, 22 characters, or its URL")
    found = _TICKET.search(url_or_id)
    return found[1] if found else None


def _list(path: str, rows: str, read: Callable[[Any], T], **query: str | int | None) -> Call[Page[T]]:
    return Call(
        method="GET",
        path=path,
        query={"limit": PAGE} | {name: value for name, value in query.items() if value is not None},
        read=lambda page: Page(rows=[read(row) for row in page[rows]], next=page["next"]),
    )


def _path_of(link_id: str) -> str:
    return f"/v1/links/{quote(link_id, safe='')}"


def _as_json(name: str, value: object) -> object:
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    return _instant(name, value) if isinstance(value, datetime) else value


def _instant(name: str, at: datetime) -> str:
    if at.tzinfo is None:
        raise BadRequest(name, "give a datetime with its zone: datetime.now(UTC)")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
