"""CloudFront signed URLs and cookies: read the credential, check it step by step, and sign.

Each check is a function of its own, so that ``verify`` can stop at the first failure and ``explain`` can run them all.
The signature is checked before the conditions: only the holder of a genuine link may learn that it expired.

Source: docs/aws-protocol.md 1.1-1.7; CloudFront Developer Guide, "Use signed URLs", "Use signed cookies"; vectors cf-*.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import NamedTuple

from oncegate.links.address import is_in_network
from oncegate.links.grant import Scheme, Signed
from oncegate.links.key_group import KeyGroup, SigningKey
from oncegate.links.parameters import Parameters
from oncegate.links.policy import EPOCH_MAX_S, Match, Policy, canned_policy, custom_policy, match_resource, read_policy
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import CREDENTIAL_MAX_BYTES, ViewerRequest
from oncegate.links.urls import unescape

HASH_NAMES = {b"SHA1": "SHA1", b"SHA256": "SHA256"}
EXPIRES_DIGITS_MAX = 25  # the largest has 19; more zeros in front are another policy, and so a bad signature

FROM_CLOUDFRONT = bytes.maketrans(b"-_~+=/", b"+=/!!!")  # an unescaped + = or / is no part of CloudFront's base64
_FROM_STANDARD = bytes.maketrans(b"+=/", b"-_~")
BAD_SIGNATURE_HINT = (
    "the signed URL was changed, re-encoded or shortened, or Hash-Algorithm is missing (SHA256 must be named)"
)


class Credential(NamedTuple):
    """What a signed URL or a set of signed cookies says, decoded but not yet believed.

    The values that ``verify`` makes on its way are named tuples: one costs a third of a frozen dataclass, and the whole
    of ``verify`` may cost a fifth of one signature check (docs/performance.md).

    Attributes:
        key_id: ``Key-Pair-Id``.
        signature: decoded.
        hash_name: ``SHA1`` or ``SHA256``.
        signed_bytes: the policy's bytes, sent or rebuilt.
        policy: the same, read.
        scheme: canned or custom.
        own_query: of the request, without CloudFront's parameters, with its ``?``; empty where there is none.
    """

    key_id: str
    signature: bytes
    hash_name: str
    signed_bytes: bytes
    policy: Policy
    scheme: Scheme
    own_query: bytes


_THIS_URL = Match("", is_wildcard=False)
_URL_WITH_WILDCARDS = Match("", is_wildcard=True)


def values_of_cookies(request: ViewerRequest) -> dict[bytes, bytes]:
    """What a request's signed cookies say, by the names that the parameters of a URL have."""
    prefix = b"CloudFront-"
    cookies = request.cookies(prefix)
    size = sum(len(name) + len(value) for name, value in cookies.items())
    if size and size + len(request.path) + len(request.query) > CREDENTIAL_MAX_BYTES:
        raise Refused(Reason.HEAD_TOO_LARGE, hint="the URL and the CloudFront- cookies together are too large")
    return {name.removeprefix(prefix): value for name, value in cookies.items()}


def read_credential(request: ViewerRequest, parameters: Parameters) -> Credential:
    """Read the credential from the URL, or from cookies where the URL has none of CloudFront's parameters.

    Raises:
        Refused: MISSING_KEY, MALFORMED_POLICY, MALFORMED_EXPIRES, MISSING_SIGNATURE, MALFORMED_SIGNATURE,
            UNSUPPORTED_HASH, DUPLICATE_PARAMETER, HEAD_TOO_LARGE.

    Source: docs/aws-protocol.md 1.5.3 (any one parameter makes it a signed URL), 1.7.
    """
    values = parameters.cloudfront or values_of_cookies(request)
    key_id = unescape(values.get(b"Key-Pair-Id", b""))
    if not key_id:
        raise Refused(Reason.MISSING_KEY)
    own_query = parameters.own_query
    # Policy wins: signers exist that put Expires beside it (docs/aws-protocol.md 1.3; vector cf-policy-and-expires)
    if b"Policy" in values:
        scheme = Scheme.CUSTOM
        signed_bytes = _decode(values[b"Policy"], Reason.MALFORMED_POLICY)
        # Read before its signature is checked, because CloudFront answers garbage with MalformedPolicy. So the text may
        # be a stranger's.
        policy = read_policy(signed_bytes)
    else:
        scheme = Scheme.CANNED
        expires = unescape(values.get(b"Expires", b""))
        if not expires.isdigit() or len(expires) > EXPIRES_DIGITS_MAX or int(expires) > EPOCH_MAX_S:
            raise Refused(Reason.MALFORMED_EXPIRES)
        resource = b"".join((request.scheme.encode(), b"://", request.host.encode(), request.path, own_query))
        signed_bytes = canned_policy(resource, expires)
        # no Resource to match: the policy was built from this request, and the signature tells whether it was signed
        policy = Policy(resource=None, expires_s=int(expires))
    if not values.get(b"Signature"):
        raise Refused(Reason.MISSING_SIGNATURE)
    hash_name = HASH_NAMES.get(values.get(b"Hash-Algorithm", b"SHA1"))
    if hash_name is None:
        raise Refused(Reason.UNSUPPORTED_HASH)
    return Credential(
        key_id=key_id.decode("latin-1"),
        signature=_decode(values[b"Signature"], Reason.MALFORMED_SIGNATURE),
        hash_name=hash_name,
        signed_bytes=signed_bytes,
        policy=policy,
        scheme=scheme,
        own_query=own_query,
    )


def match_of(credential: Credential, request: ViewerRequest) -> Match | None:
    """How a credential covers a request; None: it is for another URL.

    It is asked after the signature was checked: until then the Resource may be a stranger's text.
    """
    if credential.scheme is Scheme.CANNED:
        return _match_canned(request.path, credential.own_query)
    return match_resource(
        credential.policy.resource,
        scheme=request.scheme,
        host=request.host,
        # one character for each byte: CloudFront matches no raw byte that is not ASCII (vector cf-raw-unicode-c)
        path=request.path.decode("latin-1"),
        query=credential.own_query.decode("latin-1"),
    )


def _match_canned(path: bytes, own_query: bytes) -> Match:
    """Say how a canned policy covers its URL.

    A holder can send the bytes of a canned policy as ``Policy``; they are then a custom policy, in which ``*`` and ``?``
    are wildcards. Both ways must lead to the same link id. Otherwise a plain link of ``/a*b`` or ``/f?u=x?y`` could be
    used twice.
    """
    return _URL_WITH_WILDCARDS if b"*" in path or b"*" in own_query or b"?" in own_query[1:] else _THIS_URL


def check_key(credential: Credential, request: ViewerRequest, keys: KeyGroup, now_s: int) -> None:
    """The key is in the key group."""
    if keys.get(credential.key_id) is None:
        raise Refused(Reason.UNKNOWN_KEY, hint="the viewer's key group has no key of this id")


def check_signature(credential: Credential, request: ViewerRequest, keys: KeyGroup, now_s: int) -> None:
    """The signature is of these bytes by this key."""
    key = keys.get(credential.key_id)
    if key is None or not key.verify(credential.signature, credential.signed_bytes, credential.hash_name):
        raise Refused(Reason.BAD_SIGNATURE, hint=BAD_SIGNATURE_HINT)


def check_resource(credential: Credential, request: ViewerRequest, keys: KeyGroup, now_s: int) -> None:
    """The policy's Resource covers this URL."""
    if match_of(credential, request) is None:
        raise Refused(Reason.RESOURCE_MISMATCH, hint=f"the policy is for {credential.policy.resource}")


def check_not_before(credential: Credential, request: ViewerRequest, keys: KeyGroup, now_s: int) -> None:
    """DateGreaterThan has passed: refused at that second and before (docs/aws-protocol.md 1.2.9)."""
    if credential.policy.not_before_s is not None and now_s <= credential.policy.not_before_s:
        raise Refused(Reason.NOT_YET_VALID)


def check_expiry(credential: Credential, request: ViewerRequest, keys: KeyGroup, now_s: int) -> None:
    """DateLessThan has not come: refused at that second and after (vector cf-time-at-expiry)."""
    if now_s >= credential.policy.expires_s:
        raise Refused(Reason.EXPIRED)


def check_address(credential: Credential, request: ViewerRequest, keys: KeyGroup, now_s: int) -> None:
    """The viewer's address is proved, and lies in the policy's network."""
    network = credential.policy.source_ip
    if network is None:
        return
    # behind a proxy that is not configured every viewer has the proxy's address, and anyone can write the header
    if not request.address_is_proof:
        raise Refused(Reason.IP_NOT_ALLOWED, hint="a forwarding header came from a proxy that is not trusted")
    if not is_in_network(request.address, network):
        raise Refused(Reason.IP_NOT_ALLOWED, hint=f"the policy is for {network}, the viewer is {request.address}")


# The order decides what a guesser learns. Before the signature holds, they learn which key ids are known, as from
# CloudFront; the conditions, and their words, are for whoever holds a genuine link.
# The numbers are the steps of docs/aws-protocol.md 1.6; ``read_credential`` takes steps 1 to 5.
Check = Callable[[Credential, ViewerRequest, KeyGroup, int], None]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("key", check_key),  # 6
    ("signature", check_signature),  # 7
    ("resource", check_resource),  # 8
    ("not before", check_not_before),  # 9
    ("expiry", check_expiry),  # 10
    ("address", check_address),  # 11
)


def signed_by(credential: Credential, request: ViewerRequest, keys: KeyGroup) -> Signed:
    """Say what a credential proves. Call it only after every check has passed."""
    key = keys.get(credential.key_id)
    if key is None:
        raise Refused(Reason.BAD_SIGNATURE)
    return stated_by(credential, request, issuer=key.spki_sha256)


def stated_by(credential: Credential, request: ViewerRequest, *, issuer: bytes) -> Signed:
    """Say what a credential states, once its signature is known to hold."""
    match = match_of(credential, request)
    if match is None:
        raise Refused(Reason.BAD_SIGNATURE)
    return Signed(
        scheme=credential.scheme,
        key_id=credential.key_id,
        issuer=issuer,
        signed_bytes=credential.signed_bytes,
        expires_s=credential.policy.expires_s,
        not_before_s=credential.policy.not_before_s,
        is_wildcard=match.is_wildcard,
        signed_query=match.query if credential.scheme is Scheme.CUSTOM else None,
    )


def needs_custom_policy(not_before_s: int | None, source_ip: str | None) -> bool:
    """Whether a canned policy cannot hold these conditions: it names a URL and an end, and nothing else."""
    return not_before_s is not None or source_ip is not None


def sign_url(
    url: str,
    *,
    key: SigningKey,
    expires_s: int,
    not_before_s: int | None = None,
    source_ip: str | None = None,
    custom: bool = False,
    resource: str | None = None,
    hash_name: str = "SHA256",
) -> str:
    """Sign a URL as CloudFront signers do; a custom policy where one is asked for or needed.

    Args:
        url: as it will be requested, percent-encoded, without a fragment and without CloudFront's parameters.
        key: its id goes into ``Key-Pair-Id``.
        expires_s: seconds since 1970 UTC; refused at this second and after.
        not_before_s: refused at this second and before.
        source_ip: IPv4 address or network.
        custom: use a custom policy even where a canned one would do.
        resource: what a custom policy names, with wildcards; None: the URL.
        hash_name: ``SHA256``, or ``SHA1`` for a verifier that knows no other.

    Returns:
        The URL with Expires or Policy, Signature, Key-Pair-Id, and Hash-Algorithm unless it is SHA1.

    Raises:
        ValueError: source_ip is no IPv4 network.

    Source: docs/aws-protocol.md 1.3; vectors cf-plain-*, cf-ec-*.
    """
    if custom or needs_custom_policy(not_before_s, source_ip):
        policy = Policy(resource=resource or url, expires_s=expires_s, not_before_s=not_before_s, source_ip=source_ip)
        signed_bytes = custom_policy(policy)
        first = f"Policy={_encode(signed_bytes)}"
    else:
        signed_bytes = canned_policy(url.encode(), b"%d" % expires_s)
        first = f"Expires={expires_s}"
    signature = _encode(key.sign(signed_bytes, hash_name))
    # An absent Hash-Algorithm means SHA1, so a SHA256 that is not named would be a wrong signature
    # (docs/aws-protocol.md 1.3).
    named_hash = "" if hash_name == "SHA1" else f"&Hash-Algorithm={hash_name}"
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}{first}&Signature={signature}&Key-Pair-Id={key.key_id}{named_hash}"


def _encode(data: bytes) -> str:
    """CloudFront's base64: ``+=/`` become ``-_~`` (it is not RFC 4648's base64url)."""
    return binascii.b2a_base64(data, newline=False).translate(_FROM_STANDARD).decode()


def _decode(text: bytes, reason: Reason) -> bytes:
    """Read CloudFront's base64; ``~`` may come as ``%7E`` (vector cf-same-pct-tilde)."""
    try:
        # Strict, because Python otherwise skips other characters, and garbage would count as a wrong signature in place
        # of a malformed one.
        return binascii.a2b_base64(unescape(text).translate(FROM_CLOUDFRONT), strict_mode=True)
    except binascii.Error:
        raise Refused(reason) from None
