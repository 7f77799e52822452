"""The checksums that an upload may carry: what was stored must be what was sent.

Taken: Content-MD5 (RFC 1864), x-amz-checksum-sha256, -sha1 and -crc32, x-amz-content-sha256 in hex, and sha-256 in
Content-Digest and Repr-Digest (RFC 9530); with the extra ``checksums`` also x-amz-checksum-crc32c and -crc64nvme, by
google-crc32c and awscrt, which save us two tables and are 100 times as fast as Python. One that is named and not known
here is refused: silence would be a promise.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import re
import zlib
from collections.abc import Callable
from typing import Protocol

from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.wishes import WITHOUT_MEANING, not_implemented

_SHA256_HEX = re.compile(rb"[0-9A-Fa-f]{64}")
_SHA256_IN_DIGEST = re.compile(rb"sha-256=:([A-Za-z0-9+/=]+):")

_WANTED = re.compile(rb"\bsha-256=(?:[1-9]|10)\b")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    """A cyclic redundancy check: a function of more bytes and of the value before them."""

    def __init__(self, add: Callable[[bytes, int], int], size_bytes: int) -> None:
        self._add = add
        self._size_bytes = size_bytes
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = self._add(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size_bytes)


def _crc32() -> _Hash:
    return _Crc(zlib.crc32, 4)


def _crc32c() -> _Hash:
    extend: Callable[[int, bytes], int] = _of_extra("google_crc32c", "extend", for_="x-amz-checksum-crc32c")
    return _Crc(lambda data, before: extend(before, data), 4)


def _crc64nvme() -> _Hash:
    return _Crc(_of_extra("awscrt.checksums", "crc64nvme", for_="x-amz-checksum-crc64nvme"), 8)


def _of_extra(module: str, name: str, *, for_: str) -> Callable[..., int]:
    """A function of a library that only the extra ``checksums`` brings; imported when a checksum first needs it."""
    try:
        found: Callable[..., int] = getattr(importlib.import_module(module), name)
    except ImportError:
        raise not_implemented(f"{for_} (pip install 'oncegate[checksums]' at the gateway)") from None
    return found


def _md5() -> _Hash:
    return hashlib.md5(usedforsecurity=False)  # a checksum against accidents, chosen by the viewer


def _sha1() -> _Hash:
    return hashlib.sha1(usedforsecurity=False)


_BASE64_HEADERS: dict[bytes, Callable[[], _Hash]] = {
    b"content-md5": _md5,
    b"x-amz-checksum-sha256": hashlib.sha256,
    b"x-amz-checksum-sha1": _sha1,
    b"x-amz-checksum-crc32": _crc32,
    b"x-amz-checksum-crc32c": _crc32c,
    b"x-amz-checksum-crc64nvme": _crc64nvme,
}
_HASHED = frozenset((*_BASE64_HEADERS, b"x-amz-content-sha256", b"content-digest", b"repr-digest"))


class Checksums:
    """Compares a body with what its headers say, piece by piece."""

    def __init__(self, request: ViewerRequest, *, is_hashed: bool = False) -> None:
        """Read the headers.

        Args:
            request: whose body it is.
            is_hashed: its SHA-256 is asked for, whatever the headers say.

        Raises:
            Refused: MALFORMED_UPLOAD: a checksum that cannot be read, or digests of a kind that is not known;
                NOT_IMPLEMENTED: an ``x-amz-checksum-*`` that is not known here.
        """
        self._expected: list[tuple[_Hash, bytes]] = []
        self._asked = hashlib.sha256() if is_hashed else None
        names = [name for name, _ in request.headers]
        for name, value in request.headers:
            # of a thousand checksums each would be computed over the whole body
            if name in _HASHED and names.count(name) > 1:
                raise Refused(Reason.MALFORMED_UPLOAD, message="A checksum is given twice.")
            if name in _BASE64_HEADERS:
                self._expect(_BASE64_HEADERS[name](), _from_base64(value))
            elif name == b"x-amz-content-sha256" and _SHA256_HEX.fullmatch(value):
                self._expect(hashlib.sha256(), bytes.fromhex(value.decode()))
            elif name in (b"content-digest", b"repr-digest"):
                found = _SHA256_IN_DIGEST.search(value)
                if found is None:
                    raise Refused(Reason.MALFORMED_UPLOAD, message="Only sha-256 digests are known here.")
                self._expect(hashlib.sha256(), _from_base64(found[1]))
            elif name.startswith(b"x-amz-checksum-") and name not in WITHOUT_MEANING:
                raise not_implemented(name.decode("latin-1"))

    def _expect(self, kind: _Hash, digest: bytes) -> None:
        # else it is refused at the end, as another content, after all of the body was taken
        if len(kind.digest()) != len(digest):
            raise Refused(Reason.MALFORMED_UPLOAD, message="A checksum has the wrong length.")
        self._expected.append((kind, digest))

    def update(self, data: bytes) -> None:
        """Take in a piece of the body."""
        if self._asked is not None:
            self._asked.update(data)
        for kind, _ in self._expected:
            kind.update(data)

    def check(self) -> None:
        """Compare, at the end.

        Raises:
            Refused: BAD_DIGEST.
        """
        if any(kind.digest() != digest for kind, digest in self._expected):
            raise Refused(Reason.BAD_DIGEST)

    def sha256(self) -> bytes:
        """The SHA-256 of the body, where it was asked for; else nothing."""
        return b"" if self._asked is None else self._asked.digest()


def wants_digest(request: ViewerRequest) -> bool:
    """Whether Want-Repr-Digest (RFC 9530 4) asks for sha-256."""
    return _WANTED.search(request.header(b"want-repr-digest") or b"") is not None


def _from_base64(value: bytes) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        raise Refused(Reason.MALFORMED_UPLOAD, message="A checksum is not base64.") from None
