"""A viewer's request as the rules see it: raw bytes of the target, and what the door knows of the viewer's address.

Each door (gateway, edge) makes this value once, from its own form of a request. Nothing in it was decoded and encoded
again, because a signature is over the bytes that came.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from oncegate.links.refusal import Reason, Refused

COOKIES_MAX_BYTES = 16_384
CREDENTIAL_MAX_BYTES = 16_384
"""Of a request's target and its ``CloudFront-`` cookies together: what is decoded, parsed and matched."""
HOST_MAX_BYTES = 255
"""Of a Host header: the longest name of the DNS has 253 characters."""


@dataclass(slots=True, kw_only=True)
class ViewerRequest:
    """What a viewer asked; nobody changes it.

    Attributes:
        method: as sent.
        scheme: ``http`` or ``https``, of the public URL and not of the socket.
        host: lower case, with its port where that is not the scheme's own; of the public URL that was picked.
        path: raw, percent-escapes kept, begins with ``/``.
        query: raw, without ``?``.
        headers: names in lower case, as they came.
        address: the viewer's, canonical text (an IPv4-mapped IPv6 address as IPv4); None where it is not known.
        address_is_proof: the address is the socket's peer and no forwarding header was sent, or it was given by a
            trusted proxy. Where False, it may be the address of a proxy, shared by anybody.
        bucket: what preceded the public host in ``Host`` (S3's virtual-hosted style); empty where nothing did.
    """

    method: str
    scheme: str
    host: str
    path: bytes
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    address: str | None = None
    address_is_proof: bool = False
    bucket: str = ""
    _by_name: dict[bytes, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = dict(self.headers)  # the rules read a dozen headers: one table saves a dozen searches
        if len(by_name) != len(self.headers):
            several: dict[bytes, list[bytes]] = {}
            for name, value in self.headers:
                several.setdefault(name, []).append(value)
            # RFC 9110 5.3; RFC 9113 8.2.3
            by_name = {name: (b"; " if name == b"cookie" else b", ").join(all_) for name, all_ in several.items()}
        self._by_name = by_name

    def header(self, name: bytes) -> bytes | None:
        """The value of a header; several are joined by a comma (RFC 9110 5.3). None where it is absent."""
        return self._by_name.get(name)

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether one of several headers was sent."""
        return not names.isdisjoint(self._by_name)

    def cookies(self, prefix: bytes) -> dict[bytes, bytes]:
        """The cookies whose name begins with ``prefix``, raw.

        Raises:
            Refused: one of them is sent twice with different values, or all cookies are larger than a limit.
        """
        found: dict[bytes, bytes] = {}
        value = self._by_name.get(b"cookie")
        if value is None:
            return found
        if len(value) > COOKIES_MAX_BYTES:
            raise Refused(Reason.HEAD_TOO_LARGE)
        if prefix not in value:
            return found
        for pair in value.split(b";"):
            name, _, text = pair.strip(b" \t").partition(b"=")
            # a neighbouring host can set a cookie of the same name for this one; nothing tells which of the two is ours
            if name.startswith(prefix) and found.setdefault(name, text) != text:
                raise Refused(Reason.DUPLICATE_PARAMETER)
        return found

    def with_headers(self, more: tuple[tuple[bytes, bytes], ...]) -> ViewerRequest:
        """The same request with further headers."""
        return replace(self, headers=(*self.headers, *more)) if more else self

    def as_method(self, method: str) -> ViewerRequest:
        """The same request with another method (the page's button is a POST that is verified like a GET)."""
        return replace(self, method=method)
