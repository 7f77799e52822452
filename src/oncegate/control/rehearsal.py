"""A use rehearsed: what the ledger and the store would say of a link that verifies, if it were opened now.

Nothing is written. The rules are those of the gateway (``uses/use.py``, ``uses/upload.py``), for a viewer who shows no
cookie and asks for the whole object. No heavy import, so that the command line starts fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from oncegate.control.recording import LedgerSilent, read_record
from oncegate.ledgers.protocol import forget_after
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.explain import Step
from oncegate.links.grant import Grant, Operation
from oncegate.links.refusal import TABLE, Reason
from oncegate.links.verify import Trust
from oncegate.stores.protocol import ObjectInfo, Store, StoreBusy, StoreFault
from oncegate.uses.record import Record, RecordUnreadable
from oncegate.uses.standing import standing_of
from oncegate.uses.upload import UploadAsk, admit_upload
from oncegate.uses.use import Admission, DownloadAsk, Kind, Rules, admit_download, is_too_old

LOOK_MAX_S = 5.0
_FORGOTTEN = "the ledger was swept past the end of this link, so its record may be gone: see oncegate doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the answer is asked of.

    Attributes:
        trust: whom the viewer believes.
        public_urls: of the viewer; a link's host picks one, as its Host header would.
        runner: over the ledger.
        born_ms: of the ledger, milliseconds since 1970 UTC.
        accept_from_ms: what the configuration says instead.
        confirm: of the viewer's configuration.
        store: where the objects are.
        rules: of the configuration.
    """

    trust: Trust
    public_urls: Sequence[str]
    runner: LedgerRunner
    born_ms: int
    accept_from_ms: int | None
    confirm: str
    store: Store
    rules: Rules


async def look(store: Store, grant: Grant) -> tuple[Step, ObjectInfo | None]:
    """Ask the store, as the gateway does before it claims anything.

    Args:
        store: where the objects are.
        grant: of a link that verified.

    Returns:
        The check in words, and the object; None where there is none or the store does not say.
    """
    try:
        async with asyncio.timeout(LOOK_MAX_S):
            opened = await store.look(grant.object_key)
    except (StoreFault, TimeoutError) as fault:
        is_busy = isinstance(fault, StoreBusy | TimeoutError)
        return _refused("object", Reason.STORE_BUSY if is_busy else Reason.STORE_FAILED), None
    info = None
    if opened is not None:
        info = opened.info
        await opened.aclose()
    if grant.operation is Operation.GET:
        if info is None:
            return _refused("object", Reason.NO_OBJECT), None
        return Step(name="object", passed=True, words=f"{info.size_bytes} bytes, {info.content_type}"), info
    if info is None:
        return Step(name="object", passed=True, words="there is none: there is room for the upload"), None
    if not grant.limits.may_replace:
        return _refused("object", Reason.OBJECT_STANDS), info
    return Step(name="object", passed=True, words="there is one, which the link may replace"), info


async def ask_ledger(where: Installation, grant: Grant, info: ObjectInfo | None, now_s: int) -> Step:
    """Apply the rules of a use to the record in the ledger; nothing is written.

    Args:
        where: the installation that is asked.
        grant: of the link.
        info: the object, as ``look`` returned it.
        now_s: seconds since 1970 UTC.
    """
    if not grant.is_counted:
        return Step(name="ledger", passed=True, words='a plain link, not counted: plain_links = "allow"')
    if is_too_old(grant.made_ms, born_ms=where.born_ms, accept_from_ms=where.accept_from_ms):
        return _refused("ledger", Reason.BEFORE_BIRTH)
    try:
        record = await read_record(where.runner, grant.link_id)
    except LedgerSilent:
        return _refused("ledger", Reason.LEDGER_UNKNOWN)
    except RecordUnreadable:
        return Step(name="ledger", passed=False, words="the record is of another version, or damaged")
    health, forget_after_s = where.runner.health, forget_after(grant.expires_s)
    is_forgotten = health.refuses(grant.link_id, forget_after_s)
    if is_forgotten or (record is None and health.may_be_swept(grant.link_id, forget_after_s)):
        return replace(_refused("ledger", Reason.FORGOTTEN), words=_FORGOTTEN)
    said = standing_of(record, now_s=now_s, grant=grant).words
    admission = _admission(record, grant, info, now_s, where.rules)
    if admission.kind is Kind.ADMIT:
        return Step(name="ledger", passed=True, words=said)
    reason = admission.reason or Reason.BUSY
    return replace(_refused("ledger", reason), words=f"{_words_of(reason)} ({said})")


def _admission(record: Record | None, grant: Grant, info: ObjectInfo | None, now_s: int, rules: Rules) -> Admission:
    if grant.operation is Operation.PUT:
        stands = "" if info is None else info.etag
        upload = UploadAsk(
            uses=grant.uses,
            may_replace=grant.limits.may_replace,
            stands=stands,
            claim_id="",
            is_any_key=grant.is_any_key,
        )
        return admit_upload(record, upload, now_s, rules)
    download = DownloadAsk(
        uses=grant.uses,
        size_bytes=0 if info is None else info.size_bytes,
        etag="",
        span=None,
        cookie=None,
        address=None,
        gateway="",
        claim_id="",
        mark="",
    )
    return admit_download(record, download, now_s, rules)


def _refused(name: str, reason: Reason) -> Step:
    return Step(name=name, passed=False, words=_words_of(reason), reason=reason.value)


def _words_of(reason: Reason) -> str:
    return TABLE[reason].words or TABLE[reason].message
