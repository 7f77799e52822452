"""What a page does beyond showing a state, in a real browser: copying, pasting, speaking, asking again."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from browsers import DROP, browsing, headline, refused_by_policy, rows_of, state, until
from homes import Home
from oncegate.testing.raw_http import ask

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MIB = 1 << 20
PASTE = """
const data = new DataTransfer();
for (const [name, size] of arguments[0]) data.items.add(new File([new Uint8Array(size)], name));
dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true}));
"""
"""A script that pastes files of these names and sizes."""
LISTEN = """
window.spoken = [];
const say = document.getElementById("say");
new MutationObserver(() => window.spoken.push(say.textContent)).observe(say, {childList: true});
"""
"""A script that notes what the page says to who listens."""


def clipboard(browser: Any) -> str:
    """What was copied."""
    script = "navigator.clipboard.readText().then(arguments[0], (error) => arguments[0](String(error)))"
    return str(browser.execute_async_script(script))


def may_copy(browser: Any) -> None:
    """Let the browser's clipboard be read, which a person would be asked for."""
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    browser.execute_cdp_cmd("Browser.grantPermissions", {"permissions": permissions})


def test_a_reader_copies_a_request_for_a_new_link(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """It names the file, and holds nothing of the link: it goes to the sender through a chat."""
    home = home_with()
    url = home.fresh(b"x", filename="Report.pdf")
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        assert ask("GET", url).status == 200
        may_copy(browser)
        browser.get(url)
        button = browser.find_element("css selector", ".second")
        assert button.text == "Copy a request for a new link"
        button.click()
        until(lambda: button.text == "Copied", "it does not say that it was copied")
        assert clipboard(browser) == (
            "Hello, the link to “Report.pdf” does not open any more. Could you send me a new one?"
        )
        assert refused_by_policy(browser) == []


def test_a_sender_copies_the_receipt(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Name, size, when and SHA-256 of each file that arrived, and of no other."""
    home = home_with()
    file = tmp_path / "scan.bin"
    file.write_bytes(os.urandom(2_000))
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        may_copy(browser)
        browser.get(home.upload("inbox/", uses=3, max_bytes=5_000))
        browser.execute_script(DROP, [["large.bin", 5_001]])
        until(lambda: state(browser) == "refused", "it is not refused")
        browser.find_element("id", "pick").send_keys(str(file))
        until(lambda: state(browser) == "done", "it does not arrive")
        browser.find_element("id", "copy").click()
        until(lambda: clipboard(browser).startswith("scan.bin (2 kB) arrived on "), "it is not copied")
        assert clipboard(browser).endswith(f". SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}")


def test_pasted_files_are_sent(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Pictures from a clipboard all have one name: none takes the place of another."""
    home = home_with()
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        browser.get(home.upload("inbox/", uses=3))
        for size in (10, 20):
            browser.execute_script(PASTE, [["image.png", size]])
            until(lambda: state(browser) == "done", "it does not arrive")
        until(lambda: headline(browser) == "2 files have arrived", "the second does not arrive")
    sizes = {path.name: path.stat().st_size for path in (home.objects / "inbox").iterdir()}
    assert sizes == {"image.png": 10, "image (2).png": 20}


def test_a_link_that_others_use_up_closes_the_page(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """What has arrived stays on the page with its receipt; what did not says why, and nothing more can be chosen."""
    home = home_with()
    url = home.upload("inbox/", uses=2)
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        assert ask("PUT", url.replace("/inbox/?", "/inbox/theirs.bin?"), body=b"x").status == 200
        browser.execute_script(DROP, [["a.bin", 10], ["b.bin", 10]])
        until(lambda: state(browser) == "closed", "the page does not close")
        assert headline(browser) == "This link takes nothing more"
        assert browser.execute_script("return document.activeElement.id") == "headline"
        assert "Arrived on" in rows_of(browser)[0]
        assert "The link takes nothing more." in rows_of(browser)[1]
        assert not browser.find_element("css selector", ".zone").is_displayed()
        assert [browser.find_element("id", name).is_displayed() for name in ("copy", "more")] == [True, False]
        browser.execute_script(DROP, [["c.bin", 10]])
        assert len(rows_of(browser)) == 2
        browser.refresh()
        assert headline(browser) == "Everything has arrived"
    assert sorted(path.name for path in (home.objects / "inbox").iterdir()) == ["a.bin", "theirs.bin"]


def test_progress_is_spoken_at_quarters(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Who listens to the page hears how far it is, and not each per cent; then the result."""
    home = home_with()
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        browser.get(home.upload("one.bin"))
        browser.execute_script(LISTEN)
        # four times half a second: a page hears of its upload 20 times a second
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4 * MIB}
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", slow)
        browser.execute_script(DROP, [["a.bin", 8 * MIB]])
        until(lambda: state(browser) == "done", "it does not arrive")
        assert browser.execute_script("return window.spoken") == [
            "25% sent",
            "50% sent",
            "75% sent",
            "The file has arrived",
        ]


def test_who_tries_again_meets_the_file_once_it_is_there(
    home_with: Callable[..., Home], tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """The link was not used up by the page that said that there is no file."""
    home = home_with()
    url = home.link("late.bin")
    with home.serve(), browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        assert headline(browser) == "The file is not there yet, or no more"
        home.lay(b"x", "late.bin")
        browser.find_element("css selector", ".second").click()
        until(lambda: headline(browser) == "late.bin", "the page does not show the file")
        browser.get(home.public_url + "/some/path")
        assert headline(browser) == "Links are opened here, nothing else"
    assert home.record(url) is None
