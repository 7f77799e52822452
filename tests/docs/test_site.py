"""The documentation as a site: built strictly, whole, and loading nothing from another host."""

from __future__ import annotations

import http.server
import os
import pathlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PARTS_OF_THE_PACKAGE = (
    "oncegate.Signer.download",
    "oncegate.Client",
    "oncegate.verify",
    "oncegate.testing.LedgerSuite",
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  of the standard library
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Build it; a link that leads nowhere, or a page that the menu lacks, ends the build."""
    folder = tmp_path_factory.mktemp("site")
    environ = {**os.environ, "ALREADY_PREPARED": "1"}
    done = subprocess.run(
        [ROOT / "scripts" / "site", "--site-dir", folder], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def served(site: pathlib.Path) -> Iterator[str]:
    """Serve it; give its URL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_page_of_the_documentation_is_in_the_menu(site: pathlib.Path) -> None:
    """Mkdocs only notes a page that no menu leads to."""
    menu = (ROOT / "mkdocs.yml").read_text()
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if f"- {page}\n" not in menu] == []
    assert len(list(site.rglob("*.html"))) >= len(pages)


def test_the_page_of_the_package_has_what_the_package_has(site: pathlib.Path) -> None:
    """It is written from docstrings: a name that moved would leave a hole."""
    page = (site / "reference" / "python.html").read_text()
    assert [name for name in PARTS_OF_THE_PACKAGE if f'id="{name}"' not in page] == []


@pytest.mark.timeout(600)
def test_no_page_loads_anything_from_another_host(
    site: pathlib.Path, served: str, require_tool: Callable[[str], str]
) -> None:
    """Whoever reads in a closed network reads all, and no host learns who reads."""
    chromium, chromedriver = require_tool("chromium"), require_tool("chromedriver")
    from selenium import webdriver  # noqa: PLC0415  only where a browser is
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        for page in sorted(site.rglob("*.html")):
            browser.get(f"{served}/{page.relative_to(site)}")
            loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
            assert [name for name in loaded if not name.startswith((served, "data:"))] == [], page.name
            assert any(name.endswith(".css") for name in loaded), page.name
    finally:
        browser.quit()
