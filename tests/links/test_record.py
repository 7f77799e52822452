"""The record and its JSON: what is written is read, what was not written here is refused, and it stays small."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncegate.links.grant import Operation
from oncegate.uses.record import (
    CLAIMS_MAX,
    MARKS_MAX,
    PLACING_MAX,
    Claim,
    Doubt,
    Issued,
    Lease,
    Placing,
    Record,
    from_json,
    to_json,
)

NOW_S = 1_767_290_400
ids = st.text("abcdefgh0123-_", min_size=1, max_size=16)
sizes = st.integers(0, 2**63 - 1)
plain_claims = st.builds(
    Claim,
    claim_id=ids,
    at_s=st.integers(0, 2**40),
    address=st.none() | st.ip_addresses().map(str),
    gateway=ids,
    size_bytes=st.none(),
    etag=st.just(""),
    paid=st.just(0),
    over=st.just(0),
    is_parallel=st.just(value=False),
    doubt=st.just(Doubt.NONE),
)
claims = plain_claims | st.builds(
    Claim,
    claim_id=ids,
    at_s=st.integers(0, 2**40),
    address=st.none() | st.ip_addresses().map(str),
    gateway=ids,
    size_bytes=sizes,
    etag=ids,
    paid=sizes,
    over=sizes,
    is_parallel=st.booleans(),
    doubt=st.sampled_from(Doubt),
)
records = st.builds(
    Record,
    uses=st.integers(0, 9999),
    claims=st.lists(claims, max_size=5).map(tuple),
    marks=st.lists(ids, max_size=MARKS_MAX).map(tuple),
    is_revoked=st.booleans(),
    lease=st.none() | st.builds(Lease, ids, st.integers(0, 2**40)),
    replaces=st.none() | st.text(max_size=40),
    placing=st.lists(
        st.builds(
            Placing, ids, st.text(st.characters(codec="utf-8"), max_size=20), st.integers(0, 2**40), st.just("") | ids
        ),
        max_size=PLACING_MAX,
    ).map(tuple),
    issued=st.none()
    | st.builds(
        Issued,
        object_key=st.text(st.characters(codec="utf-8"), max_size=20),
        operation=st.sampled_from(Operation),
        uses=st.integers(1, 9999),
        made_s=sizes,
        expires_s=sizes,
        label=st.text(st.characters(codec="utf-8"), max_size=20),
    ),
)


@given(records.filter(lambda record: record.replaces is None or record.replaces.isprintable()))
def test_a_record_reads_as_it_was_written(record: Record) -> None:
    """Every gateway reads what any other wrote; what is left out must mean its usual value."""
    text = to_json(record)
    assert from_json(text) == record
    assert to_json(from_json(text)) == text


CLAIM = '["9f3kQ2m7xT0aBcDe",1767290400,"203.0.113.178","x7Qa"]'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "0",
        "[]",
        '"u"',
        "{",
        '{"u":0,"z":1}',
        '{"uses":1}',
        '{"u":null}',
        '{"u":"many"}',
        '{"c":1}',
        '{"c":[1]}',
        '{"c":[[]]}',
        '{"c":[["a",1,0]]}',
        f'{{"c":[{CLAIM[:-1]},100]]}}',
        f'{{"c":[{CLAIM[:-1]},100,"e"]]}}',
        f'{{"c":[{CLAIM[:-1]},100,"e",1]]}}',
        f'{{"c":[{CLAIM[:-1]},100,"e",1,0,"1"]]}}',
        f'{{"c":[{CLAIM[:-1]},100,"e",1,0,-1]]}}',
        f'{{"c":[{CLAIM[:-1]},100,"e",1,0,6]]}}',
        f'{{"c":[{CLAIM[:-1]},100,"e",1,0,8]]}}',
        f'{{"c":[{CLAIM[:-1]},100,"e",1,0,1,2]]}}',
        '{"o":1}',
        '{"l":["a"]}',
        '{"l":["a",1,2]}',
        '{"l":1}',
        '{"i":["a"]}',
    ],
)
def test_what_is_no_record_of_this_version_is_an_error(text: str) -> None:
    """A newer version's record or a damaged one must not be taken for unused, or for a claim that paid nothing."""
    with pytest.raises(ValueError, match=r"."):
        from_json(text.encode())


def test_bytes_that_are_no_text_are_an_error() -> None:
    """The same kind of error, so that callers know one."""
    with pytest.raises(ValueError, match=r"."):
        from_json(b"\xff\xff")


def spent(**changes: object) -> Record:
    """A spent link of the usual sizes: ids of 16 characters, an address of IPv4."""
    usual = {"claim_id": "9f3kQ2m7xT0aBcDe", "at_s": NOW_S, "address": "203.0.113.178", "gateway": "x7Qa"}
    return Record(uses=1, claims=(Claim(**(usual | changes)),))  # pyright: ignore[reportArgumentType]


def test_a_plain_spent_record_is_about_sixty_bytes() -> None:
    """It is on disk for every link, ten million times."""
    assert to_json(spent()) == f'{{"c":[{CLAIM}]}}'.encode()
    assert len(to_json(spent())) == 62
    assert len(to_json(spent(address="2001:db8:1234:5678"))) == 67
    assert to_json(Record(uses=0, is_revoked=True)) == b'{"u":0,"r":1}'


@pytest.mark.parametrize("is_parallel", [False, True])
@pytest.mark.parametrize("doubt", Doubt)
def test_a_claim_says_by_one_digit_how_its_transfers_went(*, doubt: Doubt, is_parallel: bool) -> None:
    """1 for parallel, 2 for unread, 4 for unacknowledged; a record for which none of it is true has no digit."""
    record = spent(size_bytes=100, etag="0123abcd", paid=40, is_parallel=is_parallel, doubt=doubt)
    digit = is_parallel + {Doubt.NONE: 0, Doubt.UNREAD: 2, Doubt.UNACKED: 4}[doubt]
    written = json.loads(to_json(record))["c"][0]
    assert written[8:] == ([digit] if digit else [])


def test_the_version_before_reads_every_doubt_as_parallel() -> None:
    """It knows a claim of nine members, whatever the last is, and gives less for it: never more than the slack of then."""
    for doubt in (Doubt.UNREAD, Doubt.UNACKED):
        written = json.loads(to_json(spent(size_bytes=100, etag="0123abcd", paid=40, over=50, doubt=doubt)))["c"][0]
        # word for word what it does with what stands behind the ETag
        paid, over, *parallel = written[6:]
        assert (paid, over, bool(parallel)) == (40, 50, True)


def test_the_largest_usual_record_is_under_220_bytes() -> None:
    """After a break and eight writes, of 5 TiB by IPv6; it holds as long as marks have no more than eight characters."""
    largest = spent(
        address="2001:db8a:1234:5678::",
        size_bytes=5 * 2**40,
        etag="0123abcd",
        paid=5 * 2**40,
        over=16 * 2**20,
        is_parallel=True,
        doubt=Doubt.UNACKED,
    )
    marks = tuple(f"mark-{i:03d}" for i in range(MARKS_MAX))
    text = to_json(Record(uses=1, claims=largest.claims, marks=marks))
    assert len(text) < 220


def test_a_record_of_all_claims_that_are_kept_fits_what_ledgers_take() -> None:
    """DynamoDB bills by the KiB and every backend holds 4 KiB in a row; a link of 9,999 uses stays below."""
    many = Record(
        uses=9999, claims=spent(size_bytes=5 * 2**40, etag="0123abcd", paid=5 * 2**40, over=2**24).claims * CLAIMS_MAX
    )
    assert len(to_json(many)) < 4096
    assert json.loads(to_json(many))["u"] == 9999
