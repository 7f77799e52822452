"""A table that loses answers, is throttled or gone: 503 in time, nothing passed on, and no use lost that need not be."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from edge_world import BROWSER, PROGRAM, EdgeWorld, header, is_passed_on, link, link_id_of, record_in
from two_calls import TwoCalls

IN_TIME_S = 4.0


@pytest.mark.parametrize("fault", ["lose", "drop", "busy"])
def test_one_answer_that_is_lost_costs_nothing(world: EdgeWorld, table: TwoCalls, fault: str) -> None:
    """The same write is repeated, and knows its own item."""
    url = link("a.txt")
    table.faults.append(fault)
    assert is_passed_on(world.view(url))
    record = record_in(table.items, url)
    assert record is not None
    assert (record.uses, len(record.claims)) == (1, 1)
    assert world.view(url)["status"] == "403"


@pytest.mark.parametrize(
    ("method", "fault"),
    [("GET", "lose"), ("GET", "drop"), ("GET", "busy"), ("GET", "dateless"), ("HEAD", "drop"), ("HEAD", "busy")],
)
def test_a_table_that_does_not_answer_is_503_in_time(
    world: EdgeWorld, table: TwoCalls, fault: str, method: str
) -> None:
    """Nothing is passed on, whoever asks; CloudFront would answer 502 after five seconds."""
    table.always = fault
    began = time.monotonic()
    found = world.view(link("a.txt"), method, BROWSER if method == "GET" and fault == "drop" else PROGRAM)
    assert time.monotonic() - began < IN_TIME_S
    assert (found["status"], header(found, "retry-after")) == ("503", "2")
    assert "x-oncegate-claim" not in found["headers"]


@pytest.mark.parametrize("fault", ["lose", "drop"])
def test_the_next_request_to_that_instance_goes_on_with_the_claim(
    world: EdgeWorld, table: TwoCalls, fault: str
) -> None:
    """Whoever it is: nobody had a byte. The one after is refused, there and elsewhere."""
    url = link("a.txt")
    table.always = fault
    assert world.view(url)["status"] == "503"
    table.always = ""
    other = world.instance()
    if fault == "lose":
        assert world.view(url, by=other)["status"] == "403"  # it stands in the table, and is nobody's there
    assert is_passed_on(world.view(url, address="198.51.100.7"))
    assert world.view(url)["status"] == "403"
    assert world.view(url, by=other)["status"] == "403"
    record = record_in(table.items, url)
    assert record is not None
    assert record.uses == 1
    assert world.function._homes[""].unanswered(link_id_of(url)) == ()


def test_an_instance_does_not_remember_what_an_earlier_run_took(world: EdgeWorld, table: TwoCalls) -> None:
    """That run passed its request on; a second viewer at this instance would have the object too."""
    url = link("a.txt")
    other = world.instance()
    assert is_passed_on(world.view(url, request_id="the-same-event", by=other))
    table.faults.extend(["", *["lose"] * 50])  # the insert finds the claim of the other run; what follows is lost
    assert world.view(url, request_id="the-same-event")["status"] == "503"
    table.faults.clear()
    assert world.view(url, address="198.51.100.7")["status"] == "403"


def test_an_instance_that_was_never_answered_does_not_serve_a_repeated_event_too(
    world: EdgeWorld, table: TwoCalls
) -> None:
    """Either the event's second run or the instance's next viewer has the object, and never both."""
    url = link("a.txt")
    table.always = "lose"
    assert world.view(url, request_id="the-same-event")["status"] == "503"
    table.always = ""
    assert is_passed_on(world.view(url, request_id="the-same-event", by=world.instance()))
    assert world.view(url, address="198.51.100.7")["status"] == "403"


def test_an_upload_whose_claim_was_never_answered_goes_on(world: EdgeWorld, table: TwoCalls) -> None:
    """Its lease stands, and would keep it waiting for a minute."""
    url = link("in/a", put=True)
    put = {**PROGRAM, "content-length": "1"}
    table.always = "lose"
    assert world.view(url, "PUT", put)["status"] == "503"
    table.always = ""
    assert is_passed_on(world.view(url, "PUT", put))


def test_what_is_remembered_is_bounded(world: EdgeWorld, table: TwoCalls) -> None:
    """A table that is out of reach for an hour must not fill the instance."""
    home = world.function._homes[""]
    for number in range(500):
        home._remember(number.to_bytes(16), "a claim id")
        home._remember(b"the same link id", f"{number}")
    assert len(home._unanswered) <= world.function.LINKS_REMEMBERED_MAX
    assert len(home.unanswered(b"the same link id")) == world.function.UNANSWERED_MAX


def test_a_home_that_is_down_leaves_the_others_alone(
    world_with: Callable[..., EdgeWorld], table: TwoCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a connection of its own; an instance starts although its first home does not answer."""
    world = world_with(homes={"": "us-east-1", "b": "eu-central-1"})
    world.function._homes["b"]._connection._address = ("127.0.0.1", 1)
    assert world.view(link("a.txt", home="b"))["status"] == "503"
    assert is_passed_on(world.view(link("a.txt")))


def test_a_table_that_is_gone_is_asked_for_its_birth_again(world: EdgeWorld, table: TwoCalls) -> None:
    """Another may take its name, in which every used link would be unused."""
    assert is_passed_on(world.view(link("a.txt")))
    used = link("a.txt")
    table.always = "no table"
    assert world.view(link("b.txt"))["status"] == "503"
    table.always = ""
    table.items.clear()
    table.born("acme", 4_000_000_000_000)
    assert world.view(used)["status"] == "403"


def test_a_table_without_a_birth_opens_nothing(
    world_with: Callable[..., EdgeWorld], table: TwoCalls, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody could tell whether it lost its memory; the log says what to do, and it works once that was done."""
    del table.items["acme", "ledger", "born"]
    world = world_with()
    url = link("a.txt")
    assert world.view(url)["status"] == "503"
    assert "oncegate ledger migrate" in capsys.readouterr().out
    table.born("acme", 0)
    assert is_passed_on(world.view(url))


def test_a_record_of_a_later_version_is_refused(world: EdgeWorld, table: TwoCalls) -> None:
    """It may well mean that the link is revoked."""
    url = link("a.txt", uses=2)
    world.view(url)
    for key, item in table.items.items():
        if key[1] != "ledger":
            item["r"]["S"] = '{"zz":1}'
    found = world.view(url)
    assert found["status"] == "503"
    passed = world.view(link("b.txt"))
    for key, item in table.items.items():
        if key[1] != "ledger":
            item["r"]["S"] = '{"zz":1}'
    assert world.bucket(passed, 404)["status"] == "404"


def test_a_fault_of_the_function_passes_nothing_on(
    world: EdgeWorld, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is, the viewer learns nothing of it, and the log has no URL."""
    monkeypatch.setattr(world.function, "verify_as_opened", lambda *_: 1 / 0)
    url = link("secret.txt")
    assert world.view(url)["status"] == "500"
    said = capsys.readouterr().out
    assert "ZeroDivisionError" in said
    assert "secret" not in said


def test_no_log_line_has_a_link_or_a_claim_id(world: EdgeWorld, capsys: pytest.CaptureFixture[str]) -> None:
    """Logs are read by more people than links are sent to."""
    url = link("a.txt")
    passed = world.view(url)
    world.bucket(passed, 404)
    world.view(url, headers=BROWSER)
    said = capsys.readouterr().out
    assert '"claimed"' in said
    for secret in (
        url.partition("Signature=")[2][:20],
        str(header(passed, "x-oncegate-claim")).split(".")[2],
        "https://",
    ):
        assert secret not in said
