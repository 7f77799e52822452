"""When the object of a link is to be removed (``once-delete``): the value that a ledger keeps of it, and its rules.

It has a row of its own in the ledger, beside the record of the link: written before the link is handed out, where it is
made here, and before each claim. All such rows lie together (``REMOVAL_ID_BYTE``), so that whoever removes finds them
without walking through the records of all links. The row alone decides: once it says REMOVING, no claim is admitted any
more, and an object whose row says WAITING and is held is not touched.

Source: our choice; docs/decisions/0013.
"""

from __future__ import annotations

import enum
import hashlib
import json
from typing import NamedTuple

from oncegate.uses.record import Record, RecordUnreadable

REMOVAL_ID_BYTE = 0xFE
"""Ids of these rows begin with it. Nonces of this century begin with less, ids of links without a ticket with 0xff."""
LAST_REMOVAL_ID = bytes((REMOVAL_ID_BYTE,)) + b"\xff" * 15

SPARE_S = 600
"""An object is held for so much longer than a download can be resumed. Half of it is used up before the row is renewed,
half is for clocks that differ."""
RENEW_EVERY_S = 300
KEPT_S = 30 * 86_400
"""For how long after its link's end a row lives that was never carried out: while no gateway runs, none can be."""


class Stage(enum.IntEnum):
    """How far a removal has come."""

    WAITING = 0
    REMOVING = 1
    """Nobody gets the object any more. Whether it is removed is not recorded yet."""
    DONE = 2


class Removal(NamedTuple):
    """An object that goes with its link.

    Attributes:
        link_id: of the link, as text.
        object_key: decoded text.
        etag: of the version that was seen when the link was made, or at its last claim. No other is removed.
        uses: how many the link has.
        expires_s: when the link ends, seconds since 1970 UTC.
        until_s: held until then, seconds since 1970 UTC: a transfer runs, or its holder may still resume it.
        stage: how far it has come.
    """

    link_id: str
    object_key: str
    etag: str
    uses: int
    expires_s: int
    until_s: int = 0
    stage: Stage = Stage.WAITING

    @property
    def forget_after_s(self) -> int:
        """Until when the ledger must keep it."""
        return self.expires_s + KEPT_S


def removal_id(link_id: bytes) -> bytes:
    """Return the id of the row that belongs to a link, 16 bytes."""
    return bytes((REMOVAL_ID_BYTE,)) + hashlib.sha256(b"oncegate removal\0" + link_id).digest()[:15]


def removal_to_json(removal: Removal) -> bytes:
    """Write a row as compact JSON. A version that does not know its member takes it for unreadable."""
    return json.dumps({"d": removal}, ensure_ascii=False, separators=(",", ":")).encode()


def removal_from_json(text: bytes) -> Removal:
    """Read what ``removal_to_json`` wrote.

    Raises:
        RecordUnreadable: it is something else.
    """
    try:
        document = json.loads(text)
        if document.keys() != {"d"}:
            raise ValueError("unknown members")
        link_id, object_key, etag, uses, expires_s, until_s, stage = document["d"]
        return Removal(str(link_id), str(object_key), str(etag), int(uses), int(expires_s), int(until_s), Stage(stage))
    except (TypeError, AttributeError, ValueError) as error:
        raise RecordUnreadable(f"not a removal of this version: {error}") from None


def held(stands: Removal | None, wanted: Removal) -> Removal | None:
    """Hold an object before a use of it is claimed.

    Args:
        stands: the row; None: there is none yet.
        wanted: the version that was seen now, and until when it is to be held.

    Returns:
        The row to write; None where nothing is to be written: it is held for so long already, or it is too late, which
        the stage of ``stands`` says.
    """
    if stands is None:
        return wanted
    if stands.stage is not Stage.WAITING:
        return None
    changed = stands._replace(etag=wanted.etag, until_s=max(stands.until_s, wanted.until_s))
    return None if changed == stands else changed


def delivered(stands: Removal | None) -> Removal | None:
    """Hold no longer an object whose only use was delivered whole, and is known to have arrived."""
    is_held = stands is not None and stands.stage is Stage.WAITING and stands.until_s > 0
    return stands._replace(until_s=0) if stands is not None and is_held and stands.uses == 1 else None


def is_held(removal: Removal, now_s: int) -> bool:
    """Whether nothing is to be done yet, whatever the record of the link says."""
    return now_s < removal.until_s


def is_due(removal: Removal, record: Record | None, now_s: int) -> bool:
    """Whether the object is to be removed: nobody holds it, and its link gives nothing any more.

    Args:
        removal: the row.
        record: the link's; None: it has none, so it was never opened, or was forgotten after its end.
        now_s: seconds since 1970 UTC.
    """
    if removal.stage is Stage.DONE or is_held(removal, now_s):
        return False
    # revoking alone removes nothing: whoever revokes may want to send the object in another way until the link would end
    is_used_up = record is not None and record.uses >= removal.uses
    return removal.stage is Stage.REMOVING or is_used_up or now_s >= removal.expires_s


def begun(stands: Removal | None, now_s: int) -> Removal | None:
    """Begin to remove: from here on nobody can hold the object. None where somebody held it meanwhile, or began too."""
    if stands is None or stands.stage is not Stage.WAITING or is_held(stands, now_s):
        return None
    return stands._replace(stage=Stage.REMOVING)


def put_off(stands: Removal | None, until_s: int) -> Removal | None:
    """Wait after the store failed, before it is asked again."""
    return None if stands is None or stands.stage is not Stage.REMOVING else stands._replace(until_s=until_s)


def finished(stands: Removal | None) -> Removal | None:
    """Record that the object is gone, or another version is in its place."""
    return None if stands is None or stands.stage is Stage.DONE else stands._replace(stage=Stage.DONE)
