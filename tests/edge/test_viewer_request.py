"""What viewer request does with each kind of request: passed on once, or answered, and what of a viewer is passed on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from edge_world import (
    BROWSER,
    HOST,
    PROGRAM,
    SIGNING,
    VIEWER,
    EdgeWorld,
    header,
    is_passed_on,
    link,
    link_id_of,
    record_in,
)
from two_calls import TwoCalls

from oncegate.ledgers.dynamodb.items import key_of
from oncegate.library.tickets import draw_ticket
from oncegate.links.cloudfront import sign_url
from oncegate.links.grant import Limits, Operation
from oncegate.uses.record import EDGE, Record, to_json


def code_of(found: dict[str, Any]) -> str:
    """The error code in a body of XML."""
    matched = re.search(r"<Code>(\w+)</Code>", found.get("body", ""))
    return matched[1] if matched else ""


# One use.


def test_a_link_passes_once(world: EdgeWorld, table: TwoCalls) -> None:
    """The first GET goes to the bucket; the next is refused in the gateway's words, and nothing of it goes there."""
    url = link("a.txt")
    assert is_passed_on(world.view(url))
    again = world.view(url)
    assert (again["status"], code_of(again)) == ("403", "AccessDenied")
    assert "This link has been used." in again["body"]
    assert header(again, "cache-control") == "private, no-store"
    assert header(again, "server") is None  # CloudFront names itself
    assert table.writes == 1


def test_the_record_says_that_the_edge_took_it_and_for_whom(world: EdgeWorld, table: TwoCalls) -> None:
    """Its issuer sees an address, as at a gateway: of IPv6 the half that its network is known by."""
    for address, known in ((VIEWER, VIEWER), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")):
        url = link("a.txt")
        world.view(url, address=address)
        record = record_in(table.items, url)
        assert record is not None
        (claim,) = record.claims
        assert (claim.gateway, claim.address, record.uses) == (EDGE, known, 1)


def test_a_link_of_three_uses_passes_three_times(world: EdgeWorld) -> None:
    """Uses are counted in the record, whichever instance asks."""
    url = link("a.txt", uses=3)
    passed = [is_passed_on(world.view(url, by=world.instance())) for _ in range(5)]
    assert passed == [True, True, True, False, False]


def test_an_event_that_comes_twice_passes_twice_and_takes_one_use(world: EdgeWorld, table: TwoCalls) -> None:
    """CloudFront may run the function again for one viewer; that viewer must not be refused by their own claim."""
    url = link("a.txt")
    for instance in (world.function, world.instance()):
        assert is_passed_on(world.view(url, by=instance, request_id="the-same-event"))
    record = record_in(table.items, url)
    assert record is not None
    assert (record.uses, len(record.claims)) == (1, 1)
    assert not is_passed_on(world.view(url))


def test_a_claim_id_cannot_be_made_from_the_request_id(world_with: Callable[..., EdgeWorld]) -> None:
    """The viewer reads the request id in X-Amz-Cf-Id; without the key of the deployment it says nothing."""
    ids = set()
    for key in ("one-key", "another-key"):
        passed = world_with(claim_key=key).view(link("a.txt"), request_id="the-same-event")
        ids.add(str(header(passed, "x-oncegate-claim")).split(".")[2][:12])
    assert len(ids) == 2


def test_eight_uses_by_one_instance_share_a_connection(world: EdgeWorld, table: TwoCalls) -> None:
    """A download costs one write; the birth was read when the instance began."""
    for _ in range(8):
        world.view(link("a.txt"))
    assert table.calls == ["GetItem"] + ["PutItem"] * 8


# What is passed on.


def test_a_download_asks_for_the_whole_and_for_nothing_else(world: EdgeWorld) -> None:
    """Neither 206 nor 304 can come of a use, and nothing that a viewer sent is signed by CloudFront for the bucket."""
    sent = {
        **PROGRAM, "range": "bytes=5-", "if-none-match": '"e"', "if-modified-since": "x", "if-range": '"e"', "if-match": "*",
        "cookie": "a=b", "authorization": "Bearer x", "x-amz-copy-source": "/b/k", "x-amz-acl": "public-read",
        "x-amz-tagging": "a=b", "x-oncegate-claim": "use.forged", "x-forwarded-for": "192.0.2.1", "via": "1.1 proxy",
    }  # fmt: skip
    passed = world.view(link("a.txt"), headers=sent)
    assert set(passed["headers"]) == {"host", "user-agent", "via", "x-oncegate-claim"}
    assert "forged" not in str(header(passed, "x-oncegate-claim"))
    assert passed["method"] == "GET"


@pytest.mark.parametrize(
    ("asked", "uri"),
    [("a%20b.txt", "/a%20b.txt"), ("d%2Fb%C3%A4.txt", "/d/b%C3%A4.txt"), ("%61(1)+~.txt", "/a%281%29%2B~.txt")],
)
def test_the_key_is_passed_on_as_it_was_granted(world: EdgeWorld, asked: str, uri: str) -> None:
    """One key has one spelling behind the function: what was checked is what is fetched."""
    assert world.view(link(asked))["uri"] == uri


def test_only_what_was_signed_stands_in_the_query(world: EdgeWorld) -> None:
    """The bucket would take versionId and acl from it; the name of the file is ours where none was signed."""
    plain = world.view(link("d/report.pdf", limits="&versionId=3&acl"))
    assert parse_qs(plain["querystring"]) == {"response-content-disposition": ['attachment; filename="report.pdf"']}
    signed = "&response-content-disposition=inline%3B%20filename%3Da.png&response-content-type=image%2Fpng"
    named = world.view(link("a", limits=signed))
    assert parse_qs(named["querystring"]) == {
        "response-content-disposition": ["inline; filename=a.png"],
        "response-content-type": ["image/png"],
    }


def test_a_film_is_saved_and_not_played(world: EdgeWorld) -> None:
    """A browser asks twice for what it is to play; the second request would find the use taken."""
    signed = "&response-content-disposition=inline&response-content-type=video%2Fmp4"
    passed = world.view(link("a.mp4", limits=signed))
    assert parse_qs(passed["querystring"])["response-content-disposition"] == ["attachment"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_link_whose_object_is_to_go_is_refused(world: EdgeWorld, table: TwoCalls, method: str) -> None:
    """Nobody here sees whether the object was delivered; served all the same, it would stay against what was signed."""
    refused = world.view(link("a.txt", limits="&once-delete=1"), method)
    assert refused["status"] == "501"
    assert method == "HEAD" or "once-delete is not taken here" in refused["body"]
    assert table.writes == 0


def test_every_limit_is_kept_or_refused_at_the_edge() -> None:
    """A limit that is new in links must not be dropped here in silence: say what the edge does with it, then name it."""
    assert set(Limits._fields) == {
        "max_bytes", "media_type", "may_replace", "disposition", "response_type", "response_language", "response_encoding",
        "confirm", "sender", "note", "delete_after",
    }  # fmt: skip


def test_a_page_among_the_objects_is_never_shown(world: EdgeWorld) -> None:
    """Its type is not known here, and inline HTML would run in the links' origin."""
    passed = world.view(link("a.html", limits="&response-content-disposition=inline"))
    assert parse_qs(passed["querystring"])["response-content-disposition"] == ["attachment"]


# What spends nothing.


def test_head_reads_and_passes_without_a_claim(world: EdgeWorld, table: TwoCalls) -> None:
    """Scanners and download managers send it first; 403 once the link is used, or it would be a lie."""
    url = link("a.txt")
    passed = world.view(url, "HEAD")
    assert is_passed_on(passed)
    assert header(passed, "x-oncegate-claim") is None
    assert table.writes == 0
    assert is_passed_on(world.view(url))
    assert world.view(url, "HEAD")["status"] == "403"


def test_options_is_answered_from_the_configuration(world_with: Callable[..., EdgeWorld], table: TwoCalls) -> None:
    """Browsers send the whole signed URL before an upload from another site."""
    world = world_with(cors_origins=["https://app.example.com"])
    asks = {"origin": "https://app.example.com", "access-control-request-method": "PUT"}
    answer = world.view(link("a.txt"), "OPTIONS", asks)
    assert (answer["status"], "body" in answer) == ("204", False)
    assert header(answer, "access-control-allow-origin") == "https://app.example.com"
    assert (
        header(world.view(link("a.txt"), "OPTIONS", {"origin": "https://else.example"}), "access-control-allow-origin")
        is None
    )
    assert table.writes == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BROWSER, "200"),
        ({"user-agent": "Slackbot-LinkExpanding 1.0", "accept": "*/*"}, "200"),
        ({**PROGRAM, "sec-purpose": "prefetch"}, "403"),
    ],
    ids=["a person", "a preview", "a prefetch"],
)
def test_who_only_looks_gets_the_page(world: EdgeWorld, table: TwoCalls, headers: dict[str, str], status: str) -> None:
    """The page has the button and no size, because nobody looked; the link stays unused."""
    url = link("d/report.pdf")
    page = world.view(url, headers=headers)
    assert page["status"] == status
    assert "<h1>report.pdf</h1>" in page["body"]
    assert 'method="post"' in page["body"]
    assert "bytes" not in page["body"]
    assert table.writes == 0


def test_the_button_opens_the_link(world: EdgeWorld) -> None:
    """Its POST sets a cookie for a minute and writes nothing; the navigation that shows it is passed on, without it."""
    url = link("a.txt")
    pressed = world.view(url, "POST", {**BROWSER, "sec-fetch-site": "same-origin", "content-length": "0"})
    assert pressed["status"] == "303"
    assert header(pressed, "location") == url.removeprefix(f"https://{HOST}")
    cookie = str(header(pressed, "set-cookie"))
    assert cookie.startswith("__Host-og-go-")
    passed = world.view(url, headers={**BROWSER, "sec-fetch-site": "same-origin", "cookie": cookie.partition(";")[0]})
    assert is_passed_on(passed)
    assert "cookie" not in passed["headers"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, "403"),
        ({"content-length": "5"}, "501"),
        ({"content-length": "0"}, "303"),
    ],
)
def test_a_button_of_another_site_and_a_form_are_refused(
    world: EdgeWorld, headers: dict[str, str], status: str
) -> None:
    """The first would spend a link unseen; a form with a file is what a gateway takes."""
    assert world.view(link("a.txt"), "POST", {**PROGRAM, **headers})["status"] == status


@pytest.mark.parametrize(
    ("setting", "signed", "who", "status"),
    [
        ("always", "", PROGRAM, "403"), ("always", "", BROWSER, "200"), ("never", "", BROWSER, ""),
        ("never", "always", PROGRAM, "403"), ("always", "never", PROGRAM, ""), ("auto", "never", BROWSER, ""),
    ],
)  # fmt: skip
def test_the_links_own_word_goes_before_the_setting(
    world_with: Callable[..., EdgeWorld], setting: str, signed: str, who: dict[str, str], status: str
) -> None:
    """once-confirm means at the edge what it means at a gateway; empty: it is passed on."""
    found = world_with(confirm=setting).view(link("a", limits=f"&once-confirm={signed}" if signed else ""), headers=who)
    assert found.get("status", "") == status


def test_the_page_says_who_sends_the_link(world: EdgeWorld) -> None:
    """once-from and once-note are signed for the reader, whichever door shows them."""
    page = world.view(link("a", limits="&once-from=Ada%20%3CL%3E&once-note=for%20you"), headers=BROWSER)
    assert "Ada &lt;L&gt;" in page["body"]
    assert "for you" in page["body"]


# Refusals.


def test_a_refused_head_has_no_body(world: EdgeWorld) -> None:
    """RFC 9110 9.3.2: the server must not send content."""
    refused = world.view(link("a", expires_s=1_700_000_000), "HEAD")
    assert (refused["status"], "body" in refused) == ("403", False)


def test_a_form_with_a_file_is_refused_by_name(world: EdgeWorld) -> None:
    """A gateway takes it from a browser without script."""
    form = {
        **BROWSER,
        "sec-fetch-site": "same-origin",
        "content-type": "multipart/form-data; boundary=x",
        "content-length": "99",
    }
    refused = world.view(link("in/a", put=True), "POST", form)
    assert refused["status"] == "501"
    assert "Forms are not taken here" in refused["body"]


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "TRACE"])
def test_other_methods_are_refused(world: EdgeWorld, table: TwoCalls, method: str) -> None:
    """A CloudFront signature covers no method: a download link must not delete."""
    assert (world.view(link("a"), method)["status"], table.writes) == ("403", 0)


@pytest.mark.parametrize(("put", "method"), [(False, "PUT"), (True, "GET"), (True, "HEAD")])
def test_a_link_is_for_its_own_operation(world: EdgeWorld, put: bool, method: str) -> None:
    """PUT on a download link would replace the object."""
    assert world.view(link("a", put=put), method, {**PROGRAM, "content-length": "1"})["status"] == "403"


def test_a_link_without_a_ticket_is_refused_unless_it_is_allowed(
    world_with: Callable[..., EdgeWorld], table: TwoCalls
) -> None:
    """Nobody counts it here; allowed, it opens as often as CloudFront lets it."""
    url = re.sub(r"\?once=[^&]+&", "?", link("a.txt"))
    assert world_with().view(url)["status"] == "403"
    allowing = world_with(plain_links="allow")
    assert [is_passed_on(allowing.view(url)) for _ in range(2)] == [True, True]
    assert not is_passed_on(allowing.view(url, "PUT", {**PROGRAM, "content-length": "1"}))
    assert table.writes == 0


def test_counting_links_without_a_ticket_is_refused_by_name(world_with: Callable[..., EdgeWorld]) -> None:
    """The function would have to be made anew with each key."""
    with pytest.raises(ValueError, match="cannot be counted"):
        world_with(plain_links="once")


def test_a_ticket_that_a_holder_adds_to_a_wildcard_is_refused(world: EdgeWorld, table: TwoCalls) -> None:
    """Each would be a use of its own; CloudFront finds the signature good."""
    forged = link("in/a").partition("?")[2].partition("&")[0]
    wide = sign_url(f"https://{HOST}/in/*", key=SIGNING, expires_s=4_000_000_000, custom=True).replace(
        "/in/*?", f"/in/a?{forged}&"
    )
    assert (world.view(wide)["status"], table.writes) == ("403", 0)


@pytest.mark.parametrize("target", ["a?versions", "a?once=g.AAAAAAAAAAAAAAAAAAAAAA", ""])
def test_a_request_that_shows_no_end_is_never_served(
    world: EdgeWorld, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    """The behaviour has no key group, or CloudFront hides what it checked; the log says what to do."""
    found = world.view(f"https://{HOST}/{target}")
    assert (found["status"], header(found, "retry-after")) == ("503", "2")
    assert "trusted key group" in capsys.readouterr().out


def test_signed_cookies_open_a_link(world: EdgeWorld) -> None:
    """CloudFront takes them in place of a query; they are not passed on."""
    url = link("a.txt")
    path, _, query = url.partition("?")
    once, *own = query.split("&")
    cookie = "; ".join(f"CloudFront-{pair}" for pair in own)
    passed = world.view(f"{path}?{once}", headers={**PROGRAM, "cookie": cookie})
    assert is_passed_on(passed)
    assert "cookie" not in passed["headers"]


@pytest.mark.parametrize("home", ["b", "c"])
def test_a_link_is_counted_by_its_own_home(world_with: Callable[..., EdgeWorld], home: str) -> None:
    """A table that is not asked would find it unused; a home that nobody configured is refused."""
    world = world_with(homes={"": "us-east-1", "b": "eu-central-1"})
    found = world.view(link("a.txt", home=home))
    assert is_passed_on(found) is (home == "b")
    if home == "b":
        assert str(header(found, "x-oncegate-claim")).split(".")[4] == "b"


def test_a_ticket_older_than_the_table_is_refused(world_with: Callable[..., EdgeWorld], table: TwoCalls) -> None:
    """The table was made anew: links used before would open again."""
    url = link("a.txt")
    table.born("acme", 4_000_000_000_000)
    assert "older than the ledger" in world_with().view(url)["body"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@pytest.mark.parametrize(("after_ms", "is_refused"), [(1_000, True), (-1_000, False)])
def test_a_ticket_from_before_a_repair_is_refused(
    world_with: Callable[..., EdgeWorld], table: TwoCalls, method: str, after_ms: int, is_refused: bool
) -> None:
    """Its record may have been forgotten before the limit was lowered; the gateways refuse it by the same instant."""
    url = link("a.txt", put=method == "PUT")
    made_ms = int.from_bytes(link_id_of(url)[:6])
    table.born("acme", 1, layout=1, refused=made_ms + after_ms, plain=-1)
    found = world_with().view(url, method, {**PROGRAM, "content-length": "3"})
    assert is_passed_on(found) is not is_refused
    assert not is_refused or found["status"] == "403"
    assert not is_refused or len(table.items) == 1


def test_a_repair_is_known_within_a_minute(
    world_with: Callable[..., EdgeWorld], table: TwoCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An instance that runs keeps what it read of the birth for so long."""
    world = world_with()
    assert is_passed_on(world.view(link("a.txt")))
    table.born("acme", 1, refused=4_000_000_000_000)
    before = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: before + 61)
    assert world.view(link("b.txt"))["status"] == "403"


def test_a_layout_that_is_not_known_opens_nothing(world_with: Callable[..., EdgeWorld], table: TwoCalls) -> None:
    """Records would be looked for under names that nothing has there."""
    table.born("acme", 1, layout=2)
    assert world_with().view(link("a.txt"))["status"] == "503"
    assert len(table.items) == 1


def test_a_revoked_link_is_refused(world: EdgeWorld, table: TwoCalls) -> None:
    """Also one that was signed offline and never seen."""
    url = link("a.txt")
    record = to_json(Record(uses=0, is_revoked=True)).decode()

    key = key_of(link_id_of(url))
    table.items["acme", key["s"]["S"], key["id"]["S"]] = {
        **key,
        "v": {"S": "1"},
        "r": {"S": record},
        "f": {"N": "9999999999"},
    }
    for method, headers in (("GET", PROGRAM), ("HEAD", PROGRAM), ("GET", BROWSER)):
        found = world.view(url, method, headers)
        assert found["status"] == "403"
        assert method == "HEAD" or "revoked" in found["body"]


def test_a_refusal_is_a_page_for_a_browser_and_json_for_who_asks(world: EdgeWorld) -> None:
    """The same table and words as at a gateway."""
    url = link("a.txt", expires_s=1_700_000_000)
    assert "<h1>Expired</h1>" in world.view(url, headers=BROWSER)["body"]
    problem = json.loads(world.view(url, headers={**PROGRAM, "accept": "application/json"})["body"])
    assert problem["detail"] == "This link has expired."
    assert world.view(url)["body"].startswith('<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied')


# Uploads.


def put(world: EdgeWorld, url: str, **headers: str) -> dict[str, Any]:
    """What becomes of an upload of ten bytes."""
    sent = {
        **PROGRAM,
        "content-length": "10",
        "content-type": "image/png",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return world.view(url, "PUT", sent)


def test_an_upload_passes_with_a_condition_and_what_the_list_names(world: EdgeWorld) -> None:
    """The bucket stores it only where nothing stands; x-amz-* of viewers are checksums alone."""
    passed = put(
        world, link("in/a.png", put=True), if_none_match='"e"', x_amz_checksum_sha256="x", content_md5="y", x_amz_acl="public-read",
        x_amz_tagging="a=b", x_amz_meta_a="b", cookie="a=b", cache_control="max-age=9", content_encoding="gzip",
        x_oncegate_claim="lease.forged",
    )  # fmt: skip
    assert set(passed["headers"]) == {
        "host", "user-agent", "content-length", "content-type", "content-md5", "x-amz-checksum-sha256", "if-none-match",
        "x-oncegate-claim",
    }  # fmt: skip
    assert (header(passed, "if-none-match"), passed["querystring"]) == ("*", "")
    assert str(header(passed, "x-oncegate-claim")).startswith("lease.")


def test_a_second_upload_waits_and_a_third_is_refused(world: EdgeWorld) -> None:
    """409 while one runs; 403 once it is stored."""
    url = link("in/a.png", put=True)
    passed = put(world, url)
    assert put(world, url)["status"] == "409"
    assert world.bucket(passed, 200)["status"] == "200"
    assert put(world, url)["status"] == "403"


def test_an_upload_under_a_wildcard_is_spent_at_its_claim(world: EdgeWorld) -> None:
    """Its holder chooses the key, so no condition of the bucket makes it once, however long the first takes."""
    wide = sign_url(
        f"https://{HOST}/in/*?once={draw_ticket(Operation.PUT)}", key=SIGNING, expires_s=4_000_000_000, custom=True
    )
    passed = put(world, wide.replace("/in/*", "/in/a"))
    assert str(header(passed, "x-oncegate-claim")).startswith("use.")
    assert put(world, wide.replace("/in/*", "/in/b"))["status"] == "403"
    assert world.bucket(passed, 412)["status"] == "412"
    assert is_passed_on(put(world, wide.replace("/in/*", "/in/b")))


@pytest.mark.parametrize(
    ("limits", "headers", "status"),
    [
        ("&once-max=9", {}, "413"), ("&once-max=10", {}, ""), ("&once-type=image%2F%2A", {}, ""),
        ("&once-type=text%2Fplain", {}, "415"), ("&once-replace=1", {}, "501"), ("", {"upload_complete": "?0"}, "501"),
        ("", {"content_range": "bytes 0-4/10"}, "400"), ("", {"x_amz_copy_source": "/b/k"}, "400"),
        ("", {"content_encoding": "aws-chunked"}, "400"), ("", {"if_match": '"e"'}, "412"),
        ("", {"content_length": str(5 * 1024**3 + 1)}, "413"), ("", {"content_length": "ten"}, "400"),
    ],
)  # fmt: skip
def test_the_head_of_an_upload_is_checked(
    world: EdgeWorld, table: TwoCalls, limits: str, headers: dict[str, str], status: str
) -> None:
    """Nothing is written for what is refused by its head; empty: it is passed on."""
    found = put(world, link("in/a", put=True, limits=limits), **headers)
    assert found.get("status", "") == status
    assert table.writes == (0 if status else 1)


def test_an_upload_without_a_length_is_refused(world: EdgeWorld) -> None:
    """Over HTTP/2 there may be none, and once-max could not be held."""
    assert world.view(link("in/a", put=True), "PUT", PROGRAM)["status"] == "411"


def test_a_person_is_shown_the_drop_zone(world: EdgeWorld, table: TwoCalls) -> None:
    """A browser that goes to an upload link."""
    page = world.view(link("in/a", put=True, limits="&once-max=1000"), headers=BROWSER)
    assert (page["status"], table.writes) == ("200", 0)
    assert "drop it here" in page["body"]
    assert "at most 1 kB" in page["body"]


def test_what_is_stored_has_the_type_that_was_checked(world: EdgeWorld) -> None:
    """A second spelling would be another type to the bucket."""
    passed = put(world, link("in/a", put=True, limits="&once-type=image%2Fpng"), content_type="IMAGE/PNG; x=<script>")
    assert header(passed, "content-type") == "image/png"
