"""Each state of a link in a real browser: what it says, and that back, reload and a second tab change nothing of it."""

from __future__ import annotations

import os
import pathlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from browsers import (
    DROP,
    ENTER,
    browsing,
    headline,
    headline_of_closed_page,
    refused_by_policy,
    rows_of,
    state,
    tab_to,
    until,
)
from homes import Home
from oncegate.testing.raw_http import ask
from oncegate.uses.record import Doubt
from oncegate.uses.use import revoke
from relay import Relay
from shelves import in_bucket, lay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MIB = 1 << 20


def again_and_again(browser: Any, url: str, said: str) -> None:
    """Reload, come back to it from elsewhere, and open it in a second tab: the page says the same each time."""
    first = browser.current_window_handle
    browser.refresh()
    assert headline(browser) == said
    browser.get("about:blank")
    browser.back()
    until(lambda: headline(browser) == said, f"going back does not show {said}")
    browser.switch_to.new_window("tab")
    browser.get(url)
    assert headline(browser) == said
    browser.close()
    browser.switch_to.window(first)


def test_a_link_that_gives_nothing_says_why_however_it_is_reached(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Ended, taken back, of another network, cut by a mail program, without its file, and no link at all."""
    home = home_with()
    taken_back = home.fresh(b"x")
    home.change_record(taken_back, revoke)
    before = home.record(taken_back)
    good = home.fresh(b"x", "good.bin")
    pages = {
        home.fresh(b"x", expires_in_s=-100): "This link has ended",
        taken_back: "The sender took this link back",
        home.fresh(b"x", source_ip="203.0.113.0/24"): "This link works in another network",
        home.fresh(b"x")[:-20]: "This link is incomplete",
        home.link("none.bin"): "The file is not there yet, or no more",
        home.public_url + "/": "Links are opened here, nothing else",
        home.upload(expires_in_s=-100): "This link has ended",
    }
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        for url, said in pages.items():
            browser.get(url)
            assert headline(browser) == said
            again_and_again(browser, url, said)
            assert not browser.find_elements("css selector", "form.stub, .zone")
        browser.get(good)
        again_and_again(browser, good, "good.bin")
        assert refused_by_policy(browser) == []
    assert home.record(good) is None
    assert home.record(taken_back) == before


def test_a_link_of_soon_opens_by_itself(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Its page says when, and shows the file when that time has come; nobody has to press anything."""
    home = home_with()
    home.lay(b"x", "soon.bin")
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        url = home.link("soon.bin", not_before_s=int(time.time()) + 8)
        browser.get(url)
        assert headline(browser) == "This link is not open yet"
        until(lambda: headline(browser) == "soon.bin", "the page did not go on by itself")
    assert home.record(url) is None


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_a_busy_page_goes_on_by_itself(
    home_with: Callable[..., Home],
    wrong_s3: Callable[..., Any],
    tmp_path: pathlib.Path,
    require_tool: Callable[[str], str],
    script: bool,
) -> None:
    """The store answers again: the page shows the file without a press, with a script and without."""
    server = wrong_s3()
    home = home_with(**in_bucket(server.url))
    lay(home, "a.bin", b"x")
    url = home.link("a.bin")
    with home.serve(), browsing(tmp_path, require_tool, script=script) as browser:
        server.faults.add("503")
        browser.get(url)
        assert headline_of_closed_page(browser) == "One moment"
        browser.refresh()
        assert headline_of_closed_page(browser) == "One moment"
        server.faults.clear()
        until(lambda: headline_of_closed_page(browser) == "a.bin", "the page did not ask again by itself")
    assert home.record(url) is None


class Cutting(Relay):
    """Passes on so many bytes of each answer, and cuts the connection then, until it is told to be whole."""

    limit_bytes: int | None = None

    def pass_down(self, server: socket.socket, client: socket.socket, number: int) -> None:
        """Count what the server sends on each connection."""
        passed = 0
        with suppress(OSError):
            while data := server.recv(16_384):
                if self.limit_bytes is not None:
                    data = data[: self.limit_bytes - passed]
                client.sendall(data)
                passed += len(data)
                if passed == self.limit_bytes:
                    return


def test_a_download_that_broke_says_how_much_arrived(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """The browser goes on by itself until its budget is used; whoever then opens the link again is told what they have.

    Reloaded, gone back to, in a second tab: the same. At once, too: for a minute after the press the browser still shows
    that the button was pressed, and was told that the link is used.
    """
    home = home_with()
    home.sparse(64 * MIB, "film.bin")
    relay = Cutting(home.port)
    home.lead_to(relay.url)
    url = home.link("film.bin")
    with home.serve() as serving, relay.running(), browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        relay.limit_bytes = 3 * MIB
        browser.find_element("css selector", ".main").click()
        until(lambda: is_over(serving.log_lines()), "it did not break")
        relay.limit_bytes = None
        browser.get(url)
        said = headline(browser)
        assert "of 67.1 MB arrived" in said
        again_and_again(browser, url, said)
        assert refused_by_policy(browser) == []


def is_over(lines: list[dict[str, object]]) -> bool:
    """Whether a download broke, and the browser asks for no more."""
    asked = [line for line in lines if line.get("event") == "request" and line.get("method") == "GET"]
    return asked[-1].get("reason") == "used" or [line.get("outcome") for line in asked].count("broken") > 5


class Failing(Relay):
    """A network that fails while the viewer has half of an answer and the server was told that all was taken."""

    is_failing = False
    is_down = False

    def pass_up(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what the client sends, unless the network is down."""
        with suppress(OSError):
            while (data := client.recv(65_536)) and not self.is_down:
                server.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
            server.shutdown(socket.SHUT_WR)

    def pass_down(self, server: socket.socket, client: socket.socket, number: int) -> None:
        """Pass everything on; of an object half, after all of it was read, and then reset the server's connection."""
        with suppress(OSError):
            while data := server.recv(65_536):
                is_object = self.is_failing and b"content-disposition: attachment" in data.lower()
                while is_object and len(data) < MIB and (more := server.recv(65_536)):
                    data += more
                client.sendall(data[: MIB // 2] if is_object else data)
                if is_object:
                    self.is_failing, self.is_down = False, True
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    server.close()
                    return


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_who_lost_a_download_that_may_have_arrived_starts_again(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str], script: bool
) -> None:
    """All was taken by the network and half came out of it: the browser reads that it can start again, and does.

    A browser goes on by itself while it runs, so it is closed before the network is there again. Meanwhile a stranger
    with the same link reads that it is used; so does the browser, once it has the file.
    """
    home = home_with()
    relay = Failing(home.port)
    home.lead_to(relay.url)
    body = os.urandom(MIB)
    url = home.fresh(body, "small.bin")
    with home.serve(), relay.running():
        with browsing(tmp_path, require_tool, script=script) as browser:
            browser.get(url)
            relay.is_failing = True
            browser.find_element("css selector", ".main").click()
            until(lambda: is_in_doubt(home, url), "the end is not known")
            cookies = browser.get_cookies()
        relay.is_down = False
        stranger = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
        assert "This file was already opened" in ask("GET", url, stranger).text
        later = tmp_path / "later"
        later.mkdir()
        with browsing(later, require_tool, script=script) as browser:
            # as the same browser a minute after the press: without the cookie of the button
            browser.get(relay.url)
            for cookie in cookies:
                if "og-go-" not in cookie["name"]:
                    browser.add_cookie(cookie)
            browser.get(url)
            assert headline_of_closed_page(browser) == "Your download may not have arrived"
            browser.find_element("css selector", ".main").click()
            until(lambda: any(path.read_bytes() == body for path in saved(later)), "it is not saved")
            browser.get(url)
            assert headline_of_closed_page(browser) == "This file was already opened"


def is_in_doubt(home: Home, url: str) -> bool:
    """Whether the record says that what was sent may not have arrived."""
    record = home.record(url)
    return record is not None and record.claims[0].doubt is not Doubt.NONE


def saved(folder: pathlib.Path) -> list[pathlib.Path]:
    """What a browser has saved whole."""
    return [path for path in (folder / "saved").iterdir() if path.suffix == ".bin"]


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_without_cookies_the_page_says_so_and_nothing_is_spent(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str], script: bool
) -> None:
    """Back from the button without its cookie: the same page with a box, as often as it is pressed."""
    home = home_with()
    url = home.fresh(b"x", "a.bin")
    with home.serve(), browsing(tmp_path, require_tool, script=script, cookies=False) as browser:
        browser.get(url)
        assert not browser.find_elements("css selector", ".box")
        for _ in range(2):
            browser.find_element("css selector", ".main").click()
            until(lambda: browser.find_elements("css selector", ".box"), "the page does not say what is missing")
            assert "did not keep the cookie" in browser.find_element("css selector", ".box").text
    assert home.record(url) is None
    assert not list((tmp_path / "saved").iterdir())


def test_of_two_tabs_with_one_link_one_gets_the_file(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Both show the button; the second press meets the page of a used link, and going back shows no new chance."""
    home = home_with()
    url = home.fresh(b"x" * 1000, "a.bin")
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        first = browser.current_window_handle
        browser.switch_to.new_window("tab")
        browser.get(url)
        second = browser.current_window_handle
        browser.switch_to.window(first)
        browser.find_element("css selector", ".main").click()
        until((tmp_path / "saved" / "a.bin").exists, "nothing was saved")
        until(lambda: headline(browser) == "Your download has started", "the page does not say that it began")
        browser.switch_to.window(second)
        browser.find_element("css selector", ".main").click()
        until(lambda: headline(browser) == "This file was already opened", "the second tab is not told")
        browser.back()
        browser.refresh()
        assert headline(browser) == "This file was already opened"
        browser.switch_to.window(first)
        browser.refresh()
        assert headline(browser) == "This file was already opened"
    record = home.record(url)
    assert record is not None
    assert record.uses == 1
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["a.bin"]


def test_the_pages_are_used_by_keyboard_alone(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Language, button, the place for files, and the buttons of a row: each is reached by Tab and pressed by Enter."""
    home = home_with()
    url = home.fresh(b"x", "a.bin")
    upload = home.upload("inbox/", uses=3, max_bytes=1000)
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        tab_to(browser, "summary").send_keys(ENTER)
        german = tab_to(browser, "button[value=de]")
        german.send_keys(ENTER)
        until(lambda: browser.execute_script("return document.documentElement.lang") == "de", "it stays English")
        tab_to(browser, ".main").send_keys(ENTER)
        until((tmp_path / "saved" / "a.bin").exists, "nothing was saved")
        browser.delete_all_cookies()
        browser.get(upload)
        tab_to(browser, "#pick")
        assert browser.execute_script("return getComputedStyle(document.querySelector('.zone')).outlineStyle") != "none"
        browser.execute_script(DROP, [["large.bin", 2000], ["small.bin", 10]])
        until(lambda: state(browser) == "done", "it was not sent")
        assert browser.execute_script("return document.activeElement.id") == "headline"
        assert refused_by_policy(browser) == []
    assert [path.name for path in (home.objects / "inbox").iterdir()] == ["small.bin"]


class Holding(Relay):
    """Passes everything on, but keeps the server's answers to itself while it is told to."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.may_answer = threading.Event()
        self.may_answer.set()

    def pass_down(self, server: socket.socket, client: socket.socket, number: int) -> None:
        """Wait before each piece."""
        with suppress(OSError):
            while data := server.recv(65_536):
                self.may_answer.wait(60)
                client.sendall(data)


def asks_before_leaving(browser: Any) -> bool:
    """Whether the page would ask before it is left: a driven browser shows no such question."""
    script = "const e = new Event('beforeunload', {cancelable: true}); dispatchEvent(e); return e.defaultPrevented"
    return bool(browser.execute_script(script))


def test_leaving_while_a_file_is_sent_is_asked_first(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Staying, it arrives. Reloaded and gone back to afterwards, the page of a used link: no second place for files."""
    home = home_with()
    relay = Holding(home.port)
    home.lead_to(relay.url)
    url = home.upload("one.bin")
    file = tmp_path / "file.bin"
    file.write_bytes(os.urandom(3 * MIB))
    with home.serve(), relay.running(), browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        assert not asks_before_leaving(browser)
        relay.may_answer.clear()
        browser.find_element("id", "pick").send_keys(str(file))
        until(lambda: state(browser) == "sending", "it is not sent")
        assert asks_before_leaving(browser)
        relay.may_answer.set()
        until(lambda: state(browser) == "done", "it did not arrive")
        assert not asks_before_leaving(browser)
        for act in (browser.refresh, lambda: browser.get(url)):
            act()
            assert headline(browser) == "Everything has arrived"
            assert not browser.find_elements("css selector", ".zone")
    assert (home.objects / "one.bin").read_bytes() == file.read_bytes()


def test_a_file_that_is_cancelled_after_its_last_byte_is_not_said_to_be_gone(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """All of it was sent, so the gateway may have stored it: the row says that, and the link's own page what is true."""
    home = home_with()
    relay = Holding(home.port)
    home.lead_to(relay.url)
    url = home.upload("one.bin")
    file = tmp_path / "file.bin"
    file.write_bytes(os.urandom(1000))
    with home.serve(), relay.running(), browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        relay.may_answer.clear()
        browser.find_element("id", "pick").send_keys(str(file))
        until(lambda: "Being stored" in rows_of(browser)[0], "it is not sent")
        until((home.objects / "one.bin").exists, "it is not stored")
        browser.find_element("css selector", ".row button").click()
        assert "it may have arrived already" in rows_of(browser)[0]
        relay.may_answer.set()
        browser.find_element("css selector", ".row button").click()
        until(lambda: headline(browser) == "Everything has arrived", "the page does not say what became of it")
    assert (home.objects / "one.bin").read_bytes() == file.read_bytes()
