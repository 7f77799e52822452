"""The other way to a Grant, for a function that CloudFront calls: CloudFront has checked the signature before.

CloudFront holds the public keys and runs the function only for a request whose signature, key, resource, time and
address it found good, so the function has no key and no cryptography. It checks again everything that needs no key, and
all that oncegate asks beyond AWS, with the code of ``verify``. Where nobody has checked the signature this admits
forged links: only ``edge/`` may use it (tests/architecture/test_layers.py).

Source: docs/aws-protocol.md 1.6.4.
"""

from __future__ import annotations

from oncegate.links import cloudfront
from oncegate.links.grant import Grant
from oncegate.links.key_group import KeyGroup
from oncegate.links.parameters import read_parameters
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.verify import Trust, grant_of


class NothingShown(Exception):
    """The request shows neither ``Expires`` nor ``Policy``, so CloudFront can have checked no signature of it."""


CHECKED_BY_CLOUDFRONT = frozenset(("key", "signature"))
_NO_KEYS = KeyGroup({})


def verify_behind_cloudfront(request: ViewerRequest, trust: Trust, *, now_s: int) -> Grant:
    """Say what a request may do whose signature CloudFront has checked.

    Args:
        request: GET, HEAD or PUT; a page's POST comes as GET.
        trust: homes, and what links without a ticket are worth: ``allow`` or ``refuse``. Its keys are not looked at.
        now_s: seconds since 1970 UTC.

    Returns:
        What the link allows. Without a ticket, its link id names no record: it would be made of the key's digest.

    Raises:
        Refused: it is not to be served; an S3 presigned URL never is, because CloudFront signs the request to the bucket
            itself.
        NothingShown: there is no end to be seen; the behaviour has no trusted key group, or hides what it checked.
        ValueError: ``trust`` counts plain links.
    """
    if trust.plain_links == "once":
        raise ValueError("behind CloudFront a link without a ticket cannot be counted: say allow or refuse")
    parameters = read_parameters(request.query)
    if parameters.is_s3:
        raise Refused(Reason.S3_UNSUPPORTED)
    shown = parameters.cloudfront or cloudfront.values_of_cookies(request)
    if b"Expires" not in shown and b"Policy" not in shown:
        raise NothingShown
    credential = cloudfront.read_credential(request, parameters)
    for name, check in cloudfront.CHECKS:
        if name not in CHECKED_BY_CLOUDFRONT:
            check(credential, request, _NO_KEYS, now_s)
    return grant_of(request, parameters, cloudfront.stated_by(credential, request, issuer=b""), trust, now_s=now_s)
