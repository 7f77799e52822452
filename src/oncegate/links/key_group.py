"""Who may sign: the public keys that the viewer trusts, as values and Protocols.

``keys/`` reads and parses keys; links/ only asks a key whether a signature is its own. This is also the one module
that compares secrets.

Source: CloudFront Developer Guide, "Specify signers that can create signed URLs and signed cookies".
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Protocol

KEYS_MAX = 100
"""CloudFront trusts at most 20 keys at a time (4 groups of 5); five times that leaves room for a rotation of all of
them, and a folder with more is not a key group but a mistake."""

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class PublicKey(Protocol):
    """A key that can tell its own signatures from others."""

    @property
    def spki_sha256(self) -> bytes:
        """SHA-256 over the key's DER SubjectPublicKeyInfo, 32 bytes: the key itself, whatever id it goes by."""
        ...

    def verify(self, signature: bytes, message: bytes, hash_name: str) -> bool:
        """Say whether this key signed the message.

        Args:
            signature: raw bytes: PKCS#1 v1.5 for RSA, ASN.1 DER for ECDSA.
            message: the bytes that were signed, not their hash.
            hash_name: ``SHA1`` or ``SHA256``; the caller has refused everything else.
        """
        ...


class SigningKey(Protocol):
    """A private key, here or in a service that keeps it."""

    @property
    def key_id(self) -> str:
        """The id under which the key group holds the public half (``Key-Pair-Id``)."""
        ...

    def sign(self, message: bytes, hash_name: str) -> bytes:
        """Sign a message.

        Args:
            message: the bytes to sign, not their hash.
            hash_name: ``SHA1`` or ``SHA256``.

        Returns:
            The signature as ``PublicKey.verify`` takes it.
        """
        ...


class KeyGroup:
    """The trusted public keys by id. Never changes: a change of the keys is another group."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Mapping[str, PublicKey]) -> None:
        """Copy the keys.

        Args:
            keys: public key by key id (1 to 128 letters, digits, ``_`` and ``-``). An empty group trusts nobody.

        Raises:
            ValueError: more than ``KEYS_MAX`` keys, or an id that no URL would carry as it is.
        """
        if len(keys) > KEYS_MAX:
            raise ValueError(f"a key group holds at most {KEYS_MAX} keys, not {len(keys)}: retire old ones")
        for key_id in keys:
            if not is_key_id(key_id):
                raise ValueError(f"{key_id[:40]!r} is no key id: use 1 to 128 letters, digits, _ and -")
        self._keys = dict(keys)

    def get(self, key_id: str) -> PublicKey | None:
        """Return the key with this id, None where the group does not hold it."""
        return self._keys.get(key_id)

    def items(self) -> Iterator[tuple[str, PublicKey]]:
        """Iterate over (key id, public key)."""
        return iter(self._keys.items())

    def __contains__(self, key_id: object) -> bool:
        return key_id in self._keys

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeyGroup({', '.join(self._keys)})"


def is_key_id(text: str) -> bool:
    """Say whether a text can be a key id: 1 to 128 ASCII letters, digits, ``_`` and ``-``."""
    return _KEY_ID.fullmatch(text) is not None


def is_equal(a: bytes, b: bytes) -> bool:
    """Compare secrets in a time that depends on their length alone. Every comparison of secrets uses this function."""
    return hmac.compare_digest(a, b)
