"""Opens files beneath a folder and nothing outside it: no symbolic link is followed, at any depth.

Each name is opened relative to the descriptor of the folder above it, so a folder that is swapped for a link between
two steps is found to be a link and refused. Paths are bytes here, so that the machine's locale changes no name. This
module also says, for the whole ``file:`` store, what each errno means.

Source: our choice; openat(2) and its O_NOFOLLOW, O_PATH and O_NONBLOCK.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Sequence
from typing import cast

from oncegate.links.media_types import media_type_of
from oncegate.stores.protocol import KeyRefused, ObjectInfo, StoreBusy, StoreFault, StoreFull, StoreRefused

RESERVED_NAME = b".oncegate"
"""The folder at the top that holds staged uploads and is no part of the store."""

KEPT_ATTRIBUTE = "user.oncegate"
"""The extended attribute with the headers that are kept with an object, as JSON; none where the name tells its type."""

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
"""To list or to fsync a folder."""

# Only to pass through a folder: needs no right to list it, and is the cheapest way of open(2).
_STEP_FLAGS: int = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW

# O_NONBLOCK: opening a FIFO without a writer would block the event loop for ever. Regular files are unaffected.
OBJECT_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

NOT_THERE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ELOOP,  # the last name is a symbolic link
        errno.ENAMETOOLONG,
        errno.EILSEQ,  # the file system takes UTF-8 names only, or only some
        errno.ENXIO,  # a socket, or a FIFO or device without a peer
        errno.ENODEV,
    }
)

_NAME_FAULTS = frozenset({errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ, errno.EISDIR, errno.EXDEV})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_BUSY = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EAGAIN,  # another process holds a lease on the file (O_NONBLOCK)
        errno.EBUSY,
        errno.ETIMEDOUT,
        errno.ESTALE,  # NFS: the server forgot the handle; the next try opens it anew
        errno.ENOLCK,
    }
)

_NO_SEGMENTS = frozenset({"", ".", ".."})


def segments_of(key: str) -> list[bytes] | None:
    """Split a key into the names on the way to its file; None if no object of this store can have that key.

    ``links.urls`` has refused such keys already; this is the second lock on that door.
    """
    parts = key.split("/")
    if not _NO_SEGMENTS.isdisjoint(parts) or "\0" in key:
        return None
    try:
        segments = key.encode().split(b"/")
    except UnicodeEncodeError:
        return None
    return None if is_reserved(segments[0]) else segments


def is_reserved(name: bytes) -> bool:
    """Tell whether a name at the top of the store is ours, in upper or lower case: some file systems ignore case."""
    return len(name) == len(RESERVED_NAME) and name.lower() == RESERVED_NAME


def open_object(root_fd: int, segments: Sequence[bytes]) -> int:
    """Open the last name for reading; the caller must check by fstat that it is a regular file.

    Raises:
        OSError: one of ``NOT_THERE``, or for ``fault_of``.
    """
    folder_fd = root_fd
    try:
        for name in segments[:-1]:
            inner_fd = os.open(name, _STEP_FLAGS, dir_fd=folder_fd)
            if folder_fd != root_fd:
                os.close(folder_fd)
            folder_fd = inner_fd
        return os.open(segments[-1], OBJECT_FLAGS, dir_fd=folder_fd)
    finally:
        if folder_fd != root_fd:
            os.close(folder_fd)


def open_folder(root_fd: int, segments: Sequence[bytes]) -> int:
    """Open a folder for listing or fsync; without segments, the root: flock and readdir need openings of their own."""
    folder_fd = os.open(b".", FOLDER_FLAGS, dir_fd=root_fd)
    for name in segments:
        try:
            inner_fd = os.open(name, FOLDER_FLAGS, dir_fd=folder_fd)
        finally:
            os.close(folder_fd)
        folder_fd = inner_fd
    return folder_fd


def info_of(key: str, status: os.stat_result) -> ObjectInfo:
    """Describe a regular file as an object."""
    return ObjectInfo(
        key=key,
        size_bytes=status.st_size,
        etag=etag_of(status),
        modified_s=int(status.st_mtime),
        content_type=media_type_of(key),
    )


def described(info: ObjectInfo, fd: int) -> ObjectInfo:
    """Add what an open file keeps beside its bytes: its type, and headers.

    What is no such attribute of ours counts as none: another program may have written it.
    """
    try:
        kept = cast("object", json.loads(os.getxattr(fd, KEPT_ATTRIBUTE)))
    except (OSError, ValueError):  # most files have none; some file systems have no attributes
        return info
    if not isinstance(kept, dict):
        return info
    texts = {name: text for name, text in cast("dict[str, object]", kept).items() if isinstance(text, str)}
    content_type = texts.pop("content-type", info.content_type)
    return info._replace(content_type=content_type, kept=tuple(texts.items()))


def etag_of(status: os.stat_result) -> str:
    """Make a strong entity tag that changes with the file.

    It includes the change time, because the modification time can be set back, but not the device, whose number may
    change at a restart. It has 16 hex digits, since clients take 32 for the MD5 of the body, and is hashed to hide the
    inode number.
    """
    facts = b"%d %d %d %d" % (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return f'"{hashlib.blake2b(facts, digest_size=8).hexdigest()}"'


def is_object(status: os.stat_result) -> bool:
    """Tell whether this is a regular file; nothing else is an object."""
    return stat.S_ISREG(status.st_mode)


def fault_of(error: OSError) -> StoreFault:
    """Return the fault that an errno means. Its text names files: for the log only."""
    number = error.errno
    if number in _FULL:
        return StoreFull(f"no room in the store's file system: {error}")
    if number in _REFUSED:
        return StoreRefused(f"the store's folder refuses us; look at owner, mode and mount: {error}")
    if number in _BUSY:
        return StoreBusy(f"the store's file system is busy or out of descriptors: {error}")
    if number in _NAME_FAULTS:
        return KeyRefused(f"the store's folder cannot hold this name: {error}")
    return StoreFault(f"the store's file system failed: {error}")
