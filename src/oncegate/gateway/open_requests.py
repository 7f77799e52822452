"""How many requests are being answered, and of how many that were refused the body is still read on.

A request whose body is read on after its refusal is not counted as open: it needs no signature, so strangers could
take all the places of those who have a link.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from oncegate.server.limits import OPEN_REQUESTS_MAX, READ_ON_MAX


class OpenRequests:
    """Counts the requests of one process."""

    def __init__(self) -> None:
        self._open = self._read_on = 0

    @property
    def are_too_many(self) -> bool:
        """Whether there is no place for the request that was begun last."""
        return self._open > OPEN_REQUESTS_MAX

    def begin(self) -> None:
        """Count a request."""
        self._open += 1

    def end(self) -> None:
        """Forget it."""
        self._open -= 1

    @contextlib.contextmanager
    def reading_on(self) -> Generator[bool]:
        """Give up the place of a refused request while its body is read on; False where too many do that already."""
        if self._read_on >= READ_ON_MAX:
            yield False
            return
        self._read_on += 1
        self._open -= 1
        try:
            yield True
        finally:
            self._read_on -= 1
            self._open += 1
