"""Bearer tokens of the control API: drawn here, kept as hashes in ``tokens.json``, checked at every call.

A token is ``og_<id>_<secret>``. The id names it in lists and logs; the secret has 256 random bits, so one SHA-256 is
enough where a password would need a slow hash: there is nothing to guess. The file is replaced whole, under a lock that
several processes share, and read again when it changed; so a revoked token is refused from the next call on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from oncegate.atomic_file import create_file, replace_file
from oncegate.links.key_group import is_equal
from oncegate.unfit import Unfit

SCOPES = ("links:read", "links:write", "objects:read", "events:read", "metrics:read", "*")
"""What a token may be for; ``*`` is everything."""

TOKENS_MAX = 1_000
FILE_BYTES_MAX = 4_194_304
"""Twice what ``TOKENS_MAX`` tokens with the longest names need."""
NAME_CHARACTERS_MAX = 100

_TOKEN = re.compile(r"og_(?P<id>[0-9a-f]{8})_[A-Za-z0-9_-]{43}")


class TokensUnfit(Unfit):
    """Tokens cannot be read, kept or made as asked; the message says why and what to change, and holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is stored of a token, without its secret.

    Attributes:
        id: 8 hexadecimal digits.
        name: for people.
        scopes: of ``SCOPES``, at least one.
        made_s: seconds since 1970 UTC.
        expires_s: seconds since 1970 UTC; refused at this second and after; None: never.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    made_s: int
    expires_s: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= NAME_CHARACTERS_MAX or not self.name.isprintable():
            raise ValueError(f"a token's name has 1 to {NAME_CHARACTERS_MAX} characters on one line")
        if not self.scopes or not set(self.scopes) <= set(SCOPES):
            raise ValueError(f"a token's scopes are of {', '.join(SCOPES)}, and at least one")

    def allows(self, scope: str) -> bool:
        """Say whether the token is for this scope."""
        return scope in self.scopes or "*" in self.scopes


@dataclass(frozen=True, slots=True)
class _Entry:
    token: Token
    sha256: bytes


class TokenFile:
    """The tokens in one file, which may be missing as long as there is none."""

    __slots__ = ("_entries", "_stamp", "path")

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            TokensUnfit: it is there and cannot be used.
        """
        self.path: Path = path
        # Taken before the file is read: a change in between has another stamp at the next call.
        self._stamp = _stamp(path)
        self._entries = _read(path)

    def new(self, name: str, scopes: Iterable[str], *, now_s: int, expires_s: int | None = None) -> tuple[str, Token]:
        """Draw a token and keep its hash.

        Args:
            name: for people, up to ``NAME_CHARACTERS_MAX`` characters.
            scopes: of ``SCOPES``, at least one.
            now_s: seconds since 1970 UTC.
            expires_s: seconds since 1970 UTC; refused at this second and after; None: never.

        Returns:
            (the token, which is nowhere else and cannot be shown again; what is known of it).

        Raises:
            TokensUnfit: the name, a scope or the end is not accepted, there are too many, or the file cannot be written.
        """
        if expires_s is not None and expires_s <= now_s:
            raise TokensUnfit("the token would have expired already")
        with self._changing() as entries:
            if len(entries) >= TOKENS_MAX:
                raise TokensUnfit(f"at most {TOKENS_MAX} tokens", remedy="revoke some first", where=str(self.path))
            token_id = secrets.token_hex(4)
            while token_id in entries:
                token_id = secrets.token_hex(4)
            try:
                token = Token(
                    id=token_id, name=name, scopes=tuple(dict.fromkeys(scopes)), made_s=now_s, expires_s=expires_s
                )
            except ValueError as error:
                raise TokensUnfit(str(error)) from None
            text = f"og_{token_id}_{secrets.token_urlsafe(32)}"
            entries[token_id] = _Entry(token, _sha256(text))
        return text, token

    def list_tokens(self) -> list[Token]:
        """List what is known of each token, oldest first, expired ones too.

        Raises:
            TokensUnfit: the file changed and cannot be used.
        """
        self._refresh()
        return sorted((entry.token for entry in self._entries.values()), key=lambda token: (token.made_s, token.id))

    def revoke(self, token_id: str) -> bool:
        """Forget a token; every process refuses it from its next call on.

        Returns:
            Whether there was one with this id.

        Raises:
            TokensUnfit: the file cannot be read or written.
        """
        with self._changing() as entries:
            return entries.pop(token_id, None) is not None

    def check(self, token: str, now_s: int) -> Token | None:
        """Return what is known of a token; None for one that is unknown, revoked, expired or no token at all.

        Ids are no secret, so only the hashes are compared in constant time.

        Args:
            token: what the caller showed after ``Bearer``.
            now_s: seconds since 1970 UTC.

        Raises:
            TokensUnfit: the file changed and cannot be used; nobody is let in.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        self._refresh()
        entry = self._entries.get(match["id"])
        # Hashes are compared: the file holds nothing else, and a timing attack on a hash reveals nothing of the secret.
        if entry is None or not is_equal(entry.sha256, _sha256(token)):
            return None
        if entry.token.expires_s is not None and now_s >= entry.token.expires_s:
            return None
        return entry.token

    def _refresh(self) -> None:
        stamp = _stamp(self.path)
        if stamp != self._stamp:
            self._entries = _read(self.path)
            self._stamp = stamp

    @contextmanager
    def _changing(self) -> Generator[dict[str, _Entry]]:
        """Hold the lock and yield the present entries; write them if they were changed and nothing was raised."""
        try:
            # The lock has a file of its own: tokens.json is replaced, and a lock on the old file would exclude nobody.
            lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = _read(self.path)
                entries = dict(before)
                yield entries
                if entries != before:
                    replace_file(self.path, _as_json(entries), mode=0o600)
                    # Still under the lock, so this is the stamp of the file written here.
                    self._stamp = _stamp(self.path)
                self._entries = entries
            finally:
                os.close(lock)
        except OSError as error:
            raise TokensUnfit(f"cannot be written: {error.strerror}", where=str(self.path)) from None


def _sha256(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _stamp(path: Path) -> tuple[int, int, int, int] | None:
    try:
        seen = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TokensUnfit(f"cannot be read: {error.strerror}", where=str(path)) from None
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino


def _as_json(entries: Mapping[str, _Entry]) -> bytes:
    rows = [
        {
            "id": entry.token.id,
            "name": entry.token.name,
            "scopes": entry.token.scopes,
            "made_s": entry.token.made_s,
            "expires_s": entry.token.expires_s,
            "sha256": entry.sha256.hex(),
        }
        for entry in entries.values()
    ]
    return json.dumps({"version": 1, "tokens": rows}, indent=1).encode() + b"\n"


def _read(path: Path) -> dict[str, _Entry]:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TokensUnfit(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        document = cast("Mapping[str, object]", json.loads(content))
        if document["version"] != 1:
            raise TokensUnfit("of another version of oncegate", where=str(path))
        rows = cast("list[Mapping[str, object]]", document["tokens"])
        entries = [_entry(row) for row in rows]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise TokensUnfit(
            "not a file of tokens", remedy="restore it, or move it away and make new ones", where=str(path)
        ) from None
    return {entry.token.id: entry for entry in entries}


def _entry(row: Mapping[str, object]) -> _Entry:
    token_id, name, scopes = row["id"], row["name"], row["scopes"]
    made_s, expires_s, sha256 = row["made_s"], row["expires_s"], row["sha256"]
    if not isinstance(token_id, str) or not isinstance(name, str) or not isinstance(scopes, list):
        raise TypeError
    if not isinstance(made_s, int) or not isinstance(expires_s, int | None) or not isinstance(sha256, str):
        raise TypeError
    known = tuple(str(scope) for scope in cast("list[object]", scopes))
    token = Token(id=token_id, name=name, scopes=known, made_s=made_s, expires_s=expires_s)
    return _Entry(token, bytes.fromhex(sha256))


def write_operator_token(path: Path, tokens: TokenFile, *, now_s: int) -> Token:
    """Make a token for everything and write it in plain text where only its owner reads it (``control.token``).

    Raises:
        TokensUnfit: a file stands there, or it cannot be written.
    """
    if path.exists():
        raise TokensUnfit("stands already; a token is not written over another", where=str(path))
    text, token = tokens.new("operator", ["*"], now_s=now_s)
    try:
        create_file(path, text.encode() + b"\n", mode=0o600)
    except OSError as error:
        # Otherwise a token for everything would stay valid although nobody has it.
        tokens.revoke(token.id)
        raise TokensUnfit(f"cannot be written: {error.strerror}", where=str(path)) from None
    return token


def read_operator_token(path: Path) -> str:
    """Return the token that ``write_operator_token`` wrote.

    Raises:
        TokensUnfit: there is no file, or no token in it.
    """
    try:
        with path.open("rb") as file:
            text = file.read(1_024).decode(errors="replace").strip()
    except OSError as error:
        raise TokensUnfit(
            f"cannot be read: {error.strerror}", remedy="'oncegate init' writes it", where=str(path)
        ) from None
    if _TOKEN.fullmatch(text) is None:
        raise TokensUnfit("holds no token", remedy="'oncegate tokens new' makes one", where=str(path))
    return text
