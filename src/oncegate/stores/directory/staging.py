"""Staged files: the bytes of uploads that are not committed yet, where they are neither listed nor served.

A staged file has no name (``O_TMPFILE``). It is made in the deepest existing folder of its key, so that it is in the
right file system, and the kernel removes it when the process ends. File systems without such files (NFS) get a file
with a random name in ``.oncegate/staging``; its writer keeps it locked while it lives, so an old file that is not
locked belongs to a dead process and is swept. Everything here blocks and runs in the store's threads.

Source: our choice; open(2) O_TMPFILE, linkat(2), flock(2), fallocate(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress

from oncegate.stores.directory import walk
from oncegate.stores.protocol import NotKept

STAGING = (walk.RESERVED_NAME, b"staging")

# Giving a name to a file without one needs /proc.
UNNAMED_FLAG: int = getattr(os, "O_TMPFILE", 0) if os.access("/proc/self/fd", os.X_OK) else 0

_UNNAMED_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS})
_OBJECT_MODE = 0o666
_OURS_MODE = 0o700  # nobody else may read what is not committed; gateways on one folder run as one user
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_ATTRIBUTES = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.ENOSPC, errno.E2BIG, errno.ENOSYS})
_KEEP_SIZE = ctypes.c_int(1)  # FALLOC_FL_KEEP_SIZE
_LIBC = ctypes.CDLL(None, use_errno=True)


class StagedFile:
    """An open file that is not committed yet; it is locked as soon as it has a name.

    Args:
        root_fd: the store's folder.
        folder_fd: a folder in the file system of the object's future place.

    Raises:
        OSError: for ``walk.fault_of``, as from all methods.
    """

    def __init__(self, root_fd: int, folder_fd: int) -> None:
        self.root_fd = root_fd
        self._name: bytes | None = None
        self.written_bytes: int = 0
        if UNNAMED_FLAG:
            try:
                self._fd = os.open(b".", os.O_WRONLY | UNNAMED_FLAG, _OBJECT_MODE, dir_fd=folder_fd)
            except OSError as error:
                if error.errno not in _UNNAMED_UNKNOWN:
                    raise
            else:
                return
        name = _fresh_name()
        staging_fd = open_ours(root_fd)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._fd = os.open(name, flags, _OBJECT_MODE, dir_fd=staging_fd)
        finally:
            os.close(staging_fd)
        self._name = name
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def reserve(self, size_bytes: int) -> None:
        """Reserve the room now, where the file system can, so that a full disk is noticed before a byte is read.

        ``os.posix_fallocate`` will not do: if the file system cannot reserve, glibc writes into every block.
        """
        try:
            result = _LIBC.fallocate(self._fd, _KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(size_bytes))
        except AttributeError:
            return
        if result != 0 and ctypes.get_errno() in _FULL:
            raise OSError(ctypes.get_errno(), f"no room for {size_bytes} bytes")

    def keep(self, content_type: str, kept: Mapping[str, str], *, guessed: str) -> None:
        """Store what is kept with the object, now: the file then gets its name together with it.

        Args:
            content_type: of the object.
            kept: further headers; with ``content-type`` among them, the type must be kept.
            guessed: the type that a look would guess.

        Raises:
            NotKept: the file system has no place for it.
        """
        written = {**kept, "content-type": content_type} if content_type != guessed else dict(kept)
        if not written or written == {"content-type": guessed}:
            return
        text = json.dumps(written, separators=(",", ":")).encode()
        try:
            os.setxattr(self._fd, walk.KEPT_ATTRIBUTE, text)
        except OSError as error:
            # a type that nobody signed is only what its sender guessed, as the name's suffix is
            if error.errno not in _NO_ATTRIBUTES:
                raise
            if kept:
                raise NotKept(next(iter(kept)), f"no room for it in an extended attribute ({error})") from error

    def append(self, data: bytes | bytearray) -> None:
        """Write all of ``data`` at the end."""
        with memoryview(data) as rest:
            at = 0
            while at < len(rest):
                at += os.write(self._fd, rest[at:])
        self.written_bytes += at

    def sync(self) -> None:
        """Make the bytes durable."""
        os.fsync(self._fd)

    def status(self) -> os.stat_result:
        """Return the file's status."""
        return os.fstat(self._fd)

    def link_to(self, name: bytes, folder_fd: int) -> None:
        """Give the file its only name.

        Raises:
            FileExistsError: the name is taken.
        """
        if self._name is None:
            # With a folder's descriptor Python calls linkat(2); without one link(2), which does not follow /proc.
            os.link(b"/proc/self/fd/%d" % self._fd, name, dst_dir_fd=folder_fd, follow_symlinks=True)
            return
        staging_fd = open_ours(self.root_fd)
        try:
            os.link(self._name, name, src_dir_fd=staging_fd, dst_dir_fd=folder_fd, follow_symlinks=False)
            # At once: removing a name changes the change time and with it the ETag. A look in between sees another.
            self._unlink(staging_fd)
        finally:
            os.close(staging_fd)

    def prepare_rename(self) -> None:
        """Give the file a name in the staging folder if it has none, for ``rename_to``."""
        if self._name is not None:
            return
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        staging_fd = open_ours(self.root_fd)
        try:
            name = _fresh_name()
            os.link(b"/proc/self/fd/%d" % self._fd, name, dst_dir_fd=staging_fd, follow_symlinks=True)
            self._name = name
        finally:
            os.close(staging_fd)

    def rename_to(self, name: bytes, folder_fd: int) -> None:
        """Replace the file that has this name; to be called after ``prepare_rename``."""
        staging_fd = open_ours(self.root_fd)
        try:
            os.rename(self._name or b"", name, src_dir_fd=staging_fd, dst_dir_fd=folder_fd)
            self._name = None
        finally:
            os.close(staging_fd)

    def discard(self) -> None:
        """Close the file and remove its staged name, if it has one. To be called once."""
        try:
            if self._name is not None:
                staging_fd = open_ours(self.root_fd)
                try:
                    self._unlink(staging_fd)
                finally:
                    os.close(staging_fd)
        finally:
            os.close(self._fd)  # last, since it ends the lock

    def _unlink(self, staging_fd: int) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._name or b"", dir_fd=staging_fd)
        self._name = None


def open_ours(root_fd: int, names: Sequence[bytes] = STAGING) -> int:
    """Open a folder of our own for listing or fsync; make it if it is missing."""
    folder_fd = walk.open_folder(root_fd, ())
    for name in names:
        try:
            with suppress(FileExistsError):
                os.mkdir(name, _OURS_MODE, dir_fd=folder_fd)
            inner_fd = os.open(name, walk.FOLDER_FLAGS, dir_fd=folder_fd)
        finally:
            os.close(folder_fd)
        folder_fd = inner_fd
    return folder_fd


def sweep(root_fd: int, older_than_s: int) -> int:
    """Remove staged files of dead processes that were last written before ``older_than_s`` (seconds since 1970 UTC).

    Returns:
        How many were removed.

    Raises:
        StoreFault: the staging folder cannot be read.
    """
    try:
        staging_fd = walk.open_folder(root_fd, STAGING)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise walk.fault_of(error) from error
    try:
        return sum(_sweep_one(staging_fd, os.fsencode(name), older_than_s) for name in os.listdir(staging_fd))
    except OSError as error:
        raise walk.fault_of(error) from error
    finally:
        os.close(staging_fd)


def _sweep_one(staging_fd: int, name: bytes, older_than_s: int) -> bool:
    try:
        # Opened for writing, since NFS gives exclusive locks only then.
        fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=staging_fd)
    except OSError as error:
        if error.errno in walk.NOT_THERE or error.errno == errno.EISDIR:
            return False
        raise
    try:
        status = os.fstat(fd)
        if not walk.is_object(status) or status.st_mtime >= older_than_s:
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(name, dir_fd=staging_fd)
    except (BlockingIOError, FileNotFoundError):  # its writer lives, or another gateway sweeps too
        return False
    finally:
        os.close(fd)
    return True


def _fresh_name() -> bytes:
    return secrets.token_hex(16).encode()
