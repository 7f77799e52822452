"""Checks whether a folder can be a ``file:`` store, by doing every step of an upload in its staging folder.

A folder on a file system that is mounted read-only can still serve downloads: that is logged, and uploads fail.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import pathlib

from oncegate.stores.directory import staging
from oncegate.stores.protocol import StoreUnfit

_OTHER_FILE_SYSTEM = "use another, such as ext4, XFS, Btrfs or NFS"
_log = logging.getLogger("oncegate")


def check(root_fd: int, path: pathlib.Path) -> None:
    """Write, lock, link and rename beneath the root; warn if the file system ignores case or is read-only.

    Raises:
        StoreUnfit: one of these does not work; names it, and what to change.
    """
    if not os.path.samestat(os.fstat(root_fd), _status_of(path)):
        raise StoreUnfit(f"{path} is another folder than when it was opened", remedy="start again", where="store.url")
    try:
        staging_fd = staging.open_ours(root_fd)
        try:
            _check_writing(root_fd, staging_fd, path)
        finally:
            os.close(staging_fd)
    except OSError as error:
        if error.errno == errno.EROFS:
            _log.warning("%s is on a file system that is mounted read-only: downloads alone are served", path)
            return
        raise StoreUnfit(
            f"nothing can be written in .oncegate/staging beneath {path} ({error})",
            remedy="let the gateway write there, and let neither name be a link",
            where="store.url",
        ) from error


def _status_of(path: pathlib.Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise StoreUnfit(f"{path} is no longer there ({error.strerror})", where="store.url") from error


def _check_writing(root_fd: int, staging_fd: int, path: pathlib.Path) -> None:
    probe = staging.StagedFile(root_fd, staging_fd)
    name = b"probe-" + os.urandom(8).hex().encode()
    try:
        probe.append(b"oncegate")
        probe.sync()
        _check_linking(probe, name, staging_fd, path)
        os.rename(name, name + b"-renamed", src_dir_fd=staging_fd, dst_dir_fd=staging_fd)
        name += b"-renamed"
        if _is_there(name.upper(), staging_fd):
            _log.warning("the file system of %s ignores case: keys that differ only in case are one object", path)
        _check_locking(name, staging_fd, path)
    finally:
        if _is_there(name, staging_fd):
            os.unlink(name, dir_fd=staging_fd)
        probe.discard()


def _check_linking(probe: staging.StagedFile, name: bytes, staging_fd: int, path: pathlib.Path) -> None:
    try:
        probe.link_to(name, staging_fd)
    except OSError as error:
        raise StoreUnfit(
            f"the file system of {path} has no hard links, by which an upload never overwrites ({error.strerror})",
            remedy=_OTHER_FILE_SYSTEM,
            where="store.url",
        ) from error
    other = staging.StagedFile(probe.root_fd, staging_fd)
    try:
        other.link_to(name, staging_fd)
    except FileExistsError:
        return
    finally:
        other.discard()
    raise StoreUnfit(
        f"the file system of {path} lets a link overwrite a file", remedy=_OTHER_FILE_SYSTEM, where="store.url"
    )


def _check_locking(name: bytes, staging_fd: int, path: pathlib.Path) -> None:
    held_fd, other_fd = (os.open(name, os.O_WRONLY, dir_fd=staging_fd) for _ in range(2))
    try:
        fcntl.flock(held_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(other_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    except OSError as error:
        raise StoreUnfit(
            f"the file system of {path} has no locks ({error.strerror})", remedy=_OTHER_FILE_SYSTEM, where="store.url"
        ) from error
    finally:
        os.close(held_fd)
        os.close(other_fd)
    raise StoreUnfit(
        f"locks do not exclude each other in the file system of {path}", remedy=_OTHER_FILE_SYSTEM, where="store.url"
    )


def _is_there(name: bytes, folder_fd: int) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
