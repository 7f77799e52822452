r"""Rotation: a new key pair, the switch to it, and the end of the old one, in this order and never in another.

    new     private/<id>.pem (0600) and keys/<id>.pem: trusted, signs nothing yet
    switch  [keys] signing names it; private/rotation.json keeps when the old one stopped
    retire  after ``max_lifetime`` no link of the old one lives: both its halves move to a folder ``retired/``

When a key stopped signing is known only if the switch was made by this command. For every other key the first
``retire`` notes the time, and the wait begins then. Links that others sign with a copy of the key are unknown here.
Nothing is deleted. A running gateway follows the switch (``following.py``).

Source: CloudFront Developer Guide, "Rotating key pairs": add, switch, wait for the last link, remove.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from oncegate.atomic_file import create_file, replace_file
from oncegate.keys.folder import KeyFolder
from oncegate.keys.pem import KeyKind, KeyUnfit, new_key_pair
from oncegate.links.key_group import KEYS_MAX

_SIGNING_VARIABLES = ("ONCEGATE_KEYS__SIGNING", "ONCEGATE_KEYS")
_ID_LETTERS = string.ascii_uppercase + string.digits


@dataclass(frozen=True, slots=True)
class KeyPlaces:
    """Where keys lie.

    Attributes:
        group: folder of the public keys.
        private: folder of the private keys and of ``rotation.json``.
    """

    group: Path
    private: Path

    @classmethod
    def of(cls, group: Path, signing: str, folder: Path) -> KeyPlaces:
        """Find the places that a configuration means.

        Args:
            group: folder of the key group.
            signing: ``[keys] signing``; where it is a path, private keys lie beside it, else in ``private``.
            folder: where relative paths begin.
        """
        is_path = bool(signing) and re.match(r"(env|kms|secretsmanager|ssm):", signing) is None
        return cls(group, (folder / signing).parent if is_path else folder / "private")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """A key of the group.

    Attributes:
        kind: ``ecdsa`` or ``rsa``.
        is_signing: new links are signed with it.
        has_private: its private half lies in ``KeyPlaces.private``.
        stopped_s: seconds since 1970 UTC at which it stopped signing; None if it signs, or the time was not noted.
    """

    key_id: str
    kind: KeyKind
    is_signing: bool
    has_private: bool
    stopped_s: int | None


def list_keys(places: KeyPlaces, signing_id: str | None) -> list[KeyStatus]:
    """List the key group in order of ids.

    Args:
        places: where the keys lie.
        signing_id: id of the key that signs now, None where none does.

    Raises:
        KeyUnfit: the group or ``rotation.json`` cannot be read.
    """
    stopped = _read_stopped(places)
    return [
        KeyStatus(
            key_id=key_id,
            kind=key.kind,
            is_signing=key_id == signing_id,
            has_private=_private_path(places, key_id).exists(),
            stopped_s=None if key_id == signing_id else stopped.get(key_id),
        )
        for key_id, key in KeyFolder(places.group).keys.items()
    ]


def new_key_id() -> str:
    """Draw a key id as CloudFront's look: ``K`` and 13 capital letters and digits."""
    return "K" + "".join(secrets.choice(_ID_LETTERS) for _ in range(13))


def make_key(places: KeyPlaces, kind: KeyKind) -> str:
    """Make a key pair: from now on trusted, signing nothing yet.

    Args:
        places: where to; the group's folder must be there.
        kind: ``ecdsa`` or ``rsa``.

    Returns:
        The new key id.

    Raises:
        KeyUnfit: a folder cannot be written, or the group is full.
    """
    if not places.group.is_dir():
        raise KeyUnfit(
            "no such folder", remedy="'oncegate init' makes one, [keys] group names it", where=str(places.group)
        )
    if len(list(places.group.glob("*.pem"))) >= KEYS_MAX:
        raise KeyUnfit(
            f"a key group holds at most {KEYS_MAX} keys", remedy="retire old ones first", where=str(places.group)
        )
    key_id = new_key_id()
    private_pem, public_pem = new_key_pair(kind)
    try:
        places.private.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The private half first: a crash in between leaves a key that is not trusted yet. The other order would leave a
        # trusted key that cannot sign.
        create_file(_private_path(places, key_id), private_pem, mode=0o600)
        create_file(places.group / f"{key_id}.pem", public_pem, mode=0o644)
    except OSError as error:
        raise KeyUnfit(f"cannot be written: {error.strerror}", where=str(error.filename)) from None
    return key_id


def switch_signing(
    config: Path, places: KeyPlaces, key_id: str, *, old_id: str | None, environ: Mapping[str, str], now_s: int
) -> None:
    """Let another key sign new links: change the one line of the configuration, and note the time.

    Args:
        config: the configuration file; comments and all else in it stay as they are.
        places: where the keys lie.
        key_id: the key that is to sign; both its halves must be there.
        old_id: the key that signed until now, None where none did.
        environ: the variables, of which one may override the file.
        now_s: seconds since 1970 UTC.

    Raises:
        KeyUnfit: a half of the key is missing, or the line cannot be changed; nothing was.
    """
    for variable in _SIGNING_VARIABLES:
        if variable in environ:
            raise KeyUnfit(
                f"{variable} names the signing key and overrides {config}, so nothing was changed",
                remedy="change it there and restart the gateway",
            )
    private = _private_path(places, key_id)
    for half in (private, places.group / f"{key_id}.pem"):
        if not half.exists():
            raise KeyUnfit("no such file: a key signs only when both its halves are in place", where=str(half))
    # Relative where possible: the folder may be moved, or mounted elsewhere in a container.
    path = Path(os.path.relpath(private.absolute(), config.absolute().parent))
    spec = str(private.absolute()) if ".." in path.parts else f"./{path}"
    try:
        # If the configuration is a symbolic link, it stays one: the file that it points to is replaced.
        target = config.resolve()
        changed = _with_signing(target.read_bytes().decode(), spec)
        replace_file(target, changed.encode(), mode=target.stat().st_mode & 0o777)
    except (OSError, ValueError) as error:
        raise KeyUnfit(
            f"cannot be changed ({error})", remedy=f'write signing = "{spec}" under [keys]', where=str(config)
        ) from None
    stopped = _read_stopped(places)
    # After the configuration: a crash in between loses the time of the switch, and retire then waits too long, never
    # too short.
    stopped.pop(key_id, None)
    if old_id is not None and old_id != key_id:
        stopped[old_id] = now_s
    _write_stopped(places, stopped)


_TABLE_LINE = re.compile(r"\s*\[\s*([^\[\]]*?)\s*\]\s*(#.*)?")
_SIGNING_LINE = re.compile(r"""(\s*signing\s*=\s*)("[^"\\]*"|'[^']*')(\s*(?:#.*)?)""")


def _with_signing(text: str, spec: str) -> str:
    """Change or add the line; ValueError where the result would not say what is meant (odd spellings of TOML)."""
    lines = text.split("\n")
    quoted = json.dumps(spec, ensure_ascii=False)
    tables = {match[1]: number for number, line in enumerate(lines) if (match := _TABLE_LINE.fullmatch(line))}
    if "keys" not in tables:
        lines += ["[keys]", f"signing = {quoted}", ""]
    else:
        begin = tables["keys"] + 1
        end = min((number for number in tables.values() if number >= begin), default=len(lines))
        for number in range(begin, end):
            if match := _SIGNING_LINE.fullmatch(lines[number]):
                lines[number] = f"{match[1]}{quoted}{match[3]}"
                break
        else:
            lines.insert(begin, f"signing = {quoted}")
    changed = "\n".join(lines)
    wanted: dict[str, object] = tomllib.loads(text)
    keys = wanted.get("keys", {})
    wanted["keys"] = {**cast("dict[str, object]", keys), "signing": spec} if isinstance(keys, dict) else None
    if tomllib.loads(changed) != wanted:
        raise ValueError("its [keys] table is written in a way that is not changed by a program")
    return changed


def retire_key(
    places: KeyPlaces, key_id: str, *, signing_id: str | None, max_lifetime_s: int, now_s: int, is_forced: bool = False
) -> None:
    """Take a key out of the group; links signed with it are refused from then on.

    Args:
        places: where the keys lie.
        key_id: the key.
        signing_id: id of the key that signs now, None where none does; it is never retired.
        max_lifetime_s: the longest life of a link in seconds.
        now_s: seconds since 1970 UTC; at ``stopped_s + max_lifetime_s`` and after, the key may go.
        is_forced: do not wait for links that may live.

    Raises:
        KeyUnfit: not now, or not at all; the message says when, or what to do first.
    """
    public = places.group / f"{key_id}.pem"
    if key_id not in KeyFolder(places.group).group:
        raise KeyUnfit("no such key in the group", remedy="'oncegate keys list' shows all", where=str(public))
    if key_id == signing_id:
        raise KeyUnfit(f"{key_id} signs new links", remedy="switch to another key first ('oncegate keys new --sign')")
    stopped = _read_stopped(places)
    # Another machine may have signed with this key a second ago.
    if not is_forced and key_id not in stopped:
        _write_stopped(places, {**stopped, key_id: now_s})
        raise KeyUnfit(
            f"nobody noted when {key_id} stopped signing, so its last link may be from now",
            remedy=f"retire it from {_as_text(now_s + max_lifetime_s)} on; --force does it now and ends every link that "
            "it signed",
        )
    if not is_forced and now_s < stopped[key_id] + max_lifetime_s:
        raise KeyUnfit(
            f"links signed with {key_id} may live until {_as_text(stopped[key_id] + max_lifetime_s)}",
            remedy="retire it then; --force does it now and ends them",
        )
    # The public half first: then the key is no longer trusted, even if the next step fails.
    _move_to_retired(public)
    _move_to_retired(_private_path(places, key_id))
    _write_stopped(places, {other: since for other, since in stopped.items() if other != key_id})


def _move_to_retired(path: Path) -> None:
    target = path.parent / "retired" / path.name
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        if target.exists():
            raise KeyUnfit("stands already", remedy="move it away first", where=str(target))
        path.rename(target)
    except FileNotFoundError:
        return  # the private half may be kept elsewhere
    except OSError as error:
        raise KeyUnfit(f"cannot be moved to {target}: {error.strerror}", where=str(path)) from None


def _private_path(places: KeyPlaces, key_id: str) -> Path:
    return places.private / f"{key_id}.pem"


def _as_text(instant_s: int) -> str:
    return datetime.fromtimestamp(instant_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read_stopped(places: KeyPlaces) -> dict[str, int]:
    path = places.private / "rotation.json"
    try:
        document: object = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        document = None
    stopped: object = cast("dict[str, object]", document).get("stopped") if isinstance(document, dict) else None
    entries = cast("dict[str, object]", stopped) if isinstance(stopped, dict) else {"": None}
    if not all(type(since) is int for since in entries.values()):
        raise KeyUnfit(
            "cannot be read; without it, 'oncegate keys retire' waits from its first call on", where=str(path)
        )
    return cast("dict[str, int]", entries)


def _write_stopped(places: KeyPlaces, stopped: Mapping[str, int]) -> None:
    path = places.private / "rotation.json"
    try:
        places.private.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, json.dumps({"stopped": dict(stopped)}, indent=1).encode() + b"\n", mode=0o600)
    except OSError as error:
        raise KeyUnfit(f"cannot be written: {error.strerror}", where=str(path)) from None
