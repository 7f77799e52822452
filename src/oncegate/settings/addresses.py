"""How addresses, URLs of hosts and networks are written; ``Address`` is also what listeners are given.

The readers keep the promises of those in ``spellings.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, cast

from oncegate.settings.spellings import read_text, read_texts

Network = IPv4Network | IPv6Network
UnixPeers = Literal["unix:"]
UNIX_PEERS: UnixPeers = "unix:"
"""Peers that have no address, because they connect through a Unix socket."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener binds.

    Attributes:
        host: name or IP address, IPv6 without brackets.
        port: 0 to 65535; 0 lets the system choose.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        if not self.host or not 0 <= self.port <= 65_535:
            raise ValueError("an address has a host, and a port from 0 to 65535")
        if ":" in self.host:
            ip_address(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


def read_address(raw: object) -> Address:
    """Take ``host:port`` or ``[IPv6]:port``."""
    if isinstance(raw, Address):
        return raw
    match = _ADDRESS.fullmatch(read_text(raw))
    if match is None or int(match["port"]) > 65_535:
        raise ValueError(
            "write host:port or [IPv6]:port, as in 127.0.0.1:8080 (0.0.0.0:8080 listens everywhere), unix:PATH or"
            " systemd:NAME"
        )
    return Address(_ipv6(match["v6"]) if match["v6"] else match["host"], int(match["port"]))


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise ValueError("what stands in brackets is no IPv6 address") from None


_HOST = r"\[(?P<v6>[0-9A-F:.]+)\]|(?P<host>[A-Z0-9._-]+)"
_ORIGIN = re.compile(rf"(?P<scheme>https?)://(?:{_HOST})(?::(?P<port>[0-9]{{1,5}}))?/?", re.I)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _origin(raw: object) -> str:
    text = read_text(raw)
    match = _ORIGIN.fullmatch(text) if text.isascii() else None
    if match is None or not 0 < int(match["port"] or 1) <= 65_535:
        raise ValueError(
            "write http:// or https://, a host (not ASCII: as xn--) and maybe a port, and nothing after it"
        )
    scheme, port = match["scheme"].lower(), int(match["port"] or 0)
    suffix = f":{port}" if port and port != _DEFAULT_PORTS[scheme] else ""
    host = f"[{_ipv6(match['v6'])}]" if match["v6"] else match["host"].lower()
    return f"{scheme}://{host}{suffix}"


def _public_url(raw: object) -> str:
    text = read_text(raw)
    if "@" in text:
        raise ValueError("a public URL carries no user or password: links would show them")
    if re.match(r"https?://[^/?#]+(/?[?#]|/.)", text, re.I):
        raise ValueError("a public URL has no path, query or fragment: links are served from the root of their host")
    return _origin(text)


def read_public_urls(raw: object) -> tuple[str, ...]:
    """Take one or several URLs of scheme, host and port; return them in lower case, without default ports."""
    urls = tuple(_public_url(item) for item in read_texts(raw))
    if not urls:
        raise ValueError("give at least one URL: links carry the first")
    return urls


def read_cors_origin(raw: object) -> str:
    """Take an origin or ``*``."""
    return "*" if raw == "*" else _origin(raw)


def read_proxies(raw: object) -> tuple[Network | UnixPeers, ...]:
    """Take networks in CIDR notation, single addresses, and ``unix:`` for whoever connects through a Unix socket."""
    items = cast("Iterable[object]", raw) if isinstance(raw, list | tuple) else read_texts(raw)
    return tuple(item if isinstance(item, IPv4Network | IPv6Network) else _proxy(read_text(item)) for item in items)


def _proxy(text: str) -> Network | UnixPeers:
    return UNIX_PEERS if text == UNIX_PEERS else _network(text)


def _network(text: str) -> Network:
    address = text.partition("/")[0]
    try:
        network = ip_network(text, strict=False)
        is_exact = ip_address(address) == network.network_address
    except ValueError:
        raise ValueError("write networks such as 10.0.0.0/8, 192.0.2.7 or fd00::/8, or unix:") from None
    if not is_exact:
        raise ValueError(f"{text} has bits beyond its prefix: write {network}")
    return network
