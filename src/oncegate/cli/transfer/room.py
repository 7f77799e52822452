"""Room on the disk for a file that is about to come, taken before the link that it comes from is opened."""

from __future__ import annotations

import ctypes
import errno
import os

_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE: the file stays as long as it is, so that its length says how much has come
_UNABLE = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def reserve(descriptor: int, size_bytes: int) -> None:
    """Take the room that a file will need.

    Args:
        descriptor: of the file, open for writing.
        size_bytes: how long it will be.

    Raises:
        OSError: there is not so much room; ENOSPC, EDQUOT or EFBIG.

    Source: fallocate(2). ``os.posix_fallocate`` makes the file longer, and writes zeros where the file system cannot.
    """
    if not size_bytes:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    allocate = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if allocate is not None:
        if not allocate(descriptor, _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size_bytes)):
            return
        if ctypes.get_errno() not in _UNABLE:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _refuse_without_room(descriptor, size_bytes)


def _refuse_without_room(descriptor: int, size_bytes: int) -> None:
    """Where nothing can be reserved: look at what is free now."""
    disk, missing_bytes = os.fstatvfs(descriptor), size_bytes - os.fstat(descriptor).st_size
    if disk.f_blocks and missing_bytes > disk.f_bavail * disk.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
