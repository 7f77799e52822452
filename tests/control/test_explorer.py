"""``/docs``: the API as a page, from files of the package alone."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from oncegate.control.app import openapi_document
from oncegate.control.explorer import FOLDER, POLICY
from oncegate.testing.installation import Installation

Talk = Callable[..., None]
ROOT = pathlib.Path(__file__).parents[2]
TOOL = ROOT / "tools" / "get_swagger_ui.py"
SHOWN_MAX_S = 120.0


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/start.js", "text/javascript; charset=utf-8"),
        ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
        ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ],
)
def test_the_page_and_what_it_loads_need_no_token_and_have_a_strict_policy(
    talk: Talk, path: str, media_type: str
) -> None:
    """A browser has no token yet; and without the policy a changed file could send the one it is given elsewhere."""

    async def calls(client: httpx.AsyncClient) -> None:
        del client.headers["Authorization"]
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert answer.headers["content-security-policy"] == POLICY
        assert (await client.head(path)).status_code == 200

    talk(calls)


def test_the_policy_admits_no_other_host_and_no_script_in_the_page() -> None:
    """Each of these words would open it."""
    assert "default-src 'none'" in POLICY
    assert not any(word in POLICY for word in ("unsafe", "http", "*"))


@pytest.mark.parametrize("name", ["LICENSE", "x", "..%2fapp.py", "%2e%2e/app.py", "swagger-ui.css/"])
def test_no_other_file_is_served(talk: Talk, name: str) -> None:
    """Names are those of a table; no path is made of what is asked."""

    async def calls(client: httpx.AsyncClient) -> None:
        assert (await client.get(f"/docs/{name}")).status_code == 404

    talk(calls)


def test_the_page_is_no_call_of_the_api() -> None:
    """Generated clients would get a method that returns HTML."""
    assert not any(path.startswith("/docs") for path in openapi_document()["paths"])


def checked(tool: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Run the check of the files."""
    return subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)


def test_the_files_are_those_of_the_pinned_release(tmp_path: pathlib.Path) -> None:
    """A changed byte, and a file that is in no release, are found without a network."""
    assert checked(TOOL).returncode == 0, checked(TOOL).stdout
    copy = tmp_path / "src" / "oncegate" / "control" / "swagger_ui"
    copy.mkdir(parents=True)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / TOOL.name).write_bytes(TOOL.read_bytes())
    for path in FOLDER.iterdir():
        (copy / path.name).write_bytes(path.read_bytes() + (b" " if path.name == "swagger-ui.css" else b""))
    (copy / "more.js").touch()
    found = checked(tmp_path / "tools" / TOOL.name)
    assert found.returncode == 1
    assert [line.partition(" ")[0] for line in found.stdout.splitlines()] == ["swagger-ui.css", "more.js"]


@pytest.mark.slow
def test_a_browser_shows_every_call_and_makes_one_without_asking_another_host(
    tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """Swagger UI asks a public validator unless told otherwise, and must run without inline scripts and styles."""
    chromium, chromedriver = require_tool("chromium"), require_tool("chromedriver")
    from selenium import webdriver  # noqa: PLC0415  only where a browser is
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    with Installation(tmp_path).serve() as serving:
        browser = webdriver.Chrome(options=options, service=Service(chromedriver))
        try:
            browser.get(f"{serving.control_url}/docs#/observing/tell_health")
            calls = sum(len(methods) for methods in openapi_document()["paths"].values())
            shown(browser, "return document.querySelectorAll('.opblock').length", calls)
            shown(browser, "return document.querySelectorAll('.try-out__btn').length", 1)
            browser.find_element("css selector", ".try-out__btn").click()
            browser.find_element("css selector", ".execute").click()
            status = (
                "return document.querySelector('.live-responses-table tbody .response-col_status')?.innerText.trim()"
            )
            shown(browser, f"{status}.slice(0, 3)", "200")
            loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
            assert f"{serving.control_url}/openapi.json" in loaded
            assert f"{serving.control_url}/healthz" in loaded
            assert [name for name in loaded if not name.startswith((serving.control_url, "data:"))] == []
            faults = [entry for entry in browser.get_log("browser") if entry["source"] != "console-api"]
            assert faults == []  # what the policy refused, what was not there, what was thrown
        finally:
            browser.quit()


def shown(browser: Any, script: str, wanted: object) -> None:
    """Wait until a script returns what is wanted."""
    deadline = time.monotonic() + SHOWN_MAX_S
    while (found := browser.execute_script(script)) != wanted:
        assert time.monotonic() < deadline, f"{script}: {found!r}"
        time.sleep(0.05)
