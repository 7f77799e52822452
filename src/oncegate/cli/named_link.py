"""From what an issuer names to a link: 22 characters of an id, or a URL whose signature verifies.

An expired link, or one for another network, is still a link that its issuer may ask about; a forged one is not. The
checks are those of ``links/verify.py``, without the two that depend on the moment and on who asks.
"""

from __future__ import annotations

from dataclasses import dataclass

from oncegate.cli.main import Misuse, Refusal
from oncegate.cli.wiring import open_keys
from oncegate.gateway.viewer import Viewers
from oncegate.keys.trust import trust_of
from oncegate.links import cloudfront, sigv4
from oncegate.links.grant import Grant, Signed
from oncegate.links.parameters import Parameters, read_parameters
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import id_of_text
from oncegate.links.urls import parse_url
from oncegate.links.verify import Trust, grant_of
from oncegate.settings import Settings

_METHODS = ("GET", "PUT", "HEAD")
_ANY_TIME = frozenset(("not before", "expiry", "address"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A link that somebody named.

    Attributes:
        link_id: 16 bytes.
        grant: what its URL says; None where it was named by its id.
    """

    link_id: bytes
    grant: Grant | None


def read_link(text: str, settings: Settings, *, now_s: int) -> Named:
    """Read ``URL|ID``.

    Args:
        text: as it was typed.
        settings: of the configuration.
        now_s: seconds since 1970 UTC.

    Raises:
        Misuse: neither a URL nor an id.
        Refusal: the URL's signature does not verify here.
    """
    if "://" not in text:
        try:
            return Named(link_id=id_of_text(text), grant=None)
        except ValueError:
            raise Misuse(f"{text[:40]!r} is neither a link nor the 22 characters of a link id") from None
    trust = trust_of(settings, open_keys(settings).group)
    try:
        request = request_of(text, settings)
        grant = _genuine(request, trust, now_s=now_s)
    except ValueError as error:
        raise Misuse(str(error)) from None
    except Refused as refused:
        hint = f" ({refused.hint})" if refused.hint else ""
        raise Refusal(f"{refused.words}{hint}: 'oncegate explain' says more") from None
    return Named(link_id=grant.link_id, grant=grant)


def request_of(url: str, settings: Settings) -> ViewerRequest:
    """The request of a viewer who follows the link, as the gateway reads it.

    Raises:
        ValueError: no absolute http or https URL.
        Refused: MALFORMED_REQUEST.
    """
    link = parse_url(url)
    scope = {
        "method": "GET",
        "raw_path": link.path,
        "query_string": link.query,
        "headers": [(b"host", link.host.encode())],
    }
    return Viewers(settings.viewer).request_of(scope)


def _genuine(request: ViewerRequest, trust: Trust, *, now_s: int) -> Grant:
    """What the link allows when it is its time; of its methods, the one that it was signed for."""
    parameters = read_parameters(request.query)
    sign = _signed_s3 if parameters.is_s3 else _signed_cloudfront
    refusals: list[Refused] = []
    for method in _METHODS:
        asked = request.as_method(method)
        try:
            return grant_of(asked, parameters, sign(asked, parameters, trust, now_s), trust, now_s=now_s)
        except Refused as refused:
            refusals.append(refused)
            if refused.reason not in (Reason.METHOD_NOT_GRANTED, Reason.S3_BAD_SIGNATURE):
                break
    raise refusals[-1]


def _signed_cloudfront(request: ViewerRequest, parameters: Parameters, trust: Trust, now_s: int) -> Signed:
    if parameters.is_s3_v2:
        raise Refused(Reason.S3_SIGNATURE_V2)
    credential = cloudfront.read_credential(request, parameters)
    for name, check in cloudfront.CHECKS:
        if name not in _ANY_TIME:
            check(credential, request, trust.keys, now_s)
    return cloudfront.signed_by(credential, trust.keys)


def _signed_s3(request: ViewerRequest, parameters: Parameters, trust: Trust, now_s: int) -> Signed:
    credential = sigv4.read_credential(request)
    for name, check in sigv4.CHECKS:
        if name not in _ANY_TIME:
            check(credential, request, trust.s3, now_s)
    return sigv4.signed_by(credential, request)
