"""The same checks as ``verify``, run to the end and put into words: for the issuer, never for a stranger.

Nothing is decided here. Each step calls the function that ``verify`` calls; a step that needs the result of a failed
one is listed as not reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from oncegate.links import cloudfront, sigv4
from oncegate.links.grant import Header, Operation, Scheme, Signed
from oncegate.links.instants import instant_text
from oncegate.links.parameters import Parameters, read_parameters
from oncegate.links.refusal import Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import read_ticket
from oncegate.links.verify import (
    Trust,
    granted_operation,
    read_limits,
    refuse_other_signatures,
    served_key,
    signed_limits,
)
from oncegate.links.wishes import wishes_of

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One check.

    Attributes:
        name: of the check.
        passed: None where it was not reached.
        words: what was found, or what is the matter and what to do.
        reason: stable name of the refusal; empty where there is none.
    """

    name: str
    passed: bool | None
    words: str
    reason: str = ""


class _Steps:
    """Collects the outcome of each check."""

    def __init__(self) -> None:
        self.listed: list[Step] = []

    def run(self, name: str, check: Callable[[], _T], words: Callable[[_T], str]) -> _T | None:
        """Run one check; None when it refused."""
        try:
            found = check()
        except Refused as refused:
            said = refused.words if refused.message == refused.row.message else refused.message
            text = f"{said} ({refused.hint})" if refused.hint else said
            self.listed.append(Step(name=name, passed=False, words=text, reason=refused.reason.value))
            return None
        self.listed.append(Step(name=name, passed=True, words=words(found)))
        return found

    def skip(self, *names: str) -> None:
        """List checks that could not be made."""
        self.listed.extend(Step(name=name, passed=None, words="not reached") for name in names)


def explain(request: ViewerRequest, trust: Trust, *, now_s: int) -> list[Step]:
    """Say, check by check, whether and why a request would be admitted; what the ledger and the store say is not here.

    Args:
        request: as ``verify`` takes it.
        trust: whom to believe.
        now_s: seconds since 1970 UTC.
    """
    steps = _Steps()
    parameters = steps.run("parameters", partial(read_parameters, request.query), _say_parameters)
    if parameters is None:
        steps.skip("credential", *_LATER)
        return steps.listed
    signed = _explain_s3(steps, request, trust, now_s) if parameters.is_s3 else None
    if not parameters.is_s3:
        signed = _explain_cloudfront(steps, request, parameters, trust, now_s)
    if signed is None:
        steps.skip(*_LATER)
        return steps.listed
    _explain_narrowing(steps, request, parameters, signed, trust, now_s)
    return steps.listed


_LATER = ("limits", "ticket", "object key", "operation")


def _say_wishes(moved: tuple[Header, ...]) -> str:
    return ", ".join(name.decode("latin-1") for name, _ in moved) or "none in the query"


def _say_parameters(parameters: Parameters) -> str:
    if parameters.is_s3:
        return "an S3 presigned URL"
    return "a CloudFront signed URL" if parameters.cloudfront else "no signature in the URL: cookies are looked at"


def _explain_cloudfront(
    steps: _Steps, request: ViewerRequest, parameters: Parameters, trust: Trust, now_s: int
) -> Signed | None:
    def read() -> cloudfront.Credential:
        refuse_other_signatures(request, parameters)
        return cloudfront.read_credential(request, parameters)

    def say(credential: cloudfront.Credential) -> str:
        policy = "custom" if credential.scheme is Scheme.CUSTOM else "canned"
        return f"{policy} policy, key {credential.key_id}, {credential.hash_name}"

    credential = steps.run("credential", read, say)
    if credential is None:
        steps.skip(*(name for name, _ in cloudfront.CHECKS))
        return None
    not_before_s = credential.policy.not_before_s
    said = {
        "key": "in the key group",
        "signature": "genuine",
        "resource": credential.policy.resource or "this very URL",
        "not before": "no limit" if not_before_s is None else instant_text(not_before_s),
        "expiry": instant_text(credential.policy.expires_s),
        "address": credential.policy.source_ip or "any",
    }
    for name, check in cloudfront.CHECKS:
        steps.run(name, partial(check, credential, request, trust.keys, now_s), lambda _, name=name: said[name])
    return cloudfront.signed_by(credential, request, trust.keys) if _is_genuine(steps) else None


def _is_genuine(steps: _Steps) -> bool:
    """Whether the later checks have a meaning: those of an expired link do, those of a forged one do not."""
    failed = {step.name for step in steps.listed if step.passed is False}
    return not failed & {"key", "signature", "resource"}


def _explain_s3(steps: _Steps, request: ViewerRequest, trust: Trust, now_s: int) -> Signed | None:
    def say(credential: sigv4.Credential) -> str:
        return f"access key id {credential.access_key_id}, signed {credential.date}"

    credential = steps.run("credential", partial(sigv4.read_credential, request), say)
    if credential is None:
        steps.skip(*(name for name, _ in sigv4.CHECKS))
        return None
    said = {
        "not before": credential.date,
        "expiry": instant_text(credential.date_s + credential.expires_s + 1),
        "scope": credential.values["X-Amz-Credential"].partition("/")[2],
        "headers": ", ".join(credential.signed_headers),
        "key": "known here",
        "signature": "genuine",
    }
    for name, check in sigv4.CHECKS:
        steps.run(name, partial(check, credential, request, trust.s3, now_s), lambda _, name=name: said[name])
    failed = {step.name for step in steps.listed if step.passed is False}
    return None if failed & {"scope", "key", "signature"} else sigv4.signed_by(credential, request)


def _explain_narrowing(
    steps: _Steps, request: ViewerRequest, parameters: Parameters, signed: Signed, trust: Trust, now_s: int
) -> None:
    def read() -> dict[bytes, bytes]:
        found = signed_limits(parameters, signed)
        read_limits(found)
        return found

    limits = steps.run(
        "limits",
        read,
        lambda found: ", ".join(sorted(name.decode() for name in found)) or "none",
    )
    if signed.scheme is Scheme.S3:
        steps.run("wishes", lambda: wishes_of(request, parameters, signed), _say_wishes)
    ticket = None
    if limits is None:
        steps.skip("ticket")
    elif b"once" in limits:
        ticket = steps.run(
            "ticket",
            lambda: read_ticket(limits[b"once"], now_s=now_s, homes=trust.homes),
            lambda found: f"{'upload' if found.operation is Operation.PUT else 'download'}, {found.uses} use(s)",
        )
    else:
        steps.run("ticket", lambda: None, lambda _: f'none: a plain link, plain_links = "{trust.plain_links}"')
    key = steps.run("object key", lambda: served_key(request, parameters, signed, trust), str)
    if key is None or limits is None or (b"once" in limits and ticket is None):
        steps.skip("operation")
        return
    steps.run(
        "operation", lambda: granted_operation(request.method, signed, ticket, key, trust), lambda _: request.method
    )
