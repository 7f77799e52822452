"""Conditions and ranges of RFC 9110: the right answer, and a use that only an answer with bytes takes."""

import time
from email.utils import formatdate

import pytest

from homes import Home
from oncegate.gateway.ranges import Plan, plan_answer
from oncegate.links.request import ViewerRequest
from oncegate.testing.raw_http import ask

DATA = bytes(range(256)) * 4
SIZE = len(DATA)


def state_of(home, url):
    """ETag and date of what a link leads to, learnt by HEAD, which spends nothing."""
    head = ask("HEAD", url)
    assert head.status == 200
    return head.header("etag"), head.header("last-modified")


def assert_unspent(home, url):
    """The link still opens, once: nothing before took its use."""
    assert home.record(url) is None
    answer = ask("GET", url)
    assert (answer.status, answer.body) == (200, DATA)
    assert ask("GET", url).status == 403


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("If-Match", "{etag}", 200),
        ("If-Match", '"other", {etag}', 200),
        ("If-Match", "*", 200),
        ("If-Match", '"other"', 412),
        ("If-Match", "W/{etag}", 412),
        ("If-None-Match", "{etag}", 304),
        ("If-None-Match", "W/{etag}", 304),
        ("If-None-Match", '"a", "b", {etag}', 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", '"other"', 200),
        ("If-Modified-Since", "{date}", 304),
        ("If-Modified-Since", "{later}", 304),
        ("If-Modified-Since", "{earlier}", 200),
        ("If-Modified-Since", "yesterday-ish", 200),
        ("If-Unmodified-Since", "{date}", 200),
        ("If-Unmodified-Since", "{earlier}", 412),
        ("If-Unmodified-Since", "no date", 200),
    ],
)
def test_condition_is_answered_before_anything_is_claimed(gateway: Home, name: str, value: str, status: int) -> None:
    """Each condition gets its answer; 304 and 412 have no byte of the object and leave the use untouched."""
    url = gateway.fresh(DATA)
    etag, date = state_of(gateway, url)
    texts = {"etag": etag, "date": date, "earlier": formatdate(1_000_000, usegmt=True)}
    texts["later"] = formatdate(4_000_000_000, usegmt=True)
    answer = ask("GET", url, {name: value.format(**texts)})
    assert answer.status == status
    if status == 200:
        assert answer.body == DATA
        return
    assert DATA not in answer.body
    if status == 304:
        assert answer.header("etag") == etag
        assert answer.body_bytes == 0
    assert_unspent(gateway, url)


@pytest.mark.parametrize(
    "date", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_each_form_of_a_date_is_universal_time(monkeypatch: pytest.MonkeyPatch, date: str) -> None:
    """RFC 9110 5.6.7 has three forms, and the oldest names no zone: it is not that of the gateway's machine."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "America/New_York")
        time.tzset()
        request = ViewerRequest(
            method="GET", scheme="http", host="h", path=b"/k", headers=((b"if-modified-since", date.encode()),)
        )
        plans = [plan_answer(request, size_bytes=1, etag='"e"', modified_s=784_111_777 + late) for late in (0, 1)]
    time.tzset()
    assert plans == [Plan(304), Plan(200)]


def test_etag_outranks_the_date(gateway: Home) -> None:
    """Where both are sent the ETag decides (RFC 9110 13.2.2): dates have no fractions of seconds."""
    url = gateway.fresh(DATA)
    _, date = state_of(gateway, url)
    answer = ask("GET", url, {"If-None-Match": '"other"', "If-Modified-Since": date})
    assert answer.status == 200


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-", 0, SIZE - 1),
        ("bytes=10-19", 10, 19),
        ("bytes=1000-", 1000, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-100", SIZE - 100, SIZE - 1),
        (f"bytes=-{SIZE * 9}", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-{SIZE * 9}", SIZE - 1, SIZE - 1),
        ("BYTES = 5 - 6", 5, 6),
    ],
)
def test_one_range_is_206_with_its_place(gateway: Home, asked: str, first: int, last: int) -> None:
    """The bytes that were named and no others; ``bytes=0-`` is 206 too (Safari asks so, and gives up on 200)."""
    url = gateway.fresh(DATA)
    answer = ask("GET", url, {"Range": asked})
    assert answer.status == 206
    assert answer.body == DATA[first : last + 1]
    assert answer.header("content-range") == f"bytes {first}-{last}/{SIZE}"
    assert answer.header("content-length") == str(last - first + 1)


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-1,5-6",
        "bytes=0-0, -1",
        "bytes=9-5",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "items=0-5",
        "bytes=0-1-2",
        "0-5",
    ],
)
def test_several_ranges_and_nonsense_are_answered_whole(gateway: Home, asked: str) -> None:
    """RFC 9110 14.2 lets a server ignore a Range: several at once would multiply the bytes that a use yields."""
    url = gateway.fresh(DATA)
    answer = ask("GET", url, {"Range": asked})
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.header("content-range") is None


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE + 5}-{SIZE + 9}", "bytes=-0"])
def test_range_behind_the_end_is_416_and_costs_nothing(gateway: Home, asked: str) -> None:
    """416 names the size, so that a client that has all of it knows; the use is untouched."""
    url = gateway.fresh(DATA)
    answer = ask("GET", url, {"Range": asked})
    assert answer.status == 416
    assert answer.header("content-range") == f"bytes */{SIZE}"
    assert "<Code>InvalidRange</Code>" in answer.text
    assert_unspent(gateway, url)


def test_empty_object_has_no_range(gateway: Home) -> None:
    """Every range of nothing is behind its end; the whole of it is 200 with no byte."""
    url = gateway.fresh(b"")
    answer = ask("GET", url, {"Range": "bytes=0-"})
    assert (answer.status, answer.header("content-range")) == (416, "bytes */0")
    assert ask("GET", url).status == 200


@pytest.mark.parametrize(
    ("value", "status"),
    [("{etag}", 206), ('"other"', 200), ("W/{etag}", 200), ("{date}", 206), ("{earlier}", 200), ("nonsense", 200)],
)
def test_if_range_gives_the_part_of_this_version_or_the_whole(gateway: Home, value: str, status: int) -> None:
    """A part of another version than the one a client holds would spoil its file: then it gets the whole."""
    url = gateway.fresh(DATA)
    etag, date = state_of(gateway, url)
    value = value.format(etag=etag, date=date, earlier=formatdate(1_000_000, usegmt=True))
    answer = ask("GET", url, {"Range": "bytes=0-9", "If-Range": value})
    assert answer.status == status
    assert answer.body == (DATA[:10] if status == 206 else DATA)


def test_if_match_comes_before_range(gateway: Home) -> None:
    """A failed condition is 412 even where the range could not be satisfied (RFC 9110 13.2.2)."""
    url = gateway.fresh(DATA)
    assert ask("GET", url, {"Range": f"bytes={SIZE}-", "If-Match": '"other"'}).status == 412
    assert_unspent(gateway, url)


def test_head_honours_conditions_and_ignores_range(gateway: Home) -> None:
    """Range is defined for GET alone; HEAD with a condition is 304 or 412, and nothing of it is a use."""
    url = gateway.fresh(DATA)
    etag, _ = state_of(gateway, url)
    assert ask("HEAD", url, {"Range": "bytes=0-9"}).header("content-length") == str(SIZE)
    assert ask("HEAD", url, {"If-None-Match": etag}).status == 304
    assert ask("HEAD", url, {"If-Match": '"other"'}).status == 412
    assert_unspent(gateway, url)


def test_huge_numbers_in_a_range_are_numbers_or_nothing(gateway: Home) -> None:
    """Twenty digits and more overflow other people's integers; here the range is ignored, never a fault."""
    url = gateway.fresh(DATA, uses=2)
    assert ask("GET", url, {"Range": "bytes=0-" + "9" * 19}).body == DATA
    assert ask("GET", url, {"Range": "bytes=" + "9" * 40 + "-", "Cookie": "none=1"}).status in (200, 416)


def test_conditions_do_not_reopen_a_spent_link(gateway: Home) -> None:
    """A spent link is 403 to a plain GET, and 412 or 304 say no more than HEAD would before: no byte either way."""
    url = gateway.fresh(DATA)
    etag, _ = state_of(gateway, url)
    assert ask("GET", url).status == 200
    for headers in ({"Range": "bytes=0-"}, {"If-Match": etag}, {"If-Range": etag, "Range": "bytes=1-"}):
        answer = ask("GET", url, headers)
        assert (answer.status, DATA[1:] in answer.body) == (403, False)
