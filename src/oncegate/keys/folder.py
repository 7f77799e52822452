"""The key group as a folder: ``<key id>.pem`` holds the public key that goes by that id.

Read at the start, and again when a name or a file changes. A broken file is an error at the start. Later it is logged
once: the key that the file held stays trusted, while every other change takes effect. So a half-written file does not
stop the gateway, and a key whose file was removed is no longer trusted. Hidden files, other endings and folders
(``retired/``) are ignored.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Mapping
from pathlib import Path

from oncegate.keys.pem import PEM_BYTES_MAX, KeyUnfit, PemPublicKey, load_public_key
from oncegate.links.key_group import KeyGroup

_log = logging.getLogger("oncegate.keys")

_Stamp = tuple[int, int, int, int]


class KeyFolder:
    """A key group that follows its folder."""

    __slots__ = ("_complaint", "_group", "_keys", "_stamps", "path")

    def __init__(self, path: Path) -> None:
        """Read the folder.

        Args:
            path: the folder; may hold no key, then nobody is trusted.

        Raises:
            KeyUnfit: the folder or a file in it cannot be used; the message names it.
        """
        self.path: Path = path
        self._complaint = ""
        # Taken before the files are read: a file that changes in between has another stamp at the next look.
        self._stamps = _look(path)
        self._keys = {name.removesuffix(".pem"): _read(path / name) for name in self._stamps}
        try:
            self._group = KeyGroup(self._keys)
        except ValueError as error:
            raise KeyUnfit(str(error), where=str(path)) from None

    @property
    def group(self) -> KeyGroup:
        """The keys that are trusted now."""
        return self._group

    @property
    def keys(self) -> Mapping[str, PemPublicKey]:
        """The keys of ``group`` by id, with their kinds."""
        return self._keys

    def refresh(self) -> bool:
        """Read the files that changed; where none did, this costs one ``stat`` for each file.

        Blocks for as long as the file system does; to be called by one thread, about every second.

        Returns:
            Whether ``group`` holds other keys now.
        """
        try:
            stamps = _look(self.path)
        except KeyUnfit as error:
            return self._complain(str(error))
        if stamps == self._stamps:
            return False
        keys: dict[str, PemPublicKey] = {}
        complaints: list[str] = []
        for name, stamp in stamps.items():
            key_id = name.removesuffix(".pem")
            held = self._keys.get(key_id)
            try:
                keys[key_id] = held if held and stamp == self._stamps.get(name) else _read(self.path / name)
            except KeyUnfit as error:
                complaints.append(str(error))
                # A file that is being written is incomplete for a moment; links that its key signed must not fail then.
                if held:
                    keys[key_id] = held
        try:
            group = KeyGroup(keys)
        except ValueError as error:
            return self._complain(f"{self.path}: {error}")
        self._complain("; ".join(complaints))
        # Compared by the keys themselves: a file that was only touched is no change.
        is_other = _digests(group) != _digests(self._group)
        self._group, self._keys, self._stamps = group, keys, stamps
        if is_other:
            _log.info("key group %s read again: %s", self.path, ", ".join(group) or "no keys")
        return is_other

    def _complain(self, complaint: str) -> bool:
        if complaint and complaint != self._complaint:
            _log.error("%s; the keys that were read before stay in use", complaint)
        self._complaint = complaint
        return False


def _digests(group: KeyGroup) -> dict[str, bytes]:
    return {key_id: key.spki_sha256 for key_id, key in group.items()}


def _look(path: Path) -> dict[str, _Stamp]:
    """Return what tells one state of each key file from another, by file name, in order of names."""
    stamps: dict[str, _Stamp] = {}
    try:
        for entry in sorted(path.iterdir()):
            if entry.suffix != ".pem" or entry.name.startswith("."):
                continue
            try:
                seen = entry.stat()
            except FileNotFoundError:  # removed since it was listed, or a dangling link; the next look tells
                continue
            if stat.S_ISREG(seen.st_mode):
                # A restored file may have its old time and size; its change time and inode number are new.
                stamps[entry.name] = (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino)
    except FileNotFoundError:
        raise KeyUnfit(
            "no such folder", remedy="'oncegate init' makes one, [keys] group names it", where=str(path)
        ) from None
    except OSError as error:
        raise KeyUnfit(f"the key group cannot be listed: {error.strerror}", where=str(path)) from None
    return stamps


def _read(path: Path) -> PemPublicKey:
    try:
        with path.open("rb") as file:
            return load_public_key(file.read(PEM_BYTES_MAX + 1))
    except OSError as error:
        raise KeyUnfit(f"cannot be read: {error.strerror}", where=str(path)) from None
    except KeyUnfit as error:
        raise error.at(str(path)) from None
