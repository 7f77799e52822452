"""Turns ``[store] url`` into a store; the only place that knows all kinds.

The path of a ``file:`` URL is taken as it is written, without percent-decoding: it stands in a configuration file,
beside other paths.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from oncegate.stores.directory import DirectoryStore
from oncegate.stores.protocol import Store, StoreUnfit


def open_store(url: str, *, folder: pathlib.Path, options: Mapping[str, str]) -> Store:
    """Open the store that a configuration names.

    Args:
        url: ``file:./objects``, ``file:/srv/objects`` or ``file:///srv/objects``.
        folder: what a relative path is relative to, the folder of the configuration file.
        options: the table ``[store.options]``; a ``file:`` store has none.

    Raises:
        StoreUnfit: the URL names no store of this version, or one that cannot be opened.
    """
    scheme, _, place = url.partition(":")
    if scheme != "file":
        raise StoreUnfit(f"store.url: this version serves file: only, not {scheme}:, as in file:./objects")
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
