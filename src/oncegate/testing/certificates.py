"""Certificates for tests of TLS, issued by an authority of their own and valid for a day.

authority = make_authority()
certificate_pem, key_pem = authority.issue("127.0.0.1")
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_LIFE = datetime.timedelta(days=1)
_AGO = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority that issues certificates.

    Attributes:
        certificate: its own certificate as PEM; a client that trusts it trusts whatever the authority issues.
        key: its private key.
        name: its name, the issuer in its certificates.
    """

    certificate: bytes
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    def issue(self, host: str) -> tuple[bytes, bytes]:
        """Return a certificate for a host name or an IP address, and its private key, both as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        certificate = (
            _begun(_named(host), self.name, key.public_key())
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM), pem


def make_authority(name: str = "an authority of tests") -> Authority:
    """Make an authority with a new key, also where the name was used before."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = _named(name)
    certificate = (
        _begun(named, named, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate.public_bytes(serialization.Encoding.PEM), key, named)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _AGO)
        .not_valid_after(now + _LIFE)
    )
