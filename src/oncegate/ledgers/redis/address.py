"""The URLs of the ledger ``redis:``, also ``rediss:`` and ``redis+sentinel:``. Nothing is opened here.

A name that is not known is refused: misspelt, it would be a promise that nobody keeps. No message repeats the URL,
which may hold a password.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from oncegate.ledgers.protocol import LedgerUnfit

DEFAULT_PREFIX = "{oncegate}:"
"""The braces make a cluster keep all keys in one place; elsewhere they mean nothing."""

_PORT, _SENTINEL_PORT = 6379, 26379
_PREFIX = re.compile(r"[\x21-\x7e]{1,64}")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = frozenset({"prefix", "wait", *_FILES})
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password", "tls"})
_WAIT_MAX = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """Where the ledger is.

    Attributes:
        hosts: host and port of the server, or of each Sentinel.
        service: what the Sentinels call it; empty where ``hosts`` is the server itself.
        database: its number.
        username: of the ACL user; empty for the default user.
        password: of that user.
        sentinel_username: of the ACL user at the Sentinels.
        sentinel_password: of that user.
        is_tls: whether servers and Sentinels are spoken to over TLS, their certificates checked.
        tls_files: ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile`` where given, as absolute paths.
        prefix: of all keys.
        wait: replicas that must have a write before it is answered; 0 waits for none.
    """

    hosts: Sequence[tuple[str, int]]
    service: str = ""
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    is_tls: bool = False
    tls_files: Mapping[str, str] = field(default_factory=dict[str, str])
    prefix: str = DEFAULT_PREFIX
    wait: int = 0


def parse_url(url: str, *, folder: pathlib.Path) -> RedisAddress:
    """Read a URL.

    Args:
        url: ``redis://user:password@host:port/database?option=value``, or ``rediss:`` for TLS; for Sentinels
            ``redis+sentinel://user:password@h1:p,h2:p/service/database``. User, password and options are
            percent-encoded.
        folder: what relative paths are relative to.

    Raises:
        LedgerUnfit: it means nothing; the message does not repeat it.
    """
    scheme, _, address = url.partition(":")
    is_sentinel = scheme == "redis+sentinel"
    if not address.startswith("//") or "#" in address:
        raise LedgerUnfit(f"write {_example(scheme)}, and %23 for a # in a password", where="[ledger] url")
    place, _, query = address.removeprefix("//").partition("?")
    credentials, at, rest = place.rpartition("@")
    username, _, password = credentials.partition(":") if at else ("", "", "")
    netloc, *path = rest.split("/")
    options = _options(query, _OPTIONS | _SENTINEL_OPTIONS if is_sentinel else _OPTIONS)
    service = path.pop(0) if is_sentinel and path else ""
    if is_sentinel and not _SERVICE.fullmatch(service):
        raise LedgerUnfit(
            f"the service that the Sentinels watch is missing: write {_example(scheme)}", where="[ledger] url"
        )
    hosts = [_host(part, scheme) for part in netloc.split(",")]
    if len(hosts) > 1 and not is_sentinel:
        raise LedgerUnfit("several hosts: only redis+sentinel: has them", where="[ledger] url")
    is_tls = scheme == "rediss" or options.get("tls") == "1"
    tls_files = {name: str(folder.absolute() / options[name]) for name in _FILES if name in options}
    if tls_files and not is_tls:
        raise LedgerUnfit(
            "ssl_ options without TLS: write rediss:, or tls=1 with redis+sentinel:", where="[ledger] url"
        )
    return RedisAddress(
        hosts=hosts,
        service=service,
        database=_number(path, "database", most=9_999),
        username=unquote(username),
        password=unquote(password),
        sentinel_username=options.get("sentinel_username", ""),
        sentinel_password=options.get("sentinel_password", ""),
        is_tls=is_tls,
        tls_files=tls_files,
        prefix=_prefix(options.get("prefix", DEFAULT_PREFIX)),
        wait=_number([options.get("wait", "0")], "wait", most=_WAIT_MAX),
    )


def _options(query: str, known: frozenset[str]) -> Mapping[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    for name, _ in pairs:
        if name not in known:
            raise LedgerUnfit(
                f'"{name}" is no option here',
                remedy=f"correct [ledger] url; there are {', '.join(sorted(known))}",
                where="[ledger] url",
            )
    options = dict(pairs)
    if len(options) < len(pairs):
        raise LedgerUnfit("an option is given twice", where="[ledger] url")
    if options.get("tls", "0") not in {"0", "1"}:
        raise LedgerUnfit("write tls=1 or leave it out", where="[ledger] url")
    return options


def _host(text: str, scheme: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    if found is None:
        raise LedgerUnfit(f"a host is missing or misspelt: write {_example(scheme)}", where="[ledger] url")
    port = int(found[2] or (_SENTINEL_PORT if scheme == "redis+sentinel" else _PORT))
    return found[1].strip("[]"), port


def _number(parts: Sequence[str], what: str, *, most: int) -> int:
    text = "/".join(parts) or "0"
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise LedgerUnfit(f"{what}: a number from 0 to {most}", where="[ledger] url")
    return int(text)


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise LedgerUnfit("prefix: 1 to 64 printable ASCII characters without spaces", where="[ledger] url")
    return text


def _example(scheme: str) -> str:
    if scheme == "redis+sentinel":
        return "redis+sentinel://user:password@host1:26379,host2:26379/service/0"
    return f"{scheme}://user:password@host:6379/0"
