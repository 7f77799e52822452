"""What becomes of a use when the bucket has answered, and what a viewer reads of that answer: never the bucket's body."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from edge_world import BROWSER, PROGRAM, EdgeWorld, header, is_passed_on, link, record_in
from two_calls import TwoCalls

PUT = {**PROGRAM, "content-length": "10", "content-type": "text/plain"}


def code_of(found: dict[str, Any]) -> str:
    """The error code in a body of XML."""
    matched = re.search(r"<Code>(\w+)</Code>", found.get("body", ""))
    return matched[1] if matched else ""


def test_a_download_that_is_delivered_writes_nothing_more(world: EdgeWorld, table: TwoCalls) -> None:
    """A download costs one write; the answer goes on as the bucket gave it."""
    passed = world.view(link("a.txt"))
    answer = world.bucket(passed, 200, headers={"etag": '"e"'})
    assert (answer["status"], header(answer, "etag"), "body" in answer) == ("200", '"e"', False)
    assert table.writes == 1


@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [
        (403, "404", "NoSuchKey"), (404, "404", "NoSuchKey"), (500, "503", "ServiceUnavailable"), (503, "503", "ServiceUnavailable"),
        (301, "502", "BadGateway"), (307, "502", "BadGateway"), (400, "502", "BadGateway"),
    ],
)  # fmt: skip
def test_what_brought_no_object_gives_the_use_back(
    world: EdgeWorld, table: TwoCalls, status: int, shown: str, code: str
) -> None:
    """Once it is there, the same link brings it: to anyone, because nobody had a byte."""
    url = link("a.txt")
    answer = world.bucket(world.view(url), status)
    assert (answer["status"], code_of(answer)) == (shown, code)
    assert (header(answer, "retry-after") is not None) is (shown == "503")
    record = record_in(table.items, url)
    assert record is not None
    assert (record.uses, record.claims) == (0, ())
    again = world.view(url, address="198.51.100.7")
    assert is_passed_on(again)
    assert world.bucket(again, 200)["status"] == "200"
    assert world.view(url)["status"] == "403"


def test_read_only_headers_stay_as_they_came(world: EdgeWorld) -> None:
    """CloudFront answers 502 where a function changes them."""
    answer = world.bucket(world.view(link("a.txt")), 404, headers={"via": "1.1 s3", "x-amz-request-id": "R"})
    assert (header(answer, "via"), header(answer, "transfer-encoding")) == ("1.1 s3", "chunked")
    assert header(answer, "x-amz-request-id") is None
    assert header(answer, "cache-control") == "private, no-store"


@pytest.mark.parametrize(
    ("headers", "begins"),
    [
        ({**BROWSER, "sec-fetch-mode": "navigate"}, "<!doctype html>"),
        ({**PROGRAM, "accept": "application/json"}, "{"),
        (PROGRAM, "<?xml"),
    ],
    ids=["a browser", "who asks for JSON", "a program"],
)
def test_a_refusal_is_written_for_who_reads_it(
    world_with: Callable[..., EdgeWorld], headers: dict[str, str], begins: str
) -> None:
    """The bucket was sent none of the viewer's headers, so viewer request says what they read."""
    world = world_with(confirm="never")
    assert world.bucket(world.view(link("a.txt"), headers=headers), 404)["body"].startswith(begins)


def test_an_event_whose_use_was_given_back_takes_none_again(world: EdgeWorld, table: TwoCalls) -> None:
    """CloudFront runs it once more; nobody would give back what it took."""
    url = link("a.txt")
    world.bucket(world.view(url, request_id="the-same-event"), 404)
    assert world.view(url, request_id="the-same-event", by=world.instance())["status"] == "503"
    record = record_in(table.items, url)
    assert record is not None
    assert record.uses == 0


def test_an_answer_that_is_told_twice_gives_back_once(world: EdgeWorld, table: TwoCalls) -> None:
    """Otherwise a link of two uses would have three."""
    url = link("a.txt", uses=2)
    first, second = world.view(url), world.view(url)
    for _ in range(2):
        world.bucket(first, 404)
    record = record_in(table.items, url)
    assert record is not None
    assert (record.uses, len(record.claims)) == (1, 1)
    assert is_passed_on(second)


@pytest.mark.parametrize("value", ["", "use.x", "use.AAAAAAAAAAAAAAAAAAAAAA.id.5..", "lease.....", "use.." * 9])
def test_a_claim_that_was_not_made_here_changes_nothing(world: EdgeWorld, table: TwoCalls, value: str) -> None:
    """A behaviour that lacks the other trigger lets a viewer's header through; they cannot know a claim id."""
    url = link("a.txt")
    passed = world.view(url)
    forged = {**passed, "headers": {**passed["headers"], "x-oncegate-claim": [{"key": "x", "value": value}]}}
    assert world.bucket(forged, 404)["status"] == "404"
    record = record_in(table.items, url)
    assert record is not None
    assert record.uses == 1


def test_without_a_claim_nothing_is_settled(world: EdgeWorld, table: TwoCalls) -> None:
    """HEAD took nothing; its answer has no body, and no words of the bucket either."""
    answer = world.bucket(world.view(link("a.txt"), "HEAD"), 404)
    assert (answer["status"], "body" in answer, table.writes) == ("404", False, 0)


def test_a_give_back_that_fails_leaves_the_use_spent(world: EdgeWorld, table: TwoCalls) -> None:
    """The viewer gets the same answer; at most once goes before at least once."""
    url = link("a.txt")
    passed = world.view(url)
    table.always = "drop"
    assert world.bucket(passed, 404)["status"] == "404"
    table.always = ""
    assert world.view(url)["status"] == "403"


# Uploads.


@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [
        (412, "412", "PreconditionFailed"), (403, "403", "AccessDenied"), (400, "400", "InvalidRequest"), (411, "411", "MissingContentLength"),
        (409, "409", "OperationAborted"), (413, "413", "EntityTooLarge"), (404, "502", "BadGateway"), (503, "503", "ServiceUnavailable"),
    ],
)  # fmt: skip
def test_an_upload_that_the_bucket_refuses_is_free_again_at_once(
    world: EdgeWorld, status: int, shown: str, code: str
) -> None:
    """With the bucket's status, and a body of ours."""
    url = link("in/a", put=True)
    answer = world.bucket(world.view(url, "PUT", PUT), status)
    assert (answer["status"], code_of(answer)) == (shown, code)
    assert is_passed_on(world.view(url, "PUT", PUT))


def test_an_upload_that_is_stored_spends_its_use(world: EdgeWorld, table: TwoCalls) -> None:
    """The lease goes, and the use with it."""
    url = link("in/a", put=True)
    passed = world.view(url, "PUT", PUT)
    assert world.bucket(passed, 200)["status"] == "200"
    record = record_in(table.items, url)
    assert record is not None
    assert (record.uses, record.lease) == (1, None)


def test_an_upload_whose_end_was_never_told_is_free_after_its_lease(world: EdgeWorld, table: TwoCalls) -> None:
    """The viewer broke off, or the instance died; the bucket's condition still makes the link store once."""
    url = link("in/a", put=True)
    world.view(url, "PUT", PUT)
    record = record_in(table.items, url)
    assert record is not None
    assert record.lease is not None
    assert world.view(url, "PUT", PUT)["status"] == "409"
    real = world.function.time.time
    world.function.time = type(
        "clock",
        (),
        {"time": staticmethod(lambda: real() + 61), "monotonic": staticmethod(world.function.time.monotonic)},
    )
    assert is_passed_on(world.view(url, "PUT", PUT))
