"""The id of a link, the ledger's key: 16 bytes, written as 22 base64url characters.

The id of a link with a ticket is the ticket's nonce, a UUIDv7. The id of a plain link is a hash of what is signed and
by whom.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from oncegate.links.grant import Signed

_TO_BASE64URL = bytes.maketrans(b"+/", b"-_")


def uuid7(now_ms: int, random: bytes) -> bytes:
    """Make the 16 bytes of a UUIDv7 (RFC 9562 5.7).

    Args:
        now_ms: milliseconds since 1970 UTC.
        random: 10 random bytes.
    """
    bits = bytearray(now_ms.to_bytes(6) + random)
    bits[6] = 0x70 | bits[6] & 0x0F
    bits[8] = 0x80 | bits[8] & 0x3F
    return bytes(bits)


def is_uuid7(nonce: bytes) -> bool:
    """Whether 16 bytes are a UUIDv7: version 7, variant 10."""
    return len(nonce) == 16 and nonce[6] >> 4 == 7 and nonce[8] >> 6 == 2


def text_of_id(link_id: bytes) -> str:
    """Write 16 bytes as 22 base64url characters."""
    return binascii.b2a_base64(link_id, newline=False)[:22].translate(_TO_BASE64URL).decode()


def id_of_text(text: str) -> bytes:
    """Read 16 bytes from 22 base64url characters.

    Raises:
        ValueError: not 22 such characters, or spare bits that are not zero (another spelling of the same id).
    """
    link_id = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    if len(link_id) != 16 or text_of_id(link_id) != text:
        raise ValueError("not the 22 characters of a link id")
    return link_id


def plain_link_id(signed: Signed, object_key: str) -> bytes:
    """The id of a link without a ticket: made of what is signed and by whom, never of how the URL is spelled.

    It begins with the byte 0xff, which no ticket's nonce of this century does. Under a wildcard each object has an id
    of its own.

    Source: docs/request.md; docs/aws-protocol.md 1.4; vectors *-same-*.
    """
    # Signature and Key-Pair-Id are not hashed: anyone can rewrite them (the mirrored ECDSA signature, a second id of
    # one key) and would have another use. Each part follows its length, so other parts are other bytes.
    digest = hashlib.sha256()
    for part in (signed.issuer, signed.signed_bytes, object_key.encode() if signed.is_wildcard else b""):
        digest.update(len(part).to_bytes(8) + part)
    # 0xff keeps these ids apart from nonces. Otherwise a signer could choose a nonce that equals the id of somebody
    # else's plain link, and so spend it.
    return b"\xff" + digest.digest()[:15]
