"""What the ledger knows of a link, for whoever only asks: a page, a HEAD, a refusal. Nothing is written."""

from __future__ import annotations

from oncegate.gateway.parts import Parts
from oncegate.ledgers.protocol import Stands, Unknown
from oncegate.links.grant import Grant
from oncegate.links.refusal import Reason, Refused
from oncegate.uses.record import Record, from_json


async def record_of(parts: Parts, grant: Grant) -> Record | None:
    """Read the record of a link; None where it has none.

    Raises:
        Refused: LEDGER_UNKNOWN.
        RecordUnreadable: it is of another version, or damaged.
    """
    found = await parts.runner.read(grant.link_id)
    if isinstance(found, Unknown):
        raise Refused(Reason.LEDGER_UNKNOWN)
    return from_json(found.record) if isinstance(found, Stands) else None
