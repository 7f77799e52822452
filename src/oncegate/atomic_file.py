"""Small files that are written whole or not at all: keys, tokens, the configuration.

The content goes to a hidden file beside the target, is made durable, and is then put in place by one step; so a reader
sees the old file or the new one, and a crash leaves at most a hidden file. Never used for objects.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def replace_file(path: Path, content: bytes, *, mode: int) -> None:
    """Put a file in place of what stands there, if anything does.

    Args:
        path: where; a symbolic link is replaced, not followed.
        content: all bytes of the file.
        mode: permission bits, whatever the umask is.

    Raises:
        OSError: it could not be written; what stood there still stands.
    """
    with _written(path, content, mode) as written:
        written.replace(path)


def create_file(path: Path, content: bytes, *, mode: int) -> None:
    """Put a file where nothing stands.

    Args:
        path: where.
        content: all bytes of the file.
        mode: permission bits, whatever the umask is.

    Raises:
        FileExistsError: something stands there; it was not touched.
        OSError: it could not be written.
    """
    with _written(path, content, mode) as written:
        path.hardlink_to(written)


@contextmanager
def _written(path: Path, content: bytes, mode: int) -> Generator[Path]:
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield hidden
    finally:
        hidden.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
