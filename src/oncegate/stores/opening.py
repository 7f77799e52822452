"""Opens the store that ``[store] url`` names; the only module that knows all kinds of stores."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Mapping

from oncegate.stores.directory.address import folder_of
from oncegate.stores.directory.store import DirectoryStore
from oncegate.stores.protocol import Store, StoreUnfit

BUCKET_SCHEMES = frozenset({"s3", "gs", "az"})


def open_store(url: str, *, folder: pathlib.Path, options: Mapping[str, str]) -> Store:
    """Open the store that a configuration names.

    Args:
        url: ``file:./objects``, ``file:/srv/objects`` or ``file:///srv/objects``; ``s3://bucket/prefix``, ``gs://``
            or ``az://`` alike.
        folder: the folder of the configuration file, to which a path is relative.
        options: the table ``[store.options]``; a ``file:`` store has none.

    Raises:
        StoreUnfit: the URL names no store of this version, or one that cannot be opened.
    """
    scheme, _, place = url.partition(":")
    if scheme in BUCKET_SCHEMES:
        return _open_bucket(url, scheme, options)
    if scheme != "file":
        raise StoreUnfit(
            f"{scheme}: is no store", remedy="write file:./objects, s3://bucket, gs:// or az://", where="store.url"
        )
    if options:
        raise StoreUnfit("a file: store has none", remedy=f"remove {', '.join(sorted(options))}", where="store.options")
    return DirectoryStore(folder_of(place, folder))


def _open_bucket(url: str, scheme: str, options: Mapping[str, str]) -> Store:
    """Open a bucket; its driver is imported when it is asked for, and by nobody else."""
    try:
        module = importlib.import_module("oncegate.stores.bucket.opening")
    except ModuleNotFoundError as missing:
        raise StoreUnfit(
            f"{scheme}: needs {missing.name}, which is not installed",
            remedy="pip install 'oncegate[cloud]'",
            where="store.url",
        ) from missing
    return module.open_obstore(url, options=options)
