"""The one atomic step by which an upload becomes an object of the ``file:`` store, and the folders above it.

A new object appears by ``link``, which never overwrites, so of any number of writers one wins. One that takes another
version's place comes by ``rename`` under a lock that all gateways on this folder share, held while the version is
compared. Folders are made only now, and taken away again if the object got no place, so that an upload that lost
leaves nothing. Everything here blocks and runs in the store's threads.

Source: our choice; linkat(2), rename(2), flock(2), fsync(2).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from oncegate.stores.directory import staging, walk
from oncegate.stores.protocol import KeyRefused, ObjectStands, StoreBusy

PLACING_TRIES_MAX = 8
LOCK_WAIT_MAX_S = 5.0
"""The lock is held for microseconds; who waits longer waits for a process that was stopped."""

LOCK_NAME = b"replace.lock"

_LOCK_RETRY_S = 0.002
_FOLDER_MODE = 0o777


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTarget:
    """Where an upload is to go, and on what condition; the words of ``Store.start_upload``."""

    key: str
    segments: Sequence[bytes]
    size_bytes: int | None
    replaces: str | None


def open_nearest_folder(root_fd: int, target: FileTarget) -> tuple[int, int]:
    """Open the deepest folder above the target that exists.

    Returns:
        Its descriptor, and how many segments of the key led there.

    Raises:
        KeyRefused: a folder, a link or a special file has the target's name.
        OSError: for ``walk.fault_of``; also where a name is too long, before a byte was read.
    """
    folder_fd = walk.open_folder(root_fd, ())
    depth = 0
    try:
        for name in target.segments[:-1]:
            try:
                inner_fd = os.open(name, walk.FOLDER_FLAGS, dir_fd=folder_fd)
            except FileNotFoundError:
                break
            os.close(folder_fd)
            folder_fd = inner_fd
            depth += 1
        for name in target.segments[depth:]:
            with suppress(FileNotFoundError):
                _must_be_object(os.stat(name, dir_fd=folder_fd, follow_symlinks=False), of=target, depth=depth)
    except BaseException:
        os.close(folder_fd)
        raise
    return folder_fd, depth


def put_in_place(root_fd: int, target: FileTarget, staged: staging.StagedFile, *, stood: int) -> None:
    """Give a staged file, already durable, its place, and make that durable too.

    Args:
        root_fd: the store's folder.
        target: where it goes.
        staged: the file.
        stood: how many of the folders above it stood before the upload; the others are not known to be durable.

    Raises:
        ObjectStands: the condition does not hold; nothing was changed.
        KeyRefused: a folder, a link or a special file took the name meanwhile.
        StoreBusy: somebody makes and removes these folders all the time.
        OSError: for ``walk.fault_of``.
    """
    for _ in range(PLACING_TRIES_MAX):
        try:
            with _folders_above(root_fd, target, stood=stood) as folder_fd:
                if target.replaces is None:
                    _create(target, staged, folder_fd)
                else:
                    _replace(root_fd, target, staged, folder_fd)
        except FileNotFoundError:
            # An upload that lost took away a folder that it had made, between our step into it and our link.
            continue
        return
    raise StoreBusy("the folders above this key come and go")


def _create(target: FileTarget, staged: staging.StagedFile, folder_fd: int) -> None:
    name = target.segments[-1]
    try:
        staged.link_to(name, folder_fd)
    except FileExistsError:
        _must_be_object(os.stat(name, dir_fd=folder_fd, follow_symlinks=False), of=target)
        raise ObjectStands("an object stands there") from None


def _replace(root_fd: int, target: FileTarget, staged: staging.StagedFile, folder_fd: int) -> None:
    name = target.segments[-1]
    staged.prepare_rename()
    with _lock_for_replacing(root_fd):
        try:
            standing = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            raise ObjectStands("the version to be replaced is gone") from None
        _must_be_object(standing, of=target)
        if walk.etag_of(standing) != target.replaces:
            raise ObjectStands("another version stands there")
        staged.rename_to(name, folder_fd)


def _must_be_object(standing: os.stat_result, *, of: FileTarget, depth: int | None = None) -> None:
    """Refuse where the target's own name is taken by what is no object; ``depth`` is where ``standing`` was met."""
    is_target = depth is None or depth == len(of.segments) - 1
    if is_target and not walk.is_object(standing):
        raise KeyRefused("a folder, a link or a special file has this name")


@contextmanager
def _folders_above(root_fd: int, target: FileTarget, *, stood: int) -> Generator[int, None, None]:
    """Open the folders down to the target, made where an upload may make them.

    On the way out they are made durable; after a fault, those that were made here and are empty are removed again.
    """
    path = [walk.open_folder(root_fd, ())]
    made: list[tuple[int, bytes]] = []
    try:
        for name in target.segments[:-1]:
            try:
                path.append(os.open(name, walk.FOLDER_FLAGS, dir_fd=path[-1]))
            except FileNotFoundError:
                if target.replaces is not None:
                    raise ObjectStands("the version to be replaced is gone") from None
                with suppress(FileExistsError):
                    os.mkdir(name, _FOLDER_MODE, dir_fd=path[-1])
                    made.append((path[-1], name))
                    stood = min(stood, len(path) - 1)
                path.append(os.open(name, walk.FOLDER_FLAGS, dir_fd=path[-1]))
        yield path[-1]
        for folder_fd in reversed(path[stood:]):
            os.fsync(folder_fd)
    except BaseException:
        for folder_fd, name in reversed(made):
            with suppress(OSError):  # not empty: another upload found a place in it
                os.rmdir(name, dir_fd=folder_fd)
        raise
    finally:
        for folder_fd in path:
            os.close(folder_fd)


@contextmanager
def _lock_for_replacing(root_fd: int) -> Generator[None, None, None]:
    ours_fd = staging.open_ours(root_fd, staging.STAGING[:1])
    try:
        # Opened anew for each use: descriptors that share one opening do not exclude each other.
        lock_fd = os.open(LOCK_NAME, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=ours_fd)
    finally:
        os.close(ours_fd)
    try:
        deadline_s = time.monotonic() + LOCK_WAIT_MAX_S
        while not _has_locked(lock_fd):
            if time.monotonic() > deadline_s:
                raise StoreBusy("another process holds the lock for replacing and does not move")
            time.sleep(_LOCK_RETRY_S)
        yield
    finally:
        os.close(lock_fd)


def _has_locked(lock_fd: int) -> bool:
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
