"""Who calls, as the control API knows them; ``admission.py`` finds out, and access.py asks it at every call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from oncegate.control.tokens import Token

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        token: what is known of it.
        secret: nobody else has it; nonces are derived from it, and it is used for nothing else.
    """

    token: Token
    secret: bytes

    def __repr__(self) -> str:
        return f"Caller({self.token.id})"


class Callers(Protocol):
    """Knows who may call what."""

    def admit(self, request: HTTPConnection, scope: str, now_s: int) -> Caller:
        """Say who calls.

        Args:
            request: of which nothing but the head was read.
            scope: of ``tokens.SCOPES``, that the call needs.
            now_s: seconds since 1970 UTC.

        Raises:
            ProblemAnswer: 401 where nobody is known, 403 where they may not do this.
            TokensUnfit: nobody can be let in.
        """
        ...
