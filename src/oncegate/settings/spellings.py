"""How each kind of setting is written: addresses, URLs, networks, instants, prefixes, secrets.

A reader takes a value of TOML or JSON, or the text of a variable, and returns the setting. Given a setting it returns
the same, so constructors check with it too. It raises ``ValueError`` with what to write instead. Messages quote
durations, sizes and networks, and no other value: it may be a secret that was written in the wrong place.
``tables.py`` names a reader for each key; ``Address`` is also what listeners are given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import cast

from oncegate.settings.units import parse_duration_s, parse_size_bytes

Network = IPv4Network | IPv6Network


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


def read_text(raw: object) -> str:
    """Take text without control characters."""
    if not isinstance(raw, str):
        raise ValueError("write it as text in quotes")  # noqa: TRY004  a wrong setting is a ValueError throughout
    if not raw.isprintable():
        raise ValueError("it holds a control character or a line break, or is not UTF-8")
    return raw


def read_texts(raw: object) -> tuple[str, ...]:
    """Take a list of texts; one text is a list of one, the empty text (an empty variable) a list of none."""
    if isinstance(raw, list | tuple):
        return tuple(read_text(item) for item in cast("Iterable[object]", raw))
    return (read_text(raw),) if raw != "" else ()


def read_table(raw: object) -> Mapping[str, object]:
    """Take a table, its values as they are."""
    if not isinstance(raw, Mapping):
        raise ValueError("must be a table (in a variable: a JSON object)")  # noqa: TRY004  as above
    return cast("Mapping[str, object]", raw)


def matching(pattern: str, remedy: str) -> Callable[[object], str]:
    """Make a reader of text that matches a pattern as a whole.

    Args:
        pattern: a regular expression; classes are ASCII.
        remedy: what the message says otherwise.
    """
    compiled = re.compile(pattern, re.ASCII)

    def read(raw: object) -> str:
        text = read_text(raw)
        if compiled.fullmatch(text) is None:
            raise ValueError(remedy)
        return text

    return read


def each(read: Callable[[object], object]) -> Callable[[object], tuple[object, ...]]:
    """Make a reader of a list from the reader of one."""
    return lambda raw: tuple(read(item) for item in read_texts(raw))


def choice(*names: str) -> Callable[[object], str]:
    """Make a reader of one of some names."""
    return matching("|".join(names), f"must be one of {', '.join(names)}")


def duration_s(minimum_s: int) -> Callable[[object], int]:
    """Make a reader of durations of at least ``minimum_s`` seconds; a TOML integer is seconds."""

    def read(raw: object) -> int:
        seconds = parse_duration_s(str(raw) if type(raw) is int else read_text(raw))
        if seconds < minimum_s:
            raise ValueError(f"must be at least {minimum_s}s")
        return seconds

    return read


def read_size_bytes(raw: object) -> int:
    """Take a size of at least one byte; a TOML integer is bytes."""
    size_bytes = parse_size_bytes(str(raw) if type(raw) is int else read_text(raw))
    if size_bytes == 0:
        raise ValueError("must be at least one byte")
    return size_bytes


def read_count(raw: object) -> int:
    """Take a whole number from 0 to a million."""
    text = str(raw) if type(raw) is int else read_text(raw)
    if not (text.isascii() and text.isdigit()) or int(text[:8]) > 1_000_000:
        raise ValueError("write a whole number from 0 to 1000000")
    return int(text)


_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


def read_address(raw: object) -> Address:
    """Take ``host:port`` or ``[IPv6]:port``."""
    if isinstance(raw, Address):
        return raw
    match = _ADDRESS.fullmatch(read_text(raw))
    if match is None or int(match["port"]) > 65_535:
        raise ValueError("write host:port or [IPv6]:port, as in 127.0.0.1:8080; 0.0.0.0:8080 listens everywhere")
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


def read_networks(raw: object) -> tuple[Network, ...]:
    """Take networks in CIDR notation, or single addresses."""
    items = cast("Iterable[object]", raw) if isinstance(raw, list | tuple) else read_texts(raw)
    return tuple(item if isinstance(item, IPv4Network | IPv6Network) else _network(read_text(item)) for item in items)


def _network(text: str) -> Network:
    address = text.partition("/")[0]
    try:
        network = ip_network(text, strict=False)
        is_exact = ip_address(address) == network.network_address
    except ValueError:
        raise ValueError("write networks such as 10.0.0.0/8, 192.0.2.7 or fd00::/8") from None
    if not is_exact:
        raise ValueError(f"{text} has bits beyond its prefix: write {network}")
    return network


def read_instant(raw: object) -> datetime | None:
    """Take an instant with a zone, from TOML or as ISO 8601 text, or None."""
    try:
        instant = datetime.fromisoformat(raw) if isinstance(raw, str) else raw
    except ValueError:
        instant = ""
    if instant is None:
        return None
    if not isinstance(instant, datetime):
        raise ValueError("write a date and time with a zone, as in 2026-01-01T00:00:00Z")  # noqa: TRY004  as above
    if instant.utcoffset() is None:
        raise ValueError("the time has no zone: add Z for UTC, as in 2026-01-01T00:00:00Z")
    if instant < datetime.fromtimestamp(0, UTC):
        raise ValueError("the time lies before 1970")
    return instant


def read_prefix(raw: object) -> str:
    """Take the beginning of object keys."""
    text = read_text(raw)
    if not text or text.startswith("/"):
        raise ValueError("write the beginning of object keys, without a leading slash, as in uploads/")
    return text


def read_options(raw: object) -> Mapping[str, str]:
    """Take the options of a backend; numbers and booleans become text."""
    return MappingProxyType({read_text(name): _option(value) for name, value in read_table(raw).items()})


def _option(value: object) -> str:
    if isinstance(value, bool | int):
        return str(value).lower()
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("write each option as text, a whole number, true or false")
    return value  # a service account's key has line breaks


_ACCESS_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")


def read_credentials(raw: object) -> Mapping[str, str]:
    """Take secrets by access key id."""
    credentials = {name: read_text(secret) for name, secret in read_table(raw).items()}
    for access_key_id, secret in credentials.items():
        if _ACCESS_KEY_ID.fullmatch(access_key_id) is None or not secret:
            raise ValueError("write access key id = secret; an id has up to 128 letters, digits, _, . and -, no / or +")
    return MappingProxyType(credentials)


def read_signing(raw: object) -> str:
    """Take the place of a signing key, and never the key itself."""
    if isinstance(raw, str) and "-----BEGIN" in raw:
        raise ValueError("this is a key itself: put it into a file, or into a variable and write env:NAME")
    return read_text(raw)


def read_header(raw: object) -> str:
    """Take the name of a header; return it in lower case."""
    return _HEADER_NAME(raw).lower()


_HEADER_NAME = matching(r"[A-Za-z0-9-]{1,64}", "write the name of one header, as in x-forwarded-for")

_HOME = re.compile(r"[a-z0-9]{1,12}")


def read_homes(raw: object) -> Mapping[str, str]:
    """Take URLs of ledgers by the names of homes, as tickets have them."""
    homes = {name: read_url(url) for name, url in read_table(raw).items()}
    for name, url in homes.items():
        if _HOME.fullmatch(name) is None:
            raise ValueError("the name of a home is 1 to 12 of a-z and 0-9")
        if url.startswith("memory:"):
            raise ValueError("memory: is inside one process: name a ledger that others reach, as in dynamodb://table")
    return MappingProxyType(homes)


read_url: Callable[[object], str] = matching(
    r"[a-z][a-z0-9+]*:.*", "write a URL with a scheme, as in file:./objects or sqlite:./ledger.db"
)
