"""The client side of a link, for ``get`` and ``put``: the bytes of the URL as they were signed, and nothing followed.

Depends on httpx, imported when a transfer begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oncegate import __version__
from oncegate.cli.main import Misuse
from oncegate.links.pasted import as_pasted
from oncegate.links.urls import Url, parse_url

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 10.0
SILENCE_MAX_S = 300.0
"""An upload is answered when it is safe on a disk, which may take a while after its last byte."""

_HEADERS = {
    "user-agent": f"oncegate/{__version__}",
    "accept": "*/*, application/problem+json",  # refusals in words; the object is what it is
    "accept-encoding": "identity",
}


def read_url(text: str) -> Url:
    """Split a link.

    Raises:
        Misuse: it is no absolute http or https URL.
    """
    try:
        return parse_url(as_pasted(text))
    except ValueError as error:
        raise Misuse(str(error)) from None


def open_client() -> httpx.Client:
    """Return a client that follows no redirect and honours the usual proxy variables."""
    import httpx

    timeout = httpx.Timeout(SILENCE_MAX_S, connect=CONNECT_TIMEOUT_S)
    # No connection is kept: one that the server closed during a pause would look like a broken transfer.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(headers=_HEADERS, timeout=timeout, limits=limits, follow_redirects=False)


def request_of(client: httpx.Client, method: str, link: Url, **kwargs: Any) -> httpx.Request:
    """Build a request whose target is byte for byte that of the link, because its signature covers these bytes.

    Raises:
        Misuse: no request line could hold it.
    """
    target = link.path + (b"?" + link.query if link.query else b"")
    text = target.decode("latin-1") if target.isascii() else target.decode()
    import httpx

    try:
        request = client.build_request(method, f"{link.scheme}://{link.host}{text}", **kwargs)
    except httpx.InvalidURL as error:
        raise Misuse(f"this URL cannot be sent: {error}") from None
    is_sendable = target.isascii() and all(0x20 < byte < 0x7F for byte in target)
    if is_sendable and request.url.raw_path != target:
        request.extensions["target"] = target
    return request


def words_of(error: httpx.TransportError, link: Url) -> str:
    """Say what broke; only the host is named, because the rest of the URL is a secret."""
    return f"{link.host}: {str(error) or type(error).__name__}"


def read_body(response: httpx.Response, limit_bytes: int) -> bytes:
    """Read the beginning of a body from which only words are taken."""
    body = b""
    for piece in response.iter_raw():
        body += piece
        if len(body) >= limit_bytes:
            break
    return body[:limit_bytes]
