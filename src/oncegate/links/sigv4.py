"""S3 presigned URLs (Signature Version 4): read and check them in S3's own order, and presign.

S3 decodes path and query once, encodes them again, and sorts the query; that is what is signed. So the order and the
spelling of a link do not matter (``+`` in the query is a space; ``//``, ``.`` and ``..`` stay); the host and the method
do.

Source: docs/aws-protocol.md 2.1-2.4; S3 API Reference, "Authenticating Requests: Using Query Parameters"; vectors s3-*.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from oncegate.links.errors import BadRequest
from oncegate.links.grant import Scheme, Signed
from oncegate.links.key_group import is_equal
from oncegate.links.refusal import Reason, Refused
from oncegate.links.request import ViewerRequest
from oncegate.links.urls import parse_url, unescape, unescape_query

ALGORITHM = "AWS4-HMAC-SHA256"
# S3 serves 604,800 itself, whatever its message says
EXPIRES_MAX_S = 604_800
# seen at S3: 5 minutes ahead are served, an hour is not; 15 minutes is its limit for the Authorization header
SKEW_MAX_S = 900
PARAMETER_NAMES = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)
_DATE_FORM = "%Y%m%dT%H%M%SZ"
_YEAR_9999_ENDS_S = 253_402_300_799
# on text that was read as latin-1, where \d has no digits but 0 to 9
_DATE = re.compile(r"\d{8}T\d{6}Z")
_DAY = re.compile(r"\d{8}")
# as Java reads a long: +300 and 0300 are 300
_NUMBER = re.compile(r"[+-]?\d{1,19}")
_BLANKS = re.compile(rb"[ \t]+")
_CREDENTIAL_FORM = 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a presigned URL says, decoded but not yet believed.

    Attributes:
        pairs: every query parameter but the signature, decoded.
        values: SigV4's own parameters by name, decoded.
        date: ``X-Amz-Date`` as it was sent.
        date_s: the same in seconds since 1970 UTC.
        expires_s: how long it is valid from then on.
    """

    pairs: tuple[tuple[bytes, bytes], ...]
    values: Mapping[str, str]
    date: str
    date_s: int
    expires_s: int

    @property
    def access_key_id(self) -> str:
        """The first part of the credential scope."""
        return self.values["X-Amz-Credential"].split("/")[0]

    @property
    def signed_headers(self) -> tuple[str, ...]:
        """Names of the signed headers, in lower case."""
        return tuple(self.values["X-Amz-SignedHeaders"].split(";"))


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Trust:
    """Whose S3 links are accepted.

    Attributes:
        credentials: access key id to secret; only the gateway has them.
        region: the one expected; empty: any.
    """

    credentials: Mapping[str, str]
    region: str = ""

    def __repr__(self) -> str:
        return f"S3Trust({len(self.credentials)} credentials, region={self.region!r})"


def read_credential(request: ViewerRequest) -> Credential:
    """Read the query of a presigned URL, refusing in S3's order what cannot be read.

    Raises:
        Refused: S3_TWO_AUTH, S3_ALGORITHM, S3_QUERY_PARAMETERS, DUPLICATE_PARAMETER.

    Source: docs/aws-protocol.md 2.4, steps 1 to 5.
    """
    if request.header(b"authorization") is not None:
        raise Refused(Reason.S3_TWO_AUTH)
    pairs: list[tuple[bytes, bytes]] = []
    values: dict[str, str] = {}
    for segment in request.query.split(b"&"):
        if not segment:
            continue
        raw_name, _, raw_value = segment.partition(b"=")
        name, value = unescape_query(raw_name), unescape_query(raw_value)
        if name.startswith(b"X-Amz-"):
            known = name.decode("latin-1")
            # both would be signed, and readers differ in which of them they take
            if known in values:
                raise Refused(Reason.DUPLICATE_PARAMETER)
            values[known] = value.decode("latin-1")
        pairs.append((name, value))
    if values.get("X-Amz-Algorithm", ALGORITHM) != ALGORITHM:
        raise Refused(Reason.S3_ALGORITHM)
    if any(not values.get(name) for name in PARAMETER_NAMES):
        raise Refused(Reason.S3_QUERY_PARAMETERS)
    return Credential(
        pairs=tuple(pair for pair in pairs if pair[0] != b"X-Amz-Signature"),
        values=values,
        date=values["X-Amz-Date"],
        date_s=_read_date(values["X-Amz-Date"]),
        expires_s=_read_expires(values["X-Amz-Expires"]),
    )


def _read_date(text: str) -> int:
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        return int(dt.datetime.strptime(text, _DATE_FORM).replace(tzinfo=dt.UTC).timestamp())
    except ValueError:
        message = "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        raise Refused(Reason.S3_QUERY_PARAMETERS, message=message) from None


def _read_expires(text: str) -> int:
    if not _NUMBER.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise Refused(Reason.S3_QUERY_PARAMETERS, message="X-Amz-Expires should be a number")
    seconds = int(text)
    if seconds == 0:
        raise Refused(Reason.S3_QUERY_PARAMETERS, message="X-Amz-Expires must be greater than zero")
    if seconds < 0:
        raise Refused(Reason.S3_QUERY_PARAMETERS, message="X-Amz-Expires must be non-negative")
    if seconds > EXPIRES_MAX_S:
        message = (
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires "
            f"must be less than {EXPIRES_MAX_S} seconds"
        )
        raise Refused(Reason.S3_QUERY_PARAMETERS, message=message)
    return seconds


def check_not_before(credential: Credential, request: ViewerRequest, trust: S3Trust, now_s: int) -> None:
    """The date is not further ahead than S3's clock skew."""
    if credential.date_s - now_s > SKEW_MAX_S:
        members = (("X-Amz-Date", credential.date), *_times(credential, now_s))
        raise Refused(Reason.S3_NOT_YET_VALID, members=members)


def check_expiry(credential: Credential, request: ViewerRequest, trust: S3Trust, now_s: int) -> None:
    """The last second is still served (vectors s3-get-1s, s3-t-after-expiry)."""
    if now_s - credential.date_s > credential.expires_s:
        members = (("X-Amz-Expires", str(credential.expires_s)), *_times(credential, now_s))
        raise Refused(Reason.S3_EXPIRED, members=members)


def _times(credential: Credential, now_s: int) -> tuple[tuple[str, str], ...]:
    def text(instant_s: int) -> str:
        # anyone may send a date whose end is later than Python's calendar reaches
        return dt.datetime.fromtimestamp(min(instant_s, _YEAR_9999_ENDS_S), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    return ("Expires", text(credential.date_s + credential.expires_s)), ("ServerTime", text(now_s))


def check_scope(credential: Credential, request: ViewerRequest, trust: S3Trust, now_s: int) -> None:
    """The credential scope is of this day, this region, S3."""
    parts = credential.values["X-Amz-Credential"].split("/")
    if len(parts) != 5:
        raise _scope_fault(_CREDENTIAL_FORM)
    _, date, region, service, terminal = parts
    if not _DAY.fullmatch(date):
        text = f'incorrect date format "{date}". This date in the credential must be in the format "yyyyMMdd".'
        raise _scope_fault(text)
    if trust.region and region != trust.region:
        members = (("Region", trust.region),)
        raise _scope_fault(
            f"the region '{region}' is wrong; expecting '{trust.region}'", Reason.S3_WRONG_REGION, members
        )
    if service != "s3":
        raise _scope_fault(f'incorrect service "{service}". This endpoint belongs to "s3".')
    if terminal != "aws4_request":
        raise _scope_fault(f'incorrect terminal "{terminal}". This endpoint uses "aws4_request".')
    if date != credential.date[:8]:
        message = f'Invalid credential date "{date}". This date is not the same as X-Amz-Date: "{credential.date[:8]}".'
        raise Refused(Reason.S3_QUERY_PARAMETERS, message=message)


def _scope_fault(
    text: str, reason: Reason = Reason.S3_QUERY_PARAMETERS, members: tuple[tuple[str, str], ...] = ()
) -> Refused:
    return Refused(reason, message=f"Error parsing the X-Amz-Credential parameter; {text}", members=members)


def check_headers(credential: Credential, request: ViewerRequest, trust: S3Trust, now_s: int) -> None:
    """Host is signed, and so is every ``x-amz-*`` header and Content-MD5 that was sent (docs/aws-protocol.md 2.3.3)."""
    signed = set(credential.signed_headers)
    sent = {name.decode("latin-1") for name, _ in request.headers} | {"host"}
    # these headers change what S3 does: with x-amz-copy-source a PUT copies another object
    must = {name for name in sent if name in ("host", "content-md5") or name.startswith("x-amz-")}
    # x-amz-content-sha256 is signed without being named: it is the canonical request's line of the payload (2.2.8)
    unsigned = sorted(must - signed - {"x-amz-content-sha256"})
    if unsigned:
        raise Refused(Reason.S3_UNSIGNED_HEADER, members=(("HeadersNotSigned", ", ".join(unsigned)),))


def check_key(credential: Credential, request: ViewerRequest, trust: S3Trust, now_s: int) -> None:
    """The access key id is one of ours."""
    if credential.access_key_id not in trust.credentials:
        members = (("AWSAccessKeyId", credential.access_key_id),)
        raise Refused(Reason.S3_UNKNOWN_KEY, members=members)


def check_signature(credential: Credential, request: ViewerRequest, trust: S3Trust, now_s: int) -> None:
    """The signature is of this request. S3's answer shows the canonical request; oncegate's does not (2.4.2)."""
    # S3 signs each header once; of a name given a thousand times the value would be hashed as often
    if len(set(credential.signed_headers)) != len(credential.signed_headers):
        raise Refused(Reason.S3_BAD_SIGNATURE, hint="X-Amz-SignedHeaders names a header twice")
    # the access key is known by now; only ``explain``, which runs every check, gets here with an unknown one
    secret = trust.credentials.get(credential.access_key_id, "")
    expected = _signature(secret, credential.values["X-Amz-Credential"], string_to_sign(credential, request))
    if not is_equal(expected.encode(), credential.values["X-Amz-Signature"].encode("latin-1")):
        absent = [name for name in credential.signed_headers if name != "host" and _is_absent(request, name)]
        differs = f"the request has no header {', '.join(absent)}" if absent else "a signed header differs"
        raise Refused(
            Reason.S3_BAD_SIGNATURE,
            hint=f"the method, the host or the query differs from what was signed, or {differs}",
        )


def _is_absent(request: ViewerRequest, name: str) -> bool:
    return request.header(name.encode("latin-1")) is None


# S3's order, in which times come before the signature: a stranger learns that what they made up has expired.
# The numbers are the steps of docs/aws-protocol.md 2.4; ``read_credential`` takes steps 1 to 5.
Check = Callable[[Credential, ViewerRequest, S3Trust, int], None]
CHECKS: tuple[tuple[str, Check], ...] = (
    ("not before", check_not_before),  # 6
    ("expiry", check_expiry),  # 7
    ("scope", check_scope),  # 8
    ("headers", check_headers),  # 9
    ("key", check_key),  # 10
    ("signature", check_signature),  # 11
)


def signed_by(credential: Credential, request: ViewerRequest) -> Signed:
    """Say what a credential proves. Call it only after every check has passed."""
    return Signed(
        scheme=Scheme.S3,
        key_id=credential.access_key_id,
        issuer=credential.access_key_id.encode("latin-1"),
        signed_bytes=string_to_sign(credential, request),
        # S3 serves its first and its last second; ``Signed`` names the seconds that are refused, one beyond each
        expires_s=credential.date_s + credential.expires_s + 1,
        not_before_s=credential.date_s - SKEW_MAX_S - 1,
        method=request.method,
        signed_headers=frozenset(credential.signed_headers),
    )


def string_to_sign(credential: Credential, request: ViewerRequest) -> bytes:
    """The bytes that the HMAC is over: they name date, scope and the hash of the canonical request.

    Source: docs/aws-protocol.md 2.2.1-2.2.8.
    """
    # "The sorting occurs after encoding": the two orders differ
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in credential.pairs)
    query = "&".join(f"{name}={value}" for name, value in encoded).encode()
    headers = b"".join(
        name.encode("latin-1") + b":" + _header_value(request, name) + b"\n" for name in credential.signed_headers
    )
    moved = dict(credential.pairs).get(b"X-Amz-Content-Sha256")
    payload = request.header(b"x-amz-content-sha256") or moved or b"UNSIGNED-PAYLOAD"
    canonical = b"\n".join(
        (
            request.method.encode(),
            # every spelling of a key is one path, and so one link; nothing is folded (2.2.2)
            quote(unescape(request.path), safe="/-_.~").encode(),
            query,
            headers,
            credential.values["X-Amz-SignedHeaders"].encode("latin-1"),
            payload,
        )
    )
    scope = credential.values["X-Amz-Credential"].partition("/")[2]
    digest = hashlib.sha256(canonical).hexdigest()
    return f"{ALGORITHM}\n{credential.date}\n{scope}\n{digest}".encode("latin-1")


def _header_value(request: ViewerRequest, name: str) -> bytes:
    # the host of the public URL, not of the request: a proxy in front may send a Host of its own
    if name == "host":
        before = request.bucket.encode() + b"." if request.bucket else b""
        return before + request.host.encode()
    return _BLANKS.sub(b" ", (request.header(name.encode("latin-1")) or b"").strip())


def _signature(secret: str, credential: str, text: bytes) -> str:
    key = b"AWS4" + secret.encode()
    for part in credential.split("/")[1:]:
        key = hmac.digest(key, part.encode("latin-1"), "sha256")
    return hmac.digest(key, text, "sha256").hex()


def presign_url(
    url: str, *, method: str, access_key_id: str, secret: str, region: str, now_s: int, expires_in_s: int
) -> str:
    """Presign a URL as S3 SDKs do, over the host alone.

    Args:
        url: as it will be requested, percent-encoded; may have a query.
        method: ``GET``, ``HEAD`` or ``PUT``.
        access_key_id: of a credential that the gateway accepts.
        secret: of the same.
        region: as the gateway expects it.
        now_s: seconds since 1970 UTC; the link is valid from here on.
        expires_in_s: 1 to 604,800.

    Raises:
        BadRequest: expires_in_s is out of range.
    """
    if not 0 < expires_in_s <= EXPIRES_MAX_S:
        raise BadRequest("expires_in", f"an S3 link lives at most {EXPIRES_MAX_S} seconds (7 days)")
    parts = parse_url(url)
    date = dt.datetime.fromtimestamp(now_s, dt.UTC).strftime(_DATE_FORM)
    values = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{access_key_id}/{date[:8]}/{region}/s3/aws4_request",
        "X-Amz-Date": date,
        "X-Amz-Expires": str(expires_in_s),
        "X-Amz-SignedHeaders": "host",
    }
    query = "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in values.items())
    unsigned = f"{url}{'&' if parts.query else '?'}{query}"
    parts = parse_url(unsigned)
    request = ViewerRequest(
        method=method, scheme=parts.scheme, host=parts.host, path=parts.path, query=parts.query + b"&X-Amz-Signature=-"
    )
    # through the reader of links, so that the same bytes are signed and checked
    credential = read_credential(request)
    signature = _signature(secret, values["X-Amz-Credential"], string_to_sign(credential, request))
    return f"{unsigned}&X-Amz-Signature={signature}"
