"""The one atomic step that turns an upload into an object of the ``file:`` store, and the folders above the object.

A new object is put in place by ``link``, which never overwrites, so of any number of writers one wins. An object that
replaces a version is put in place by ``rename``, under a lock that all gateways on this folder share and that is held
while the version is compared. Folders are made only now, and removed again if the upload failed, so that it leaves
nothing. Everything here blocks and runs in the store's threads.

Source: our choice; linkat(2), rename(2), flock(2), fsync(2).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from oncegate.links.media_types import DEFAULT_MEDIA_TYPE
from oncegate.stores.directory import staging, walk
from oncegate.stores.protocol import KeyRefused, ObjectStands, StoreBusy

PLACING_TRIES_MAX = 8
LOCK_WAIT_MAX_S = 5.0
"""The lock is held for microseconds; after this time its holder is taken for a stopped process."""

LOCK_NAME = b"replace.lock"

_LOCK_RETRY_S = 0.002
_FOLDER_MODE = 0o777


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTarget:
    """Where an upload is to be put, and on which condition; named as in ``Store.start_upload``."""

    key: str
    segments: Sequence[bytes]
    size_bytes: int | None
    replaces: str | None
    content_type: str = DEFAULT_MEDIA_TYPE
    kept: tuple[tuple[str, str], ...] = ()


def open_nearest_folder(root_fd: int, target: FileTarget) -> tuple[int, int]:
    """Open the deepest folder above the target that exists.

    Returns:
        Its descriptor, and the number of segments of the key that led there.

    Raises:
        KeyRefused: a folder, a link or a special file has the target's name.
        OSError: for ``walk.fault_of``; also for a name that is too long, so before a byte of the body was read.
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
    """Put a staged file, whose bytes are durable, in place, and make its name durable too.

    Args:
        root_fd: the store's folder.
        target: where the file is to be put.
        staged: the file.
        stood: number of folders above it that existed before the upload; the others are not known to be durable.

    Raises:
        ObjectStands: the condition does not hold; nothing was changed.
        KeyRefused: meanwhile a folder, a link or a special file got the name.
        StoreBusy: the folders were removed at each of ``PLACING_TRIES_MAX`` tries.
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
            # Another upload failed and removed a folder that it had made, after we had opened it and before our link.
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
    with lock_for_replacing(root_fd):
        try:
            standing = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            raise ObjectStands("the version to be replaced is gone") from None
        _must_be_object(standing, of=target)
        if walk.etag_of(standing) != target.replaces:
            raise ObjectStands("another version stands there")
        staged.rename_to(name, folder_fd)


def _must_be_object(standing: os.stat_result, *, of: FileTarget, depth: int | None = None) -> None:
    """Refuse if ``standing`` has the target's own name and is no object; ``depth`` says how deep it was found."""
    is_target = depth is None or depth == len(of.segments) - 1
    if is_target and not walk.is_object(standing):
        raise KeyRefused("a folder, a link or a special file has this name")


@contextmanager
def _folders_above(root_fd: int, target: FileTarget, *, stood: int) -> Generator[int, None, None]:
    """Open the folders above the target, and make those that are missing unless a version is to be replaced.

    At the end they are made durable; after a fault, those that were made here and are empty are removed.
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
            with suppress(OSError):  # not empty: another upload has put its object there
                os.rmdir(name, dir_fd=folder_fd)
        raise
    finally:
        for folder_fd in path:
            os.close(folder_fd)


@contextmanager
def lock_for_replacing(root_fd: int) -> Generator[None, None, None]:
    """Keep every other gateway on this folder from replacing or removing a version meanwhile."""
    ours_fd = staging.open_ours(root_fd, staging.STAGING[:1])
    try:
        # Opened for each use: locks on descriptors of one opening do not exclude each other.
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
