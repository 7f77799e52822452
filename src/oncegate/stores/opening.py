"""Turns ``[store] url`` into a store; the only place that knows all kinds.

The path of a ``file:`` URL is taken as it is written, without percent-decoding: it stands in a configuration file,
beside other paths.
"""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Mapping

from oncegate.stores.directory.store import DirectoryStore
from oncegate.stores.protocol import Store, StoreUnfit

BUCKET_SCHEMES = frozenset({"s3", "gs", "az"})


def open_store(url: str, *, folder: pathlib.Path, options: Mapping[str, str]) -> Store:
    """Open the store that a configuration names.

    Args:
        url: ``file:./objects``, ``file:/srv/objects`` or ``file:///srv/objects``; ``s3://bucket/prefix``, ``gs://``
            or ``az://`` alike.
        folder: what a relative path is relative to, the folder of the configuration file.
        options: the table ``[store.options]``; a ``file:`` store has none.

    Raises:
        StoreUnfit: the URL names no store of this version, or one that cannot be opened.
    """
    scheme, _, place = url.partition(":")
    if scheme in BUCKET_SCHEMES:
        return _open_bucket(url, scheme, options)
    if scheme != "file":
        raise StoreUnfit(f"store.url: {scheme}: is no store; write file:./objects, s3://bucket, gs:// or az://")
    if options:
        raise StoreUnfit(f"store.options: a file: store has none, remove {', '.join(sorted(options))}")
    if place.startswith("//"):
        host, slash, path = place[2:].partition("/")
        if host not in {"", "localhost"}:
            raise StoreUnfit(f"store.url: file://{host}/ names another machine; write file:/path or file:./path")
        place = slash + path
    if not place or "\0" in place:
        raise StoreUnfit("store.url: file: needs a folder, as in file:./objects")
    return DirectoryStore(folder / place)


def _open_bucket(url: str, scheme: str, options: Mapping[str, str]) -> Store:
    """Open a bucket; its driver is imported when it is asked for, and by nobody else."""
    try:
        module = importlib.import_module("oncegate.stores.bucket.opening")
    except ModuleNotFoundError as missing:
        raise StoreUnfit(
            f"store.url: {scheme}: needs {missing.name}, which is not installed: pip install 'oncegate[cloud]'"
        ) from missing
    return module.open_obstore(url, options=options)
