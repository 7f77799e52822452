"""Why a link would be admitted or refused: the checks of its signature, then what the ledger and the store say.

For the issuer: behind a token, and for ``oncegate explain``. Nothing is written. The rules are those of the gateway
(``links/explain.py``, ``uses/use.py``), for a viewer who shows no cookie and asks for the whole object. No heavy import,
so that the command line starts fast.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from oncegate.control.recording import LedgerSilent, read_record
from oncegate.ledgers.protocol import forget_after
from oncegate.ledgers.runner import LedgerRunner
from oncegate.links.explain import Step, explain
from oncegate.links.grant import Grant, Operation
from oncegate.links.link_id import text_of_id
from oncegate.links.pasted import as_pasted, mistake_in
from oncegate.links.public_urls import PublicUrls, Reached
from oncegate.links.refusal import TABLE, Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.urls import Url, parse_url
from oncegate.links.verify import ANY_MOMENT, Trust, authenticate, verify, verify_by_any_method
from oncegate.stores.protocol import ObjectInfo, Store, StoreBusy, StoreFault
from oncegate.uses.record import Record, RecordUnreadable
from oncegate.uses.standing import standing_of
from oncegate.uses.upload import UploadAsk, admit_upload
from oncegate.uses.use import Admission, DownloadAsk, Kind, Rules, admit_download, is_too_old

LOOK_MAX_S = 5.0
_NO_HEADERS: Mapping[str, str] = {}
_LATER = ("ledger", "object", "person")
_ASKED = {
    "always": "a browser shows a page with a button first; a program gets 403",
    "auto": "a browser shows a page with a button first; a program gets the object",
    "never": "nobody is asked: a browser too gets the object at once",
}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer.

    Attributes:
        steps: every check, in the order of a request.
        method: that was assumed.
        grant: what the link allows; None where it does not verify.
        confirm: when a person is asked before a use is spent: the link's ``once-confirm``, or the viewer's setting.
    """

    steps: tuple[Step, ...]
    method: str
    grant: Grant | None
    confirm: str = "auto"

    @property
    def is_admitted(self) -> bool:
        """Whether a request would get through now."""
        return all(step.passed for step in self.steps)

    @property
    def members(self) -> dict[str, object]:
        """As ``POST /v1/explain`` and ``oncegate explain --json`` show it."""
        grant = self.grant
        return {
            "admitted": self.is_admitted,
            "method": self.method,
            "id": None if grant is None else text_of_id(grant.link_id),
            "key": None if grant is None else grant.object_key,
            "confirm": None if grant is None else self.confirm,
            "steps": [asdict(step) for step in self.steps],
        }


async def explain_link(
    url: str,
    where: Installation,
    *,
    now_s: int,
    method: str | None = None,
    address: str | None = None,
    headers: Mapping[str, str] = _NO_HEADERS,
) -> Explanation:
    """Say, check by check, whether and why a link would be admitted.

    Args:
        url: the whole link, as it will be requested.
        where: the installation that is asked.
        now_s: seconds since 1970 UTC.
        method: GET, HEAD or PUT; None: the one that the link is for.
        address: the viewer's, in canonical form; None: nobody in particular.
        headers: of the request; a signature of S3 may cover some.

    Raises:
        ValueError: url is no absolute http or https URL.
    """
    url = as_pasted(url)
    request, reached = PublicUrls(where.public_urls).request_to(url, address=address)
    sent = ((name.lower().encode(), value.encode()) for name, value in headers.items())
    request = request.with_headers(tuple(sent))
    request = request.as_method(method or _method_of(request, where.trust, now_s))
    steps = [_say_host(parse_url(url), reached)]
    steps.extend(_with_address(step, request) for step in explain(request, where.trust, now_s=now_s))
    try:
        grant = verify(request, where.trust, now_s=now_s)
    except Refused:
        if mistake := mistake_in(url, request):
            steps.insert(0, Step(name="link", passed=False, words=mistake))
        steps.extend(Step(name=name, passed=None, words="not reached") for name in _LATER)
        return Explanation(steps=tuple(steps), method=request.method, grant=None)
    object_step, info = await _look(where.store, grant)
    confirm = grant.limits.confirm or where.confirm
    asked = Step(name="person", passed=True, words=_say_asked(grant, confirm))
    steps += [await _ask_ledger(where, request, grant, info, now_s), object_step, asked]
    return Explanation(steps=tuple(steps), method=request.method, grant=grant, confirm=confirm)


def home_of_url(url: str, trust: Trust, public_urls: Sequence[str], *, now_s: int) -> str:
    """Return the home whose ledger counts a link, as its ticket says; empty where it does not verify.

    Raises:
        ValueError: url is no absolute http or https URL.
    """
    request, _ = PublicUrls(public_urls).request_to(url)
    try:
        return verify_by_any_method(request, trust, now_s=now_s)[1].home
    except Refused:
        return ""


def _say_asked(grant: Grant, confirm: str) -> str:
    """Whether a person must press a button, and who decided that."""
    if grant.operation is Operation.PUT:
        return "a browser shows a page that takes a file"
    if not grant.is_counted:
        return "nobody is asked: nothing is counted"
    by = "once-confirm" if grant.limits.confirm else "[viewer] confirm"
    return f"{by} = {confirm}: {_ASKED[confirm]}"


def _say_host(link: Url, reached: Reached) -> Step:
    """Which public URL the link reaches."""
    if not reached.is_known:
        words = f"no public_url is on {link.host}: this link leads elsewhere, or a proxy must rewrite its Host"
        return Step(name="host", passed=False, words=words)
    if reached.scheme != link.scheme:
        words = f"served as {reached.scheme}://{reached.host}, whatever the link's scheme"
    else:
        words = f"{link.scheme}://{link.host}"
    return Step(name="host", passed=True, words=words)


def _method_of(request: ViewerRequest, trust: Trust, now_s: int) -> str:
    """The method that the link is for; of a link that is not genuine, the one that its ticket names."""
    try:
        return verify_by_any_method(request, trust, now_s=now_s)[0]
    except Refused:
        for method in ("DELETE", "POST"):
            with contextlib.suppress(Refused):
                authenticate(request.as_method(method), trust, now_s=now_s, without=ANY_MOMENT)
                return method
        once = [segment for segment in request.query.split(b"&") if segment.startswith(b"once=")]
        return "PUT" if once and once[0].startswith(b"once=p") else "GET"


def _with_address(step: Step, request: ViewerRequest) -> Step:
    """Say in the step that an address must be given, where none was."""
    if step.reason == Reason.IP_NOT_ALLOWED.value and request.address is None:
        return replace(step, words="the link is for one network only: say from which address it is opened")
    return step


async def _look(store: Store, grant: Grant) -> tuple[Step, ObjectInfo | None]:
    """Ask the store, as the gateway does before it claims anything."""
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


async def _ask_ledger(
    where: Installation, request: ViewerRequest, grant: Grant, info: ObjectInfo | None, now_s: int
) -> Step:
    """Apply the rules of a use to the record in the ledger; nothing is written."""
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
    admission = _admission(record, request, grant, info, now_s, where.rules)
    if admission.kind is Kind.ADMIT:
        return Step(name="ledger", passed=True, words=said)
    reason = admission.reason or Reason.BUSY
    return replace(_refused("ledger", reason), words=f"{_words_of(reason)} ({said})")


def _admission(
    record: Record | None, request: ViewerRequest, grant: Grant, info: ObjectInfo | None, now_s: int, rules: Rules
) -> Admission:
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
