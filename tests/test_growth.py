"""Work that grows with its input and not faster: every reader of what a stranger can send, fed with worst shapes.

A shape is a beginning, a run of one unit, and an end that makes the reader fail late; the runs are of each separator and
of each character that some reader repeats. Where the largest input that is let in costs nearly nothing there is
nothing to measure; elsewhere four times the input must cost less than eight times the CPU time (a square would be 16).
Two doublings are measured together, because beside other programs one of them was seen to cost 2.8 times.
"""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from pydantic import ValidationError

from oncegate.control.bodies.explaining import ExplainOrder
from oncegate.control.bodies.making import LinkOrder
from oncegate.gateway.call import head_of
from oncegate.gateway.checksums import Checksums
from oncegate.gateway.ranges import plan_answer
from oncegate.gateway.viewer import Viewers
from oncegate.keys.pem import load_public_key, load_signing_key, new_key_pair
from oncegate.links import address, cloudfront, people, sigv4
from oncegate.links.cookies import cookies_of
from oncegate.links.disposition import plain_disposition
from oncegate.links.explain import explain
from oncegate.links.grant import Limits
from oncegate.links.kept_headers import kept_headers
from oncegate.links.key_group import KeyGroup
from oncegate.links.parameters import read_parameters
from oncegate.links.policy import POLICY_MAX_BYTES, match_resource, read_policy
from oncegate.links.public_urls import PublicUrls
from oncegate.links.refusal import Reason, Refused, Style
from oncegate.links.request import ViewerRequest
from oncegate.links.ticket import read_ticket
from oncegate.links.upload_head import read_upload_head
from oncegate.links.urls import object_key_of, parse_url
from oncegate.links.verify import Trust, read_limits, verify
from oncegate.server.limits import HEAD_MAX_BYTES, TARGET_MAX_BYTES
from oncegate.settings.tables import ViewerSettings
from oncegate.web.answers import refusal_answer

SMALLEST = 512
RATIO_MAX = 8
NOTHING_S = 0.0002
"""What costs less than this at its largest cannot hold anybody up, and is too short to be measured well."""
TRIES = 3
BODY_MAX_BYTES = 65_536

UNITS = [
    *(bytes([c]) for c in b" \t,;:=&/.-_~+*?#%\\\"'|@!$()[]{}<>^`0a\x00\xff"),
    *(
        b"%41",
        b"%zz",
        b"a=",
        b"a,",
        b"a;",
        b'a",',
        b'"a",',
        b"=a&",
        b"*a",
        b"a*",
        b"?*",
        b"*?",
        b"a.",
        b"./",
        b"\xc3\xa9",
    ),
    *(
        b'{"a":',
        b'"a":0,',
        b"[",
        b"\\u0061",
        b"1,",
        b"sha-256=:",
        b"once=",
        b"for=a,",
        b"10.0.0.1,",
        b"::1,",
        b"og-a=b;",
    ),
]
ENDS = [(b"", b""), (b"a", b"\x01"), (b'"a"', b"x"), (b"bytes=", b"x")]


class Reader(NamedTuple):
    """Something that reads what a stranger sent.

    Attributes:
        read: is given a text and may refuse it.
        largest: in bytes, that is let in.
        beginning: what must stand before a shape, so that it is read at all.
        end: what must stand behind it.
    """

    read: Callable[[bytes], object]
    largest: int
    beginning: bytes = b""
    end: bytes = b""


NOW_S = 1_767_290_400
PRIVATE, PUBLIC = new_key_pair("ecdsa")
SIGNER = load_signing_key(PRIVATE).named("K1")
TRUST = Trust(keys=KeyGroup({"K1": load_public_key(PUBLIC)}), s3=sigv4.S3Trust(credentials={"AKID": "secret"}))
PROXIED = Viewers(
    ViewerSettings(
        public_url=("https://files.example.com",),
        trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::/64")),
    )
)
FORWARDED = Viewers(
    ViewerSettings(
        public_url=("https://files.example.com",),
        trusted_proxies=(ipaddress.ip_network("10.0.0.0/8"),),
        proxy_header="forwarded",
    )
)


def request(path: bytes = b"/a", query: bytes = b"", **headers: bytes) -> ViewerRequest:
    """A viewer's request; ``_`` in names of headers is ``-``."""
    named = tuple((name.replace("_", "-").encode(), value) for name, value in headers.items())
    return ViewerRequest(
        method="GET", scheme="https", host="files.example.com", path=path, query=query, headers=named, address="::1"
    )


def arrive(viewers: Viewers, name: bytes, value: bytes, *, count: int = 1) -> ViewerRequest:
    """Read a request with this header as the gateway does."""
    headers = [(b"host", b"files.example.com"), *([(name, value)] * count)] if name != b"host" else [(name, value)]
    scope = {"method": "GET", "raw_path": b"/a", "query_string": b"", "headers": headers}
    return viewers.request_of(head_of(scope), ("10.0.0.9", 1))


def conditional(name: str) -> Callable[[bytes], object]:
    """Read a condition or a range."""
    return lambda text: plan_answer(request(**{name: text}), size_bytes=1000, etag='"x"', modified_s=NOW_S)


def signed_policy(text: bytes, scheme: str = "Policy") -> bytes:
    """A query whose policy is any text, with a genuine signature over it."""
    signature = cloudfront._encode(SIGNER.sign(text, "SHA256"))
    return f"{scheme}={cloudfront._encode(text)}&Signature={signature}&Key-Pair-Id=K1&Hash-Algorithm=SHA256".encode()


def policy_of(resource: bytes) -> bytes:
    """A policy for a Resource of any bytes."""
    statement = {"Resource": resource.decode("latin-1"), "Condition": {"DateLessThan": {"AWS:EpochTime": NOW_S + 60}}}
    return json.dumps({"Statement": [statement]}, separators=(",", ":"), ensure_ascii=False).encode()


def matched(text: bytes) -> object:
    """Match a path against a Resource made of the same units, which does not fit at its end."""
    pattern = text.decode("latin-1")
    return match_resource(
        f"https://files.example.com/*{pattern}b*{pattern}c", scheme="https", host="files.example.com",
        path="/" + pattern * 2, query="?" + pattern,
    )  # fmt: skip


def s3_query(text: bytes) -> bytes:
    """A presigned URL's query with a text as one of its own parameters."""
    return (
        b"x=" + text + b"&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID/20260101/eu-1/s3/aws4_request"
        b"&X-Amz-Date=20260101T180000Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature=0"
    )


def many_headers(text: bytes) -> object:
    """The same header as often as it fits, each with a part of the text."""
    parts = [text[i : i + 4] for i in range(0, len(text), 4)]
    made = ViewerRequest(
        method="GET", scheme="https", host="h", path=b"/", headers=tuple((b"cookie", part) for part in parts)
    )
    return made.cookies(b"a")


def s3_headers(text: bytes) -> object:
    """A presigned URL that signs a large header as often as its query has room for."""
    names = b"%3B".join([b"x-a"] * (len(text) // 8) + [b"host"])
    query = s3_query(b"").replace(b"SignedHeaders=host", b"SignedHeaders=" + names)
    return verify(request(query=query, x_a=text), TRUST, now_s=1_767_290_400 + 60)


def control_body(text: bytes) -> object:
    """A body of the control API that is any text."""
    return LinkOrder.model_validate_json(text)


READERS: dict[str, Reader] = {
    "path": Reader(lambda t: object_key_of(b"/" + t), TARGET_MAX_BYTES),
    "path of a forged link": Reader(
        lambda t: verify(request(b"/" + t, b"Expires=9&Signature=AA__&Key-Pair-Id=K1"), TRUST, now_s=NOW_S),
        TARGET_MAX_BYTES,
    ),
    "query": Reader(read_parameters, TARGET_MAX_BYTES),
    "query of a forged link": Reader(
        lambda t: verify(request(query=t + b"&Expires=9&Signature=AA__&Key-Pair-Id=K1"), TRUST, now_s=NOW_S),
        TARGET_MAX_BYTES - 64,
    ),
    "Key-Pair-Id": Reader(
        lambda t: verify(request(query=b"Key-Pair-Id=" + t + b"&Expires=9&Signature=AA__"), TRUST, now_s=NOW_S),
        TARGET_MAX_BYTES - 64,
    ),
    "Signature": Reader(
        lambda t: verify(request(query=b"Key-Pair-Id=K1&Expires=9&Signature=" + t), TRUST, now_s=NOW_S),
        TARGET_MAX_BYTES - 64,
    ),
    "Expires": Reader(
        lambda t: verify(request(query=b"Key-Pair-Id=K1&Signature=AA__&Expires=" + t), TRUST, now_s=NOW_S),
        TARGET_MAX_BYTES - 64,
    ),
    "once": Reader(lambda t: read_ticket(t, now_s=NOW_S, homes=frozenset()), TARGET_MAX_BYTES),
    **{
        name: Reader(lambda t, name=name: read_limits({name.encode(): t}), TARGET_MAX_BYTES)
        for name in (
            "once-max",
            "once-type",
            "once-replace",
            "response-content-disposition",
            "response-content-type",
            "once-confirm",
            "once-from",
            "once-note",
        )
    },
    "query of S3": Reader(lambda t: verify(request(query=s3_query(t)), TRUST, now_s=NOW_S), TARGET_MAX_BYTES - 300),
    "headers that S3 signs": Reader(s3_headers, TARGET_MAX_BYTES - 300),
    "policy": Reader(read_policy, POLICY_MAX_BYTES),
    "Resource of a policy": Reader(lambda t: read_policy(policy_of(t)), POLICY_MAX_BYTES - 200),
    "policy of a forged link": Reader(
        lambda t: verify(request(b"/" + t, signed_policy(policy_of(t)).replace(b"K1", b"K2")), TRUST, now_s=NOW_S),
        POLICY_MAX_BYTES - 2_200,
    ),
    "policy of a genuine link": Reader(
        lambda t: verify(request(b"/" + t, signed_policy(policy_of(b"*://*/*" + t + b"b*c"))), TRUST, now_s=NOW_S),
        POLICY_MAX_BYTES - 2_200,
    ),
    "policy and path": Reader(matched, POLICY_MAX_BYTES // 2),
    "policy and path, between stars": Reader(lambda t: matched(t[:1_000]), POLICY_MAX_BYTES // 2),
    "host": Reader(lambda t: arrive(PROXIED, b"host", t), HEAD_MAX_BYTES),
    "host, before it has a limit": Reader(
        lambda t: PublicUrls(["https://files.example.com"]).of_host(t.decode("latin-1")), HEAD_MAX_BYTES
    ),
    "x-forwarded-for": Reader(lambda t: arrive(PROXIED, b"x-forwarded-for", t), HEAD_MAX_BYTES - 64),
    "forwarded": Reader(lambda t: arrive(FORWARDED, b"forwarded", t), HEAD_MAX_BYTES - 64),
    "many headers": Reader(many_headers, HEAD_MAX_BYTES // 2),
    "cookies of CloudFront": Reader(
        lambda t: verify(request(cookie=b"CloudFront-Policy=" + t), TRUST, now_s=NOW_S), TARGET_MAX_BYTES - 32
    ),
    "cookies of ours": Reader(
        lambda t: cookies_of(request()).claim_shown(request(cookie=b"__Host-og-" + t), bytes(16)), TARGET_MAX_BYTES - 32
    ),
    "user-agent": Reader(lambda t: people.looks_ahead(request(user_agent=t)), HEAD_MAX_BYTES - 64),
    "agent in an event": Reader(lambda t: people.agent_of(request(user_agent=t)), HEAD_MAX_BYTES - 64),
    "purpose": Reader(lambda t: people.looks_ahead(request(sec_purpose=t)), HEAD_MAX_BYTES - 64),
    "accept": Reader(lambda t: people.is_navigation(request(accept=t)), HEAD_MAX_BYTES - 64),
    **{
        name: Reader(conditional(name), HEAD_MAX_BYTES - 64)
        for name in ("if_match", "if_none_match", "if_modified_since", "if_unmodified_since", "range")
    },
    "if_range": Reader(
        lambda t: plan_answer(request(range=b"bytes=0-1", if_range=t), size_bytes=1000, etag='"x"', modified_s=NOW_S),
        HEAD_MAX_BYTES - 64,
    ),
    **{
        name: Reader(
            lambda t, name=name: read_upload_head(
                request(**{name: t}), Limits(media_type="a/*"), key="k", max_bytes=10
            ),
            HEAD_MAX_BYTES - 64,
        )
        for name in ("content_length", "content_type", "content_encoding", "x_amz_content_sha256")
    },
    **{
        f"{name}, kept": Reader(lambda t, name=name: kept_headers(request(**{name: t})), HEAD_MAX_BYTES - 64)
        for name in ("content_disposition", "x_amz_meta_a")
    },
    **{
        f"a disposition of {part!r}": Reader(
            lambda t, part=part: plain_disposition("\u00e9" + part * (len(t) // len(part))), TARGET_MAX_BYTES
        )
        for part in ('; filename="', '; filename="\\', "=?a?q?", "; filename-utf8=", "; filename=\t")
    },
    **{
        name: Reader(lambda t, name=name: Checksums(request(**{name: t})), HEAD_MAX_BYTES - 64)
        for name in ("content_md5", "content_digest", "x_amz_checksum_crc32", "x_amz_content_sha256")
    },
    "body of a refusal": Reader(
        lambda t: refusal_answer(
            Refused(Reason.S3_UNKNOWN_KEY, members=(("AWSAccessKeyId", t.decode("latin-1")),)),
            request(accept=t),
            style=Style.S3,
            request_id="r",
        ),
        TARGET_MAX_BYTES,
    ),
    "body of the control API": Reader(control_body, BODY_MAX_BYTES),
    **{
        f"{name} of POST /v1/links": Reader(
            lambda t, name=name: LinkOrder.model_validate({"key": "a", name: t.decode("latin-1")}), BODY_MAX_BYTES
        )
        for name in (
            "key",
            "expires_in",
            "expires_at",
            "source_ip",
            "filename",
            "content_type",
            "label",
            "from",
            "note",
        )
    },
    "address of POST /v1/explain": Reader(
        lambda t: ExplainOrder.model_validate({"url": "a", "address": t.decode("latin-1")}), BODY_MAX_BYTES
    ),
    "url of POST /v1/explain": Reader(lambda t: parse_url("http://" + t.decode("latin-1")), 20_000),
    "link of POST /v1/explain": Reader(
        lambda t: explain(request(b"/" + t, signed_policy(policy_of(t))), TRUST, now_s=NOW_S), POLICY_MAX_BYTES - 2_200
    ),
}


def shapes() -> Iterator[tuple[bytes, bytes, bytes]]:
    """Beginning, unit and end of each shape."""
    for unit, (beginning, end) in itertools.product(UNITS, ENDS):
        yield beginning, unit, end


@pytest.fixture(autouse=True)
def _without_collecting_garbage() -> Iterator[None]:
    """A collection in the middle of one call would be counted as its work."""
    gc.disable()
    yield
    gc.enable()


def seconds(read: Callable[[bytes], object], text: bytes, *, best_of: int) -> float:
    """The least CPU time of this thread that reading a text took; nothing is remembered from one try to the next."""
    best = float("inf")
    for _ in range(best_of):
        address.canonical_address.cache_clear()
        people._judge.cache_clear()
        started = time.thread_time()
        with contextlib.suppress(Refused, ValueError, ValidationError):
            read(text)
        best = min(best, time.thread_time() - started)
    return best


def of_size(shape: tuple[bytes, bytes, bytes], size: int) -> bytes:
    """A shape of just about this size."""
    beginning, unit, end = shape
    return beginning + unit * ((size - len(beginning + end)) // len(unit)) + end


def worst_ratio(times: dict[int, float]) -> tuple[float, int]:
    """By how much four times the input multiplies the time at worst, and the size that it leads to."""
    ratios = [
        (taken / times[size // 4], size) for size, taken in times.items() if size // 4 in times and taken > NOTHING_S
    ]
    return max(ratios, default=(0.0, 0))


def worst_growth(reader: Reader, shape: tuple[bytes, bytes, bytes]) -> tuple[float, int]:
    """The least of some tries at ``worst_ratio``: a busy machine can spoil any of them."""
    sizes = [size for size in (reader.largest >> halved for halved in range(16)) if size >= SMALLEST]
    times = dict.fromkeys(sizes, float("inf"))
    for _ in range(TRIES):
        for size in sizes:
            times[size] = min(times[size], seconds(reader.read, of_size(shape, size), best_of=5))
        if worst_ratio(times)[0] < RATIO_MAX:
            break
    return worst_ratio(times)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.slow
def test_work_grows_no_faster_than_its_input(name: str) -> None:
    """A forged link of 15 KB stopped the process for 13 s, a list of ETags of 16 KB for 16 s."""
    reader = READERS[name]
    for shape in shapes():
        if seconds(reader.read, of_size(shape, reader.largest), best_of=1) < NOTHING_S:
            continue
        ratio, size = worst_growth(reader, shape)
        assert ratio < RATIO_MAX, f"{name}, {shape}: {size} bytes took {ratio:.1f} times as long as a quarter of them"


def test_a_square_is_found() -> None:
    """An expression that begins anew at each character, as those did that stopped the process."""
    reader = Reader(re.compile(rb"a+b").search, 4_096)
    assert worst_growth(reader, (b"", b"a", b""))[0] >= RATIO_MAX


@pytest.mark.parametrize("name", READERS)
def test_no_input_holds_the_loop(name: str) -> None:
    """In one loop a long request is everybody's; here whatever is let in, under a generous limit for busy machines."""
    reader = READERS[name]
    for shape in shapes():
        assert seconds(reader.read, of_size(shape, reader.largest), best_of=2) < 0.1, (name, shape)
