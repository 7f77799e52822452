"""What becomes of the answers of one connection, for applications that want to be told.

An answer that was written whole may still be lost, and is known to have arrived only when its last byte is acknowledged.
That is looked at when something happens on the connection: its next request, its end, a reset, a time-out. While all goes
well nothing is waited for.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple

from oncegate.server.kernel import Duplicate, Progress
from oncegate.server.sending import Sending


class Fate(NamedTuple):
    """What became of the body of one answer.

    Attributes:
        sent_bytes: of it, that may have reached the client; None: all that was written.
        acked_bytes: of it, that the client's machine has acknowledged; None where nobody can say.
        is_head_sent: whether anything of the answer may have reached the client.
        is_clean: whether all was written, and acknowledged where that can be known, and no reset followed.
        is_reset: whether the client's machine reset the connection.
    """

    sent_bytes: int | None
    acked_bytes: int | None
    is_head_sent: bool
    is_clean: bool
    is_reset: bool


class Stretch(NamedTuple):
    """Where an answer lies among all bytes that were written to its connection.

    Attributes:
        begin: its first byte.
        body_at: the first of its body.
        end: the byte behind its last; of one that is not whole, behind what was written of it.
        is_whole: whether all of it was written.
    """

    begin: int
    body_at: int
    end: int
    is_whole: bool


def fate_of(answer: Stretch, progress: Progress | None, *, is_reset: bool) -> Fate:
    """Say what became of an answer, from how far the bytes of its connection have come."""
    begin, body_at, end, is_whole = answer
    is_begun, length = end > begin, max(0, end - body_at)
    if progress is None:
        return Fate(None, None, is_begun, is_whole and not is_reset, is_reset)
    acked = min(max(0, progress.acked_bytes - body_at), length)
    if is_whole and progress.acked_bytes >= end:
        return Fate(length, acked, is_begun, not is_reset, is_reset)
    if progress.sent_bytes is None:
        return Fate(None, acked, is_begun, is_clean=False, is_reset=is_reset)
    sent = min(max(0, progress.sent_bytes - body_at), length)
    return Fate(sent, acked, is_begun and progress.sent_bytes > begin, is_clean=False, is_reset=is_reset)


class Followed:
    """An answer whose application is told of its fate, once."""

    __slots__ = ("_fates", "begin", "end", "sending", "tell")

    def __init__(self, fates: Fates, sending: Sending, begin: int, tell: Callable[[Fate], None]) -> None:
        self._fates = fates
        self.sending: Sending = sending
        self.begin: int = begin
        self.end: int | None = None
        self.tell: Callable[[Fate], None] = tell

    def has_arrived(self) -> bool:
        """Whether all of it was written and has been acknowledged, as far as anybody can say."""
        progress = self._fates.progress()
        return self.end is not None and (progress is None or progress.acked_bytes >= self.end)

    def stretch(self, written_bytes: int) -> Stretch:
        """Where it lies, when so much was written to its connection."""
        is_begun = self.sending.is_begun
        end = written_bytes if self.end is None else self.end
        return Stretch(
            self.begin, self.begin + self.sending.head_bytes, end if is_begun else self.begin, self.end is not None
        )


class Fates:
    """The answers of one connection whose fate is open, and the duplicate of its descriptor by which it is asked."""

    __slots__ = ("_duplicate", "_open")

    def __init__(self) -> None:
        self._duplicate: Duplicate | None = None
        self._open: list[Followed] = []

    def use(self, taken: socket.socket) -> None:
        """Make the duplicate, once; it is closed by ``end``."""
        self._duplicate = Duplicate(taken)

    @property
    def descriptor(self) -> int:
        """Number of the duplicate; -1 where there is none."""
        return -1 if self._duplicate is None else self._duplicate.descriptor

    def progress(self) -> Progress | None:
        """How far the bytes of the connection have come; None where nobody can say."""
        return None if self._duplicate is None else self._duplicate.progress()

    def follow(self, sending: Sending, begin: int, tell: Callable[[Fate], None]) -> Followed:
        """Tell of an answer that begins behind so many bytes of its connection."""
        followed = Followed(self, sending, begin, tell)
        self._open.append(followed)
        return followed

    def complete(self, sending: Sending, written_bytes: int) -> None:
        """Note that an answer is whole, and ends behind so many bytes of its connection."""
        if self._open and self._open[-1].sending is sending:
            self._open[-1].end = written_bytes

    def look(self) -> bool:
        """Tell of what has arrived; return whether more may yet arrive."""
        if not self._open:
            return False
        progress = self.progress()
        arrived = [
            each for each in self._open if each.end is not None and (not progress or progress.acked_bytes >= each.end)
        ]
        self._open = [each for each in self._open if each not in arrived]
        for each in arrived:
            each.tell(fate_of(each.stretch(0), progress, is_reset=False))
        return bool(self._open) and progress is not None and progress.sent_bytes is None

    def end(self, written_bytes: int, error: Exception | None) -> None:
        """Tell of all that is open: the connection has ended."""
        if self._open:
            self._tell_all(written_bytes, error)
        if self._duplicate is not None:
            self._duplicate.close()

    def _tell_all(self, written_bytes: int, error: Exception | None) -> None:
        is_reset = isinstance(error, (ConnectionResetError, BrokenPipeError))
        progress = self.progress()
        if progress is not None and (progress.sent_bytes or 0) > written_bytes + 1:
            progress = None  # one more is the end itself; beyond that these are no numbers of this connection
        ended, self._open = self._open, []
        for each in ended:
            each.tell(fate_of(each.stretch(written_bytes), progress, is_reset=is_reset))
