"""``Client`` and ``AsyncClient``: the control API for programs, over httpx, which keeps connections and time-outs.

    with Client("http://127.0.0.1:8081", token) as api:
        link = api.links.make(key="reports/2026.pdf", expires_in="15m")
        print(link.url, api.links.get(link.id).state)

A call is never repeated here. To repeat ``links.make`` after a break, give it an ``idempotency_key``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, Unpack, cast

import httpx

from oncegate.library import calls
from oncegate.library.answers import Event, Explanation, LinkStatus, MadeLink, StoredObject
from oncegate.library.calls import ApiError, Call, LinkOrder, Page
from oncegate.links.errors import BadRequest

T = TypeVar("T")

TIMEOUT_S = 10.0


class _Send(Protocol):
    def __call__(self, call: Call[T], /) -> T: ...


class _SendAsync(Protocol):
    async def __call__(self, call: Call[T], /) -> T: ...


class Client:
    """The control API, for programs without an event loop. Threads may share one.

    Attributes:
        links: make, look at and revoke links.
        objects: list the store.
        events: list what happened.
    """

    def __init__(self, base_url: str, token: str, *, timeout: float = TIMEOUT_S) -> None:
        """Nothing is sent yet.

        Args:
            base_url: of the control listener: ``http://127.0.0.1:8081``.
            token: bearer token, as ``oncegate tokens new`` prints it.
            timeout: seconds for connecting, and for each wait for a part of an answer.
        """
        self._http = httpx.Client(base_url=base_url, headers=_headers(token), timeout=timeout)
        self.links: Links = Links(self._send)
        self.objects: Objects = Objects(self._send)
        self.events: Events = Events(self._send)

    def explain(
        self, url: str, *, method: str | None = None, address: str | None = None, at: datetime | None = None
    ) -> Explanation:
        """Ask, check by check, whether and why a link would be admitted. Takes no use.

        Args:
            url: of the link.
            method: ``GET``, ``HEAD`` or ``PUT``; None: what the link is for.
            address: of the one who would open it.
            at: when; None: now.

        Raises:
            ApiError: the API answered an error, or not at all.
        """
        return self._send(calls.explain_link(url, method=method, address=address, at=at))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def _send(self, call: Call[T], /) -> T:
        try:
            answer = self._http.request(call.method, call.path, **_arguments(call))
        except httpx.HTTPError as error:
            raise _no_answer(error) from error
        return _read(call, answer)


class Links:
    """The calls about links. Each raises ``ApiError``."""

    def __init__(self, send: _Send) -> None:
        self._send = send

    def make(self, *, idempotency_key: str | None = None, **order: Unpack[LinkOrder]) -> MadeLink:
        """Make a link.

        Args:
            idempotency_key: a repeated call with the same key and order makes no second link.
            order: what the link should allow; see ``LinkOrder``.
        """
        return self._send(calls.make_link(order, idempotency_key))

    def get(self, id: str) -> LinkStatus:  # noqa: A002  the API's own name
        """Look where a link stands. 404: it was made offline or without a label, and never opened."""
        return self._send(calls.get_link(id))

    def list(self) -> Generator[LinkStatus]:
        """Iterate over the links that the ledger knows, about in the order in which they were made."""
        return _pages(self._send, calls.list_links)

    def revoke(self, url_or_id: str, *, expires_at: datetime | None = None) -> LinkStatus:
        """Refuse a link from now on, whoever signed it.

        Args:
            url_or_id: the link's URL or its id.
            expires_at: when a link that was signed offline ends, so that its revocation need not be kept for ever.

        Raises:
            ApiError: the API answered an error, or not at all.
            BadRequest: neither an id nor the URL of a link that verifies.
        """
        link_id = calls.link_id_in(url_or_id) or self._send(calls.explain_link(url_or_id)).id
        return self._send(calls.revoke_link(_known(link_id), expires_at))


class Objects:
    """The call about objects. Raises ``ApiError``."""

    def __init__(self, send: _Send) -> None:
        self._send = send

    def list(self, prefix: str = "") -> Generator[StoredObject]:
        """Iterate over the objects whose key begins with the prefix, in the order of their keys as UTF-8 bytes."""
        return _pages(self._send, lambda after: calls.list_objects(prefix, after))


class Events:
    """The call about events. Raises ``ApiError``."""

    def __init__(self, send: _Send) -> None:
        self._send = send

    def list(self, *, after: int = 0, link: str | None = None) -> Generator[Event]:
        """Iterate over what happened, oldest first.

        Args:
            after: number of the last event that is known already.
            link: id of a link: only its events.
        """
        return _pages(self._send, lambda number: calls.list_events(link, after if number is None else number))


class AsyncClient:
    """The control API, for programs with an event loop: ``Client`` with ``await``.

    Attributes:
        links: make, look at and revoke links.
        objects: list the store.
        events: list what happened.
    """

    def __init__(self, base_url: str, token: str, *, timeout: float = TIMEOUT_S) -> None:
        """Nothing is sent yet; the arguments are those of ``Client``."""
        self._http = httpx.AsyncClient(base_url=base_url, headers=_headers(token), timeout=timeout)
        self.links: AsyncLinks = AsyncLinks(self._send)
        self.objects: AsyncObjects = AsyncObjects(self._send)
        self.events: AsyncEvents = AsyncEvents(self._send)

    async def explain(
        self, url: str, *, method: str | None = None, address: str | None = None, at: datetime | None = None
    ) -> Explanation:
        """Ask whether and why a link would be admitted; see ``Client.explain``."""
        return await self._send(calls.explain_link(url, method=method, address=address, at=at))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def _send(self, call: Call[T], /) -> T:
        try:
            answer = await self._http.request(call.method, call.path, **_arguments(call))
        except httpx.HTTPError as error:
            raise _no_answer(error) from error
        return _read(call, answer)


class AsyncLinks:
    """The calls about links; see ``Links``."""

    def __init__(self, send: _SendAsync) -> None:
        self._send = send

    async def make(self, *, idempotency_key: str | None = None, **order: Unpack[LinkOrder]) -> MadeLink:
        """Make a link; see ``Links.make``."""
        return await self._send(calls.make_link(order, idempotency_key))

    async def get(self, id: str) -> LinkStatus:  # noqa: A002  the API's own name
        """Look where a link stands; see ``Links.get``."""
        return await self._send(calls.get_link(id))

    def list(self) -> AsyncGenerator[LinkStatus]:
        """Iterate over the links that the ledger knows; see ``Links.list``."""
        return _pages_async(self._send, calls.list_links)

    async def revoke(self, url_or_id: str, *, expires_at: datetime | None = None) -> LinkStatus:
        """Refuse a link from now on; see ``Links.revoke``."""
        link_id = calls.link_id_in(url_or_id) or (await self._send(calls.explain_link(url_or_id))).id
        return await self._send(calls.revoke_link(_known(link_id), expires_at))


class AsyncObjects:
    """The call about objects; see ``Objects``."""

    def __init__(self, send: _SendAsync) -> None:
        self._send = send

    def list(self, prefix: str = "") -> AsyncGenerator[StoredObject]:
        """Iterate over the objects whose key begins with the prefix; see ``Objects.list``."""
        return _pages_async(self._send, lambda after: calls.list_objects(prefix, after))


class AsyncEvents:
    """The call about events; see ``Events``."""

    def __init__(self, send: _SendAsync) -> None:
        self._send = send

    def list(self, *, after: int = 0, link: str | None = None) -> AsyncGenerator[Event]:
        """Iterate over what happened, oldest first; see ``Events.list``."""
        return _pages_async(self._send, lambda number: calls.list_events(link, after if number is None else number))


def _pages(send: _Send, page_after: Callable[[str | int | None], Call[Page[T]]]) -> Generator[T]:
    page = send(page_after(None))
    yield from page.rows
    while page.next is not None:
        page = send(page_after(page.next))
        yield from page.rows


async def _pages_async(send: _SendAsync, page_after: Callable[[str | int | None], Call[Page[T]]]) -> AsyncGenerator[T]:
    page = await send(page_after(None))
    for row in page.rows:
        yield row
    while page.next is not None:
        page = await send(page_after(page.next))
        for row in page.rows:
            yield row


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _arguments(call: Call[Any]) -> dict[str, Any]:
    """The arguments of ``httpx``'s request; GET and DELETE send no body."""
    body = {} if call.body is None else {"json": call.body}
    return {"params": dict(call.query), "headers": dict(call.headers), **body}


def _known(link_id: str | None) -> str:
    if link_id is None:
        raise BadRequest("url_or_id", "the signature of this URL does not verify now, so its link is not known")
    return link_id


def _no_answer(error: httpx.HTTPError) -> ApiError:
    return ApiError(0, "No answer", str(error) or type(error).__name__)


def _read(call: Call[T], answer: httpx.Response) -> T:
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
