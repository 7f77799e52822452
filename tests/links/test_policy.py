"""Policies: exactly the documented form is read, and a Resource covers what CloudFront says it covers."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncegate.links.policy import (
    EPOCH_MAX_S,
    PART_MAX,
    POLICY_MAX_BYTES,
    Match,
    Policy,
    canned_policy,
    custom_policy,
    is_like,
    match_resource,
    read_policy,
)
from oncegate.links.refusal import Reason, Refused
from oncegate.links.verify import verify


@given(st.text(alphabet="ab/*?", max_size=12), st.text(alphabet="ab/*?", max_size=8))
def test_wildcards_match_as_a_regular_expression_would(text: str, pattern: str) -> None:
    """``re`` is slow on nasty patterns and right; ours must be quick and say the same."""
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    assert is_like(text, pattern) == (re.fullmatch(expression, text, re.DOTALL) is not None)


def test_a_nasty_pattern_takes_no_longer_than_text_times_pattern() -> None:
    """A backtracking matcher takes years for this one, and a holder of a genuine link chooses the text."""
    started_s = time.process_time()
    assert not is_like("a" * 4_000, "*a" * 400 + "b")  # a backtracking matcher never ends
    assert not is_like("a" * 4_000, "*" + "a" * 400 + "b")  # the worst for this one: every start is tried to its end
    assert time.process_time() - started_s < 10  # measured: 0.5 s


def covers(resource: str | None, url: str) -> Match | None:
    """Match a Resource against a URL."""
    scheme, _, rest = url.partition("://")
    host, slash, tail = rest.partition("/")
    path, mark, query = tail.partition("?")
    return match_resource(resource, scheme=scheme, host=host, path=slash + path, query=mark + query)


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        (None, "https://h/a"),
        ("*", "https://h/a?x"),
        ("https://h/*", "https://h/a/b?x=1"),
        ("https://h/a*", "https://h/a?x=1"),
        ("https://h*", "https://h/a?x=1"),
        ("http*://h/a", "https://h/a"),
        ("*://h/a", "http://h/a"),
        ("*/a", "http://h/a"),
        ("https://*.h/a", "https://x.y.h/a"),
        ("https://h/a?c", "https://h/abc"),
        ("https://h/a?x=*", "https://h/a?x=1&y=2"),
        ("https://h/*?x=1", "https://h/a/b?x=1"),
        ("https://h/a\\?x=?", "https://h/a?x=1"),
        ("https://h/a\\?*", "https://h/a?"),
    ],
)
def test_a_resource_with_a_wildcard_covers_and_says_so(resource: str | None, url: str) -> None:
    """Under a wildcard each object has its own link id, so the word must not be missing."""
    found = covers(resource, url)
    assert found is not None
    assert found.is_wildcard


@pytest.mark.parametrize(
    "resource",
    ["https://h/a", "https://h/a?x=1", "https://h/a\\?x=1", "https://H/a"],
)
def test_a_resource_without_one_covers_one_url(resource: str) -> None:
    """Host names have no case; everything else is byte for byte."""
    url = resource.replace("\\", "").replace("H", "h")
    assert covers(resource, url) == Match("x=1" if "x=1" in resource else "", is_wildcard=False)
    for other in (url + "x", url.replace("/a", "/A"), url.replace("https", "http"), url.replace("//h", "//hh")):
        assert covers(resource, other) is None


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://h/a", "https://h/a?x"),
        ("https://h/a", "https://h/a?"),
        ("https://h", "https://h/a"),
        ("h/a", "https://h/a"),
        ("ftp://h/a", "ftp://h/a"),
        ("h*://h/a", "https://h/a"),
        ("https://h/a*b", "https://h/ab?x"),
        ("https://h/a?x=1", "https://h/a"),
        ("https://h/a?x=1", "https://h/a?x=1&once=2"),
        ("https://h/a?x=?", "https://h/aXx=1"),
        ("https://h?/a", "https://h/a"),
        ("https://*/a", "https://h/b/a"),
        ("https://h/?", "https://h/"),
    ],
)
def test_a_wildcard_stays_in_its_section(resource: str, url: str) -> None:
    """A ``*`` of the path that reached into the query would let a holder add parameters."""
    assert covers(resource, url) is None


POLICY = {"Statement": [{"Resource": "https://h/*", "Condition": {"DateLessThan": {"AWS:EpochTime": 2_000_000_000}}}]}


@pytest.mark.parametrize("expires_s", [0, 1, EPOCH_MAX_S])
@pytest.mark.parametrize("not_before_s", [None, 0, 1_999])
@pytest.mark.parametrize("source_ip", [None, "192.0.2.1", "192.0.2.0/24"])
def test_a_policy_reads_as_it_was_written(expires_s: int, not_before_s: int | None, source_ip: str | None) -> None:
    """An address alone is written as a network of one."""
    policy = Policy("https://h/*", expires_s, not_before_s, source_ip)
    text = custom_policy(policy)
    network = f"{source_ip}/32" if source_ip == "192.0.2.1" else source_ip
    assert read_policy(text) == policy._replace(source_ip=network)
    assert b" " not in text


def test_a_canned_policy_is_the_smallest_custom_one() -> None:
    """CloudFront rebuilds these bytes; a white space more and no signature would hold."""
    assert canned_policy(b"https://h/*", b"2000000000") == custom_policy(Policy("https://h/*", 2_000_000_000))
    assert json.loads(canned_policy(b"https://h/*", b"2000000000")) == POLICY


def condition(**changes: object) -> str:
    """A policy with another condition."""
    usual = {"DateLessThan": {"AWS:EpochTime": 2_000_000_000}}
    return json.dumps({"Statement": [{"Resource": "https://h/*", "Condition": usual | changes}]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "{",
        '{"Statement":[]}',
        json.dumps({"Statement": POLICY["Statement"] * 2}),
        json.dumps(POLICY | {"Version": "1"}),
        json.dumps({"Statement": [POLICY["Statement"][0] | {"Effect": "Allow"}]}),
        json.dumps({"Statement": [{"Resource": "https://h/*"}]}),
        json.dumps({"Statement": [{"Resource": 1, "Condition": POLICY["Statement"][0]["Condition"]}]}),
        '{"Statement":[{"Resource":"a","Resource":"b","Condition":{"DateLessThan":{"AWS:EpochTime":1}}}]}',
        condition(DateLessThan={"AWS:EpochTime": "1"}),
        condition(DateLessThan={"AWS:EpochTime": 1.5}),
        condition(DateLessThan={"AWS:EpochTime": True}),
        condition(DateLessThan={"AWS:EpochTime": -1}),
        condition(DateLessThan={"AWS:EpochTime": EPOCH_MAX_S + 1}),
        condition(DateLessThan={"aws:EpochTime": 1}),
        condition(DateLessThan={}),
        condition(DateLessThan=1),
        condition(IpAddress={"AWS:SourceIp": "::1"}),
        condition(IpAddress={"AWS:SourceIp": "192.0.2.1/33"}),
        condition(IpAddress={"AWS:SourceIp": 1}),
        condition(IpAddress={"AWS:SourceIp": ["192.0.2.1"]}),
        condition(NotIpAddress={"AWS:SourceIp": "192.0.2.1"}),
        "[" * 5_000,
        "9" * 5_000,
        condition() + " " * POLICY_MAX_BYTES,
    ],
)
def test_a_policy_that_is_not_wholly_understood_is_refused(text: str) -> None:
    """A condition that is skipped is a condition that does not hold; and nothing may raise anything else."""
    with pytest.raises(Refused) as caught:
        read_policy(text.encode())
    assert caught.value.reason is Reason.MALFORMED_POLICY


def test_bytes_that_are_no_text_are_refused() -> None:
    """The bytes come from the viewer; a decoder's error must not become an answer of 500."""
    for raw in (b"\xff\xfe{", b"\x80", b"{\x00}", bytes(range(256))):
        with pytest.raises(Refused):
            read_policy(raw)


def test_what_cannot_be_read_cannot_be_written() -> None:
    """The issuer must learn it, not the viewer."""
    longest = "https://h/" + "a" * (POLICY_MAX_BYTES - len(custom_policy(Policy("https://h/", 1))))
    assert read_policy(custom_policy(Policy(longest, 1))).resource == longest
    with pytest.raises(ValueError, match="longer than 8192 bytes"):
        custom_policy(Policy(longest + "a", 1))
    with pytest.raises(ValueError, match="opens every object"):
        custom_policy(Policy(None, 1))
    with pytest.raises(ValueError, match=r"::1"):
        custom_policy(Policy("https://h/a", 1, source_ip="::1"))


@settings(max_examples=300, deadline=None)
@given(text=st.text("ab", min_size=60, max_size=200), part=st.text("ab?", min_size=30, max_size=60))
def test_a_long_part_between_stars_is_found_like_a_short_one(text: str, part: str) -> None:
    """Parts over 32 characters, and those with ``?``, are looked for in another way."""
    expression = "".join("." if c == "?" else c for c in part)
    for pattern in (f"*{part}*", f"a*{part}*b", f"*{text[10:50]}*", f"*{text[20:59]}*{part[:2]}*"):
        wanted = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
        assert is_like(text, pattern) is (re.fullmatch(wanted, text) is not None), expression


@pytest.mark.parametrize(("length", "is_read"), [(PART_MAX, True), (PART_MAX + 1, False)])
def test_a_part_between_stars_has_a_limit(length: int, *, is_read: bool) -> None:
    """For who reads and for who signs: both sides of it; before the first star and behind the last there is none."""
    resource = f"https://files.example.com/{'p' * 2000}*{'a' * length}*{'t' * 2000}"
    text = json.dumps(
        {"Statement": [{"Resource": resource, "Condition": {"DateLessThan": {"AWS:EpochTime": 1}}}]}
    ).encode()
    if is_read:
        assert read_policy(text).resource == resource
        assert custom_policy(Policy(resource=resource, expires_s=1))
        return
    with pytest.raises(Refused):
        read_policy(text)
    with pytest.raises(ValueError, match="between two"):
        custom_policy(Policy(resource=resource, expires_s=1))


GOOD_POLICY = '{"Statement":[{"Resource":"a","Condition":{"DateLessThan":{"AWS:EpochTime":1}}}]}'


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig"])
def test_a_policy_is_utf_8_without_a_mark(encoding: str) -> None:
    """Python's json reads all of these; CloudFront's reader need not, and one policy would have several bytes."""
    assert read_policy(GOOD_POLICY.encode()).resource == "a"
    with pytest.raises(Refused) as caught:
        read_policy(GOOD_POLICY.encode(encoding))
    assert caught.value.reason is Reason.MALFORMED_POLICY


@pytest.mark.parametrize("escape", [r"\ud800", r"\udfff", r"a\udc00b", r"\ud83d"])
def test_half_of_a_surrogate_pair_is_no_resource(escape: str) -> None:
    """No text of UTF-8 can hold it, so no answer could quote it; a whole pair is a character like any other."""
    with pytest.raises(Refused) as caught:
        read_policy(GOOD_POLICY.replace('"a"', f'"{escape}"').encode())
    assert caught.value.reason is Reason.MALFORMED_POLICY
    assert caught.value.hint.isascii()
    assert read_policy(GOOD_POLICY.replace('"a"', r'"\ud83d\ude00"').encode()).resource == "\N{GRINNING FACE}"


def test_a_policy_for_every_network_asks_for_no_address(door: Any) -> None:
    """``0.0.0.0/0`` restricts nobody: behind a proxy that is not trusted, or by IPv6, such a link works as without it."""
    url = door.custom("/a", source_ip="0.0.0.0/0")
    for address in ("203.0.113.1", "2001:db8::1", None):
        assert verify(replace(door.request(url), address=address, address_is_proof=False), door.trust, now_s=door.now_s)


@pytest.mark.parametrize("source", ["2001:db8::/32", "::1"])
def test_a_policy_that_names_ipv6_is_refused_in_words(source: str) -> None:
    """The words are the issuer's, who may think that the address is mistyped."""
    text = json.dumps(
        {"Statement": [{"Condition": {"DateLessThan": {"AWS:EpochTime": 1}, "IpAddress": {"AWS:SourceIp": source}}}]}
    )
    with pytest.raises(Refused) as caught:
        read_policy(text.encode())
    assert "no IPv6" in caught.value.hint
    with pytest.raises(ValueError, match="no IPv6"):
        custom_policy(Policy("https://h/a", 1, source_ip=source))
