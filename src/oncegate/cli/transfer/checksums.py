"""The checksums that an answer carries: what was received must be what was sent.

Taken: Content-MD5 and x-amz-checksum-sha256 of a whole answer, and sha-256 in Repr-Digest, which is of the whole
object in a partial answer too (RFC 9530 section 3). ``gateway/checksums.py`` is the other side.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping

_SHA256_IN_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")
_LENGTHS = {"md5": 16, "sha256": 32}


def expected_of(headers: Mapping[str, str], *, is_whole: bool) -> dict[str, bytes]:
    """Read the checksums of the whole object.

    Args:
        headers: of the answer; names in any case.
        is_whole: the answer is the whole object: 200, not 206.

    Returns:
        Digest by the name of its algorithm in ``hashlib``; what cannot be read is left out.
    """
    digest = _SHA256_IN_DIGEST.search(headers.get("repr-digest", ""))
    found = {"sha256": digest[1] if digest else ""}
    if is_whole:
        found["sha256"] = found["sha256"] or headers.get("x-amz-checksum-sha256", "")
        found["md5"] = headers.get("content-md5", "")
    decoded = {name: _from_base64(text) for name, text in found.items()}
    return {name: value for name, value in decoded.items() if len(value) == _LENGTHS[name]}


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""  # S3's checksum of a multipart upload ends in "-3": it is none of the object's bytes


class Sums:
    """Checksums of bytes as they come."""

    def __init__(self, expected: Mapping[str, bytes]) -> None:
        self.expected: dict[str, bytes] = dict(expected)
        self._running = {name: hashlib.new(name, usedforsecurity=False) for name in expected}

    def update(self, data: bytes) -> None:
        """Add a piece."""
        for running in self._running.values():
            running.update(data)

    def wrong(self) -> str:
        """Return the name of a checksum that differs from what came; empty where all agree."""
        for name, running in self._running.items():
            if not hmac.compare_digest(running.digest(), self.expected[name]):
                return name
        return ""
