"""The checksums that an upload may carry: what was stored must be what was sent.

Taken: Content-MD5 (RFC 1864), x-amz-checksum-sha256, -sha1 and -crc32, x-amz-content-sha256 in hex, and sha-256 in
Content-Digest and Repr-Digest (RFC 9530). One that is named and not known here is refused: silence would be a promise.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Callable
from typing import Protocol

from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest

_SHA256_HEX = re.compile(rb"[0-9A-Fa-f]{64}")
_SHA256_IN_DIGEST = re.compile(rb"sha-256=:([A-Za-z0-9+/=]+):")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4)


def _md5() -> _Hash:
    return hashlib.md5(usedforsecurity=False)  # a checksum against accidents, chosen by the viewer


def _sha1() -> _Hash:
    return hashlib.sha1(usedforsecurity=False)


_BASE64_HEADERS: dict[bytes, Callable[[], _Hash]] = {
    b"content-md5": _md5,
    b"x-amz-checksum-sha256": hashlib.sha256,
    b"x-amz-checksum-sha1": _sha1,
    b"x-amz-checksum-crc32": _Crc32,
}
_HASHED = frozenset((*_BASE64_HEADERS, b"x-amz-content-sha256", b"content-digest", b"repr-digest"))
_CHECKSUM_NOTES = (b"x-amz-checksum-algorithm", b"x-amz-checksum-type", b"x-amz-checksum-mode")


class Checksums:
    """Compares a body with what its headers say, piece by piece."""

    def __init__(self, request: ViewerRequest) -> None:
        """Read the headers.

        Raises:
            Refused: MALFORMED_UPLOAD: a checksum that cannot be read, or of a kind that is not known.
        """
        self._expected: list[tuple[_Hash, bytes]] = []
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
            elif name.startswith(b"x-amz-checksum-") and name not in _CHECKSUM_NOTES:
                raise Refused(Reason.MALFORMED_UPLOAD, message="This checksum algorithm is not known here.")

    def _expect(self, kind: _Hash, digest: bytes) -> None:
        # else it is refused at the end, as another content, after all of the body was taken
        if len(kind.digest()) != len(digest):
            raise Refused(Reason.MALFORMED_UPLOAD, message="A checksum has the wrong length.")
        self._expected.append((kind, digest))

    def update(self, data: bytes) -> None:
        """Take in a piece of the body."""
        for kind, _ in self._expected:
            kind.update(data)

    def check(self) -> None:
        """Compare, at the end.

        Raises:
            Refused: BAD_DIGEST.
        """
        if any(kind.digest() != digest for kind, digest in self._expected):
            raise Refused(Reason.BAD_DIGEST)


def _from_base64(value: bytes) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        raise Refused(Reason.MALFORMED_UPLOAD, message="A checksum is not base64.") from None
