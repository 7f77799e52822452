"""A ledger's creation time, by which a process knows that it is still the ledger that it began with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from oncegate.ledgers.protocol import LedgerExchanged


class Birth:
    """The ledger's creation time as this process first saw it.

    A ledger with another one has replaced it and would open used links again, so it is refused.

    Args:
        scheme: of the URL, for the message.
    """

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme
        self._ms: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether this process has seen a ledger."""
        return self._ms is not None

    def check(self, born_ms: int | None) -> int:
        """Look at what a new connection shows, and return it.

        Args:
            born_ms: of the ledger there, milliseconds since 1970 UTC; None where none stands.

        Raises:
            LedgerUnfit: it is another ledger, or none.
        """
        if born_ms is None:
            raise LedgerExchanged(f"{self._scheme}: the ledger is gone; a program that starts anew makes an empty one")
        if self._ms is None:
            self._ms = born_ms
        if born_ms != self._ms:
            what = f"{self._scheme}: another ledger than the one this process began with"
            raise LedgerExchanged(what, remedy="restart it")
        return born_ms

    async def known_ms(self, ask: Callable[[], Awaitable[object]]) -> int:
        """Return it, in milliseconds since 1970 UTC.

        Args:
            ask: asks the server whatever it likes: the new connection is checked first.
        """
        if self._ms is None:
            await ask()
        if self._ms is None:
            raise RuntimeError("a connection answered that nobody has looked at")
        return self._ms
