"""Markers: what stands in a ledger that is moved in place of a record, and how one record is carried over by them.

For each link, in this order, by conditions of single records alone: the old record is replaced by a marker that holds
it (where none is stored a marker that holds nothing is inserted); what the marker holds is inserted in the new ledger
unless something is stored there; only then is the link claimed, in the new ledger. So a gateway that still works over
the old ledger alone either wrote before the marker, and its write is carried over, or meets the marker, and answers 503:
to it a marker is a record of a later version.

Source: our choice. Simulated with old and new gateways, a mover and crashes: each other order (copy and delete; read
both and write the new; copy, then freeze) opened used links in a quarter to two thirds of the histories.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from oncegate.ledgers.protocol import (
    Done,
    Gone,
    InsertOutcome,
    Ledger,
    ReadOutcome,
    ReplaceOutcome,
    Stands,
    Swept,
    Unknown,
)

TRIES_MAX = 8


class Marker(NamedTuple):
    """What is stored in the old ledger in place of a record.

    Attributes:
        held: the record; None where none was stored.
    """

    held: bytes | None

    def to_bytes(self) -> bytes:
        """Write it, as a record with a member that no version knows."""
        return json.dumps({"moved": None if self.held is None else self.held.decode()}).encode()


def marker_of(record: bytes) -> Marker | None:
    """Read a marker; None where this is a record."""
    if not record.startswith(b'{"moved": '):
        return None
    held: str | None = json.loads(record)["moved"]
    return Marker(None if held is None else held.encode())


async def carry(old: Ledger, new: Ledger, link_id: bytes, forget_after_s: int) -> Swept | Unknown | None:
    """Mark a link in the old ledger, and carry over what was stored there.

    Args:
        old: the ledger that is moved.
        new: where to.
        link_id: 16 bytes.
        forget_after_s: until when the record must live.

    Returns:
        None: the new ledger alone decides from now on. ``Swept``: the link's record may have been forgotten. ``Unknown``:
        ask again.
    """
    found: ReadOutcome | InsertOutcome | ReplaceOutcome = await old.read(link_id)
    for _ in range(TRIES_MAX):
        if isinstance(found, Unknown | Swept):
            return found
        if isinstance(found, Gone):
            found = await old.insert(link_id, Marker(None).to_bytes(), forget_after_s)
            if isinstance(found, Done):
                return None
        else:
            marker = marker_of(found.record)
            if marker is not None:
                return await _carry_held(new, link_id, marker, forget_after_s)
            marker = Marker(found.record)
            found = await old.replace(link_id, found.version, marker.to_bytes(), forget_after_s)
            if isinstance(found, Done):
                return await _carry_held(new, link_id, marker, forget_after_s)
    return Unknown("the record in the ledger that is moved changed again and again")


async def _carry_held(new: Ledger, link_id: bytes, marker: Marker, forget_after_s: int) -> Swept | Unknown | None:
    if marker.held is None:
        return None
    carried = await new.insert(link_id, marker.held, forget_after_s)
    return None if isinstance(carried, Done | Stands) else carried
