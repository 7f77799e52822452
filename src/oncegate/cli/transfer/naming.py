"""What a download is saved as: the server proposes a name, and nothing in it chooses a folder or replaces a file.

Source: RFC 6266 4.3 (``filename*`` before ``filename``, only the last segment), RFC 8187 (its encoding).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

NAME_MAX_BYTES = 200
"""A file name holds 255 bytes; the rest is for `` (2)`` and ``.part.json``."""

DEFAULT_NAME = "download"
TRIES_MAX = 1_000
PART, STATE = ".part", ".part.json"
FILE_NAME_MAX_BYTES = 255
"""Of ext4, XFS, APFS and nearly every other file system."""

_ADDED_BYTES = len(STATE) + len(".") + len(".01234567")  # the state is written to a hidden file first

_PARAMETER = re.compile(r';\s*(filename\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^;\s]*)', re.IGNORECASE)
_EXTENDED = re.compile(r"(?P<charset>[A-Za-z0-9-]+)'[A-Za-z0-9-]*'(?P<value>[^']*)")


def proposed_name(content_disposition: str | None, url_path: bytes) -> str:
    """Choose a file name.

    Args:
        content_disposition: of the answer, latin-1 as it came; None where there is none.
        url_path: raw path of the URL, for answers that propose nothing.

    Returns:
        A name without any folder, not hidden, on one line, at most ``NAME_MAX_BYTES`` long.
    """
    named = _names_in(content_disposition or "")
    from_path = unquote(url_path.decode("latin-1").rpartition("/")[2], errors="replace")
    for name in (named.get("filename*", ""), named.get("filename", ""), from_path):
        safe = _safe(name)
        if safe:
            return safe
    return DEFAULT_NAME


def _names_in(content_disposition: str) -> dict[str, str]:
    """Return the parameters that name a file; the first of each."""
    names: dict[str, str] = {}
    for match in _PARAMETER.finditer(content_disposition):
        kind, value = match[1].lower(), match[2]
        if kind == "filename*":
            value = _decode(value)
        elif value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        if value:
            names.setdefault(kind, value)
    return names


def _decode(value: str) -> str:
    """Read ``UTF-8''na%C3%AFve`` (RFC 8187); empty where it is no such value."""
    match = _EXTENDED.fullmatch(value)
    if match is None or match["charset"].lower() not in ("utf-8", "iso-8859-1"):
        return ""
    try:
        return unquote_to_bytes(match["value"]).decode(match["charset"])
    except UnicodeDecodeError:
        return ""


def _safe(name: str) -> str:
    """Return the last segment of a name, whatever separator it uses; empty where none is left."""
    last = re.split(r"[/\\]", name)[-1]
    plain = "".join(c if c.isprintable() else "_" for c in last).strip()
    if plain.startswith("."):
        plain = "_" + plain.lstrip(".") if plain.strip(".") else ""  # ".bashrc" would be read by programs
    stem, dot, suffix = plain.rpartition(".")
    if len(plain.encode()) <= NAME_MAX_BYTES:
        return plain
    if not dot or len(suffix.encode()) > 20:
        stem, dot, suffix = plain, "", ""
    return stem.encode()[: NAME_MAX_BYTES - len((dot + suffix).encode())].decode(errors="ignore") + dot + suffix


def part_of(path: Path) -> Path:
    """Where the bytes of an unfinished download are."""
    return _helper_of(path, PART)


def state_of(path: Path) -> Path:
    """Where it is written what is known of them."""
    return _helper_of(path, STATE)


def _helper_of(path: Path, suffix: str) -> Path:
    """A name beside the file's, which a file system takes wherever it takes the file's own."""
    name = path.name
    if len(name.encode(errors="surrogateescape")) + _ADDED_BYTES > FILE_NAME_MAX_BYTES:
        raw = name.encode(errors="surrogateescape")
        name = raw[:NAME_MAX_BYTES].decode(errors="ignore") + "~" + hashlib.sha256(raw).hexdigest()[:8]
    return path.with_name(name + suffix)


def free_path(folder: Path, name: str, *, is_forced: bool) -> Path:
    """Return a path where neither a file nor an unfinished download is: ``name``, ``name (1)`` and so on.

    A single-use link was opened to learn this name, so giving up here would lose it.

    Args:
        folder: where.
        name: as ``proposed_name`` gives it.
        is_forced: a file of that name may be replaced.
    """
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, ""
    for number in range(TRIES_MAX):
        path = folder / (f"{stem} ({number}){dot}{suffix}" if number else name)
        is_taken = _stands(part_of(path))
        if not is_taken and (is_forced or not _stands(path)):
            return path
    raise FileExistsError(None, "too many files of this name", str(folder / name))


def _stands(path: Path) -> bool:
    return path.exists() or path.is_symlink()
