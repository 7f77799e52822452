"""Whom a gateway trusts: the key group and the S3 credentials of a configuration, as ``links.verify`` wants them."""

from __future__ import annotations

from oncegate.keys.folder import KeyFolder
from oncegate.links.key_group import KeyGroup
from oncegate.links.sigv4 import S3Trust
from oncegate.links.verify import Trust
from oncegate.settings import Settings


def trust_of(settings: Settings, group: KeyGroup) -> Trust:
    """Return whom a configuration trusts, with this key group."""
    links = settings.links
    return Trust(
        keys=group,
        s3=S3Trust(credentials=settings.s3_credentials, region=links.s3_region),
        s3_bucket=links.s3_bucket,
        plain_links=links.plain_links,
        plain_put=links.plain_put,
        homes=frozenset(name for name in (links.home, *settings.ledger.homes) if name),
    )


class Trusting:
    """Whom to trust, following the folder of the key group."""

    def __init__(self, settings: Settings) -> None:
        """Read the key group.

        Raises:
            KeyUnfit: the folder or a key in it cannot be used; the message names it.
        """
        self._settings = settings
        self.folder: KeyFolder = KeyFolder(settings.resolve(settings.keys.group))
        self._trust = trust_of(settings, self.folder.group)

    def now(self) -> Trust:
        """Return whom to trust now."""
        return self._trust

    def refresh(self) -> bool:
        """Read the folder again, as ``KeyFolder.refresh`` does; return whether the keys changed."""
        if not self.folder.refresh():
            return False
        self._trust = trust_of(self._settings, self.folder.group)
        return True
