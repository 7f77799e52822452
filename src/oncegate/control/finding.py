"""In which ledgers a link is: its ticket says so; an id alone is looked for in each home."""

from __future__ import annotations

from oncegate.control.parts import ControlParts
from oncegate.control.recording import LedgerSilent, read_record, revoke_link
from oncegate.ledgers.homes import HomeLedger
from oncegate.ledgers.protocol import LedgerUnfit
from oncegate.uses.record import Record


async def home_at(parts: ControlParts, name: str) -> HomeLedger:
    """Return the ledger of a home; of a name that is no further home, the installation's own.

    Raises:
        LedgerSilent: it does not answer.
    """
    if name not in parts.homes.names:
        return parts.own
    try:
        return await parts.homes.at(name)
    except (LedgerUnfit, OSError):
        raise LedgerSilent from None


async def all_homes(parts: ControlParts) -> list[HomeLedger]:
    """Return the ledger of every home, the own one first.

    Raises:
        LedgerSilent: one does not answer.
    """
    return [await home_at(parts, name) for name in ("", *parts.homes.names)]


async def find_link(parts: ControlParts, link_id: bytes) -> list[tuple[HomeLedger, Record]]:
    """Return the record of a link from every ledger that has one.

    Raises:
        LedgerSilent: none that answers has one, and not all answer.
        RecordUnreadable: a record cannot be read.
    """
    found: list[tuple[HomeLedger, Record]] = []
    is_one_silent = False
    for name in ("", *parts.homes.names):
        try:
            home = await home_at(parts, name)
            record = await read_record(home.runner, link_id)
        except LedgerSilent:
            is_one_silent = True
            continue
        if record is not None:
            found.append((home, record))
    if is_one_silent and not found:
        raise LedgerSilent
    return found


async def revoke_everywhere(
    parts: ControlParts, link_id: bytes, *, expires_s: int | None = None
) -> tuple[HomeLedger, Record]:
    """Revoke a link in the ledger that has its record; where none has, in every one, because any may be its home.

    Args:
        parts: of the control API.
        link_id: 16 bytes.
        expires_s: as ``revoke_link`` takes it.

    Returns:
        The first of those ledgers, and the record that is now in it.

    Raises:
        LedgerSilent: whether it is revoked is not known yet.
        RecordUnreadable: its record cannot be read.
    """
    if not parts.homes.names:
        return parts.own, await revoke_link(parts.runner, link_id, expires_s=expires_s)
    homes = [home for home, _ in await find_link(parts, link_id)] or await all_homes(parts)
    revoked = [(home, await revoke_link(home.runner, link_id, expires_s=expires_s)) for home in homes]
    return revoked[0]
