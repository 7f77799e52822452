"""Why a link would be admitted or refused: the checks of its signature, then what the ledger and the store say.

For the issuer: behind a token, and for ``oncegate explain``. Nothing is written. The checks of the signature are those
of ``links/explain.py``; what comes behind them is ``rehearsal``. No heavy import, so that the command line starts fast.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from oncegate.control.rehearsal import Installation, ask_ledger, look
from oncegate.links.explain import Step, explain
from oncegate.links.grant import Grant, Operation
from oncegate.links.link_id import text_of_id
from oncegate.links.pasted import as_pasted, mistake_in
from oncegate.links.public_urls import PublicUrls, Reached
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.urls import Url, parse_url
from oncegate.links.verify import ANY_MOMENT, Trust, authenticate, verify, verify_by_any_method

_NO_HEADERS: Mapping[str, str] = {}
_LATER = ("ledger", "object", "person")
_ASKED = {
    "always": "a browser shows a page with a button first; a program gets 403",
    "auto": "a browser shows a page with a button first; a program gets the object",
    "never": "nobody is asked: a browser too gets the object at once",
}


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
    object_step, info = await look(where.store, grant)
    confirm = grant.limits.confirm or where.confirm
    asked = Step(name="person", passed=True, words=_say_asked(grant, confirm))
    steps += [await ask_ledger(where, grant, info, now_s), object_step, asked]
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
