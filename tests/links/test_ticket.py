"""The ticket's grammar: one spelling each, both sides of every limit, and nothing else that is called ``once``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncegate.links.grant import Operation
from oncegate.links.link_id import id_of_text, is_uuid7, text_of_id, uuid7
from oncegate.links.refusal import Reason, Refused
from oncegate.links.ticket import NONCE_AHEAD_MAX_MS, Ticket, read_ticket

NOW_S = 1_767_290_400
NONCE = uuid7(NOW_S * 1000, bytes(range(10)))
TEXT = text_of_id(NONCE)

tickets = st.builds(
    Ticket,
    operation=st.sampled_from(Operation),
    uses=st.integers(1, 9999),
    nonce=st.builds(uuid7, st.integers(0, NOW_S * 1000), st.binary(min_size=10, max_size=10)),
    home=st.from_regex(r"([a-z0-9]{1,12})?", fullmatch=True),
)


def why(text: str, *, homes: tuple[str, ...] = (), now_s: int = NOW_S) -> Reason | None:
    """Why a ticket is refused; None where it is read."""
    try:
        read_ticket(text.encode(), now_s=now_s, homes=homes)
    except Refused as refused:
        return refused.reason
    return None


@given(tickets)
def test_a_ticket_reads_as_it_was_written(ticket: Ticket) -> None:
    """Issuer and viewer are different programs, perhaps years apart."""
    assert read_ticket(str(ticket).encode(), now_s=NOW_S, homes={ticket.home}) == ticket


@given(tickets, st.data())
def test_a_ticket_has_one_spelling(ticket: Ticket, data: st.DataObject) -> None:
    """Two spellings of one nonce would be one link, but two of another number of uses could be another right."""
    text = bytearray(str(ticket).encode())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0x21, 0x7E))
    try:
        other = read_ticket(bytes(text), now_s=NOW_S + 86_400 * 10**8, homes={ticket.home})
    except Refused:
        return
    assert str(other).encode() == text


@pytest.mark.parametrize("uses", ["", "2", "9", "10", "9999"])
def test_uses_go_up_to_9999(uses: str) -> None:
    """One is written by leaving it out, or as the number."""
    assert read_ticket(f"g{uses}.{TEXT}".encode(), now_s=NOW_S, homes=()).uses == int(uses or 1)
    assert why(f"g1.{TEXT}") is None


@pytest.mark.parametrize(
    "text",
    [
        f"g0.{TEXT}",
        f"g01.{TEXT}",
        f"g10000.{TEXT}",
        f"g-1.{TEXT}",
        f"g+1.{TEXT}",
        f"g\u0661.{TEXT}",
        f"G.{TEXT}",
        f"x.{TEXT}",
        f".{TEXT}",
        f"gp.{TEXT}",
        f"g{TEXT}",
        f"g.{TEXT[:-1]}",
        f"g.{TEXT}A",
        f"g.{TEXT}=",
        f"g.{TEXT}.",
        f"g.{TEXT}.EU",
        f"g.{TEXT}.eu-1",
        f"g.{TEXT}.abcdefghijklm",
        f"g.{TEXT}.eu.eu",
        f" g.{TEXT}",
        f"g.{TEXT}\n",
        f"g.{TEXT[:5]}+{TEXT[6:]}",
        f"g.{TEXT[:5]}%41{TEXT[8:]}",
        "",
        "1",
        "true",
    ],
)
def test_anything_else_is_refused_and_never_taken_for_a_plain_link(text: str) -> None:
    """Whoever wrote ``once`` meant single use; ignoring it would make the link reusable."""
    assert why(text) is Reason.MALFORMED_TICKET


def test_the_four_spare_bits_of_the_nonce_are_zero() -> None:
    """Sixteen spellings of one nonce would decode to the same bytes, and compare as different text in logs."""
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    read = [c for c in last if why(f"g.{TEXT[:-1]}{c}") is None]
    assert read == ["A", "Q", "g", "w"]


@pytest.mark.parametrize(("byte", "value"), [(6, 0x40), (6, 0x80), (8, 0x00), (8, 0x40), (8, 0xC0)])
def test_a_nonce_that_is_no_uuid7_is_refused(byte: int, value: int) -> None:
    """Its first six bytes must be a time: the ledger's birth is compared with it."""
    nonce = bytearray(NONCE)
    nonce[byte] = value | nonce[byte] & 0x0F
    assert not is_uuid7(bytes(nonce))
    assert why(f"g.{text_of_id(bytes(nonce))}") is Reason.MALFORMED_TICKET


@pytest.mark.parametrize(("ahead_ms", "reason"), [(0, None), (1, Reason.TICKET_AHEAD)])
def test_a_nonce_may_lie_a_day_ahead_and_no_more(ahead_ms: int, reason: Reason | None) -> None:
    """Clocks differ; but a ticket from next year would be younger than any ledger, whatever it forgot."""
    nonce = uuid7(NOW_S * 1000 + NONCE_AHEAD_MAX_MS + ahead_ms, bytes(10))
    assert why(f"g.{text_of_id(nonce)}") is reason


def test_no_nonce_of_this_century_begins_like_the_id_of_a_plain_link() -> None:
    """Hash ids begin with 0xff; a nonce that did would lie in the year 10,889."""
    assert why(f"g.{text_of_id(uuid7(0xFF << 40, bytes(10)))}") is Reason.TICKET_AHEAD
    assert uuid7(4_102_444_800_000, bytes(10))[0] == 0x03


@pytest.mark.parametrize(
    ("named", "ours", "reason"),
    [
        ("", (), None),
        ("", ("eu1",), None),
        ("eu1", ("eu1",), None),
        ("eu1", ("us1", "eu1"), None),
        ("us1", ("eu1",), Reason.WRONG_HOME),
        ("ap1", ("us1", "eu1"), Reason.WRONG_HOME),
        ("eu1", (), Reason.WRONG_HOME),
        ("abcdefghijkl", ("abcdefghijkl",), None),
    ],
)
def test_a_ticket_of_another_home_is_refused(named: str, ours: tuple[str, ...], reason: Reason | None) -> None:
    """Counted in two ledgers a link would open twice."""
    assert why(f"g.{TEXT}{'.' if named else ''}{named}", homes=ours) is reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "x"},
        {"operation": "gp"},
        {"uses": 0},
        {"uses": 10_000},
        {"nonce": bytes(16)},
        {"nonce": NONCE[:15]},
        {"home": "EU"},
        {"home": "abcdefghijklm"},
        {"home": "eu\n"},
    ],
)
def test_a_ticket_that_exists_is_valid(wrong: dict[str, object]) -> None:
    """An issuer must not be able to sign what no viewer takes."""
    usual: dict[str, object] = {"operation": Operation.GET, "uses": 1, "nonce": NONCE}
    with pytest.raises(ValueError, match=r"."):
        Ticket(**(usual | wrong))  # pyright: ignore[reportArgumentType]


@given(st.binary(min_size=16, max_size=16))
def test_an_id_is_read_as_it_was_written(link_id: bytes) -> None:
    """Every id, also those of plain links, which are no UUIDs."""
    assert id_of_text(text_of_id(link_id)) == link_id


@pytest.mark.parametrize("text", ["", TEXT[:-1], TEXT + "A", TEXT[:-1] + "B", TEXT[:-1] + "=", "+" * 22, "\u00e9" * 22])
def test_another_spelling_of_an_id_is_no_id(text: str) -> None:
    """``status`` and ``revoke`` must not take two texts for one link, nor one for another."""
    with pytest.raises(ValueError, match=r"."):
        id_of_text(text)
