"""Browsers, previews and prefetches: a page and a button, and nothing spent before somebody presses it."""

import html
import json
import re
import time
from collections.abc import Callable

import pytest

from homes import Home
from oncegate.links.cloudfront import sign_url
from oncegate.testing.raw_http import ask, target_of

NAVIGATION = {
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "cross-site",
    "Accept": "text/html,*/*;q=0.8",
}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
OLD_NAVIGATION = {"User-Agent": FIREFOX, "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
EVIL = "<img src=x onerror=alert(1)>&\"'.txt"


def is_page(answer):
    """Whether an answer is one of our pages."""
    return answer.status == 200 and answer.header("content-type") == "text/html; charset=utf-8"


def seen(answer):
    """What a reader of a page reads: its text without tags, styles and scripts."""
    bare = re.sub(r"<(style|script|title)\b.*?</\1>", "", answer.text, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", "", bare))


def go_cookie(answer):
    """What the button's answer sets."""
    assert answer.cookie.startswith("og-go-")
    return {"Cookie": answer.cookie}


@pytest.mark.parametrize("headers", [NAVIGATION, OLD_NAVIGATION, {"Accept": "text/html"}])
def test_navigation_gets_the_page_and_spends_nothing(gateway: Home, headers: dict[str, str]) -> None:
    """The page names the file and its size; looking at it, however often, leaves the use (T9, T11)."""
    url = gateway.fresh(b"x" * 2_500_000, "Quarterly report.pdf")
    for _ in range(2):
        answer = ask("GET", url, headers)
        assert is_page(answer)
        assert "Quarterly report.pdf" in seen(answer)
        assert "2.5 MB" in seen(answer)
        assert "This link opens once. Looking at this page does not use it." in seen(answer)
        assert '<form method="post"' in answer.text
        assert answer.header("cache-control") == "private, no-store"
    assert gateway.record(url) is None
    assert ask("GET", url, keep=False).body_bytes == 2_500_000
    (gateway.objects / "Quarterly report.pdf").unlink()


def test_programs_get_the_object_without_a_page(gateway: Home) -> None:
    """No navigation, whatever they accept: a page with 200 would be saved as the file."""
    for headers in (
        {},
        {"Accept": "*/*"},
        {"User-Agent": "Wget/2.1.0", "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
        {"User-Agent": "Java/21.0.5", "Accept": "text/html, image/gif, image/jpeg, */*; q=0.2"},
        {"Sec-Fetch-Mode": "navigate", "User-Agent": FIREFOX, "Accept": "text/html,*/*;q=0.8"},
        {"Sec-Fetch-Mode": "no-cors", "Accept": "text/html"},
        {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"},
    ):
        assert ask("GET", gateway.fresh(b"object"), headers).body == b"object"


def test_button_sets_a_cookie_and_leads_back_relative(gateway: Home) -> None:
    """303 to the same URL without a host, a cookie for a minute, nothing written; then the navigation is served."""
    url = gateway.fresh(b"object")
    pressed = ask("POST", url, {**NAVIGATION, "Sec-Fetch-Site": "same-origin", "Content-Length": "0"})
    assert pressed.status == 303
    assert pressed.header("location") == target_of(url)
    (cookie,) = [value for name, value in pressed.headers if name == "set-cookie"]
    assert re.fullmatch(r"og-go-[A-Za-z0-9_-]{22}=1; Path=/; Max-Age=60; HttpOnly; SameSite=Lax", cookie)
    assert gateway.record(url) is None
    served = ask("GET", url, {**NAVIGATION, **go_cookie(pressed)})
    assert (served.status, served.body) == (200, b"object")
    again = ask("GET", url, {**NAVIGATION, **go_cookie(pressed)})
    assert again.status == 403


def test_holder_who_navigates_again_is_served_his_rest(gateway: Home) -> None:
    """A browser that resumes shows the claim's cookie: it gets bytes and no page."""
    url = gateway.fresh(b"x" * 1000)
    pressed = ask("POST", url, {"Sec-Fetch-Site": "same-origin"})
    part = ask("GET", url, {**NAVIGATION, "Range": "bytes=0-99", **go_cookie(pressed)})
    assert part.status == 206
    rest = ask("GET", url, {**NAVIGATION, "Range": "bytes=100-", "Cookie": part.cookie})
    assert (rest.status, rest.body_bytes) == (206, 900)


def test_cookies_of_many_other_links_do_not_hide_this_ones(gateway: Home) -> None:
    """Browsers send old cookies first: who opened forty files today can still open the next, and resume it."""
    url = gateway.fresh(b"x" * 1000)
    others = "; ".join(f"og-{number:022}=J{number:015}" for number in range(40))
    pressed = ask("POST", url, {"Sec-Fetch-Site": "same-origin", "Cookie": others})
    shown = {"Cookie": f"{others}; {go_cookie(pressed)['Cookie']}"}
    part = ask("GET", url, {**NAVIGATION, "Range": "bytes=0-99", **shown})
    assert part.status == 206
    assert ask("GET", url, {"Range": "bytes=100-", "Cookie": f"{others}; {part.cookie}"}).status == 206


def test_claim_of_a_navigation_is_not_known_by_address(gateway: Home) -> None:
    """A browser keeps cookies, so an address proves nothing for it: a neighbour in the office cannot resume."""
    url = gateway.fresh(b"x" * 1000)
    pressed = ask("POST", url, {"Sec-Fetch-Site": "same-origin"})
    assert ask("GET", url, {**NAVIGATION, "Range": "bytes=0-99", **go_cookie(pressed)}).status == 206
    assert ask("GET", url, {"Range": "bytes=100-"}).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_button_pressed_from_another_site_is_refused(gateway: Home, site: str) -> None:
    """A form on another page must not press it for the reader."""
    url = gateway.fresh(b"object")
    answer = ask("POST", url, {"Sec-Fetch-Site": site, "Content-Length": "0"})
    assert (answer.status, answer.header("set-cookie")) == (403, None)
    assert ask("GET", url).status == 200


def test_post_with_a_body_is_refused(gateway: Home) -> None:
    """The button sends nothing; whatever sends something is no button."""
    url = gateway.fresh(b"object")
    answer = ask("POST", url, {"Sec-Fetch-Site": "same-origin"}, body=b"a=b")
    assert (answer.status, answer.header("set-cookie")) == (400, None)
    chunked = ask("POST", url, {"Transfer-Encoding": "chunked"}, body=None)
    assert chunked.status in (0, 400)
    assert ask("GET", url).status == 200


def test_post_needs_a_genuine_link(gateway: Home) -> None:
    """The button verifies as a GET does: no cookie for a forged or an upload link."""
    url = gateway.fresh(b"object")
    assert ask("POST", url.replace("once=g.", "once=g9.")).status == 403
    assert ask("POST", gateway.upload()).status == 403


def test_page_says_when_the_cookie_did_not_come_back(gateway: Home) -> None:
    """Who pressed and comes back without it would press for ever: the page says that cookies are needed."""
    url = gateway.fresh(b"object")
    assert "cookie" not in ask("GET", url, NAVIGATION).text
    assert "cookie" in ask("GET", url, {**NAVIGATION, "Sec-Fetch-Site": "same-origin"}).text


@pytest.mark.parametrize(
    "agent",
    [
        "facebookexternalhit/1.1",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "Mozilla/5.0 (compatible; Discordbot/2.0)",
        "TelegramBot (like TwitterBot)",
        "WhatsApp/2.23.20.0",
        "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
        "Mozilla/5.0 AppleWebKit/537.36 (compatible; Googlebot/2.1)",
        "LinkedInBot/1.0",
    ],
)
def test_preview_agents_get_the_page(gateway: Home, agent: str) -> None:
    """A chat that looks at a link for a preview opened it for its reader everywhere else (T9)."""
    url = gateway.fresh(b"object")
    assert is_page(ask("GET", url, {"User-Agent": agent, "Accept": "*/*"}))
    assert gateway.record(url) is None
    assert ask("GET", url).body == b"object"


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Purpose": "prefetch;prerender"}, {"Purpose": "prefetch"}, {"X-Moz": "prefetch"}, {"X-Purpose": "preview"}],
)
def test_prefetch_spends_nothing_even_with_the_buttons_cookie(gateway: Home, headers: dict[str, str]) -> None:
    """A browser that fetches ahead has not been told to by anybody; not even after the button."""
    url = gateway.fresh(b"object")
    pressed = ask("POST", url, {"Sec-Fetch-Site": "same-origin"})
    assert is_page(ask("GET", url, {**NAVIGATION, **headers, **go_cookie(pressed)}))
    assert gateway.record(url) is None


@pytest.mark.parametrize("headers", [{"Purpose": "prefetch"}, {"Sec-Purpose": "prefetch", "Accept": "*/*"}])
def test_page_in_place_of_the_object_is_403_for_who_reads_no_page(gateway: Home, headers: dict[str, str]) -> None:
    """A program that saves whatever comes with 200 would save the page as the file; a browser shows it all the same."""
    url = gateway.fresh(b"object")
    answer = ask("GET", url, headers)
    assert (answer.status, answer.header("content-type")) == (403, "text/html; charset=utf-8")
    assert gateway.record(url) is None


def test_ordinary_agents_are_no_previews(gateway: Home) -> None:
    """A tool whose name only looks like one must get its file."""
    for agent in ("curl/8.5.0", "Wget/1.21", "python-requests/2.32", "VLC/3.0.20 LibVLC/3.0.20", "aria2/1.36.0"):
        assert ask("GET", gateway.fresh(b"object"), {"User-Agent": agent}).body == b"object"


def test_confirm_always_serves_nobody_without_a_cookie(gateway_with: Callable[..., Home]) -> None:
    """Where every click must be a person's: programs are refused in words, browsers see the page."""
    home = gateway_with(viewer={"confirm": "always"})
    url = home.fresh(b"object")
    refused = ask("GET", url)
    assert (refused.status, home.record(url)) == (403, None)
    assert is_page(ask("GET", url, NAVIGATION))
    pressed = ask("POST", url, {"Sec-Fetch-Site": "same-origin"})
    assert ask("GET", url, go_cookie(pressed)).body == b"object"


def test_confirm_never_serves_navigations_but_not_previews(gateway_with: Callable[..., Home]) -> None:
    """No page for people; who only looks ahead still spends nothing."""
    home = gateway_with(viewer={"confirm": "never"})
    assert ask("GET", home.fresh(b"object"), NAVIGATION).body == b"object"
    url = home.fresh(b"object")
    assert is_page(ask("GET", url, {"User-Agent": "Slackbot 1.0"}))
    assert is_page(ask("GET", url, {"Sec-Purpose": "prefetch", "Accept": "text/html"}))
    assert home.record(url) is None


def test_link_for_a_person_asks_whatever_the_gateway_is_set_to(
    gateway: Home, gateway_with: Callable[..., Home]
) -> None:
    """A scanner presses no button: once-confirm=always keeps the use for who does, and tells a program what to do."""
    for home in (gateway, gateway_with(viewer={"confirm": "never"})):
        url = home.fresh(b"object", confirm="always")
        refused = ask("GET", url, {"User-Agent": "curl/8.14.1", "Accept": "*/*"})
        assert (refused.status, "Open this link in a browser" in refused.text) == (403, True)
        assert ask("HEAD", url).status == 200
        assert is_page(ask("GET", url, NAVIGATION))
        assert home.record(url) is None
        pressed = ask("POST", url, {"Sec-Fetch-Site": "same-origin"})
        assert ask("GET", url, {**NAVIGATION, **go_cookie(pressed)}).body == b"object"


def test_link_for_a_program_costs_no_page(gateway_with: Callable[..., Home]) -> None:
    """once-confirm=never goes before the setting; who only looks ahead is still shown the page (decision 0006)."""
    home = gateway_with(viewer={"confirm": "always"})
    for headers in (NAVIGATION, {"User-Agent": "curl/8.14.1"}):
        assert ask("GET", home.fresh(b"object", confirm="never"), headers).body == b"object"
    url = home.fresh(b"object", confirm="never")
    assert is_page(ask("GET", url, {"User-Agent": "Slackbot 1.0"}))
    assert home.record(url) is None


@pytest.mark.parametrize("operation", ["download", "upload"])
def test_page_says_who_sends_the_link_as_text(gateway: Home, operation: str) -> None:
    """Signed, so it is the issuer's word; shown as text, so it is never a tag on the origin of the links."""
    words = {"sender": EVIL, "note": "Für dich, " + EVIL}
    url = gateway.fresh(b"x", **words) if operation == "download" else gateway.upload(**words)
    answer = ask("GET", url, NAVIGATION)
    assert is_page(answer)
    assert "<img" not in answer.text
    assert seen(answer).count(EVIL) == 2
    assert "From" in answer.text
    assert "Für dich" in answer.text


def test_upload_link_shows_its_drop_zone(gateway: Home) -> None:
    """A browser that goes to an upload link sees where to drop the file and what is taken; nothing is spent."""
    url = gateway.upload("in/photo.jpg", max_bytes=5_000_000, media_type="image/*")
    answer = ask("GET", url, NAVIGATION)
    assert is_page(answer)
    assert "photo.jpg" not in answer.text, "the key is the issuer's own affair"
    assert "at most 5 MB" in seen(answer)
    assert 'accept="image/*"' in answer.text
    policy = answer.header("content-security-policy")
    assert re.search(r"script-src 'sha256-[^']+' 'sha256-[^']+';", policy)
    assert "unsafe" not in policy
    assert gateway.record(url) is None


def test_pages_load_and_run_nothing_of_others(gateway: Home) -> None:
    """The page's policy allows its own style and its own form; no frame may hold it, or its button is pressed unseen."""
    policy = ask("GET", gateway.fresh(b"x"), NAVIGATION).header("content-security-policy")
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    hashes = re.findall(r"script-src ('sha256-[A-Za-z0-9+/=]+');", policy)
    assert len(hashes) == 1, "its own script, by its hash, and no other"


def test_names_are_escaped_on_every_page(gateway: Home) -> None:
    """A key is whatever an uploader chose: on our pages it is text (T32)."""
    url = gateway.fresh(b"x", EVIL)
    page, upload = ask("GET", url, NAVIGATION), ask("GET", gateway.upload("in/" + EVIL), NAVIGATION)
    for answer in (page, upload):
        assert is_page(answer)
        assert "<img" not in answer.text
    assert EVIL in seen(page)


@pytest.mark.parametrize("headers", [NAVIGATION, OLD_NAVIGATION])
def test_browsers_read_a_page_where_a_link_is_refused(gateway: Home, headers: dict[str, str]) -> None:
    """Used, expired or forged: a person reads a sentence, with the status that programs see."""
    url = gateway.fresh(b"x")
    assert ask("GET", url).status == 200
    used = ask("GET", url, headers)
    assert (used.status, used.header("content-type")) == (403, "text/html; charset=utf-8")
    assert "This file was already opened" in seen(used)
    forged = ask("GET", url.replace("once=g.", "once=g2."), headers)
    assert (forged.status, "This link is incomplete" in seen(forged)) == (403, True)
    missing = ask("GET", gateway.link("nowhere"), headers)
    assert (missing.status, "The file is not there yet, or no more" in seen(missing)) == (404, True)
    expired = ask("GET", gateway.fresh(b"x", expires_in_s=-5), headers)
    assert (expired.status, "This link has ended" in seen(expired)) == (403, True)


def test_who_asks_for_json_gets_a_problem(gateway: Home) -> None:
    """RFC 9457 for programs that say so."""
    url = gateway.fresh(b"x")
    assert ask("GET", url).status == 200
    answer = ask("GET", url, {"Accept": "application/json"})
    assert (answer.status, answer.header("content-type")) == (403, "application/problem+json")
    problem = json.loads(answer.body)
    assert problem == {
        "type": "about:blank",
        "title": "AccessDenied",
        "status": 403,
        "detail": "This link has been used.",
    }


def test_page_of_a_spent_link_is_the_refusal(gateway: Home) -> None:
    """A button that leads nowhere would be a lie: the page of a spent link says so."""
    url = gateway.fresh(b"x")
    assert ask("GET", url).status == 200
    answer = ask("GET", url, NAVIGATION)
    assert (answer.status, "Download" in seen(answer), 'class="main"' in answer.text) == (403, False, False)


def test_plain_links_that_are_not_counted_get_no_page(gateway_with: Callable[..., Home]) -> None:
    """``plain_links = "allow"`` is as CloudFront: an image in a page, or a navigation, is served as often as asked."""
    home = gateway_with(links={"plain_links": "allow"})
    key = home.lay(b"object")
    url = sign_url(f"{home.public_url}/{key}", key=home.signer, expires_s=int(time.time()) + 60)
    for headers in (NAVIGATION, {}, {"User-Agent": "Slackbot"}):
        answer = ask("GET", url, headers)
        assert (answer.status, answer.body) == (200, b"object")
        assert answer.header("set-cookie") is None
