"""What ``listen`` may name: an address, a path of a Unix socket, or a socket that systemd has bound.

The readers keep the promises of those in ``spellings.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from oncegate.settings.addresses import Address, read_address
from oncegate.settings.spellings import read_text

PATH_MAX_BYTES = 107
"""Of a Unix socket; what Linux takes (unix(7))."""
_SYSTEMD_NAME = re.compile(r"[A-Za-z0-9._@-]{1,255}")
_MODE = re.compile(r"0?[0-7]{3}")


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A Unix socket.

    Attributes:
        path: of the socket; a relative one begins at the configuration's folder.
    """

    path: str

    def __post_init__(self) -> None:
        if not self.path or "\0" in self.path or self.path.endswith("/"):
            raise ValueError("write the path of the socket behind unix:, as in unix:/run/oncegate/viewer.sock")

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class SystemdSocket:
    """A socket that systemd has bound and hands over when it starts the process.

    Attributes:
        name: its ``FileDescriptorName``.
    """

    name: str

    def __post_init__(self) -> None:
        if not _SYSTEMD_NAME.fullmatch(self.name):
            raise ValueError("write the socket's FileDescriptorName behind systemd:, as in systemd:viewer")

    def __str__(self) -> str:
        return f"systemd:{self.name}"


Listen = Address | UnixSocket | SystemdSocket


def read_listen(raw: object) -> Listen:
    """Take ``host:port``, ``[IPv6]:port``, ``unix:PATH`` or ``systemd:NAME``."""
    if isinstance(raw, UnixSocket | SystemdSocket):
        return raw
    if isinstance(raw, Address):
        return read_address(raw)
    text = read_text(raw)
    if text.startswith("unix:"):
        return UnixSocket(text.removeprefix("unix:"))
    if text.startswith("systemd:"):
        return SystemdSocket(text.removeprefix("systemd:"))
    return read_address(text)


def read_mode(raw: object) -> str:
    """Take the mode of a file as octal digits in quotes: a bare number would be read as decimal."""
    text = read_text(raw)
    if not _MODE.fullmatch(text):
        raise ValueError('write three octal digits in quotes, as in "660"')
    return text[-3:]


def read_accel_log(raw: object) -> str:
    """Take ``host:port`` of an IP address, or ``unixgram:`` and a path; the empty text is none."""
    text = read_text(raw)
    if not text:
        return ""
    scheme, _, path = text.partition(":")
    if scheme == "unixgram" and path:
        return text
    try:
        ip_address(read_address(text).host)
    except ValueError:
        raise ValueError("write an IP address and a port, as in 127.0.0.1:7403, or unixgram:/path") from None
    return text
