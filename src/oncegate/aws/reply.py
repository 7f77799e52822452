"""An answer as a viewer gets it: from the referee, or from a deployment that is tried."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_CODE = re.compile(rb"<Code>([A-Za-z]+)</Code>")


class Reply(NamedTuple):
    """What a viewer got.

    Attributes:
        status: of the answer.
        headers: names in lower case; of several of a name, the last.
        body: the whole.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of an error body of AWS's; empty where there is none."""
        found = _CODE.search(self.body)
        return found[1].decode() if found else ""
