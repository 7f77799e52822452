"""``Link``: a signed link, as ``Signer`` gives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A signed link; ``str()`` gives the URL, which is the secret and therefore not in the ``repr``.

    Attributes:
        url: what is handed out.
        id: names the link in the ledger, in logs and in the control API; 22 characters, no secret.
        key: object key, decoded.
        operation: ``get`` or ``put``.
        uses: how often it opens.
        expires_at: an aware datetime; the link is refused at this second and after.
    """

    url: str = field(repr=False)
    id: str
    key: str
    operation: Literal["get", "put"]
    uses: int
    expires_at: datetime

    def __str__(self) -> str:
        """Give the URL."""
        return self.url
