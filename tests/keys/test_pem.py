"""Keys in PEM: what is loaded, what is refused, and that signatures are OpenSSL's."""

import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest

from oncegate.keys import pem
from oncegate.keys.pem import (
    KeyUnfit,
    PemPublicKey,
    PemSigningKey,
    load_public_key,
    load_signing_key,
    new_key_pair,
    public_pem_of,
)

MESSAGE = b'{"Statement":[{"Resource":"https://example.com/a b"}]}'
HASHES = ("SHA1", "SHA256")
KINDS = ("ecdsa", "rsa")


def openssl(*arguments: str, stdin: bytes = b"") -> bytes:
    """Run openssl and return what it writes."""
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def openssl_key(kind: str) -> bytes:
    """Make a private key as the documentation of CloudFront tells its users to."""
    if kind == "rsa":
        return openssl("genrsa", "-traditional", "2048")
    return openssl("ecparam", "-name", "prime256v1", "-genkey")


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("kind", KINDS)
def test_signatures_of_openssl_are_verified(tmp_path: Path, kind: str, hash_name: str) -> None:
    """Most signers in use are OpenSSL underneath; PKCS#1, SEC 1 with parameters and SPKI files are what it writes."""
    private = tmp_path / "key.pem"
    private.write_bytes(openssl_key(kind))
    signature = openssl("dgst", f"-{hash_name.lower()}", "-sign", str(private), stdin=MESSAGE)
    key = load_public_key(openssl("pkey", "-in", str(private), "-pubout"))
    assert key.verify(signature, MESSAGE, hash_name)
    assert not key.verify(signature, MESSAGE + b" ", hash_name)
    assert not key.verify(signature, MESSAGE, "SHA1" if hash_name == "SHA256" else "SHA256")


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_verifies_our_signatures(tmp_path: Path, kind: Literal["ecdsa", "rsa"], hash_name: str) -> None:
    """What CloudFront will check, checked by somebody else's code."""
    private_pem, public_pem = new_key_pair(kind)
    (tmp_path / "public.pem").write_bytes(public_pem)
    (tmp_path / "signature").write_bytes(load_signing_key(private_pem).named("K1").sign(MESSAGE, hash_name))
    verify = ["-verify", str(tmp_path / "public.pem"), "-signature", str(tmp_path / "signature")]
    assert b"Verified OK" in openssl("dgst", f"-{hash_name.lower()}", *verify, stdin=MESSAGE)


@pytest.mark.parametrize("kind", KINDS)
def test_both_halves_of_a_pair_agree(kind: Literal["ecdsa", "rsa"]) -> None:
    """The group is searched for the public half of the signing key by this digest."""
    private_pem, public_pem = new_key_pair(kind)
    public, signing = load_public_key(public_pem), load_signing_key(private_pem).named("K1")
    assert public.spki_sha256 == signing.spki_sha256
    assert len(public.spki_sha256) == 32
    assert public_pem_of(private_pem) == public_pem
    assert (signing.key_id, signing.kind, public.kind) == ("K1", kind, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_is_no_signature(kind: Literal["ecdsa", "rsa"]) -> None:
    """Anyone may send any bytes: an exception would be a 500 for strangers."""
    key = load_public_key(new_key_pair(kind)[1])
    for signature in (b"", b"\0", b"\x30\x02", b"\xff" * 256, b"\0" * 256, b"x" * 10_000):
        assert not key.verify(signature, MESSAGE, "SHA256")


@pytest.mark.parametrize("bits", [3072, 4096])
def test_larger_rsa_keys_are_accepted(bits: int) -> None:
    """Account key pairs from before key groups had up to 4096 bits."""
    private_pem = openssl("genrsa", str(bits))
    assert load_public_key(public_pem_of(private_pem)).kind == "rsa"


def refusal(pem: bytes, *, private: bool = False) -> str:
    """Return the message with which a PEM is refused."""
    with pytest.raises(KeyUnfit) as caught:
        load_signing_key(pem).named("K1") if private else load_public_key(pem)
    return str(caught.value)


def test_a_private_key_is_refused_in_the_group() -> None:
    """It would lie where every gateway and backup reads it."""
    for kind in KINDS:
        pem = openssl_key(kind)
        message = refusal(pem)
        assert "this is a private key: it must not lie in the key group" in message
        assert pem.splitlines()[-2].decode() not in message
        assert "this is a private key" in refusal(public_pem_of(pem) + pem)


def test_each_unfit_public_key_says_what_to_do() -> None:
    """A key that is silently left out refuses every link that it signed."""
    small = openssl("rsa", "-pubout", stdin=openssl("genrsa", "1024"))
    curve = openssl("pkey", "-pubout", stdin=openssl("ecparam", "-name", "secp384r1", "-genkey"))
    edwards = openssl("pkey", "-pubout", stdin=openssl("genpkey", "-algorithm", "ed25519"))
    good = new_key_pair("ecdsa")[1]
    assert "1024 bits: use 2048" in refusal(small)
    assert "curve secp384r1: use P-256" in refusal(curve)
    assert "neither an RSA key nor one on P-256" in refusal(edwards)
    assert "cannot be read as a public key" in refusal(b"")
    assert "cannot be read as a public key" in refusal(b"\xff\xfe")
    assert "cannot be read as a public key" in refusal(good.replace(b"M", b"N", 1))
    assert "more than one key" in refusal(good + good)
    assert "certificate" in refusal(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert "longer than 16384 bytes" in refusal(b"a" * 16_385)


def test_each_unfit_private_key_says_what_to_do() -> None:
    """The message is all that the operator sees at start."""
    plain, public = new_key_pair("ecdsa")
    encrypted = openssl("pkcs8", "-topk8", "-passout", "pass:x", stdin=plain)
    traditional = openssl("rsa", "-traditional", "-aes128", "-passout", "pass:x", stdin=openssl("genrsa", "2048"))
    assert "is encrypted: decrypt it" in refusal(encrypted, private=True)
    assert "is encrypted: decrypt it" in refusal(traditional, private=True)
    assert "this is a public key: signing needs the private one" in refusal(public, private=True)
    assert "1024 bits" in refusal(openssl("genrsa", "1024"), private=True)
    assert "curve secp384r1" in refusal(openssl("ecparam", "-name", "secp384r1", "-genkey"), private=True)
    assert "neither an RSA key" in refusal(openssl("genpkey", "-algorithm", "ed25519"), private=True)
    assert "cannot be read as a private key" in refusal(b"secret", private=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_shows_nothing_of_itself(kind: Literal["ecdsa", "rsa"]) -> None:
    """Reprs end in tracebacks and logs."""
    private_pem, public_pem = new_key_pair(kind)
    for key in (load_signing_key(private_pem).named("K1"), load_public_key(public_pem)):
        assert repr(key).startswith("<oncegate.keys.pem.")
        assert not hasattr(key, "__dict__")


class Counted:
    """Counts how often the library checks a signature of a key."""

    def __init__(self, key: PemPublicKey) -> None:
        self.key = key
        self.count = 0
        self._check = key._verify
        key._verify = self._verify

    def _verify(self, *arguments: object) -> None:
        self.count += 1
        self._check(*arguments)


@pytest.fixture
def signed() -> tuple[PemSigningKey, Counted]:
    """Give a signing key, and its public half whose checks are counted."""
    private, public = new_key_pair("ecdsa")
    return load_signing_key(private).named("K1"), Counted(load_public_key(public))


def test_the_same_signature_is_checked_once(signed: tuple[PemSigningKey, Counted]) -> None:
    """A Range after a Range, and a spent link that is tried again, would each cost an ECDSA check."""
    signing, counted = signed
    signature = signing.sign(b"m", "SHA256")
    assert [counted.key.verify(signature, b"m", "SHA256") for _ in range(3)] == [True] * 3
    assert counted.count == 1


def test_any_other_bytes_are_checked(signed: tuple[PemSigningKey, Counted]) -> None:
    """A memory by the signature alone would open any object to the holder of one link."""
    signing, counted = signed
    signature = signing.sign(b"m", "SHA256")
    assert counted.key.verify(signature, b"m", "SHA256")
    others = [(signature, b"n", "SHA256"), (signature, b"m", "SHA1"), (signature + b"x", b"m", "SHA256")]
    assert [counted.key.verify(*other) for other in others] == [False] * 3
    assert counted.count == 4


def test_what_is_refused_is_not_remembered(signed: tuple[PemSigningKey, Counted]) -> None:
    """Strangers send as many wrong signatures as they like: they must not push out the genuine ones, or fill a memory."""
    _, counted = signed
    assert [counted.key.verify(b"s", b"m", "SHA256") for _ in range(3)] == [False] * 3
    assert counted.count == 3
    assert not counted.key._genuine


def test_a_key_remembers_so_many_signatures(signed: tuple[PemSigningKey, Counted], monkeypatch: Any) -> None:
    """The oldest goes; and long policies, of which a thousand would take megabytes, are checked each time."""
    signing, counted = signed
    monkeypatch.setattr(pem, "REMEMBERED_MAX", 2)
    messages = [b"1", b"2", b"3", b"x" * (pem.REMEMBERED_MESSAGE_BYTES + 1)]
    for message in messages:
        assert counted.key.verify(signing.sign(message, "SHA256"), message, "SHA256")
    assert [checked[1] for checked in counted.key._genuine] == [b"2", b"3"]
