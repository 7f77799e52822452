"""What the bodies of several calls share: how strict they are, and how instants, lifetimes and ids are written.

Types are strict: a number in quotes is an error, as is a member that is not known. Instants are RFC 3339 with a zone
and become seconds since 1970 UTC here.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, PlainValidator, WithJsonSchema

from oncegate.links.address import canonical_address
from oncegate.links.instants import read_instant_s
from oncegate.settings.units import DURATION_MAX_S, parse_duration_s

PAGE_MAX = 1_000
EXAMPLE_ID = "AZtHgdIAcACAAAAAAAAAAA"
LINK_ID = r"^[A-Za-z0-9_-]{21}[AQgw]$"
MEDIA_TYPE = r"^[A-Za-z0-9!#$&^_.+-]{1,127}/(\*|[A-Za-z0-9!#$&^_.+-]{1,127})$"
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
_DURATION = re.compile(r"[0-9]{1,9} ?[smhdw]?")
EXAMPLE_URL = (
    "https://files.example.com/reports/2026.pdf?once=g.AZtHgdIAcACAAAAAAAAAAA&Expires=1767226500"
    "&Signature=MEUCIQ__&Key-Pair-Id=K2026&Hash-Algorithm=SHA256"
)


def _instant(raw: object) -> int:
    return read_instant_s(raw if isinstance(raw, str) else "")


def read_lifetime_s(raw: object) -> int:
    """Read how long a link lives: seconds as a number, or text such as ``15m``.

    Raises:
        ValueError: it is neither, or not from one second to ten years.
    """
    # not isinstance: JSON's true is an int to Python
    if type(raw) is int and 1 <= raw <= DURATION_MAX_S:
        return raw
    if not isinstance(raw, str) or not _DURATION.fullmatch(raw) or not (seconds := parse_duration_s(raw)):
        raise ValueError("write seconds as a number, or text such as 90s, 15m, 12h, 7d; more than 0, up to ten years")
    return seconds


def read_address(text: str) -> str:
    """Read an IP address, in its canonical form.

    Raises:
        ValueError: it is none.
    """
    address = canonical_address(text)
    if address is None:
        raise ValueError("write an IPv4 or IPv6 address")
    return address


_LIFETIME_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": DURATION_MAX_S},
        {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
    ]
}
_INSTANT_SCHEMA = {"type": "string", "format": "date-time"}
Instant = Annotated[int, PlainValidator(_instant), WithJsonSchema(_INSTANT_SCHEMA)]
InstantText = Annotated[str, WithJsonSchema(_INSTANT_SCHEMA)]
Lifetime = Annotated[int, PlainValidator(read_lifetime_s), WithJsonSchema(_LIFETIME_SCHEMA)]
SchemeName = Literal["cloudfront", "cloudfront-custom", "s3"]
OperationName = Literal["get", "put"]


class Taken(BaseModel):
    """A body that is taken."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True)


class Given(BaseModel):
    """A body that is given."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)
