"""``AsyncClient``: the control API for programs with an event loop; the calls of ``Client``, with ``await``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self, TypeVar, Unpack

import httpx

from oncegate.library import calls
from oncegate.library.answers import Event, Explanation, LinkStatus, MadeLink, StoredObject
from oncegate.library.calls import Call, LinkOrder, Page
from oncegate.library.http import TIMEOUT_S, arguments_of, headers_of, known_id, no_answer, read

T = TypeVar("T")


class _SendAsync(Protocol):
    async def __call__(self, call: Call[T], /) -> T: ...


class AsyncClient:
    """The control API, for programs with an event loop: ``Client`` with ``await``.

    Attributes:
        links: make, look at and revoke links.
        objects: list the store.
        events: list what happened.
    """

    def __init__(self, base_url: str, token: str, *, timeout: float = TIMEOUT_S) -> None:
        """Nothing is sent yet; the arguments are those of ``Client``."""
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers_of(token), timeout=timeout)
        self.links: AsyncLinks = AsyncLinks(self._send)
        self.objects: AsyncObjects = AsyncObjects(self._send)
        self.events: AsyncEvents = AsyncEvents(self._send)

    async def explain(
        self,
        url: str,
        *,
        method: str | None = None,
        address: str | None = None,
        headers: Mapping[str, str] | None = None,
        at: datetime | None = None,
    ) -> Explanation:
        """Ask whether and why a link would be admitted; see ``Client.explain``."""
        return await self._send(calls.explain_link(url, method=method, address=address, headers=headers, at=at))

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
            answer = await self._http.request(call.method, call.path, **arguments_of(call))
        except httpx.HTTPError as error:
            raise no_answer(error) from error
        return read(call, answer)


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
        return await self._send(calls.revoke_link(known_id(link_id), expires_at))


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


async def _pages_async(send: _SendAsync, page_after: Callable[[str | int | None], Call[Page[T]]]) -> AsyncGenerator[T]:
    page = await send(page_after(None))
    for row in page.rows:
        yield row
    while page.next is not None:
        page = await send(page_after(page.next))
        for row in page.rows:
            yield row
