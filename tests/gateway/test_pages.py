"""Pages that a gateway shows: what they know of a link, and that looking spends nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from homes import Home
from oncegate.testing.raw_http import RawAnswer, RawConnection, ask, target_of
from oncegate.uses.record import Doubt
from oncegate.uses.use import revoke

NAVIGATION = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "cross-site",
    "Accept": "text/html,*/*;q=0.8",
}
PRESSED = {"Sec-Fetch-Site": "same-origin", "Content-Length": "0"}
MIB = 1 << 20


def headline_of(page: RawAnswer) -> str:
    """A page's headline as it is read."""
    return re.sub("<[^>]*>", "", page.text.partition("<h1>")[2].partition("</h1>")[0])


def test_a_page_says_the_signed_name(gateway: Home) -> None:
    """What the browser will save, not where it lies in the store."""
    url = gateway.fresh(b"x", filename="Report for you.pdf")
    answer = ask("GET", url, NAVIGATION)
    assert "Report for you" in answer.text
    assert url.partition("?")[0].rpartition("/")[2] not in answer.text
    assert gateway.record(url) is None


def test_a_used_link_says_when_it_was_used(gateway: Home) -> None:
    """To whoever has the genuine link: if it was not them, they know since when."""
    url = gateway.fresh(b"x", "used.bin")
    assert ask("GET", url).status == 200
    page = ask("GET", url, NAVIGATION)
    assert page.status == 403
    at = re.search(r'<time datetime="([^"]+)"', page.text)
    assert at is not None
    assert at[1][:4] == time.strftime("%Y", time.gmtime())


def test_a_revoked_link_says_so(gateway: Home) -> None:
    """Taken back is not used: its reader did nothing wrong, and nobody else was there."""
    url = gateway.fresh(b"x")
    gateway.change_record(url, revoke)
    page = ask("GET", url, NAVIGATION)
    assert (page.status, "The sender took this link back" in page.text) == (403, True)


def test_an_ended_link_says_when_to_the_genuine_link_only(gateway: Home) -> None:
    """Whoever changed the link learns nothing of it."""
    url = gateway.fresh(b"x", expires_in_s=-100)
    page = ask("GET", url, NAVIGATION)
    assert (page.status, "This link has ended" in page.text, "<time" in page.text) == (403, True, True)
    altered = ask("GET", url.replace("once=g.", "once=g2."), NAVIGATION)
    assert (altered.status, "This link is incomplete" in altered.text, "<time" in altered.text) == (403, True, False)


def test_a_link_of_tomorrow_says_when_it_opens(gateway: Home) -> None:
    """Its page asks again by itself at that time."""
    url = gateway.fresh(b"x", not_before_s=int(time.time()) + 600)
    page = ask("GET", url, NAVIGATION)
    assert (page.status, "This link is not open yet" in page.text, "data-at=" in page.text) == (403, True, True)


def test_the_root_and_half_a_link_have_their_pages(gateway: Home) -> None:
    """A mail program that cuts a link leaves its first half, or nothing but the host."""
    assert "Links are opened here, nothing else" in ask("GET", gateway.public_url + "/", NAVIGATION).text
    half = gateway.fresh(b"x").partition("&")[0]
    page = ask("GET", half, NAVIGATION)
    assert (page.status, "This link is incomplete" in page.text) == (403, True)


def test_a_broken_download_says_how_much_arrived(gateway: Home) -> None:
    """With the claim's cookie, without a Range: the page is no use, and the rest stays for who resumes."""
    url = gateway.fresh(bytes(40 * MIB))
    pressed = ask("POST", url, PRESSED)
    part = ask("GET", url, {**NAVIGATION, "Range": f"bytes=0-{20 * MIB - 1}", "Cookie": pressed.cookie})
    assert part.status == 206
    page, said = ask("GET", url, {**NAVIGATION, "Cookie": part.cookie}), "21 MB of 41.9 MB arrived"
    assert (page.status, headline_of(page), "Start again" in page.text) == (403, said, False)
    # within a minute of the press, whose cookie is still there
    soon = ask("GET", url, {**NAVIGATION, "Cookie": f"{part.cookie}; {pressed.cookie}"})
    assert (soon.status, headline_of(soon)) == (403, said)
    rest = ask("GET", url, {**NAVIGATION, "Range": f"bytes={20 * MIB}-", "Cookie": part.cookie})
    assert (rest.status, rest.body_bytes) == (206, 20 * MIB)
    page = ask("GET", url, {**NAVIGATION, "Cookie": part.cookie})
    assert (page.status, "This file was already opened" in page.text) == (403, True)


def test_where_little_arrived_the_page_lets_its_reader_start_again(gateway: Home) -> None:
    """Within the budget of bytes the whole may be sent once more; the button asks first."""
    url = gateway.fresh(bytes(4 * MIB))
    pressed = ask("POST", url, PRESSED)
    part = ask("GET", url, {**NAVIGATION, "Range": "bytes=0-99999", "Cookie": pressed.cookie})
    page = ask("GET", url, {**NAVIGATION, "Cookie": part.cookie})
    assert (page.status, "Start again" in page.text) == (403, True)
    again = ask("POST", url, {**PRESSED, "Cookie": part.cookie})
    whole = ask("GET", url, {**NAVIGATION, "Cookie": f"{part.cookie}; {again.cookie}"})
    assert (whole.status, whole.body_bytes) == (200, 4 * MIB)


def test_coming_back_to_a_link_with_uses_left_takes_none(gateway: Home) -> None:
    """A reload is no wish for another copy: the page with the button is shown again."""
    url = gateway.fresh(b"object", uses=3)
    pressed = ask("POST", url, PRESSED)
    first = ask("GET", url, {**NAVIGATION, "Cookie": pressed.cookie})
    assert first.body == b"object"
    page = ask("GET", url, {**NAVIGATION, "Cookie": first.cookie})
    assert (page.status, "This link opens 2 more times" in page.text) == (200, True)
    record = gateway.record(url)
    assert record is not None
    assert record.uses == 1


def test_a_language_is_chosen_by_a_post_that_says_nothing_of_the_link(gateway: Home) -> None:
    """The link is signed, so it cannot carry the choice; pages of links that are used up have languages too."""
    url = gateway.fresh(b"x")
    form = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    chosen = ask("POST", url, form, body=b"language=en")
    assert chosen.status == 303
    assert chosen.cookie == "oncegate-language=en"
    assert ask("POST", url, form, body=b"language=xx").status == 400
    assert ask("POST", url, form, body=b"language=en&" + b"x" * 100).status == 400
    assert ask("POST", url, {**form, "Sec-Fetch-Site": "cross-site"}, body=b"language=en").status == 403
    assert gateway.record(url) is None


def test_a_page_survives_cookies_that_contradict_each_other(gateway: Home) -> None:
    """A neighbouring host can set one of the same name: the page is shown all the same."""
    url = gateway.public_url + "/nothing"
    page = ask("GET", url, {**NAVIGATION, "Cookie": "oncegate-language=en; oncegate-language=de"})
    assert (page.status, page.header("content-language")) == (403, "en")


def _given_up(home: Home, url: str, until: Callable[..., Any]) -> str:
    """The holder's cookie, after their browser took all of a small object and reset the connection unread."""
    with RawConnection(url) as connection:
        cookie = {"Cookie": ask("POST", url, PRESSED).cookie}
        connection.send_request("GET", target_of(url), host=url[7:].partition("/")[0], headers={**NAVIGATION, **cookie})
        answer = connection.read_answer()
        connection.reset()
    assert answer.status == 200

    def is_in_doubt() -> bool:
        record = home.record(url)
        return record is not None and record.claims[0].doubt is not Doubt.NONE

    until(is_in_doubt, "the end is settled")
    return answer.cookie


def test_a_holder_whose_download_may_not_have_arrived_is_shown_that_they_can_start_again(
    gateway: Home, until: Callable[..., Any]
) -> None:
    """A program with their cookie is served; so their browser, which is shown a page first, must not read "used".

    A stranger beside them reads that the link is used, and so does who shows another cookie; looking changes nothing.
    """
    url = gateway.fresh(b"x" * 1000, "small.bin")
    cookie = _given_up(gateway, url, until)
    before = gateway.record(url)
    page = ask("GET", url, {**NAVIGATION, "Cookie": cookie})
    assert page.status == 403
    assert "Your download may not have arrived" in page.text
    assert "Start again" in page.text
    name = cookie.partition("=")[0]
    for other in ({}, {"Cookie": f"{name}={'A' * 22}"}):
        assert "This file was already opened" in ask("GET", url, {**NAVIGATION, **other}).text
        assert ask("GET", url, other).status == 403
    assert gateway.record(url) == before

    button = ask("POST", url, {**PRESSED, "Cookie": cookie})
    served = ask("GET", url, {**NAVIGATION, "Cookie": f"{cookie}; {button.cookie}"})
    assert (served.status, served.body) == (200, b"x" * 1000)
    again = {**NAVIGATION, "Cookie": cookie}
    until(lambda: "This file was already opened" in ask("GET", url, again).text, "once is enough")


def test_the_page_and_the_answer_agree_when_the_time_to_start_again_is_over(
    gateway_with: Callable[..., Home], until: Callable[..., Any]
) -> None:
    """A second later neither the holder's plain request is served, nor does a page promise it."""
    home = gateway_with(links={"resume_window": "3s"})
    url = home.fresh(b"x" * 1000)
    cookie = {"Cookie": _given_up(home, url, until)}
    # the page first: a request that is served takes what the page promises
    until(lambda: "may not have arrived" not in ask("GET", url, {**NAVIGATION, **cookie}).text, "its time is over")
    assert "This file was already opened" in ask("GET", url, {**NAVIGATION, **cookie}).text
    assert ask("GET", url, cookie).status == 403


def test_a_download_that_is_under_way_is_not_told_as_used(gateway: Home) -> None:
    """All was handed over, and its end is not known yet: the holder reads that it has started, not that it is over."""
    url = gateway.fresh(b"x" * 2 * MIB)
    with RawConnection(url, receive_buffer_bytes=4096) as connection:
        go = ask("POST", url, PRESSED).cookie
        headers = {**NAVIGATION, "Cookie": go}
        connection.send_request("GET", target_of(url), host=url[7:].partition("/")[0], headers=headers)
        cookie = connection.read_head().cookie
        page = ask("GET", url, {**NAVIGATION, "Cookie": cookie})
        assert "Your download has started" in page.text
        assert "Your download has started" in ask("GET", url, {**NAVIGATION, "Cookie": f"{cookie}; {go}"}).text


def test_a_link_that_asks_for_what_is_not_done_here_says_so(gateway: Home) -> None:
    """Objects are not removed here: its reader has done nothing wrong, and is not told to open it otherwise."""
    url = gateway.fresh(b"x", delete_after=True)
    page = ask("GET", url, NAVIGATION)
    assert (page.status, "This link cannot be opened here" in page.text) == (501, True)
    assert "It is not used up." in page.text
    assert gateway.record(url) is None
