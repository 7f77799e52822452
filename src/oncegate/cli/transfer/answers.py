"""What a server's refusal says, and when to try again: for ``get`` and ``put``, of any server's answer.

Whatever comes from a server is somebody else's text: it is cut, and nothing in it reaches the terminal that would move
its cursor.

Source: RFC 9110 10.2.3 (Retry-After); RFC 9457 (problem+json); S3 API Reference, "Error responses".
"""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import cast

from oncegate.cli.main import Refusal
from oncegate.cli.shown import printable

BODY_MAX_BYTES = 65_536
WORDS_MAX = 500
RETRIED = frozenset((409, 429, 500, 502, 503, 504))
"""Statuses after which the same request may succeed: the use was given back, or another transfer is running."""

_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)


def refusal_of(status: int, body: bytes) -> Refusal:
    """Put an answer into words: from S3's and CloudFront's XML or from problem+json, otherwise from its status."""
    text = body[:BODY_MAX_BYTES].decode(errors="replace")
    words = _words_of_xml(text) or _words_of_json(text)
    if not words:
        words = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else "refused"
    return Refusal(f"{printable(words)[:WORDS_MAX]} ({status})")


def _words_of_xml(text: str) -> str:
    found = _MESSAGE.search(text)
    return " ".join(html.unescape(found[1]).split()) if found else ""


def _words_of_json(text: str) -> str:
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    members = cast("Mapping[str, object]", document)
    said = [members.get(name) for name in ("detail", "title", "message")]
    return next((" ".join(words.split()) for words in said if isinstance(words, str) and words), "")


def retry_after_s(value: str | None, *, now_s: float) -> float:
    """Read Retry-After: seconds, or a date; 0 where it says nothing."""
    if value is None:
        return 0.0
    if value.strip().isascii() and value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except (ValueError, TypeError):
        return 0.0


@dataclass(slots=True, kw_only=True)
class Patience:
    """How often a request is tried again; progress begins the count anew.

    Attributes:
        attempts_max: without progress; 8 wait for 100 s in all, longer than an upload's lease of 60 s.
        strange_max: while no server ever answered: a wrong host does not get better.
        pause_first_s: doubles with each attempt.
        pause_max_s: of one pause, whatever Retry-After says.
        pause: waits so many seconds.
        now_s: seconds since 1970 UTC.
    """

    attempts_max: int = 8
    strange_max: int = 3
    pause_first_s: float = 0.5
    pause_max_s: float = 30.0
    pause: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.time
    _attempts: int = field(default=0, init=False)
    _has_answered: bool = field(default=False, init=False)

    def note_answer(self) -> None:
        """Note that a server answered."""
        self._has_answered = True

    def note_progress(self) -> None:
        """Note that bytes came: the count of attempts begins anew."""
        self._attempts = 0

    def wait(self, why: Refusal, *, retry_after: str | None = None) -> None:
        """Wait before the next attempt.

        Args:
            why: what is raised where there is no next one.
            retry_after: as the server said it.
        """
        self._attempts += 1
        if self._attempts >= (self.attempts_max if self._has_answered else self.strange_max):
            raise why
        backoff_s = self.pause_first_s * 2 ** (self._attempts - 1)
        self.pause(min(max(backoff_s, retry_after_s(retry_after, now_s=self.now_s())), self.pause_max_s))
