"""What doctor says of a proxy that sends otherwise than the gateway would; tests/system has the proxies that do it right."""

from __future__ import annotations

import httpx
import pytest

from oncegate.cli.checkup.by_proxy import _wrong_with, _wrong_with_events
from oncegate.stores.protocol import ObjectInfo

INFO = ObjectInfo(key="a", size_bytes=5, etag='"x"', modified_s=0, content_type="text/plain")
GOOD = {
    "etag": '"x"', "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT", "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer", "content-security-policy": "sandbox",
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(200, headers=GOOD, content=b"hello"), ""),
        (httpx.Response(206, headers=GOOD, content=b"hello"), "with 206 in place of 200"),
        (httpx.Response(200, headers=GOOD, content=b""), "with 0 bytes that are not the 5 of the object"),
        (httpx.Response(200, headers=GOOD | {"etag": '"y"'}, content=b"hello"), "with an ETag of its own"),
        (httpx.Response(200, headers=GOOD | {"x-og-transfer": "1"}, content=b"hello"), "with x-og-transfer, which is"),
        (httpx.Response(200, headers={"etag": '"x"'}, content=b"hello"), "without last-modified"),
        (
            httpx.Response(200, headers=GOOD | {"content-encoding": "identity"}, content=b"hello"),
            "compressed: what it counts",
        ),
    ],
)
def test_what_differs_is_named(answer: httpx.Response, words: str) -> None:
    """A viewer would meet it first, and an empty answer would cost each link its use."""
    found = _wrong_with(answer, 200, b"hello", INFO)
    assert found.startswith(words)
    assert bool(found) is bool(words)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([{"event": "download", "outcome": "complete", "bytes": 5, "by": "proxy"}], ""),
        ([{"event": "download", "outcome": "complete", "bytes": 4, "by": "proxy"}], "its log tells complete, 4 bytes"),
        ([{"event": "download", "outcome": "broken", "bytes": 5, "by": "proxy"}], "its log tells broken, 5 bytes"),
        ([{"event": "download", "outcome": "complete", "bytes": 5, "taken_by": "proxy"}], "the gateway sends all by"),
        ([], "its log does not tell within 5 s"),
    ],
)
def test_what_the_events_tell_otherwise_is_named(events: list[dict[str, object]], words: str) -> None:
    """A log that goes nowhere is noticed by nobody before the first transfer breaks, and then its use is lost."""
    found = _wrong_with_events(events, 5)
    assert (found.words if found else "").startswith(words)
    assert bool(found) is bool(words)
