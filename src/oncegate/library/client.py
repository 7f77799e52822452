"""``Client``: the control API for programs without an event loop, over httpx, which keeps connections and time-outs.

    with Client("http://127.0.0.1:8081", token) as api:
        link = api.links.make(key="reports/2026.pdf", expires_in="15m")
        print(link.url, api.links.get(link.id).state)

A call is never repeated here. To repeat ``links.make`` after a break, give it an ``idempotency_key``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self, TypeVar, Unpack

import httpx

from oncegate.library import calls
from oncegate.library.answers import Event, Explanation, LinkStatus, MadeLink, StoredObject
from oncegate.library.calls import Call, LinkOrder, Page
from oncegate.library.http import TIMEOUT_S, arguments_of, headers_of, known_id, no_answer, read

T = TypeVar("T")


class _Send(Protocol):
    def __call__(self, call: Call[T], /) -> T: ...


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
        self._http = httpx.Client(base_url=base_url, headers=headers_of(token), timeout=timeout)
        self.links: Links = Links(self._send)
        self.objects: Objects = Objects(self._send)
        self.events: Events = Events(self._send)

    def explain(
        self,
        url: str,
        *,
        method: str | None = None,
        address: str | None = None,
        headers: Mapping[str, str] | None = None,
        at: datetime | None = None,
    ) -> Explanation:
        """Ask, check by check, whether and why a link would be admitted. Takes no use.

        Args:
            url: of the link.
            method: ``GET``, ``HEAD`` or ``PUT``; None: what the link is for.
            address: of the one who would open it.
            headers: of the request, where an S3 signature covers some.
            at: when; None: now.

        Raises:
            ApiError: the API answered an error, or not at all.
        """
        return self._send(calls.explain_link(url, method=method, address=address, headers=headers, at=at))

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
            answer = self._http.request(call.method, call.path, **arguments_of(call))
        except httpx.HTTPError as error:
            raise no_answer(error) from error
        return read(call, answer)


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
        return self._send(calls.revoke_link(known_id(link_id), expires_at))


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


def _pages(send: _Send, page_after: Callable[[str | int | None], Call[Page[T]]]) -> Generator[T]:
    page = send(page_after(None))
    yield from page.rows
    while page.next is not None:
        page = send(page_after(page.next))
        yield from page.rows
