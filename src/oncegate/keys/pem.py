"""Keys in PEM text, by the ``cryptography`` package: RSA with PKCS#1 v1.5 and ECDSA on P-256, SHA-1 and SHA-256.

A key is loaded once and then used for every link, because loading costs 140 times a signature check; so its ``sign`` is
the bare call and nothing else, and its ``verify`` the same with a memory. No file is read here, and no key shows its material in ``repr``.

Depends on ``cryptography``: pure Python costs 85 times as much per signature, and is not in constant time.

Source: CloudFront Developer Guide, "Creating key pairs for your signers" (RSA 2048 or ECDSA 256) and "Create a signed
URL using a canned policy" (``Hash-Algorithm``); vectors cf-*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from oncegate.unfit import Unfit

RSA_BITS_MIN = 2048
RSA_BITS_MAX = 4096
"""CloudFront takes 2048 only; its retired account key pairs had up to 4096, and a larger key only costs time."""

PEM_BYTES_MAX = 16_384
"""Five times the longest private key that is accepted."""

REMEMBERED_MAX = 4_096
REMEMBERED_MESSAGE_BYTES = 1_024
"""Of each key: genuine signatures that are not checked again, and the longest message of which one is remembered. A key
whose policies have 250 bytes holds 3 MiB of them, one whose policies all have that length 6 MiB."""

KeyKind = Literal["ecdsa", "rsa"]

_AnyPublic = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
_AnyPrivate = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

# What cryptography's verify() and sign() take after the bytes, by kind of key and name of hash.
_HASHES = {"SHA1": SHA1(), "SHA256": SHA256()}  # noqa: S303  CloudFront's default hash; links made here use SHA-256
_RSA = {name: (PKCS1v15(), algorithm) for name, algorithm in _HASHES.items()}
_ECDSA = {name: (ec.ECDSA(algorithm),) for name, algorithm in _HASHES.items()}
# The second: an OpenSSL whose policy forbids SHA-1 (RHEL, FIPS).
_NOT_SIGNED_BY_IT = (InvalidSignature, UnsupportedAlgorithm)


class KeyUnfit(Unfit):
    """A key cannot be used as configured; the message says which, why and what to change, and holds no key material."""


class PemPublicKey:
    """A public key: RSA of 2048 to 4096 bits (PKCS#1 v1.5), or ECDSA on P-256 (signatures in ASN.1 DER).

    It remembers the last signatures that were its own: a Range after a Range, a GET after a HEAD, a link that is tried
    again are the same check of the same bytes. Only whoever holds a genuine link adds to that. A key that leaves the key
    group takes its memory with it.
    """

    __slots__ = ("_arguments", "_genuine", "_verify", "kind", "spki_sha256")

    def __init__(self, key: _AnyPublic) -> None:
        """Take a loaded key.

        Raises:
            KeyUnfit: its size or curve is not accepted.
        """
        self.kind: KeyKind = _checked_kind(key)
        self.spki_sha256: bytes = _spki_sha256(key)
        self._verify: Callable[..., None] = key.verify
        self._arguments: Mapping[str, tuple[object, ...]] = _RSA if self.kind == "rsa" else _ECDSA
        self._genuine: dict[tuple[bytes, bytes, str], None] = {}

    def verify(self, signature: bytes, message: bytes, hash_name: str) -> bool:
        """Return whether this key signed the message; see ``links.key_group.PublicKey``."""
        checked = (signature, message, hash_name)
        if checked in self._genuine:
            return True
        try:
            self._verify(signature, message, *self._arguments[hash_name])
        except _NOT_SIGNED_BY_IT:
            return False
        if len(message) <= REMEMBERED_MESSAGE_BYTES:
            if len(self._genuine) >= REMEMBERED_MAX:
                del self._genuine[next(iter(self._genuine))]
            self._genuine[checked] = None
        return True


class PemSigningKey:
    """A private key with the id of its public half; ``links.key_group.SigningKey``."""

    __slots__ = ("_arguments", "_sign", "key_id", "kind", "spki_sha256")

    def __init__(self, loaded: LoadedKey, key_id: str) -> None:
        self.key_id: str = key_id
        self.kind: KeyKind = loaded.kind
        self.spki_sha256: bytes = loaded.spki_sha256
        self._sign: Callable[..., bytes] = loaded.key.sign
        self._arguments: Mapping[str, tuple[object, ...]] = _RSA if self.kind == "rsa" else _ECDSA

    def sign(self, message: bytes, hash_name: str) -> bytes:
        """Sign a message; see ``links.key_group.SigningKey``."""
        return self._sign(message, *self._arguments[hash_name])


@dataclass(frozen=True, slots=True, repr=False)
class LoadedKey:
    """A private key that was loaded, before the key group is asked for its id.

    Attributes:
        key: of the kind and size that links are signed with.
        kind: ``ecdsa`` or ``rsa``.
        spki_sha256: SHA-256 over its public half, as ``links.key_group.PublicKey`` has it.
    """

    key: _AnyPrivate
    kind: KeyKind
    spki_sha256: bytes

    def named(self, key_id: str) -> PemSigningKey:
        """Return the key that signs under an id: the one under which the key group holds its public half."""
        return PemSigningKey(self, key_id)


def _checked_kind(key: _AnyPublic) -> KeyKind:
    if isinstance(key, rsa.RSAPublicKey):
        if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            raise KeyUnfit(
                f"this RSA key has {key.key_size} bits",
                remedy=f"use {RSA_BITS_MIN} (up to {RSA_BITS_MAX} is accepted)",
            )
        return "rsa"
    if not isinstance(key.curve, ec.SECP256R1):
        raise KeyUnfit(f"this key is on the curve {key.curve.name}", remedy="use P-256 (prime256v1, secp256r1)")
    return "ecdsa"


def _spki_sha256(key: _AnyPublic) -> bytes:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def load_public_key(pem: bytes) -> PemPublicKey:
    """Load the public key that a PEM text holds.

    Args:
        pem: ``BEGIN PUBLIC KEY`` (or ``BEGIN RSA PUBLIC KEY``), one key, at most ``PEM_BYTES_MAX`` bytes.

    Raises:
        KeyUnfit: it holds a private key, more than one key, none, or one that links are not signed with.
    """
    _check_pem(pem)
    # Looked for before the parser runs: its error could not say what to do.
    if b"PRIVATE KEY-----" in pem:
        raise KeyUnfit(
            "this is a private key: it must not lie in the key group", remedy="move it away and treat it as leaked"
        )
    if b"BEGIN CERTIFICATE-----" in pem:
        raise KeyUnfit("this is a certificate", remedy="take the key out of it with 'openssl x509 -pubkey -noout'")
    if pem.count(b"-----BEGIN ") > 1:
        raise KeyUnfit("this holds more than one key", remedy="give each a file of its own")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnfit("this cannot be read as a public key in PEM ('-----BEGIN PUBLIC KEY-----')") from None
    if not isinstance(key, _AnyPublic):
        raise KeyUnfit(_OTHER_KIND)
    return PemPublicKey(key)


def load_signing_key(pem: bytes) -> LoadedKey:
    """Load the private key that a PEM text holds.

    Args:
        pem: PKCS#8, PKCS#1 or SEC 1, not encrypted, at most ``PEM_BYTES_MAX`` bytes.

    Raises:
        KeyUnfit: it is encrypted, public, unreadable, or of a kind that links are not signed with.
    """
    _check_pem(pem)
    if b"PUBLIC KEY-----" in pem:
        raise KeyUnfit("this is a public key", remedy="signing needs the private one")
    if b"ENCRYPTED" in pem:
        raise KeyUnfit(
            "this private key is encrypted", remedy="decrypt it with 'openssl pkey' and keep the file to its owner"
        )
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnfit("this cannot be read as a private key in PEM ('-----BEGIN PRIVATE KEY-----')") from None
    if not isinstance(key, _AnyPrivate):
        raise KeyUnfit(_OTHER_KIND)
    public = key.public_key()
    return LoadedKey(key, _checked_kind(public), _spki_sha256(public))


def public_pem_of(private_pem: bytes) -> bytes:
    """Return the public half of a private key, as PEM SubjectPublicKeyInfo.

    Raises:
        KeyUnfit: as ``load_signing_key``.
    """
    public = load_signing_key(private_pem).key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


_OTHER_KIND = "this is neither an RSA key nor one on P-256: links are signed with nothing else"


def _check_pem(pem: bytes) -> None:
    if len(pem) > PEM_BYTES_MAX:
        raise KeyUnfit(f"this is longer than {PEM_BYTES_MAX} bytes: it is no PEM of one key")


def new_key_pair(kind: KeyKind) -> tuple[bytes, bytes]:
    """Draw a new key pair.

    Args:
        kind: ``ecdsa`` (P-256; shorter links, signs 12 times faster) or ``rsa`` (2048 bits).

    Returns:
        (private key as PEM, RSA in PKCS#1 and ECDSA in PKCS#8, not encrypted; public key as PEM SubjectPublicKeyInfo).
    """
    if kind == "rsa":
        key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS_MIN)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    # aws cli 1 signs with a key of PKCS#1 alone (docs/aws-protocol.md 1.3)
    form = PrivateFormat.TraditionalOpenSSL if isinstance(key, rsa.RSAPrivateKey) else PrivateFormat.PKCS8
    private_pem = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return private_pem, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
