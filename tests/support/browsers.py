"""A real browser before the pages: Chromium as large as a phone, driven by selenium."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

LIMIT_S = 60
DROP = """
const data = new DataTransfer();
for (const [name, size] of arguments[0]) data.items.add(new File([new Uint8Array(size)], name));
dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
"""
"""A script that drops files of these names and sizes onto the page."""
TAB, ENTER, SPACE, SHIFT = "\ue004", "\ue007", "\ue00d", "\ue008"


@contextlib.contextmanager
def browsing(
    folder: pathlib.Path, require_tool: Callable[[str], str], *, script: bool = True, cookies: bool = True
) -> Iterator[Any]:
    """A Chromium as large as a phone, which saves downloads into ``folder/saved``."""
    chromium, chromedriver = require_tool("chromium"), require_tool("chromedriver")
    from selenium import webdriver  # noqa: PLC0415  only where a browser is
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    saved = folder / "saved"
    saved.mkdir(exist_ok=True)
    settings: dict[str, object] = {"download.default_directory": str(saved)}
    if not script:
        settings["profile.managed_default_content_settings.javascript"] = 2
    if not cookies:
        settings["profile.default_content_setting_values.cookies"] = 2
    options.add_experimental_option("prefs", settings)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=500,900",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en",
        f"--user-data-dir={folder / 'profile'}",
        # with its own name, HeadlessChrome, it would be taken for a program that looks ahead, and not for a person
        "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ):  # fmt: skip
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        browser.set_page_load_timeout(60)
        yield browser
    finally:
        browser.quit()


def until(done: Callable[[], object], what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def headline(browser: Any) -> str:
    """The page's headline."""
    return str(browser.execute_script("return document.querySelector('h1').innerText"))


def headline_of_closed_page(browser: Any) -> str:
    """The page's headline, asked without a script of the page's; empty while another page takes its place."""
    from selenium.common.exceptions import WebDriverException  # noqa: PLC0415  only where a browser is

    try:
        return str(browser.find_element("tag name", "h1").text)
    except WebDriverException:
        return ""


def state(browser: Any) -> str:
    """The state of the page where files are sent."""
    return str(browser.execute_script("return document.querySelector('main').dataset.state"))


def rows_of(browser: Any) -> list[str]:
    """What the rows of files say on the page where files are sent."""
    return [str(row.text) for row in browser.find_elements("css selector", ".row")]


def tab_to(browser: Any, which: str, *, back: bool = False) -> Any:
    """Press Tab until an element has the focus."""
    for _ in range(20):
        browser.switch_to.active_element.send_keys(SHIFT + TAB if back else TAB)
        if browser.execute_script("return document.activeElement.matches(arguments[0])", which):
            return browser.switch_to.active_element
    raise AssertionError(f"{which} is not reached by Tab")


def refused_by_policy(browser: Any) -> list[str]:
    """What the browser's console says of the page's policy."""
    entries = browser.get_log("browser")
    return [entry["message"] for entry in entries if "Content Security Policy" in entry["message"]]
