"""With what a program signs: the key and limits of an installation, or a key alone. Keys are read here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import PEM_BYTES_MAX, KeyUnfit, load_signing_key
from oncegate.keys.signing import open_signing_key, s3_issuer_of
from oncegate.links.errors import BadRequest
from oncegate.links.issue import S3Issuer
from oncegate.links.key_group import SigningKey
from oncegate.settings import Settings
from oncegate.settings.addresses import read_public_urls


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """With what links are signed, and what they may be.

    Attributes:
        key: signs CloudFront links; None: there is none.
        s3: signs S3 links; None: there is nothing to sign them with.
        public_url: what links begin with.
        max_lifetime_s: the longest that a link may live.
        home: name of the ledger that is the authority; empty where there is one only.
        delete_after: whether the installation removes objects with their links, as its setting says; a key alone does not
            know it.
    """

    key: SigningKey | None
    s3: S3Issuer | None
    public_url: str
    max_lifetime_s: int
    home: str = ""
    delete_after: str = "allow"


def issuer_of(settings: Settings) -> Issuer:
    """Open what an installation signs with.

    Raises:
        Unfit: a key cannot be used.
    """
    s3 = s3_issuer_of(settings)
    key = None
    # an installation may sign S3 links alone: it has no key, and a wish for a CloudFront link is told so
    if settings.keys.signing or s3 is None:
        group = KeyFolder(settings.resolve(settings.keys.group))
        key = open_signing_key(settings.keys.signing, settings.folder, os.environ, group=group)
    return Issuer(
        key=key,
        s3=s3,
        public_url=settings.viewer.public_url[0],
        max_lifetime_s=settings.links.max_lifetime_s,
        home=settings.links.home,
        delete_after=settings.links.delete_after,
    )


def read_key(key: str | PathLike[str], key_id: str | None) -> SigningKey:
    """Read a private key from PEM text or from a file, whose name is its id unless one is given.

    Raises:
        BadRequest: PEM text comes without an id.
        KeyUnfit: the key cannot be used.
    """
    if "-----BEGIN" in str(key):
        if key_id is None:
            raise BadRequest("key_id", "PEM text has no name: say under which id the key group holds the public half")
        return load_signing_key(str(key).encode()).named(key_id)
    path = Path(key)
    try:
        with path.open("rb") as file:
            pem = file.read(PEM_BYTES_MAX + 1)
    except OSError as error:
        raise KeyUnfit(f"cannot be read: {error.strerror}", where=str(path)) from None
    return load_signing_key(pem).named(key_id or path.stem)


def public_url_of(base_url: str) -> str:
    """Check scheme, host and port, and write them as links do.

    Raises:
        BadRequest: it is no such URL.
    """
    try:
        return read_public_urls(base_url)[0]
    except ValueError as error:
        raise BadRequest("base_url", str(error)) from None
