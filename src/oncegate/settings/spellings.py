"""How each kind of setting is written: texts, numbers, instants, prefixes, tables, secrets; ``addresses`` has the others.

A reader takes a value of TOML or JSON, or the text of a variable, and returns the setting. Given a setting it returns
the same, so constructors check with it too. It raises ``ValueError`` with what to write instead. Messages quote
durations, sizes and networks, and no other value: it may be a secret that was written in the wrong place.
``tables.py`` names a reader for each key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import cast

from oncegate.settings.units import parse_duration_s, parse_size_bytes


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
