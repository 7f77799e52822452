"""Removes an object from the ``file:`` store, on the condition that it is the version that was seen.

The version is compared under the lock that all gateways on this folder share for replacing. A program that puts another
file in place without that lock, between the comparison and the removal, can lose it: such a program should write through
an upload link. The folders above that are empty then go too, because an upload makes those that it needs. Everything here blocks and
runs in the store's threads.

Source: our choice; unlinkat(2), fsync(2).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from oncegate.stores.directory import walk
from oncegate.stores.directory.placing import lock_for_replacing


def may_write(root_fd: int) -> bool:
    """Return whether names in the store's folder can be changed: its mode allows it, and it is mounted for writing."""
    return os.access(b".", os.W_OK | os.X_OK, dir_fd=root_fd)


def remove(root_fd: int, segments: Sequence[bytes], etag: str) -> bool:
    """Remove a file if it has this ETag, and make that durable.

    Returns:
        Whether it was removed; False: there is none, or another version.

    Raises:
        StoreFault: or one of its kinds.
    """
    try:
        with lock_for_replacing(root_fd):
            is_removed = _remove(root_fd, segments, etag)
        if is_removed:
            _tidy(root_fd, segments[:-1])
    except OSError as error:
        if error.errno in walk.NOT_THERE:
            return False
        raise walk.fault_of(error) from error
    return is_removed


def _remove(root_fd: int, segments: Sequence[bytes], etag: str) -> bool:
    folder_fd = walk.open_folder(root_fd, segments[:-1])
    try:
        standing = os.stat(segments[-1], dir_fd=folder_fd, follow_symlinks=False)
        if not walk.is_object(standing) or walk.etag_of(standing) != etag:
            return False
        os.unlink(segments[-1], dir_fd=folder_fd)
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)
    return True


def _tidy(root_fd: int, folders: Sequence[bytes]) -> None:
    """Remove the folders that are empty now, the innermost first."""
    for depth in range(len(folders), 0, -1):
        with suppress(OSError):  # not empty, or not ours to remove: it stays
            above_fd = walk.open_folder(root_fd, folders[: depth - 1])
            try:
                os.rmdir(folders[depth - 1], dir_fd=above_fd)
            finally:
                os.close(above_fd)
