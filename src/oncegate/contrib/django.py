"""A Django storage whose ``url()`` is a link that opens once: each call signs a fresh one.

    STORAGES = {
        "default": {
            "BACKEND": "oncegate.contrib.django.OnceStorage",
            "OPTIONS": {"config": "/etc/oncegate/oncegate.toml", "expires_in": 900},
        },
        ...
    }

``OnceStorage`` keeps files in the folder that the gateway serves. For a bucket, put ``OnceUrls`` before the storage
that stores there: ``class Once(OnceUrls, S3Storage): ...``. Pages that hold such a URL must not be cached: whoever
opens it first has it.

Source: Django's documentation, "How to write a custom storage class".
"""

from __future__ import annotations

import pathlib
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, Any

from oncegate.library.signer import Signer
from oncegate.settings.finding import find

if TYPE_CHECKING:
    # Django ships no types: this is what is used of it

    class ImproperlyConfigured(Exception):
        """Django's error for settings that cannot be used."""

    class FileSystemStorage:
        """Django's storage in a folder."""

        location: str

        def __init__(self, *, location: str, **options: Any) -> None: ...

        def path(self, name: str) -> str:
            """The absolute path of a file."""
            ...
else:
    from django.core.exceptions import ImproperlyConfigured
    from django.core.files.storage import FileSystemStorage

EXPIRES_IN_S = 3_600


class OnceUrls:
    """Gives a storage a ``url()`` that signs. The object key is the file's name, so the gateway's store is this one's.

    Args:
        config: path of ``oncegate.toml``; None: ``ONCEGATE_CONFIG``, else ``./oncegate.toml``, else variables alone.
        expires_in: how long each link lives, seconds or a timedelta.
        inline: a browser may show the object, where its type is safe to show.
        options: of the storage behind.
    """

    def __init__(
        self,
        *args: Any,
        config: str | PathLike[str] | None = None,
        expires_in: float | timedelta = EXPIRES_IN_S,
        inline: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._signer = Signer.from_config(config)
        self._expires_in = expires_in
        self._inline = inline

    def object_key(self, name: str) -> str:
        """The key under which the gateway finds the file of this name."""
        return name.replace("\\", "/")

    def url(self, name: str | None, *, expires_in: float | timedelta | None = None, filename: str | None = None) -> str:
        """Sign a link that opens the file once.

        Args:
            name: of the file, as the model field has it.
            expires_in: how long this link lives; None: as the storage was made.
            filename: what a browser saves the file as; None: the last part of its name.

        Raises:
            ValueError: there is no file, or no link can be made of this.
        """
        if not name:
            raise ValueError("this field holds no file")
        key = self.object_key(name)
        return self._signer.download(
            key,
            expires_in=self._expires_in if expires_in is None else expires_in,
            filename=filename or key.rpartition("/")[2],
            inline=self._inline,
        ).url


class OnceStorage(OnceUrls, FileSystemStorage):
    """Files in the folder of a gateway whose ``[store] url`` is ``file:``.

    Args:
        config: path of ``oncegate.toml``, as for ``OnceUrls``.
        location: where files go; None: the store's folder. Elsewhere it must be beneath that.
        options: of ``OnceUrls`` and ``FileSystemStorage``.

    Raises:
        ImproperlyConfigured: the gateway's store is no folder, or ``location`` is not beneath it.
    """

    def __init__(
        self, *, config: str | PathLike[str] | None = None, location: str | PathLike[str] | None = None, **options: Any
    ) -> None:
        settings = find(None if config is None else pathlib.Path(config))
        scheme, _, place = settings.store.url.partition(":")
        if scheme != "file":
            raise ImproperlyConfigured(f"[store] url is {scheme}: put OnceUrls before the storage that stores there")
        self._root = settings.resolve(place.removeprefix("//")).resolve()
        super().__init__(config=config, location=str(location or self._root), **options)
        if not pathlib.Path(self.location).resolve().is_relative_to(self._root):
            raise ImproperlyConfigured(f"{self.location} is not beneath {self._root}, so no link could open its files")

    def object_key(self, name: str) -> str:
        """The file's path beneath the store's folder."""
        return pathlib.Path(self.path(name)).resolve().relative_to(self._root).as_posix()
