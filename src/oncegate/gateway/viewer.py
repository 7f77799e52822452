"""From an ASGI scope to a ViewerRequest: which public URL was meant, and which address is the viewer's.

Nothing that a viewer can write is believed: Host only picks one of the configured public URLs, and a forwarding header
counts only if a trusted proxy sent it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from oncegate.links.address import canonical_address, is_in_any
from oncegate.links.public_urls import PublicUrls
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.server.limits import TARGET_MAX_BYTES
from oncegate.settings.tables import ViewerSettings

_FORWARDING = frozenset((b"x-forwarded-for", b"forwarded", b"x-real-ip"))
_FORWARDED_PAIR = r'([A-Za-z0-9_-]+)=("(?:[^"\\]|\\.)*"|[^;,"\s]+)'
_FORWARDED = re.compile(rf"(?:[ \t;,]|{_FORWARDED_PAIR}(?=[ \t]*(?:[;,]|$)))*")
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


class Viewers:
    """Reads requests for one configuration."""

    def __init__(self, settings: ViewerSettings) -> None:
        self._public_urls = PublicUrls(settings.public_url)
        self._networks = settings.trusted_proxies
        self._header = settings.proxy_header.lower().encode()
        self._forwarding = _FORWARDING | {self._header}

    def request_of(self, scope: Mapping[str, object]) -> ViewerRequest:
        """Read a request.

        Raises:
            Refused: MALFORMED_REQUEST: the target is too long, or there is not exactly one Host.
        """
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]  # type: ignore[assignment]  # ASGI
        path, query = bytes(scope["raw_path"]), bytes(scope["query_string"])  # type: ignore[arg-type]  # ASGI
        if len(path) + len(query) > TARGET_MAX_BYTES or not path.startswith(b"/"):
            raise Refused(Reason.MALFORMED_REQUEST)
        host: str | None = None
        is_forwarded = False
        for name, value in headers:
            if name == b"host":
                # RFC 9112 3.2 asks for 400: a proxy may have routed by the other one
                if host is not None:
                    raise Refused(Reason.MALFORMED_REQUEST)
                host = value.decode("latin-1").lower()
            elif name in self._forwarding:
                is_forwarded = True
        reached = self._public_urls.of_host(host or "")
        address, is_proof = self._address_of(scope, headers, is_forwarded=is_forwarded)
        return ViewerRequest(
            method=str(scope["method"]),
            scheme=reached.scheme,
            host=reached.host,
            path=path,
            query=query,
            headers=tuple(headers),
            address=address,
            address_is_proof=is_proof,
            bucket=reached.bucket,
        )

    def _address_of(
        self, scope: Mapping[str, object], headers: Sequence[tuple[bytes, bytes]], *, is_forwarded: bool
    ) -> tuple[str | None, bool]:
        """The viewer's address, and whether it proves who asks."""
        client: Sequence[object] = scope.get("client") or ("",)  # type: ignore[assignment]  # ASGI
        peer = canonical_address(str(client[0]))
        # A stranger who sends a forwarding header may be a proxy; everybody behind it would have this address.
        if not self._is_trusted(peer):
            return peer, peer is not None and not is_forwarded
        # Each proxy appends at the right. Everything left of the first address that is no trusted proxy's may be invented.
        for address in reversed(self._named_in(headers)):
            if not self._is_trusted(address):
                return address, address is not None
        return peer, False  # the proxy did not name the viewer

    def _named_in(self, headers: Sequence[tuple[bytes, bytes]]) -> list[str | None]:
        text = ",".join(value.decode("latin-1") for name, value in headers if name == self._header)
        if self._header == b"forwarded":
            # all of it must be readable: a quoted host, which a proxy may copy from the viewer, must not name an address
            pairs = re.findall(_FORWARDED_PAIR, text) if _FORWARDED.fullmatch(text) else []
            named = [value.strip('"') for name, value in pairs if name.lower() == "for"]
        else:
            named = [part.strip() for part in text.split(",")] if text else []
        return [canonical_address(_without_port(part)) for part in named]

    def _is_trusted(self, address: str | None) -> bool:
        return bool(self._networks) and address is not None and is_in_any(address, self._networks)


def _without_port(text: str) -> str:
    found = _WITH_PORT.fullmatch(text.strip())
    return (found[1] or found[2]) if found else text.strip()
