"""Remove the object of a link that asks for it (``once-delete``), once the link gives nothing any more.

Before a use is claimed the object is held: a row in the ledger says until when it must stay, for as long as the transfer
runs and its holder may still resume it (``uses/removal.py``). Whoever finds a row that is due removes the object, also
another gateway, also after this one was killed at any step: each step is recorded or can be done twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from oncegate.gateway.parts import Parts
from oncegate.gateway.records import record_of
from oncegate.ledgers.claiming import Decide
from oncegate.ledgers.protocol import Scans, Stands, Unknown
from oncegate.ledgers.removals import change_removal, removals_of
from oncegate.ledgers.runner import WAIT_MAX_S
from oncegate.links.grant import Grant
from oncegate.links.link_id import id_of_text, text_of_id
from oncegate.links.refusal import Reason, Refused
from oncegate.stores.protocol import ObjectInfo, StoreFault
from oncegate.uses.record import from_json
from oncegate.uses.removal import (
    KEPT_S,
    RENEW_EVERY_S,
    SPARE_S,
    Removal,
    Stage,
    begun,
    delivered,
    finished,
    held,
    is_due,
    is_held,
    put_off,
    removal_id,
)
from oncegate.uses.use import Admission, Kind

AFTER_FAULT_S = 600


def check_removable(parts: Parts, grant: Grant) -> None:
    """Refuse a link that asks for a removal where none would happen.

    Raises:
        Refused: NOT_IMPLEMENTED, in words.
    """
    message = ""
    if parts.settings.links.delete_after != "allow":
        message = "once-delete is signed into this link, and this gateway removes no objects."
    elif grant.home in parts.homes.names:
        message = (
            "once-delete is signed into this link, and another home counts it: objects are removed by their own home."
        )
    if message:
        raise Refused(Reason.NOT_IMPLEMENTED, message=message, members=(("Parameter", "once-delete"),))


async def why_missing(parts: Parts, grant: Grant) -> Reason:
    """Say what is the matter with a link whose object is not there: removed after its last use, it was used.

    Raises:
        Refused: LEDGER_UNKNOWN.
        RecordUnreadable: its record is of another version, or damaged.
    """
    record = await record_of(parts, grant) if grant.limits.delete_after and grant.is_counted else None
    if record is None:
        return Reason.NO_OBJECT
    return Reason.REVOKED if record.is_revoked else Reason.USED if record.uses >= grant.uses else Reason.NO_OBJECT


async def claim_held(
    parts: Parts,
    grant: Grant,
    info: ObjectInfo,
    *,
    decide: Decide,
    refused: Callable[[Admission], Refused],
    claim: Callable[[], Coroutine[object, object, Admission]],
) -> tuple[Admission, asyncio.Task[None]]:
    """Hold an object, then claim a use of it: held first, so that a kill in between loses nothing.

    What the record says already is refused before the row is written: otherwise whoever has a used link could keep its
    object from being removed.

    Args:
        parts: of the gateway.
        grant: of the link.
        info: the object, looked at.
        decide: the rule for this request.
        refused: what a refusal by it is answered.
        claim: wins the use.

    Returns:
        The admission, and what renews the row for as long as the transfer runs; to be cancelled at its end. From then on
        the object is held for longer than its holder may resume.

    Raises:
        Refused: as ``claim`` does; USED: the object is being removed; FORGOTTEN; LEDGER_UNKNOWN, also where all of it
            takes longer than one claim may.
    """
    try:
        async with asyncio.timeout(WAIT_MAX_S):
            admission = decide(await record_of(parts, grant))
            if admission.kind is Kind.REFUSE:
                parts.meters.claim(admission.kind.value)
                raise refused(admission)
            await _hold(parts, grant, info)
            holding = asyncio.create_task(_keep_held(parts, grant, info))
            try:
                return await claim(), holding
            except BaseException:
                holding.cancel()
                raise
    except TimeoutError:
        raise Refused(Reason.LEDGER_UNKNOWN) from None


def note_delivered(parts: Parts, grant: Grant) -> None:
    """Let the object go at once: the only use of its link has arrived whole, so nobody can resume it."""
    row_id = removal_id(grant.link_id)
    talk = change_removal(row_id, grant.expires_s + KEPT_S, delivered)
    parts.runner.run_in_background(row_id, talk).add_done_callback(lambda _: parts.removal_wanted.set())


async def _hold(parts: Parts, grant: Grant, info: ObjectInfo) -> None:
    if parts.runner.health.unfit is not None:
        raise Refused(Reason.LEDGER_UNKNOWN)
    wanted = Removal(
        link_id=text_of_id(grant.link_id),
        object_key=grant.object_key,
        etag=info.etag,
        uses=grant.uses,
        expires_s=grant.expires_s,
        until_s=parts.now_s() + parts.rules.resume_window_s + SPARE_S,
    )
    row_id = removal_id(grant.link_id)
    talk = change_removal(row_id, wanted.forget_after_s, lambda stands: held(stands, wanted))
    # if nobody waits any more it goes on: held for nothing, the object goes a little later
    holding = parts.runner.run_in_background(row_id, talk)
    done, _ = await asyncio.wait({holding}, timeout=WAIT_MAX_S)
    if not done:
        raise Refused(Reason.LEDGER_UNKNOWN)
    stands = holding.result()
    if not isinstance(stands, Removal):
        raise Refused(Reason.FORGOTTEN)
    if stands.stage is not Stage.WAITING:
        raise Refused(Reason.USED)


async def _keep_held(parts: Parts, grant: Grant, info: ObjectInfo) -> None:
    """Renew the row while a transfer runs. A ledger that does not answer is asked again; half an hour is to spare."""
    while True:
        await asyncio.sleep(RENEW_EVERY_S)
        try:
            await _hold(parts, grant, info)
        except Refused as refused:
            parts.journal.write("fault", where="ledger", what=f"an object is not held: {refused.reason.value}")


async def remove_due(parts: Parts, ledger: Scans) -> None:
    """Remove every object whose row in the ledger is due.

    Raises:
        OSError: the ledger cannot be read.
    """
    async for row_id, removal in removals_of(ledger):
        if removal.stage is Stage.DONE or is_held(removal, parts.now_s()):
            continue
        found = await parts.runner.read(id_of_text(removal.link_id))
        if isinstance(found, Unknown):
            continue
        record = from_json(found.record) if isinstance(found, Stands) else None
        if is_due(removal, record, parts.now_s()):
            await _remove(parts, row_id, removal)


async def _remove(parts: Parts, row_id: bytes, seen: Removal) -> None:
    """Remove one object: say so in its row first, so that nobody can hold it any more, then do it, then record it."""
    now_s = parts.now_s()

    def begin(stands: Removal | None) -> Removal | None:
        return begun(stands, now_s)

    removal = await parts.runner.run(row_id, change_removal(row_id, seen.forget_after_s, begin))
    if not isinstance(removal, Removal) or removal.stage is not Stage.REMOVING:
        return
    try:
        is_removed = await parts.store.remove(removal.object_key, removal.etag)
    except StoreFault as fault:
        parts.journal.write("fault", where="store", what=f"{removal.object_key} was not removed: {fault!r}")
        later_s = now_s + AFTER_FAULT_S
        talk = change_removal(row_id, removal.forget_after_s, lambda stands: put_off(stands, later_s))
        await parts.runner.run(row_id, talk)
        return
    await parts.runner.run(row_id, change_removal(row_id, removal.forget_after_s, finished))
    parts.journal.write(
        "removed",
        link_id=removal.link_id,
        key=removal.object_key,
        outcome="removed" if is_removed else "gone or replaced",
    )
