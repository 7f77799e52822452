"""Whether the store has an object, for a command that must not wait long for a slow store.

A thread asks the store; the command goes on without it after ``within_s``. A ``file:`` store is asked without asyncio,
because importing asyncio takes longer than the answer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oncegate.settings import Settings
from oncegate.unfit import Unfit

if TYPE_CHECKING:
    from oncegate.stores.protocol import Store

LISTED_MAX = 1_000
NEAR_MAX = 3

# the first keys that begin with a prefix, in the order of their bytes
_List = Callable[[str, int], Sequence[str]]


@dataclass(slots=True)
class Presence:
    """What the store said in time.

    Attributes:
        is_there: whether it has the object; None if it did not answer in time or cannot be asked.
        near: keys that may have been meant, the nearest first.
        problem: why it cannot be asked, for the operator.
    """

    is_there: bool | None = None
    near: Sequence[str] = ()
    problem: str = ""


def look_for(key: str, settings: Settings, *, within_s: float) -> Presence:
    """Ask the configured store for an object.

    Args:
        key: object key, decoded text.
        settings: of the configuration.
        within_s: how long to wait.
    """
    found = Presence()
    asking = threading.Thread(target=_ask, args=(key, settings, found), daemon=True)
    asking.start()
    asking.join(within_s)
    return found


def _ask(key: str, settings: Settings, found: Presence) -> None:
    """Fill in what is found; whatever goes wrong means that nothing is known."""
    try:
        if settings.store.url.startswith("file:"):
            _ask_folder(key, settings, found)
        else:
            _ask_bucket(key, settings, found)
    except Unfit as unfit:
        found.problem = str(unfit)
    except OSError as error:
        found.problem = error.strerror or type(error).__name__
    except Exception as error:  # noqa: BLE001 - a store's fault, or a driver's; its text may hold a URL
        found.problem = type(error).__name__


def _ask_folder(key: str, settings: Settings, found: Presence) -> None:
    from oncegate.stores.directory import listing
    from oncegate.stores.directory.address import folder_of

    root_fd = os.open(
        folder_of(settings.store.url.removeprefix("file:"), settings.folder), os.O_RDONLY | os.O_DIRECTORY
    )
    try:
        _fill(
            key,
            found,
            lambda prefix, limit: [o.key for o in listing.page(root_fd, prefix=prefix, after="", limit=limit)],
        )
    finally:
        os.close(root_fd)


def _ask_bucket(key: str, settings: Settings, found: Presence) -> None:
    import asyncio

    from oncegate.cli.wiring import open_store

    async def listed(store: Store, prefix: str, limit: int) -> list[str]:
        return [info.key for info in await store.list_objects(prefix, "", limit)]

    store = open_store(settings)
    with asyncio.Runner() as runner:
        try:
            _fill(key, found, lambda prefix, limit: runner.run(listed(store, prefix, limit)))
        finally:
            runner.run(store.aclose())


def _fill(key: str, found: Presence, list_keys: _List) -> None:
    # keys are listed in the order of their bytes: of all keys that begin with this one, this one comes first
    found.is_there = list(list_keys(key, 1)) == [key]
    if found.is_there:
        return
    import difflib

    folder = key.rpartition("/")[0]
    keys = list(list_keys(f"{folder}/" if folder else "", LISTED_MAX)) or list(list_keys("", LISTED_MAX))
    same = [other for other in keys if other.casefold() == key.casefold()]
    found.near = list(dict.fromkeys((*same, *difflib.get_close_matches(key, keys, NEAR_MAX))))[:NEAR_MAX]
