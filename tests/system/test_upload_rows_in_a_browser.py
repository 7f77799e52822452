"""The rows of the page where files are sent, in a real browser: by keyboard alone, and when the network breaks."""

from __future__ import annotations

import hashlib
import pathlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, Self

import pytest

from browsers import (
    DROP,
    ENTER,
    SHIFT,
    SPACE,
    TAB,
    browsing,
    headline,
    refused_by_policy,
    rows_of,
    state,
    tab_to,
    until,
)
from homes import Home
from oncegate.testing.installation import Serving
from relay import Relay

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MIB = 1 << 20
LARGE_BYTES = 24 * MIB
"""More than the sockets of a browser, a relay and a gateway hold: such an upload is under way until it is let through."""

FOCUS = """
const it = document.activeElement, style = getComputedStyle(it);
return [it.getAttribute("aria-label") || it.id || it.className, style.outlineStyle, parseFloat(style.outlineWidth)];
"""
"""A script that says what has the focus, and how it shows that."""


class Gate(Relay):
    """Passes on the first half a megabyte of each upload; with the rest it does as it is told, by the file's name."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._told: dict[str, Literal["let", "cut"]] = {}
        self._ends = threading.Event()
        self.held: set[str] = set()

    def hold(self, *names: str) -> None:
        """Hold the uploads of these files from here on, as at the beginning."""
        for name in names:
            self._told.pop(name, None)
            self.held.discard(name)

    def let(self, *names: str) -> None:
        """Let the uploads of these files through."""
        self._told.update(dict.fromkeys(names, "let"))

    def cut(self, *names: str) -> None:
        """Break the connections of their uploads."""
        self._told.update(dict.fromkeys(names, "cut"))

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Serve until the block ends; what is held then is cut."""
        with super().running():
            try:
                yield self
            finally:
                self._ends.set()

    def pass_up(self, client: socket.socket, server: socket.socket) -> None:
        """Count what is sent from a PUT on; a connection may have carried other requests before."""
        name, passed = "", 0
        with suppress(OSError):
            while data := client.recv(65_536):
                if data.startswith(b"PUT "):
                    name, passed = data.partition(b"?")[0].rpartition(b"/")[2].decode(), 0
                server.sendall(data)
                passed += len(data)
                if name and passed > MIB // 2 and not self._may_pass(name):
                    client.shutdown(socket.SHUT_RDWR)
                    break
            server.shutdown(socket.SHUT_WR)

    def _may_pass(self, name: str) -> bool:
        self.held.add(name)
        while name not in self._told and not self._ends.wait(0.02):
            pass
        return self._told.get(name) == "let"

    def pass_down(self, server: socket.socket, client: socket.socket, number: int) -> None:
        """Pass everything on."""
        with suppress(OSError):
            while data := server.recv(65_536):
                client.sendall(data)


def focus_of(browser: Any) -> str:
    """What has the focus, by its name, if it is seen to have it."""
    name, outline, width = browser.execute_script(FOCUS)
    return f"{name}, seen" if outline == "solid" and width >= 2 else str(name)


def press(browser: Any, *keys: str) -> None:
    """Press keys at once, wherever the focus is."""
    from selenium.webdriver import ActionChains  # noqa: PLC0415  only where a browser is

    actions = ActionChains(browser)
    for key in keys:
        actions.key_down(key)
    for key in reversed(keys):
        actions.key_up(key)
    actions.perform()


def test_each_row_is_cancelled_and_tried_again_by_keyboard_alone(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Tab goes from row to row in their order, Enter and Space press, and the focus is seen and stays in its row."""
    home = home_with()
    relay = Gate(home.port)
    home.lead_to(relay.url)
    url = home.upload("inbox/", uses=3)
    files = [tmp_path / "a.bin", tmp_path / "b.bin"]
    for file in files:
        file.write_bytes(bytes(LARGE_BYTES))
    with home.serve(), relay.running(), browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        tab_to(browser, "#pick")
        choose(browser, files)
        until(lambda: "a.bin" in relay.held, "the first is not sent")
        assert focus_of(browser) == "headline"

        press(browser, TAB)
        assert focus_of(browser) == "Cancel a.bin, seen"
        press(browser, SPACE)
        assert "Cancelled" in rows_of(browser)[0]
        relay.cut("a.bin")
        assert focus_of(browser) == "Try a.bin again, seen"
        assert "a.bin: Cancelled" in browser.execute_script("return document.getElementById('say').textContent")
        press(browser, TAB)
        assert focus_of(browser) == "Cancel b.bin, seen"
        until(lambda: "b.bin" in relay.held, "the second is not sent")
        press(browser, ENTER)
        relay.cut("b.bin")
        assert focus_of(browser) == "Try b.bin again, seen"
        assert state(browser) == "choose"
        relay.hold("a.bin", "b.bin")
        press(browser, SHIFT, TAB)
        assert focus_of(browser) == "Try a.bin again, seen"
        press(browser, ENTER)
        assert focus_of(browser) == "Cancel a.bin, seen"
        press(browser, TAB)
        press(browser, SPACE)
        assert focus_of(browser) == "Cancel b.bin, seen"

        press(browser, SHIFT, TAB)
        relay.let("a.bin")
        until(lambda: "Arrived on" in rows_of(browser)[0], "the first did not arrive")
        assert focus_of(browser) == "row done, seen"
        press(browser, TAB)
        assert focus_of(browser) == "Cancel b.bin, seen"
        relay.let("b.bin")
        until(lambda: state(browser) == "done", "the second did not arrive")
        assert focus_of(browser) == "headline"
        assert refused_by_policy(browser) == []
    assert sorted(path.name for path in (home.objects / "inbox").iterdir()) == ["a.bin", "b.bin"]


def choose(browser: Any, files: list[pathlib.Path]) -> None:
    """Press Enter on the place for files, and choose some; nobody can type into the window that it opens."""
    browser.execute_script("arguments[0].onclick = (e) => (e.preventDefault(), window.asked = true)", pick(browser))
    press(browser, ENTER)
    assert browser.execute_script("return window.asked")
    pick(browser).send_keys("\n".join(map(str, files)))


def pick(browser: Any) -> Any:
    """The place for files."""
    return browser.find_element("id", "pick")


def test_of_three_files_one_is_cancelled_one_too_large_and_one_sent_again_after_a_break(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Dropped at once: the one whose connection breaks arrives by itself; of the others nothing is sent or kept.

    Its row says what it waits for; the link has a use left for the cancelled one, which then arrives as well.
    """
    home = home_with()
    relay = Gate(home.port)
    home.lead_to(relay.url)
    url = home.upload("inbox/", uses=2, max_bytes=LARGE_BYTES)
    with home.serve() as serving, relay.running(), browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        browser.execute_script(DROP, [["a.bin", LARGE_BYTES], ["large.bin", LARGE_BYTES + 1], ["b.bin", 1000]])
        until(lambda: "a.bin" in relay.held, "the first is not sent")
        browser.find_element("css selector", ".row:nth-child(3) button").click()
        assert "Too large: at most 25.2 MB." in rows_of(browser)[1]
        assert "Cancelled. Nothing was kept." in rows_of(browser)[2]
        assert state(browser) == "sending"

        # twice: where a connection has carried a request before, a browser sends the next one again by itself
        relay.cut("a.bin")
        until(lambda: state(browser) == "paused", "the page does not say that the connection broke")
        assert "Waiting for the network" in rows_of(browser)[0]
        relay.let("a.bin")
        until(lambda: state(browser) == "done", "it is not sent again")
        assert headline(browser) == "The file has arrived"
        assert [name(path) for path in (home.objects / "inbox").iterdir()] == ["a.bin"]
        assert hashlib.sha256(bytes(LARGE_BYTES)).hexdigest() in rows_of(browser)[0]

        browser.find_element("css selector", ".row:nth-child(3) button").click()
        until(lambda: headline(browser) == "2 files have arrived", "the cancelled one is not sent")
        assert "Too large" in rows_of(browser)[1]
        until(lambda: stored(serving) == ["inbox/a.bin", "inbox/b.bin"], "the log does not say what was stored")
        assert refused_by_policy(browser) == []
    assert {name(path): path.stat().st_size for path in (home.objects / "inbox").iterdir()} == {
        "a.bin": LARGE_BYTES,
        "b.bin": 1000,
    }
    record = home.record(url)
    assert record is not None
    assert record.uses == 2


def stored(serving: Serving) -> list[object]:
    """Which keys were stored, as the gateway's log says."""
    lines = [line for line in serving.log_lines() if line.get("event") == "request" and line.get("method") == "PUT"]
    return [line["key"] for line in lines if line.get("status") == 200]


def name(path: pathlib.Path) -> str:
    """A file's name."""
    return path.name
