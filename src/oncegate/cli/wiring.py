"""From the configuration to the parts, for every command alike. Each function imports what it needs, when it is called."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oncegate.settings import Settings
from oncegate.settings.finding import find

if TYPE_CHECKING:
    from oncegate.keys.folder import KeyFolder
    from oncegate.links.key_group import SigningKey
    from oncegate.stores.protocol import Store


def settings_of(ctx: click.Context) -> Settings:
    """Read the configuration: the file of ``--config``, or ``./oncegate.toml``, or, without a file, variables alone.

    Raises:
        SettingsError: there is none, or it cannot be used.
    """
    path: Path | None = ctx.find_root().obj
    return find(path)


def open_keys(settings: Settings) -> KeyFolder:
    """Open the key group.

    Raises:
        KeyUnfit: the folder or a key cannot be used.
    """
    from oncegate.keys.folder import KeyFolder

    return KeyFolder(settings.resolve(settings.keys.group))


def open_signer(settings: Settings, keys: KeyFolder, environ: Mapping[str, str] = os.environ) -> SigningKey:
    """Open the signing key.

    Raises:
        KeyUnfit: there is none, or it cannot be used.
    """
    from oncegate.keys.signing import open_signing_key

    return open_signing_key(settings.keys.signing, settings.folder, environ, group=keys)


def open_store(settings: Settings) -> Store:
    """Open the store.

    Raises:
        StoreUnfit: the URL names none, or one that cannot be opened.
    """
    from oncegate.stores import opening

    return opening.open_store(settings.store.url, folder=settings.folder, options=settings.store.options)
