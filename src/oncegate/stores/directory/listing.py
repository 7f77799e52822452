"""Lists the files beneath a folder page by page, in the order in which S3 lists keys, holding at most a page of names.

The order is that of whole keys as UTF-8 bytes. A walk from folder to folder through sorted names would have another:
``a.txt`` comes before ``a/b``, since ``.`` is less than ``/``. A walk does give this order if each folder is sorted
under its name with a slash at the end. Folders that can hold no key of the page are not opened.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice

from oncegate.links.urls import object_key_problem
from oncegate.stores.directory import walk
from oncegate.stores.protocol import ObjectInfo

_log = logging.getLogger("oncegate")

_GONE_MEANWHILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def page(root_fd: int, *, prefix: str, after: str, limit: int) -> list[ObjectInfo]:
    """List up to ``limit`` objects whose key begins with ``prefix`` and sorts after ``after``.

    Raises:
        StoreFault: the folder cannot be read.
    """
    above, slash, _ = prefix.rpartition("/")
    segments = walk.segments_of(above) if slash else []
    if segments is None or limit <= 0:
        return []
    try:
        folder_fd = walk.open_folder(root_fd, segments)
    except OSError as error:
        if error.errno in walk.NOT_THERE:
            return []
        raise walk.fault_of(error) from error
    try:
        # No key has a lone surrogate, but a prefix that is asked for may.
        wanted = _Wanted(prefix.encode(errors="surrogatepass"), after.encode(errors="surrogatepass"), limit)
        with closing(_objects_in(folder_fd, (above + slash).encode(), wanted)) as objects:
            return list(islice(objects, limit))
    except OSError as error:
        raise walk.fault_of(error) from error
    finally:
        os.close(folder_fd)


class _Wanted:
    """Which keys a page may hold. Keys are bytes here; that of a folder ends in a slash."""

    __slots__ = ("after", "limit", "prefix")

    def __init__(self, prefix: bytes, after: bytes, limit: int) -> None:
        self.prefix = prefix
        self.after = after
        self.limit = limit

    def has_object(self, key: bytes) -> bool:
        return key > self.after and key.startswith(self.prefix)

    def has_folder(self, path: bytes) -> bool:
        """Tell whether a key beneath ``path`` may be wanted: not if all of them sort before ``after``."""
        return (path > self.after or self.after.startswith(path)) and (
            path.startswith(self.prefix) or self.prefix.startswith(path)
        )


def _objects_in(folder_fd: int, path: bytes, wanted: _Wanted) -> Generator[ObjectInfo, None, None]:
    last = b""
    while True:
        # One page of names at a time, so that of 100,000 in one folder few are held. A second round is needed only if
        # some of the first names were empty folders or have vanished.
        names = heapq.nsmallest(wanted.limit, _names_in(folder_fd, path, wanted, last))
        for name in names:
            if not name.endswith(b"/"):
                if info := _look_at(folder_fd, path, name):
                    yield info
            elif (inner_fd := _open_inner(folder_fd, path, name)) is not None:
                try:  # not in a function of its own: at 512 levels each frame counts against the recursion limit
                    yield from _objects_in(inner_fd, path + name, wanted)
                finally:
                    os.close(inner_fd)
        if len(names) < wanted.limit:
            return
        last = names[-1]


def _names_in(folder_fd: int, path: bytes, wanted: _Wanted, last: bytes) -> Iterator[bytes]:
    with os.scandir(folder_fd) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if not path and walk.is_reserved(name):
                continue
            if entry.is_dir(follow_symlinks=False):
                name += b"/"
                is_wanted = wanted.has_folder(path + name)
            else:
                is_wanted = entry.is_file(follow_symlinks=False) and wanted.has_object(path + name)
            if is_wanted and name > last and _could_be_a_key(path + name):
                yield name


def _could_be_a_key(key: bytes) -> bool:
    try:
        return not object_key_problem(key.rstrip(b"/").decode())
    except UnicodeDecodeError:
        return False


def _open_inner(folder_fd: int, path: bytes, name: bytes) -> int | None:
    try:
        return os.open(name[:-1], walk.FOLDER_FLAGS, dir_fd=folder_fd)
    except OSError as error:
        if error.errno in _GONE_MEANWHILE:
            return None
        if error.errno == errno.EACCES:  # such as a disk's lost+found, which must not make the whole list fail
            _log.warning("the list leaves out folder %r, which may not be read", path + name)
            return None
        raise


def _look_at(folder_fd: int, path: bytes, name: bytes) -> ObjectInfo | None:
    try:
        status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno in _GONE_MEANWHILE:
            return None
        raise
    return walk.info_of((path + name).decode(), status) if walk.is_object(status) else None
