"""When the object of a link is to be removed: the rules alone, and the row that a ledger keeps of it."""

from __future__ import annotations

import pytest

from oncegate.links.link_id import uuid7
from oncegate.uses.record import Record, RecordUnreadable, from_json
from oncegate.uses.removal import (
    LAST_REMOVAL_ID,
    REMOVAL_ID_BYTE,
    Removal,
    Stage,
    begun,
    delivered,
    finished,
    held,
    is_due,
    put_off,
    removal_from_json,
    removal_id,
    removal_to_json,
)

ENDS_S = 2_000
ROW = Removal("link", "a/ü.txt", '"etag"', uses=2, expires_s=ENDS_S, until_s=1_000)


@pytest.mark.parametrize(
    ("record", "now_s", "due"),
    [
        (Record(uses=2), 999, False),
        (Record(uses=2), 1_000, True),
        (Record(uses=1), 1_000, False),
        (None, 1_000, False),
        (Record(uses=1, is_revoked=True), ENDS_S - 1, False),
        (Record(uses=1, is_revoked=True), ENDS_S, True),
        (Record(uses=1), ENDS_S - 1, False),
        (Record(uses=1), ENDS_S, True),
        (Record(uses=0), ENDS_S, True),
        (None, ENDS_S, True),
    ],
)
def test_an_object_is_due_when_nobody_holds_it_and_its_link_gives_nothing(
    record: Record | None, now_s: int, due: bool
) -> None:
    """Both sides of each instant. A use that is left keeps it until the link ends, and revoking changes nothing of that."""
    assert is_due(ROW, record, now_s) is due


def test_a_held_object_is_not_due_after_the_end_either() -> None:
    """A download that began before the end goes on after it, and may break."""
    assert not is_due(ROW._replace(until_s=ENDS_S + 50), Record(uses=2), ENDS_S + 49)


def test_what_has_begun_goes_on_and_what_is_done_is_over() -> None:
    """Whoever finds a row that another gateway left while it removed finishes it, whatever the record says by then."""
    assert is_due(ROW._replace(stage=Stage.REMOVING), Record(uses=0), 1_000)
    assert not is_due(ROW._replace(stage=Stage.DONE), Record(uses=2), ENDS_S)


def test_a_removal_begins_only_where_nobody_held_the_object_meanwhile() -> None:
    """The row was read before: a claim that came in between wins."""
    assert begun(ROW, 1_000) == ROW._replace(stage=Stage.REMOVING)
    assert begun(ROW._replace(until_s=1_001), 1_000) is None
    assert begun(ROW._replace(stage=Stage.REMOVING), 1_000) is None
    assert begun(None, 1_000) is None


def test_once_it_has_begun_nobody_holds_the_object() -> None:
    """Otherwise a use could be claimed of an object that is being removed."""
    wanted = ROW._replace(until_s=5_000)
    for stage in (Stage.REMOVING, Stage.DONE):
        assert held(ROW._replace(stage=stage), wanted) is None


def test_holding_never_shortens_and_names_the_version_that_was_seen_last() -> None:
    """Of two gateways the one whose clock is behind must not take time from the other's holder."""
    earlier = ROW._replace(until_s=500, etag='"newer"')
    assert held(None, ROW) == ROW
    assert held(ROW, earlier) == ROW._replace(etag='"newer"')
    assert held(ROW, ROW._replace(until_s=999)) is None
    assert held(ROW, ROW._replace(until_s=1_001)) == ROW._replace(until_s=1_001)


def test_only_the_one_use_of_a_link_lets_its_object_go_when_it_arrived() -> None:
    """Of several uses another may still run, or be resumed: then the time that was promised to it counts."""
    one = ROW._replace(uses=1)
    assert delivered(one) == one._replace(until_s=0)
    assert delivered(ROW) is None
    assert delivered(None) is None
    assert delivered(one._replace(stage=Stage.REMOVING)) is None


def test_a_removal_is_put_off_and_finished_only_once_it_has_begun() -> None:
    """Both are harmless when they are done twice."""
    removing = ROW._replace(stage=Stage.REMOVING)
    assert put_off(removing, 3_000) == removing._replace(until_s=3_000)
    assert put_off(ROW, 3_000) is None
    assert finished(removing) == removing._replace(stage=Stage.DONE)
    assert finished(removing._replace(stage=Stage.DONE)) is None


def test_a_row_comes_back_as_it_was_written_and_is_no_record() -> None:
    """A version that knows no removals takes it for unreadable, never for a link that is unused."""
    text = removal_to_json(ROW)
    assert removal_from_json(text) == ROW
    assert len(text) < 120
    with pytest.raises(RecordUnreadable):
        from_json(text)
    for other in (b"{}", b"[]", b'{"d":[]}', b'{"d":["a","b","c",1,2,3,9]}', b'{"u":1}', b"\xff"):
        with pytest.raises(RecordUnreadable):
            removal_from_json(other)


def test_ids_of_rows_lie_between_those_of_tickets_and_of_plain_links() -> None:
    """So lists leave them out in one step, and no nonce of the next eight thousand years is one."""
    ticket = uuid7(7_000_000_000_000 * 35, bytes(10))
    row = removal_id(ticket)
    assert len(row) == 16
    assert ticket < bytes((REMOVAL_ID_BYTE,)) < row <= LAST_REMOVAL_ID < b"\xff"
    assert removal_id(bytes(16)) != removal_id(bytes(15) + b"\1")
