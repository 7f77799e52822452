"""Where the signing key is: what ``[keys] signing`` names, opened and matched with the key group.

A signing key goes by the id under which the key group holds its public half; one whose public half is not there would
make links that nobody serves, and is refused. The file's own name decides only where the group holds the key twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import PEM_BYTES_MAX, KeyUnfit, load_signing_key
from oncegate.links.issue import S3Issuer
from oncegate.links.key_group import SigningKey
from oncegate.settings import Settings

S3_REGION = "us-east-1"
"""What S3 links name where ``[links] s3_region`` is empty, as the SDKs do."""

SERVICES = ("kms:", "secretsmanager:", "ssm:")


class OpenedKey(SigningKey, Protocol):
    """A signing key whose public half was found in the key group."""

    @property
    def spki_sha256(self) -> bytes:
        """SHA-256 over the public half, as ``links.key_group.PublicKey`` has it."""
        ...


def open_signing_key(spec: str, folder: Path, environ: Mapping[str, str], *, group: KeyFolder) -> OpenedKey:
    r"""Open the key that new links are signed with.

    Args:
        spec: as ``[keys] signing`` has it: a path; ``env:NAME`` for PEM text in a variable (line breaks may be
            written as ``\n`` there); ``kms:``, ``secretsmanager:`` or ``ssm:`` for a key that AWS keeps.
        folder: where a relative path begins.
        environ: the variables.
        group: the key group that must hold the public half.

    Raises:
        KeyUnfit: there is no such key, or it cannot be used; the message names file or variable and the remedy.
    """
    if not spec:
        raise KeyUnfit(
            "[keys] signing is empty",
            remedy="name a private key to sign links here ('oncegate keys new' makes one)",
        )
    where, loaded = _loaded(spec, folder, environ)
    key_ids = [key_id for key_id, public in group.group.items() if public.spki_sha256 == loaded.spki_sha256]
    if not key_ids:
        raise KeyUnfit(
            f"its public half is not in the key group {group.path}",
            remedy="put it there as <key id>.pem ('openssl pkey -pubout' prints it), or let [keys] signing name a key "
            "whose public half is there",
            where=where,
        )
    # Each of the ids verifies; the name of the file tells which one its owner means.
    return loaded.named(Path(spec).stem if Path(spec).stem in key_ids else key_ids[0])


class _Loaded(Protocol):
    """A key that has no id yet."""

    @property
    def spki_sha256(self) -> bytes: ...

    def named(self, key_id: str) -> OpenedKey: ...


def _loaded(spec: str, folder: Path, environ: Mapping[str, str]) -> tuple[str, _Loaded]:
    """The key that a spelling names, and what messages call the place that it is in."""
    if spec.startswith(SERVICES):
        # http.client and asyncio, which it needs, would cost every "oncegate link" 80 ms
        from oncegate.keys import services  # noqa: PLC0415

        if spec.startswith("kms:"):
            return spec, services.KmsKey(spec.removeprefix("kms:"), environ)
        where, pem = spec, services.pem_of(spec, environ)
    elif spec.startswith("env:"):
        where, pem = _from_variable(spec, environ)
    else:
        where, pem = _from_file(folder / spec)
    try:
        return where, load_signing_key(pem)
    except KeyUnfit as error:
        raise error.at(where) from None


def s3_issuer_of(settings: Settings) -> S3Issuer | None:
    """With what S3 links are signed: the first of the configured credentials; None where there is none."""
    for access_key_id, secret in settings.s3_credentials.items():
        region = settings.links.s3_region or S3_REGION
        return S3Issuer(access_key_id=access_key_id, secret=secret, region=region, bucket=settings.links.s3_bucket)
    return None


def _from_variable(spec: str, environ: Mapping[str, str]) -> tuple[str, bytes]:
    name = spec.removeprefix("env:")
    text = environ.get(name)
    if not text:
        raise KeyUnfit("no such variable, or an empty one; [keys] signing says that it holds a private key", where=name)
    return name, text.replace("\\n", "\n").encode(errors="replace")


def _from_file(path: Path) -> tuple[str, bytes]:
    try:
        with path.open("rb") as file:
            return str(path), file.read(PEM_BYTES_MAX + 1)
    except FileNotFoundError:
        raise KeyUnfit(
            "no such file; [keys] signing names it", remedy="'oncegate keys new' makes a key", where=str(path)
        ) from None
    except OSError as error:
        raise KeyUnfit(f"cannot be read: {error.strerror}; [keys] signing names it", where=str(path)) from None
