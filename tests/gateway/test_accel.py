"""What is handed over to a proxy, what it is told, and what its log lines mean: pure, by tables and at random."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncegate.gateway import accel
from oncegate.gateway.accel import PIECE_BYTES, ProxyLine, is_handed_over, read_line, sent_bytes
from oncegate.gateway.ranges import plan_answer
from oncegate.links.refusal import Refused
from oncegate.links.request import ViewerRequest

SIZE = 1_000_000
ID = "0123456789abcdef0123456789abcdef"
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"5"), (b"etag", b'"x"')]


def request_with(*headers: tuple[bytes, bytes]) -> ViewerRequest:
    """A GET with these headers."""
    return ViewerRequest(method="GET", scheme="http", host="files.example", path=b"/a", headers=headers)


def is_handed(*headers: tuple[bytes, bytes], min_bytes: int = 1) -> bool:
    """Whether a GET with these headers is handed over, as the gateway asks it."""
    request = request_with(*headers)
    plan = plan_answer(request, size_bytes=SIZE, etag='"x"', modified_s=1_000)
    span = plan.span or (0, SIZE)
    return is_handed_over(request, HEADERS, span, is_part=plan.status == 206, min_bytes=min_bytes)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), True),
        (((b"range", b"bytes=0-"),), True),
        (((b"range", b"bytes=5-"),), True),
        (((b"range", b"bytes=5-9"),), True),
        (((b"range", b"bytes=5-9999999"),), True),
        (((b"range", b"bytes=-5"),), False),
        (((b"range", b"bytes=5-9,20-29"),), False),
        (((b"range", b"bytes=9-5"),), False),
        (((b"range", b"Bytes=5-9"),), False),
        (((b"range", b"bytes= 5-9"),), False),
        (((b"range", b"bytes=5-9 "),), False),
        (((b"range", b"items=5-9"),), False),
        (((b"range", b"bytes=5-9"), (b"range", b"bytes=5-9")), False),
        (((b"range", b"bytes=5-9"), (b"if-range", b'"x"')), False),
        (((b"if-range", b'"x"'),), False),
        (((b"if-match", b'"x"'),), False),
        (((b"if-none-match", b'"y"'),), False),
        (((b"if-modified-since", b"Thu, 01 Jan 1970 00:00:00 GMT"),), False),
        (((b"cookie", b"a=b"), (b"accept-encoding", b"gzip")), True),
    ],
)
def test_only_what_both_read_alike_is_handed_over(headers: tuple[tuple[bytes, bytes], ...], expected: bool) -> None:
    """A proxy knows nothing of our ETag, and reads an odd range in its own way: it would send more than was paid for."""
    assert is_handed(*headers) is expected


def as_proxies_read(value: bytes) -> tuple[int, int] | None:
    """The span that nginx and Go take from a range of the plain form."""
    found = re.fullmatch(rb"bytes=(\d+)-(\d*)", value)
    assert found is not None
    end = min(SIZE, int(found[2]) + 1) if found[2] else SIZE
    return (int(found[1]), end) if int(found[1]) < end else None


@given(st.one_of(st.from_regex(rb"bytes=[0-9]{0,8}-[0-9]{0,8}", fullmatch=True), st.binary(max_size=24)))
def test_a_range_that_is_handed_over_means_the_same_to_both(value: bytes) -> None:
    """What the ledger counts is the gateway's reading; what is sent is the proxy's."""
    request = request_with((b"range", value))
    try:
        plan = plan_answer(request, size_bytes=SIZE, etag='"x"', modified_s=0)
    except Refused:
        return
    span = plan.span or (0, SIZE)
    if is_handed_over(request, HEADERS, span, is_part=plan.status == 206, min_bytes=1):
        assert plan.status == 206
        assert as_proxies_read(value) == span


@pytest.mark.parametrize("media_type", [b"audio/wav", b"video/mp4"])
def test_a_part_of_a_film_stays_here_and_the_whole_does_not(media_type: bytes) -> None:
    """A player seeks before it closes what runs: the gateway can take that over, and no proxy."""
    headers = [(name, media_type if name == b"content-type" else value) for name, value in HEADERS]
    assert (b"content-type", media_type) in headers
    request = request_with((b"range", b"bytes=0-"))
    assert not is_handed_over(request, headers, (0, SIZE), is_part=True, min_bytes=1)
    assert is_handed_over(request_with(), headers, (0, SIZE), is_part=False, min_bytes=1)


def test_what_is_short_stays_here() -> None:
    """Below accel_min the gateway sends: one hop less, and the kernel's word on what arrived."""
    ten = (b"range", b"bytes=5-14")
    assert is_handed(ten, min_bytes=10)
    assert not is_handed(ten, min_bytes=11)


def test_a_header_that_no_proxy_carries_keeps_the_object_here() -> None:
    """``x-amz-meta-*`` has names without end, and would be lost without a word."""
    headers = [*HEADERS, (b"x-amz-meta-owner", b"ada")]
    assert not is_handed_over(request_with(), headers, (0, SIZE), is_part=False, min_bytes=1)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_the_location_names_the_key_and_nothing_else(key: str) -> None:
    """A key may hold whatever is a sign in a URL."""
    location, more = accel.folder_headers("/_objects/", key)
    assert re.fullmatch(r"/_objects/[A-Za-z0-9._~/%-]+", location)
    assert more == [(b"x-og-key", key.encode())]


def test_a_bucket_is_asked_for_the_version_and_the_range_that_were_paid() -> None:
    """Nothing of the viewer's request goes to the bucket."""
    url = "http://minio:9000/objects/a%20b?X-Amz-Signature=x"
    told = dict(accel.bucket_headers(url, '"x"', (5, 10)))
    assert told[b"x-og-range"] == b"bytes=5-9"
    assert told[b"x-og-if-match"] == b'"x"'
    assert told[b"x-og-url"] == url.encode()
    assert dict(accel.bucket_headers(url, '"x"', None))[b"x-og-range"] == b""


def caddy(**members: object) -> bytes:
    """A line as Caddy writes it."""
    return json.dumps({"level": "info", "user_id": f"{ID} 9", "status": 200, "size": 7, **members}).encode()


@pytest.mark.parametrize(
    ("datagram", "line"),
    [
        (f"<190>Nov 28 09:21:44 host og: og {ID} 200 7 9".encode(), ProxyLine(ID, 200, 7, 9)),
        (f"og {ID} 206 0 -\n".encode(), ProxyLine(ID, 206, 0, None)),
        (caddy(), ProxyLine(ID, 200, 7, 9)),
        (caddy(user_id=f"{ID} "), ProxyLine(ID, 200, 7, None)),
        (f"xog {ID} 200 7 9".encode(), None),
        (f"og {ID.upper()} 200 7 9".encode(), None),
        (f"og {ID}0 200 7 9".encode(), None),
        (f"og {ID} 200 -7 9".encode(), None),
        (f"og {ID} 200 7".encode(), None),
        (f"og {ID} 200 7 ok".encode(), None),
        (f"og {ID} 200 7 9 and more".encode(), None),
        (caddy(user_id=""), None),
        (caddy(user_id=ID), None),
        (caddy(user_id=f"{ID} 9x"), None),
        (caddy(size=-1), None),
        (caddy(size="7"), None),
        (caddy(status=None), None),
        (b"[]", None),
        (b"{" * 10_000, None),
        (b"", None),
        (caddy(more="x" * accel.LINE_MAX_BYTES), None),
    ],
)
def test_a_line_is_read_whole_or_not_at_all(datagram: bytes, line: ProxyLine | None) -> None:
    """Anything may come to a UDP port; what is no line must neither settle a transfer nor end the listener."""
    assert read_line(datagram) == line


@given(st.binary(max_size=300))
def test_no_datagram_breaks_the_reader(datagram: bytes) -> None:
    """It runs in the event loop, before any check."""
    read_line(datagram)


@pytest.mark.parametrize(
    ("status", "body_bytes", "length_bytes", "sent"),
    [
        (200, SIZE, SIZE, SIZE),
        (206, SIZE + 1, SIZE, SIZE),
        (200, SIZE - 1, SIZE, SIZE),
        (200, SIZE - PIECE_BYTES - 1, SIZE, SIZE - 1),
        (200, 0, SIZE, PIECE_BYTES),
        (200, 10, SIZE, PIECE_BYTES + 10),
        # compressed, another file: how much of the object was in it, nobody knows
        (200, 10, None, SIZE),
        (200, 10, 20, SIZE),
        (404, 153, 153, None),
        (502, 153, 153, None),
        (416, 0, None, None),
        (499, 0, None, PIECE_BYTES),
        (408, 0, None, PIECE_BYTES),
        (0, 0, None, PIECE_BYTES),
    ],
)
def test_what_counts_as_sent_is_never_too_little(
    status: int, body_bytes: int, length_bytes: int | None, sent: int | None
) -> None:
    """A proxy counts a piece once all of it was taken, so the last one may have gone out uncounted."""
    assert sent_bytes(ProxyLine(ID, status, body_bytes, length_bytes), SIZE) == sent
