"""From ``[ledger] url`` to a ledger.

A backend is a module with ``WEAKER_PROMISES``, ``open_from_url`` and ``create_from_url``, imported when its scheme is
asked for and not before: a driver that is not used is not loaded. A new backend is a folder and a line of the table.
"""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Protocol, cast, runtime_checkable

from oncegate.ledgers.moving import open_moving
from oncegate.ledgers.protocol import Ledger, LedgerUnfit

BACKENDS: Mapping[str, str] = {
    "memory": "oncegate.ledgers.memory",
    "sqlite": "oncegate.ledgers.sqlite.ledger",
    "postgresql": "oncegate.ledgers.postgresql.ledger",
    "postgres": "oncegate.ledgers.postgresql.ledger",
    "dynamodb": "oncegate.ledgers.dynamodb.ledger",
    "redis": "oncegate.ledgers.redis.ledger",
    "rediss": "oncegate.ledgers.redis.ledger",
    "redis+sentinel": "oncegate.ledgers.redis.ledger",
    "s3": "oncegate.ledgers.s3.ledger",
}
"""Scheme of the URL, and the module that opens it."""
MOVING = "moving"
"""``moving:FROM TO``: two ledgers, while one is moved into the other."""


class Backend(Protocol):
    """What the module of a scheme has."""

    WEAKER_PROMISES: frozenset[str]
    """The names that ``[ledger] accept`` may hold for this scheme."""

    def open_from_url(self, url: str, *, folder: pathlib.Path, accept: Sequence[str]) -> Ledger:
        """Open the ledger; it touches nothing before its first call.

        Args:
            url: of one of the schemes of this module.
            folder: what relative paths in it are relative to.
            accept: weaker promises taken by name.

        Raises:
            LedgerUnfit: the URL means nothing. The message does not repeat what may be a password.
        """
        ...

    def create_from_url(self, url: str, *, folder: pathlib.Path) -> None:
        """Make the empty ledger; do nothing where ``probe`` is all that is needed. Blocks; not inside an event loop.

        Raises:
            LedgerUnfit: the URL means nothing, a ledger stands there already, or it cannot be made.
        """
        ...


@runtime_checkable
class Migrates(Protocol):
    """What the module of a scheme has if its ledger has a schema on a server."""

    def migrate_from_url(self, url: str, *, folder: pathlib.Path) -> bool:
        """Make or migrate the schema, whoever else does so at the same time; return whether something was done.

        Blocks; not inside an event loop.

        Raises:
            LedgerUnfit: the URL means nothing, or the ledger cannot be made or migrated.
        """
        ...


def open_ledger(url: str, *, folder: pathlib.Path, accept: Sequence[str] = ()) -> Ledger:
    """Open the ledger that a URL names. Nothing is touched yet: ``probe`` it before anything is trusted to it.

    Args:
        url: ``memory:``, ``sqlite:./ledger.db`` and so on.
        folder: what relative paths in the URL are relative to: the folder of the configuration file.
        accept: weaker promises taken by name.

    Raises:
        LedgerUnfit: a scheme or a promise that this version does not know, or an address that means nothing.
    """
    if url.startswith(f"{MOVING}:"):
        # each of the two takes the promises that it knows
        return open_moving(url, lambda one: open_ledger(one, folder=folder, accept=known_promises(one, accept)))
    scheme = _scheme(url)
    backend = _backend(scheme)
    for name in accept:
        if name not in backend.WEAKER_PROMISES:
            known = ", ".join(sorted(backend.WEAKER_PROMISES)) or "none"
            raise LedgerUnfit(
                f'"{name}" is no weaker promise of a {scheme}: ledger',
                where="[ledger] accept",
                remedy=f"correct [ledger] accept, or take it out; names that may stand there: {known}",
            )
    return backend.open_from_url(url, folder=folder, accept=accept)


def known_promises(url: str, accept: Sequence[str]) -> Sequence[str]:
    """Return those of the weaker promises that a ledger of this kind can be asked to accept.

    Raises:
        LedgerUnfit: a scheme that this version does not know.
    """
    return [name for name in accept if name in _backend(_scheme(url)).WEAKER_PROMISES]


def create_ledger(url: str, *, folder: pathlib.Path) -> None:
    """Make the ledger that a URL names, empty and born now, where the backend is one that is made.

    Raises:
        LedgerUnfit: it stands already, it cannot be made, or the URL means nothing.
    """
    _backend(_scheme(url)).create_from_url(url, folder=folder)


def migrate_ledger(url: str, *, folder: pathlib.Path) -> None:
    """Bring the schema of a server's ledger to this version, or make it; nothing where a backend has no schema there.

    Raises:
        LedgerUnfit: it cannot be made or migrated, or the URL means nothing.
    """
    backend = _backend(_scheme(url))
    if isinstance(backend, Migrates):
        backend.migrate_from_url(url, folder=folder)


def _scheme(url: str) -> str:
    scheme, colon, _ = url.partition(":")
    if not colon or scheme not in BACKENDS:
        known = ", ".join(f"{name}:" for name in BACKENDS)
        # Only the scheme: the rest of a URL may hold a password.
        raise LedgerUnfit(f'"{scheme}" is no ledger that this version knows; it knows {known}', where="[ledger] url")
    return scheme


def _backend(scheme: str) -> Backend:
    try:
        # The cast: a module cannot say that it keeps a protocol; tests/ledgers/test_opening.py looks at each.
        return cast("Backend", importlib.import_module(BACKENDS[scheme]))
    except ModuleNotFoundError as missing:
        others = {"s3": "cloud", "postgres": "postgresql"}
        extra = "redis" if scheme.startswith("redis") else others.get(scheme, scheme)
        raise LedgerUnfit(
            f"{scheme}: needs {missing.name}, which is not installed",
            where="[ledger] url",
            remedy=f"pip install 'oncegate[{extra}]'",
        ) from missing
