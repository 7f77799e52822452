"""Keys in PEM text, by the ``cryptography`` package: RSA with PKCS#1 v1.5 and ECDSA on P-256, SHA-1 and SHA-256.

A key is loaded once and then used for every link, because loading costs 140 times a signature check; so its ``verify``
and ``sign`` are the bare call and nothing else. No file is read here, and no key shows its material in ``repr``.

Depends on ``cryptography``: pure Python costs 85 times as much per signature, and is not in constant time.

Source: CloudFront Developer Guide, "Creating key pairs for your signers" (RSA 2048 or ECDSA 256) and "Create a signed
URL using a canned policy" (``Hash-Algorithm``); vectors cf-*.
"""

from __future__ import annotations

import hashlib
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

KeyKind = Literal["ecdsa", "rsa"]

_PKCS1 = PKCS1v15()
_HASHES = {"SHA1": SHA1(), "SHA256": SHA256()}  # noqa: S303 - CloudFront's default hash; links made here use SHA-256
_ECDSA = {name: ec.ECDSA(algorithm) for name, algorithm in _HASHES.items()}
_NOT_OURS = (InvalidSignature, UnsupportedAlgorithm)  # the second: an OpenSSL whose policy forbids SHA-1 (RHEL, FIPS)


class KeyUnfit(Unfit):
    """A key cannot be used as configured; the message says which, why and what to change, and holds no key material."""


class RsaPublicKey:
    """An RSA key, 2048 to 4096 bits, that checks PKCS#1 v1.5 signatures."""

    __slots__ = ("_key", "spki_sha256")
    kind: KeyKind = "rsa"

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        """Take a loaded key.

        Raises:
            KeyUnfit: its size is not accepted.
        """
        _check_rsa(key.key_size)
        self._key = key
        self.spki_sha256 = _spki_sha256(key)

    def verify(self, signature: bytes, message: bytes, hash_name: str) -> bool:
        """Say whether this key signed the message; see ``links.key_group.PublicKey``."""
        try:
            self._key.verify(signature, message, _PKCS1, _HASHES[hash_name])
        except _NOT_OURS:
            return False
        return True


class EcdsaPublicKey:
    """A key on the curve P-256 that checks ECDSA signatures in ASN.1 DER."""

    __slots__ = ("_key", "spki_sha256")
    kind: KeyKind = "ecdsa"

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        """Take a loaded key.

        Raises:
            KeyUnfit: it is on another curve.
        """
        _check_curve(key.curve)
        self._key = key
        self.spki_sha256 = _spki_sha256(key)

    def verify(self, signature: bytes, message: bytes, hash_name: str) -> bool:
        """Say whether this key signed the message; see ``links.key_group.PublicKey``."""
        try:
            self._key.verify(signature, message, _ECDSA[hash_name])
        except _NOT_OURS:
            return False
        return True


class RsaSigningKey:
    """An RSA private key that signs with PKCS#1 v1.5."""

    __slots__ = ("_key", "key_id", "spki_sha256")
    kind: KeyKind = "rsa"

    def __init__(self, key: rsa.RSAPrivateKey, key_id: str) -> None:
        """Take a loaded key and the id of its public half.

        Raises:
            KeyUnfit: its size is not accepted.
        """
        _check_rsa(key.key_size)
        self._key = key
        self.key_id = key_id
        self.spki_sha256 = _spki_sha256(key.public_key())

    def sign(self, message: bytes, hash_name: str) -> bytes:
        """Sign a message; see ``links.key_group.SigningKey``."""
        return self._key.sign(message, _PKCS1, _HASHES[hash_name])


class EcdsaSigningKey:
    """A private key on P-256 that makes ECDSA signatures in ASN.1 DER."""

    __slots__ = ("_key", "key_id", "spki_sha256")
    kind: KeyKind = "ecdsa"

    def __init__(self, key: ec.EllipticCurvePrivateKey, key_id: str) -> None:
        """Take a loaded key and the id of its public half.

        Raises:
            KeyUnfit: it is on another curve.
        """
        _check_curve(key.curve)
        self._key = key
        self.key_id = key_id
        self.spki_sha256 = _spki_sha256(key.public_key())

    def sign(self, message: bytes, hash_name: str) -> bytes:
        """Sign a message; see ``links.key_group.SigningKey``."""
        return self._key.sign(message, _ECDSA[hash_name])


def _check_rsa(size_bits: int) -> None:
    if not RSA_BITS_MIN <= size_bits <= RSA_BITS_MAX:
        raise KeyUnfit(f"this RSA key has {size_bits} bits: use {RSA_BITS_MIN} (up to {RSA_BITS_MAX} is accepted)")


def _check_curve(curve: ec.EllipticCurve) -> None:
    if not isinstance(curve, ec.SECP256R1):
        raise KeyUnfit(f"this key is on the curve {curve.name}: use P-256 (prime256v1, secp256r1)")


def _spki_sha256(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def load_public_key(pem: bytes) -> RsaPublicKey | EcdsaPublicKey:
    """Load the public key that a PEM text holds.

    Args:
        pem: ``BEGIN PUBLIC KEY`` (or ``BEGIN RSA PUBLIC KEY``), one key, at most ``PEM_BYTES_MAX`` bytes.

    Raises:
        KeyUnfit: it holds a private key, more than one key, none, or one that links are not signed with.
    """
    _check_pem(pem)
    # before the parser, whose error could not say what to do
    if b"PRIVATE KEY-----" in pem:
        raise KeyUnfit("this is a private key: it must not lie in the key group; move it away and treat it as leaked")
    if b"BEGIN CERTIFICATE-----" in pem:
        raise KeyUnfit("this is a certificate: take the key out of it with 'openssl x509 -pubkey -noout'")
    if pem.count(b"-----BEGIN ") > 1:
        raise KeyUnfit("this holds more than one key: give each a file of its own")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnfit("this cannot be read as a public key in PEM ('-----BEGIN PUBLIC KEY-----')") from None
    if isinstance(key, rsa.RSAPublicKey):
        return RsaPublicKey(key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return EcdsaPublicKey(key)
    raise KeyUnfit(_OTHER_KIND)


def load_signing_key(pem: bytes, key_id: str) -> RsaSigningKey | EcdsaSigningKey:
    """Load the private key that a PEM text holds.

    Args:
        pem: PKCS#8, PKCS#1 or SEC 1, not encrypted, at most ``PEM_BYTES_MAX`` bytes.
        key_id: the id under which the key group holds its public half.

    Raises:
        KeyUnfit: it is encrypted, public, unreadable, or of a kind that links are not signed with.
    """
    key = _load_private(pem)
    return RsaSigningKey(key, key_id) if isinstance(key, rsa.RSAPrivateKey) else EcdsaSigningKey(key, key_id)


def public_pem_of(private_pem: bytes) -> bytes:
    """Return the public half of a private key, as PEM SubjectPublicKeyInfo.

    Raises:
        KeyUnfit: as ``load_signing_key``.
    """
    key = _load_private(private_pem).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _load_private(pem: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    _check_pem(pem)
    if b"PUBLIC KEY-----" in pem:
        raise KeyUnfit("this is a public key: signing needs the private one")
    if b"ENCRYPTED" in pem:
        raise KeyUnfit("this private key is encrypted: decrypt it with 'openssl pkey' and keep the file to its owner")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnfit("this cannot be read as a private key in PEM ('-----BEGIN PRIVATE KEY-----')") from None
    if isinstance(key, rsa.RSAPrivateKey):
        _check_rsa(key.key_size)
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey):
        _check_curve(key.curve)
        return key
    raise KeyUnfit(_OTHER_KIND)


_OTHER_KIND = "this is neither an RSA key nor one on P-256: links are signed with nothing else"


def _check_pem(pem: bytes) -> None:
    if len(pem) > PEM_BYTES_MAX:
        raise KeyUnfit(f"this is longer than {PEM_BYTES_MAX} bytes: it is no PEM of one key")


def new_key_pair(kind: KeyKind) -> tuple[bytes, bytes]:
    """Draw a new key pair.

    Args:
        kind: ``ecdsa`` (P-256; shorter links, signs 12 times faster) or ``rsa`` (2048 bits).

    Returns:
        (private key as PEM PKCS#8, not encrypted; public key as PEM SubjectPublicKeyInfo).
    """
    if kind == "rsa":
        key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS_MIN)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private_pem, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
