"""From a request's head to a ViewerRequest: which public URL was meant, and which address is the viewer's.

Nothing that a viewer can write is believed: Host only picks one of the configured public URLs, and a forwarding header
counts only if a trusted proxy sent it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from oncegate.links.address import canonical_address, is_in_any
from oncegate.links.public_urls import PublicUrls
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import HOST_MAX_BYTES, ViewerRequest
from oncegate.server.limits import TARGET_MAX_BYTES
from oncegate.server.peers import Peer
from oncegate.server.pieces import Head
from oncegate.settings.tables import ViewerSettings

_FORWARDING = frozenset((b"x-forwarded-for", b"forwarded", b"x-real-ip"))
_FORWARDED_PAIR = re.compile(r'([A-Za-z0-9_-]+)=("(?:[^"\\]|\\.)*"|[^;,"\s]+)[ \t]*(?:[;,][ \t;,]*|\Z)')
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")


HOPS_MAX = 32
"""Trusted proxies in a row before the viewer; a longer way than that is no proof of an address."""
_ADDRESS_MAX = 64
# RFC 9112 3.2: every HTTP/1.1 request has a Host; HTTP/1.0 (some servers call it "1") knew none
_WITHOUT_HOST = frozenset(("1.0", "1"))
_WITH_FRAMES = frozenset(("2", "2.0", "3"))


class Viewers:
    """Reads requests for one configuration."""

    def __init__(self, settings: ViewerSettings) -> None:
        self._public_urls = PublicUrls(settings.public_url)
        self._networks = settings.trusted_networks
        self._trusts_unix_peers = settings.trusts_unix_peers
        self._header = settings.proxy_header.lower().encode()
        self._forwarding = _FORWARDING | {self._header}

    def request_of(self, head: Head, peer: Peer) -> ViewerRequest:
        """Read a request.

        Raises:
            Refused: TARGET_TOO_LONG; MALFORMED_REQUEST: there is not exactly one Host, or it is too long.
        """
        path, query, headers = head.path, head.query, head.headers
        if len(path) + bool(query) + len(query) > TARGET_MAX_BYTES:
            raise Refused(Reason.TARGET_TOO_LONG)
        if not path.startswith(b"/"):
            raise Refused(Reason.MALFORMED_REQUEST)
        by_name = dict(headers)
        host = by_name.get(b"host", b"")
        # RFC 9112 3.2 asks for 400 where there are two: a proxy may have routed by the other one
        if len(host) > HOST_MAX_BYTES or (
            len(by_name) != len(headers) and sum(name == b"host" for name, _ in headers) > 1
        ):
            raise Refused(Reason.MALFORMED_REQUEST)
        # some servers write an empty one where none came; RFC 9110 4.2.1: an http URL without a host is invalid
        if not host and head.version not in _WITHOUT_HOST:
            raise Refused(Reason.MALFORMED_REQUEST)
        reached = self._public_urls.of_host(host.decode("latin-1").lower())
        is_forwarded = not self._forwarding.isdisjoint(by_name)
        address, is_proof = self._address_of(peer, headers, is_forwarded=is_forwarded)
        return ViewerRequest(
            method=head.method,
            scheme=reached.scheme,
            host=reached.host,
            path=path,
            query=query,
            headers=_with_framing(head),
            address=address,
            address_is_proof=is_proof,
            bucket=reached.bucket,
        )

    def is_from_proxy(self, peer: Peer) -> bool:
        """Whether the peer is a trusted proxy."""
        return self._is_trusted(canonical_address(peer[0])) if peer else self._trusts_unix_peers

    def _address_of(
        self, peer: Peer, headers: Sequence[tuple[bytes, bytes]], *, is_forwarded: bool
    ) -> tuple[str | None, bool]:
        """The viewer's address, and whether it proves who asks."""
        # without an address: who connects through a Unix socket
        own = canonical_address(peer[0]) if peer else None
        # A stranger who sends a forwarding header may be a proxy; everybody behind it would have this address.
        if not self.is_from_proxy(peer):
            return own, own is not None and not is_forwarded
        # Each proxy appends at the right. Everything left of the first address that is no trusted proxy's may be invented.
        for named in itertools.islice(reversed(self._named_in(headers)), HOPS_MAX):
            address = canonical_address(_without_port(named)) if len(named) <= _ADDRESS_MAX else None
            if not self._is_trusted(address):
                return address, address is not None
        return own, False  # the proxies did not name the viewer

    def _named_in(self, headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
        """What the forwarding header names, from the viewer's end to ours."""
        text = ",".join(value.decode("latin-1") for name, value in headers if name == self._header)
        if self._header == b"forwarded":
            return _read_forwarded(text)
        return [part.strip() for part in text.split(",")] if text else []

    def _is_trusted(self, address: str | None) -> bool:
        return bool(self._networks) and address is not None and is_in_any(address, self._networks)


def _with_framing(head: Head) -> tuple[tuple[bytes, bytes], ...]:
    """The headers, with chunks for an upload whose frames say where it ends, as HTTP/2 has it (RFC 9113 8.1)."""
    is_framed = head.method == "PUT" and head.version in _WITH_FRAMES
    if is_framed and not any(name == b"content-length" for name, _ in head.headers):
        return (*head.headers, (b"transfer-encoding", b"chunked"))
    return tuple(head.headers)


def _read_forwarded(text: str) -> list[str]:
    """What ``for`` names in a Forwarded header (RFC 7239).

    All of it must be readable: a quoted host, which a proxy may copy from the viewer, must not name an address.
    """
    named: list[str] = []
    at = len(text) - len(text.lstrip(" \t;,"))
    while at < len(text):
        found = _FORWARDED_PAIR.match(text, at)
        if found is None:
            return []
        if found[1].lower() == "for":
            named.append(found[2].strip('"'))
        at = found.end()
    return named


def _without_port(text: str) -> str:
    found = _WITH_PORT.fullmatch(text.strip())
    return (found[1] or found[2]) if found else text.strip()
