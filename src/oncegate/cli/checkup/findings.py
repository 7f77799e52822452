"""What ``oncegate doctor`` finds: of each part how it is, in plain words, and what to do. A finding holds no secret."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found.

    Attributes:
        name: of the part.
        state: how bad it is.
        words: what was seen.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    state: State = State.OK
    words: str
    remedy: str = ""


def warning(name: str, words: str, remedy: str) -> Finding:
    """Make a finding that ends nothing."""
    return Finding(name=name, state=State.WARNING, words=words, remedy=remedy)


def failed(name: str, words: str, remedy: str) -> Finding:
    """Make a finding of something broken."""
    return Finding(name=name, state=State.FAILED, words=words, remedy=remedy)
