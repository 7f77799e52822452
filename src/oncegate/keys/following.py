"""The signing key of a running process: it follows ``[keys] signing``, so a rotation needs no restart.

The configuration file and the private key's file are looked at every second and read again when one changed. Other
settings are never applied to a running process; those that differ are named, so that the log can say so. What cannot be
read is logged once, and the key that signed before goes on signing.

A key whose public half has left the key group signs nothing: its links would be refused with 403.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from oncegate.keys.folder import KeyFolder
from oncegate.keys.signing import SERVICES, OpenedKey, open_signing_key
from oncegate.settings import Settings, load
from oncegate.settings.table import keys_of
from oncegate.settings.tables import TABLES
from oncegate.unfit import Unfit

_log = logging.getLogger("oncegate.keys")

_Stamp = tuple[int, ...]


class SigningFollower:
    """The key that new links are signed with, now."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], *, group: KeyFolder) -> None:
        """Open the key; where ``[keys] signing`` is empty, there is none yet.

        Args:
            settings: that the process began with.
            environ: the variables, which override the file.
            group: the key group, followed by somebody else.

        Raises:
            KeyUnfit: the key cannot be used; the message names it.
        """
        self._settings = settings
        self._environ = environ
        self._group = group
        self._complaint = ""
        self._changed: tuple[str, ...] = ()
        self._signing = settings.keys.signing
        self._began_with = settings if settings.file is None else load(settings.file, environ)
        # Taken before the files are read: one that changes in between has another stamp at the next look.
        self._stamps = self._look()
        self._key = self._open() if self._signing else None

    def now(self) -> OpenedKey | None:
        """Return the key that signs now; None where there is none, or its public half is not trusted any more."""
        key = self._key
        public = None if key is None else self._group.keys.get(key.key_id)
        return key if key is not None and public is not None and public.spki_sha256 == key.spki_sha256 else None

    @property
    def changed(self) -> tuple[str, ...]:
        """The settings in the file that differ from those of this process, as ``viewer.drain``; ``keys.signing`` never."""
        return self._changed

    def refresh(self) -> bool:
        """Look whether configuration or key changed, and read what did; two ``stat`` where nothing did.

        Blocks for as long as the file system does; to be called by one thread, about every second.

        Returns:
            Whether another key signs now.
        """
        stamps = self._look()
        is_missing = self._key is None and bool(self._signing)
        if stamps == self._stamps and not self._complaint and not is_missing:
            return False
        self._stamps = stamps
        before = self._key
        try:
            if self._settings.file is not None:
                self._take(load(self._settings.file, self._environ))
            self._key = self._open() if self._signing else None
        except Unfit as unfit:
            self._complain(f"{unfit}; new links are signed as before")
            return False
        self._complaint = ""
        return _named(before) != _named(self._key)

    def _take(self, read: Settings) -> None:
        self._signing = read.keys.signing
        self._changed = tuple(name for name in differences(self._began_with, read) if name != "keys.signing")

    def _open(self) -> OpenedKey:
        return open_signing_key(self._signing, self._settings.folder, self._environ, group=self._group)

    def _look(self) -> tuple[_Stamp, _Stamp]:
        is_path = self._signing and not self._signing.startswith(("env:", *SERVICES))
        key = self._settings.folder / self._signing if is_path else None
        return _stamp(self._settings.file), _stamp(key)

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            _log.error("%s", complaint)
        self._complaint = complaint


def differences(one: Settings, other: Settings) -> tuple[str, ...]:
    """Return the names of settings in which two configurations differ, as ``viewer.drain``; never their values."""
    found: list[str] = []
    for name, table in TABLES.items():
        left, right = getattr(one, name), getattr(other, name)
        if name == "s3_credentials":
            found += [name] if left != right else []
            continue
        found += [
            f"{name}.{key.name}"
            for entry, key in keys_of(table)
            if getattr(left, entry.name) != getattr(right, entry.name)
        ]
    return tuple(found)


def _named(key: OpenedKey | None) -> tuple[str, bytes] | None:
    return None if key is None else (key.key_id, key.spki_sha256)


def _stamp(path: Path | None) -> _Stamp:
    """What tells one state of a file from another; empty where there is none."""
    if path is None:
        return ()
    try:
        seen = path.stat()
    except OSError:
        return ()
    return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino
