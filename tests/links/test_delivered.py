"""What is settled of a transfer, by how its connection ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncegate.uses.delivered import Sent, Settlement, may_be_remembered, settlement_of
from oncegate.uses.record import Doubt

NOTHING_DUE = Settlement(0, Doubt.NONE, is_due=False)


def sent(sent_bytes: int, acked_bytes: int | None, *, promised: int = 100, is_head_sent: bool = True) -> Sent:
    """A transfer of which so much was sent and acknowledged."""
    return Sent(promised, sent_bytes, acked_bytes, is_head_sent)


@pytest.mark.parametrize(
    ("told", "settlement"),
    [
        (sent(100, 100)._replace(is_clean=True), NOTHING_DUE),
        (sent(100, None)._replace(is_clean=True), NOTHING_DUE),
        (sent(0, 0, is_head_sent=False)._replace(is_reset=True), Settlement(100, Doubt.NONE, is_due=True)),
        (sent(0, 0)._replace(is_reset=True), Settlement(100, Doubt.NONE, is_due=True)),
        (sent(40, 40)._replace(is_reset=True), Settlement(60, Doubt.UNREAD, is_due=True)),
        (sent(40, 39)._replace(is_reset=True), Settlement(60, Doubt.UNACKED, is_due=True)),
        (sent(100, 100)._replace(is_reset=True), Settlement(0, Doubt.UNREAD, is_due=True)),
        (sent(100, None)._replace(is_reset=True), Settlement(0, Doubt.UNREAD, is_due=True)),
        (sent(100, 0), Settlement(0, Doubt.UNACKED, is_due=True)),
        (sent(40, None), Settlement(60, Doubt.UNACKED, is_due=True)),
        (sent(40, None, promised=40)._replace(is_cut=True), NOTHING_DUE),
        (sent(0, 0, promised=0), NOTHING_DUE),
        (sent(0, 0, promised=0)._replace(is_reset=True), NOTHING_DUE),
        (sent(0, 0, promised=0, is_head_sent=False)._replace(is_reset=True), Settlement(0, Doubt.NONE, is_due=True)),
    ],
    ids=[
        "all arrived",
        "nobody can say more",
        "nothing was sent",
        "a head alone",
        "reset midway, all of it acknowledged",
        "reset midway",
        "reset at the end",
        "reset at the end, and nobody can say more",
        "never acknowledged",
        "closed here midway",
        "cut for its own holder",
        "an object of no bytes",
        "an object of no bytes, then reset",
        "an object of no bytes whose head was not sent",
    ],
)
def test_what_is_settled_by_how_it_ended(told: Sent, settlement: Settlement) -> None:
    """Only what was never sent is given back, and there is no doubt where no byte was sent."""
    assert settlement_of(told) == settlement


@given(
    promised=st.integers(0, 9),
    unsent=st.integers(0, 9),
    acked=st.none() | st.integers(0, 9),
    is_clean=st.booleans(),
    is_reset=st.booleans(),
    is_cut=st.booleans(),
)
def test_what_was_sent_is_never_given_back(
    *, promised: int, unsent: int, acked: int | None, is_clean: bool, is_reset: bool, is_cut: bool
) -> None:
    """Whatever the viewer's machine says: an acknowledgement moves no byte, and a reset neither."""
    told = Sent(promised, max(0, promised - unsent), acked, is_head_sent=True)
    told = told._replace(is_clean=is_clean, is_reset=is_reset, is_cut=is_cut)
    settlement = settlement_of(told)
    assert settlement.back_bytes == promised - told.sent_bytes
    assert not (settlement.doubt and told.sent_bytes == 0)
    assert settlement.is_due or not (settlement.doubt or settlement.back_bytes)


def test_a_link_is_remembered_under_four_conditions() -> None:
    """Each left out refuses somebody wrongly (tests/links/test_use_simulation.py)."""
    clean = sent(100, 100)._replace(is_clean=True)
    assert may_be_remembered(clean, uses=1, is_first_claim=True, is_whole=True)
    assert not may_be_remembered(clean._replace(is_clean=False), uses=1, is_first_claim=True, is_whole=True)
    assert not may_be_remembered(clean, uses=2, is_first_claim=True, is_whole=True)
    assert not may_be_remembered(clean, uses=1, is_first_claim=False, is_whole=True)
    assert not may_be_remembered(clean, uses=1, is_first_claim=True, is_whole=False)
