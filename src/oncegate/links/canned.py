"""The commonest link, read by one expression: a canned policy in the URL, a ticket, and nothing else.

``commonest_grant`` does what ``verify`` does for such a link, with fewer values on the way; tests hold that both give the
same grant or the same refusal. It knows no other link, and refuses for one reason alone: a wrong signature. Whatever
else it cannot grant is for ``verify``, which says why.

Source: docs/request.md; docs/aws-protocol.md 1.1, 1.6; beside links/verify.py, links/cloudfront.py and links/ticket.py.
"""

from __future__ import annotations

import binascii
import re

from oncegate.links.cloudfront import BAD_SIGNATURE_HINT, FROM_CLOUDFRONT
from oncegate.links.grant import Grant, Operation, Scheme
from oncegate.links.link_id import is_uuid7
from oncegate.links.policy import canned_policy
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import FROM_BASE64URL, NONCE_AHEAD_MAX_MS
from oncegate.links.urls import object_key_of
from oncegate.links.verify import Trust

# Every part is as in the reader that it stands for, or narrower: no escape, no home, numbers below every limit.
_LINK = re.compile(
    rb"(once=([gp])([1-9][0-9]{0,3})?\.([A-Za-z0-9_-]{21}[AQgw]))&Expires=([0-9]{1,18})&Signature=([A-Za-z0-9_~-]{1,1024})"
    rb"&Key-Pair-Id=([A-Za-z0-9_-]{1,128})(?:&Hash-Algorithm=(SHA1|SHA256))?"
)
_OPERATIONS = {
    ("GET", b"g"): Operation.GET,
    ("HEAD", b"g"): Operation.GET,
    ("PUT", b"p"): Operation.PUT,
}


def commonest_grant(request: ViewerRequest, trust: Trust, *, now_s: int) -> Grant | None:
    """Verify a request for a link of the commonest form.

    Args:
        request: as ``verify`` takes it.
        trust: whom to believe.
        now_s: seconds since 1970 UTC.

    Returns:
        What ``verify`` would return; None where the link has another form, or is refused for anything but its signature.

    Raises:
        Refused: BAD_SIGNATURE.
    """
    found = _LINK.fullmatch(request.query)
    # a * would be a wildcard, if the policy came as a custom one
    if found is None or b"*" in request.path:
        return None
    own_query, letter, uses, nonce, expires, signature, key_id, hash_name = found.groups()
    key = trust.keys.get(key_id.decode())
    operation = _OPERATIONS.get((request.method, letter))
    if key is None or operation is None:
        return None
    resource = b"%b://%b%b?%b" % (request.scheme.encode(), request.host.encode(), request.path, own_query)
    try:
        signed = binascii.a2b_base64(signature.translate(FROM_CLOUDFRONT), strict_mode=True)
        is_genuine = key.verify(
            signed, canned_policy(resource, expires), "SHA256" if hash_name == b"SHA256" else "SHA1"
        )
        link_id = binascii.a2b_base64(nonce.translate(FROM_BASE64URL) + b"==")
    except binascii.Error:
        return None
    if not is_genuine:
        raise Refused(Reason.BAD_SIGNATURE, hint=BAD_SIGNATURE_HINT)
    expires_s, made_ms = int(expires), int.from_bytes(link_id[:6])
    if now_s >= expires_s or not is_uuid7(link_id) or made_ms > now_s * 1000 + NONCE_AHEAD_MAX_MS:
        return None
    try:
        object_key = object_key_of(request.path)
    except Refused:
        return None
    return Grant(
        link_id,
        object_key,
        operation,
        int(uses or 1),
        True,  # noqa: FBT003  by place: names would cost a microsecond
        made_ms,
        Scheme.CANNED,
        key_id.decode(),
        expires_s,
    )
