"""IP addresses: their canonical text, whether they lie in a network, and what of one identifies a holder."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@lru_cache(maxsize=4096)
def canonical_address(text: str) -> str | None:
    """Write an IP address in its one canonical form; None where the text is no address.

    An IPv4-mapped IPv6 address becomes the IPv4 address (vector cf-ip24-v4-mapped); a zone is dropped.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def is_in_network(address: str | None, network: str) -> bool:
    """Whether an IPv4 address lies in a network; an IPv6 address never does (docs/aws-protocol.md 1.2.7)."""
    if address is None or ":" in address:
        return False
    return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(network, strict=False)


@lru_cache(maxsize=4096)
def is_in_any(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address lies in one of several networks, of either version."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in networks)


def holder_address(address: str) -> str:
    """The part of an address that identifies a holder: all of IPv4, the first 64 bits of IPv6.

    An IPv6 network gives out the other 64 bits, and a device changes its own every day.
    """
    if ":" not in address:
        return address
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
