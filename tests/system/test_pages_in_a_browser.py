"""The pages in a real browser: what a person does with a link, with a script and without one."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable

import pytest

from browsers import DROP, ENTER, TAB, browsing, headline, headline_of_closed_page, refused_by_policy, state, until
from oncegate.links.grant import Operation
from oncegate.testing.installation import Installation
from oncegate.testing.raw_http import ask

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_person_presses_the_button_and_meets_the_page_again(
    tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Ready, begun, and, on opening the link again, used; the file is saved under its signed name, once."""
    made = Installation(tmp_path)
    made.put("kept/1.bin", b"x" * 1000)
    with made.serve(), browsing(tmp_path, require_tool) as browser:
        url = made.link("kept/1.bin", filename="Report.bin")
        browser.get(url)
        assert headline(browser) == "Report.bin"
        browser.get(url)
        browser.find_element("css selector", ".main").click()
        until(lambda: headline(browser) == "Your download has started", "the page does not say that it began")
        until((tmp_path / "saved" / "Report.bin").exists, "nothing was saved")
        assert refused_by_policy(browser) == []
        browser.get(url)
        assert headline(browser) == "This file was already opened"
        browser.refresh()
        assert headline(browser) == "This file was already opened"
        browser.switch_to.new_window("tab")
        browser.get(url)
        assert headline(browser) == "This file was already opened"
    assert (tmp_path / "saved" / "Report.bin").read_bytes() == b"x" * 1000


def test_the_button_is_reached_and_pressed_by_keyboard_alone(
    tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """The first stop is the button."""
    made = Installation(tmp_path)
    made.put("a.bin", b"x")
    with made.serve(), browsing(tmp_path, require_tool) as browser:
        browser.get(made.link("a.bin"))
        body = browser.find_element("tag name", "body")
        body.send_keys(TAB)
        assert "Download" in browser.switch_to.active_element.text
        browser.switch_to.active_element.send_keys(ENTER)
        until((tmp_path / "saved" / "a.bin").exists, "nothing was saved")


def test_without_a_script_the_button_works_too(tmp_path: pathlib.Path, require_tool: Callable[[str], str]) -> None:
    """The page is HTML: the script only adds to it."""
    made = Installation(tmp_path)
    made.put("a.bin", b"x")
    with made.serve(), browsing(tmp_path, require_tool, script=False) as browser:
        browser.get(made.link("a.bin"))
        browser.find_element("css selector", ".main").click()
        until((tmp_path / "saved" / "a.bin").exists, "nothing was saved")


def test_a_file_is_sent_and_the_page_says_what_arrived(
    tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Choose, done, and the receipt; the zone is there in choose alone; opened again, the link has its own page."""
    made = Installation(tmp_path)
    file = tmp_path / "scan.bin"
    file.write_bytes(os.urandom(300_000))
    with made.serve(), browsing(tmp_path, require_tool) as browser:
        url = made.link("in/one.bin", operation=Operation.PUT, max_bytes=1_000_000)
        browser.get(url)
        zone = browser.find_element("css selector", ".zone")
        assert (state(browser), zone.is_displayed()) == ("choose", True)
        browser.find_element("id", "pick").send_keys(str(file))
        until(lambda: state(browser) == "done", "it was not sent")
        assert headline(browser) == "The file has arrived"
        assert not zone.is_displayed()
        assert "SHA-256" in browser.find_element("css selector", ".row").text
        assert browser.execute_script("return document.activeElement.id") == "headline"
        assert refused_by_policy(browser) == []
        browser.get(url)
        assert headline(browser) == "Everything has arrived"
    assert (made.objects / "in/one.bin").read_bytes() == file.read_bytes()


def test_a_file_that_is_too_large_is_refused_before_a_byte_is_sent(
    tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """The page knows the limit: nobody waits for a refusal. Another file can be chosen at once."""
    made = Installation(tmp_path)
    large, small = tmp_path / "large.bin", tmp_path / "small.bin"
    large.write_bytes(bytes(2_000))
    small.write_bytes(bytes(1_000))
    with made.serve() as gateway, browsing(tmp_path, require_tool) as browser:
        browser.get(made.link("in/one.bin", operation=Operation.PUT, max_bytes=1_000))
        browser.find_element("id", "pick").send_keys(str(large))
        until(lambda: state(browser) == "refused", "it was not refused")
        assert "Too large: at most 1 kB." in browser.find_element("css selector", ".row").text
        browser.find_element("id", "pick").send_keys(str(small))
        until(lambda: state(browser) == "done", "the other was not sent")
        puts = [line for line in gateway.log_lines() if line.get("method") == "PUT"]
        assert len(puts) <= 1
    assert (made.objects / "in/one.bin").stat().st_size == 1_000


def test_a_link_that_was_used_meanwhile_is_told_by_its_page(
    tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Another tab sent its file first: this one says so, and stores nothing over it."""
    made = Installation(tmp_path)
    file = tmp_path / "scan.bin"
    file.write_bytes(b"second")
    with made.serve(), browsing(tmp_path, require_tool) as browser:
        url = made.link("in/one.bin", operation=Operation.PUT)
        browser.get(url)
        assert ask("PUT", url, body=b"first").status == 200
        browser.find_element("id", "pick").send_keys(str(file))
        until(lambda: headline(browser) == "Everything has arrived", "the page does not say that the link is used")
    assert (made.objects / "in/one.bin").read_bytes() == b"first"


def test_a_connection_that_breaks_is_taken_up_again(tmp_path: pathlib.Path, require_tool: Callable[[str], str]) -> None:
    """The gateway is gone for a while: the page waits, says so, and sends when it is back."""
    made = Installation(tmp_path)
    file = tmp_path / "scan.bin"
    file.write_bytes(b"x" * 10_000)
    with browsing(tmp_path, require_tool) as browser:
        with made.serve():
            browser.get(made.link("in/one.bin", operation=Operation.PUT))
        browser.find_element("id", "pick").send_keys(str(file))
        until(lambda: state(browser) == "paused", "it does not say that it waits")
        with made.serve():
            until(lambda: state(browser) == "done", "it did not go on")
    assert (made.objects / "in/one.bin").read_bytes() == b"x" * 10_000


def test_without_a_script_a_form_sends_the_file(tmp_path: pathlib.Path, require_tool: Callable[[str], str]) -> None:
    """The same page is a form then; the answer says what has arrived."""
    made = Installation(tmp_path)
    file = tmp_path / "scan.bin"
    file.write_bytes(os.urandom(300_000))
    with made.serve(), browsing(tmp_path, require_tool, script=False) as browser:
        browser.get(made.link("in/one.bin", operation=Operation.PUT))
        browser.find_element("id", "pick").send_keys(str(file))
        browser.find_element("css selector", "#form .main").click()
        until(lambda: headline_of_closed_page(browser) == "The file has arrived", "it was not sent")
    assert (made.objects / "in/one.bin").read_bytes() == file.read_bytes()


def test_several_files_are_dropped_and_each_has_its_row(
    tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """One too large, one too many of the same, one cancelled while it waits and tried again: the rest arrives."""
    made = Installation(tmp_path)
    with made.serve(), browsing(tmp_path, require_tool) as browser:
        url = made.link("inbox/", operation=Operation.PUT, uses=5, max_bytes=30_000_000)
        browser.get(url)
        files = [
            ["a.bin", 20_000_000],
            ["large.bin", 30_000_001],
            ["b.bin", 1_000],
            ["b.bin", 1_000],
            ["c\u202ednp.exe", 10],
        ]
        browser.execute_script(DROP, files)
        # in the same turn as the drop's, before the first file can be through
        browser.execute_script("document.querySelectorAll('.row')[2].querySelector('button').click()")
        until(lambda: state(browser) == "done", "they were not sent")
        rows = [row.text for row in browser.find_elements("css selector", ".row")]
        assert "Too large" in rows[1]
        assert "in the list already" in rows[3]
        assert "[U+202E]" in rows[4]
        if "Cancelled" in rows[2]:
            browser.find_elements("css selector", ".row")[2].find_element("tag name", "button").click()
            until(lambda: "Arrived on" in browser.find_elements("css selector", ".row")[2].text, "no second try")
        assert refused_by_policy(browser) == []
        browser.get(url)
        assert "2 more files" in browser.find_element("id", "help").text
        browser.execute_script(DROP, [["b.bin", 500]])
        until(lambda: state(browser) == "done", "it was not numbered")
    sizes = {path.name: path.stat().st_size for path in (made.objects / "inbox").iterdir()}
    assert sizes == {"a.bin": 20_000_000, "b.bin": 1_000, "c_dnp.exe": 10, "b (2).bin": 500}


def test_the_newcomers_path(tmp_path: pathlib.Path, require_tool: Callable[[str], str]) -> None:
    """Share a file and open it; request uploads and send three; see what became of them; revoke."""
    made = Installation(tmp_path)
    file = tmp_path / "report.txt"
    file.write_text("hello")
    with made.serve(), browsing(tmp_path, require_tool) as browser:
        shared = made.run("share", str(file), "--from", "Ada", "--note", "As promised")
        assert shared.returncode == 0, shared.stderr
        url = shared.stdout.strip()
        browser.get(url)
        assert "As promised" in browser.find_element("tag name", "blockquote").text
        browser.find_element("css selector", ".main").click()
        until((tmp_path / "saved" / "report.txt").exists, "nothing was saved")
        asked = made.run("request", "--uses", "4", "--note", "Your photos").stdout.strip()
        browser.get(asked)
        assert headline(browser) == "Your photos"
        browser.execute_script(DROP, [["1.jpg", 10], ["2.jpg", 10], ["3.jpg", 10]])
        until(lambda: state(browser) == "done", "they were not sent")
        assert headline(browser) == "3 files have arrived"
        assert "3 of 4 taken" in made.run("status", asked).stdout
        assert made.run("revoke", asked).returncode == 0
        browser.get(asked)
        assert headline(browser) == "This link was taken back"
    assert len(list((made.objects / "inbox").iterdir())) == 3
