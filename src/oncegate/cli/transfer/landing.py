"""Where a download lands: ``NAME.part`` with what is known of it in ``NAME.part.json``, then ``NAME``; or stdout.

The second file lets another run of the command go on where this one was cut. It holds the cookie that proves whose
claim it is, so only its owner may read it; it holds no URL, only its hash.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from oncegate.atomic_file import replace_file
from oncegate.cli.main import Misuse, Refusal
from oncegate.cli.transfer.checksums import Sums
from oncegate.cli.transfer.naming import STATE, part_of, state_of
from oncegate.cli.transfer.room import reserve

STATE_BYTES_MAX = 65_536
CHUNK_BYTES = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the object that is being downloaded.

    Attributes:
        etag: strong, with its quotes; empty where there is none: then nothing can be resumed.
        size_bytes: None where nobody said.
        digests: by the name of the algorithm.
        cookies: by name; the proof of the claim.
    """

    etag: str = ""
    size_bytes: int | None = None
    digests: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    cookies: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


class Landing(Protocol):
    """Takes the bytes of one download."""

    facts: Facts
    done_bytes: int

    @property
    def name(self) -> str:
        """How it is called on the progress bar; empty for a stream."""
        ...

    def note(self, facts: Facts) -> None:
        """Keep what is known now."""
        ...

    def restart(self, facts: Facts) -> None:
        """Begin anew, with another version of the object or without ranges.

        Raises:
            Refusal: what was written cannot be taken back.
        """
        ...

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        ...

    def finish(self) -> str:
        """Check the whole, put it in place; return what to print.

        Raises:
            Refusal: it is not what was sent.
        """
        ...

    def discard(self) -> None:
        """Remove what came, because it is wrong, or nothing."""
        ...

    def close(self) -> None:
        """Close, and keep what came for another run."""
        ...


class StreamLanding:
    """Writes to a pipe, where nothing can be taken back."""

    def __init__(self, stream: BinaryIO, facts: Facts) -> None:
        self._stream = stream
        self.facts: Facts = facts
        self.done_bytes: int = 0
        self._sums = Sums(facts.digests)

    def note(self, facts: Facts) -> None:
        """Keep what is known now."""
        self.facts = facts

    def restart(self, facts: Facts) -> None:
        """Begin anew, while nothing was written."""
        if self.done_bytes:
            raise Refusal("the download broke and cannot be resumed; what was written cannot be taken back")
        self.facts, self._sums = facts, Sums(facts.digests)

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._stream.write(data)
        self._sums.update(data)
        self.done_bytes += len(data)

    def finish(self) -> str:
        """Check the whole; there is no path to print."""
        self._stream.flush()
        _check(self.done_bytes, self.facts, self._sums)
        return ""

    name: str = ""

    def discard(self) -> None:
        """Do nothing: what was written cannot be taken back."""

    def close(self) -> None:
        """Leave the stream open: it belongs to the caller."""


class FileLanding:
    """Writes ``NAME.part``, which becomes the file ``NAME`` when it is complete."""

    def __init__(self, path: Path, link_sha256: str, descriptor: int, facts: Facts, *, is_forced: bool) -> None:
        self.path = path
        self._link_sha256 = link_sha256
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._is_forced = is_forced
        self.facts: Facts = facts
        self._sums = Sums(facts.digests)
        self.done_bytes: int = 0

    @classmethod
    def create(cls, path: Path, link_sha256: str, facts: Facts, *, is_forced: bool) -> FileLanding:
        """Begin a download: everything that can fail on this machine fails here, before the link is opened.

        Raises:
            OSError: the file cannot be made, another stands there, or the disk has no room for it.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        landing = cls(path, link_sha256, os.open(part_of(path), flags, 0o666), facts, is_forced=is_forced)
        landing._lock()
        try:
            landing.note(facts)
        # whatever it was, Ctrl-C too: nothing has come
        except BaseException:
            landing.close()
            landing.discard()
            raise
        return landing

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @classmethod
    def resume(cls, path: Path, link_sha256: str, *, is_forced: bool) -> FileLanding | None:
        """Go on with what an earlier run left; None where it left nothing of this link.

        Raises:
            Misuse: another process is at it.
        """
        facts = _read_state(path, link_sha256)
        if facts is None:
            return None
        try:
            descriptor = os.open(part_of(path), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        landing = cls(path, link_sha256, descriptor, facts, is_forced=is_forced)
        landing._lock()
        while data := landing._file.read(CHUNK_BYTES):
            landing._sums.update(data)
            landing.done_bytes += len(data)
        return landing

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise Misuse(f"{part_of(self.path)}: another 'oncegate get' is writing it") from None

    def note(self, facts: Facts) -> None:
        """Keep what is known now, also for another run, and the room for what is missing."""
        self.facts = facts
        if facts.size_bytes is not None:
            reserve(self._file.fileno(), facts.size_bytes)
        document = {
            "version": 1,
            "link_sha256": self._link_sha256,
            "etag": facts.etag,
            "size": facts.size_bytes,
            "digests": {name: digest.hex() for name, digest in facts.digests.items()},
            "cookies": dict(facts.cookies),
        }
        replace_file(state_of(self.path), json.dumps(document).encode(), mode=0o600)

    def restart(self, facts: Facts) -> None:
        """Begin again from the first byte."""
        # cut only where there is something: a cut gives the reserved room back as well
        if self.done_bytes:
            self._file.seek(0)
            self._file.truncate()
        self.done_bytes = 0
        self._sums = Sums(facts.digests)
        self.note(facts)

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        view = memoryview(data)
        while view:
            written = self._file.write(view)
            view = view[written:]
        self._sums.update(data)
        self.done_bytes += len(data)

    def finish(self) -> str:
        """Check the whole, make it durable, put it in place; return its path."""
        try:
            _check(self.done_bytes, self.facts, self._sums)
        except Refusal:
            self.discard()
            raise
        os.fsync(self._file.fileno())
        self._place()
        state_of(self.path).unlink(missing_ok=True)
        return str(self.path)

    def _place(self) -> None:
        part = part_of(self.path)
        if self._is_forced:
            part.replace(self.path)
            return
        try:
            self.path.hardlink_to(part)
        except FileExistsError:
            raise Refusal(f"{self.path} appeared meanwhile and is not replaced: what came lies in {part}") from None
        except OSError:  # a file system without links
            if self.path.exists():
                raise Refusal(f"{self.path} appeared meanwhile: what came lies in {part}") from None
            part.rename(self.path)
            return
        part.unlink()

    def discard(self) -> None:
        """Remove what came, because it is wrong, or nothing."""
        for path in (part_of(self.path), state_of(self.path)):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close, and keep what came for another run."""
        self._file.close()


def find_left(folder: Path, link_sha256: str) -> Path | None:
    """Find what an earlier run of this link left in a folder, whatever it is to be called."""
    with contextlib.suppress(OSError):
        for state in sorted(folder.glob("*" + STATE)):
            path = state.with_name(state.name.removesuffix(STATE))
            if _read_state(path, link_sha256) is not None:
                return path
    return None


def sha256_of_link(url: str) -> str:
    """Return what identifies a link without revealing it."""
    return hashlib.sha256(url.encode(errors="surrogateescape")).hexdigest()


def _read_state(path: Path, link_sha256: str) -> Facts | None:
    """Return what an earlier run stored about this link; None if it is about another link or unreadable."""
    try:
        with state_of(path).open("rb") as file:
            document = cast("Mapping[str, object]", json.loads(file.read(STATE_BYTES_MAX)))
        if document["version"] != 1 or document["link_sha256"] != link_sha256:
            return None
        size = document["size"]
        digests = cast("Mapping[str, str]", document["digests"])
        return Facts(
            etag=str(document["etag"]),
            size_bytes=size if isinstance(size, int) else None,
            digests={name: bytes.fromhex(digests[name]) for name in ("md5", "sha256") if name in digests},
            cookies=dict(cast("Mapping[str, str]", document["cookies"])),
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _check(done_bytes: int, facts: Facts, sums: Sums) -> None:
    if facts.size_bytes is not None and done_bytes != facts.size_bytes:
        raise Refusal(f"{done_bytes} bytes came, {facts.size_bytes} were announced: ask for a new link")
    if wrong := sums.wrong():
        raise Refusal(f"what came is not what was sent: its {wrong} checksum differs; ask for a new link")
