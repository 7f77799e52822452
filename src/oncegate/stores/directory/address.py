"""Reads the address of a ``file:`` store; nothing is opened here.

The path is not percent-decoded: in a configuration file it is written like the other paths there.
"""

from __future__ import annotations

import pathlib

from oncegate.stores.protocol import StoreUnfit


def folder_of(place: str, folder: pathlib.Path) -> pathlib.Path:
    """Return the folder that a URL names.

    Args:
        place: what follows ``file:``: ``./objects``, ``/srv/objects`` or ``///srv/objects``.
        folder: the folder of the configuration file, to which a path is relative.

    Raises:
        StoreUnfit: it names another machine, or nothing.
    """
    if place.startswith("//"):
        host, slash, path = place[2:].partition("/")
        if host not in {"", "localhost"}:
            raise StoreUnfit(
                f"file://{host}/ names another machine", remedy="write file:/path or file:./path", where="store.url"
            )
        place = slash + path
    if not place or "\0" in place:
        raise StoreUnfit("file: needs a folder", remedy="write file:./objects or file:/path", where="store.url")
    return folder / place
