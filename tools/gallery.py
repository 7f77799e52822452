"""Every page in every state, as pictures, and what axe-core says of each.

    tools/gallery.py OUT             pictures: English at 390 and 1280 px, light and dark, without a script; every language
    tools/gallery.py --axe OUT       and axe-core on English and Arabic, light and dark; exit status 1 with a finding

The pages are made up (tests/support/page_samples.py) and served on loopback with the headers that a gateway sends. Needs
chromium and chromedriver; axe-core is installed by npm from tools/axe, whose lock file pins it, into .parts/axe.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import pathlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from oncegate.web.answers import Answer  # noqa: E402
from oncegate.web.languages import LANGUAGES  # noqa: E402
from page_samples import pages_of, request_of, states  # noqa: E402  from the folder of the tests

WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
AXE_LANGUAGES = ("en", "ar")
AXE_RUN = "const done = arguments[0]; axe.run().then((found) => done(found.violations.map((v) => v.id + ': ' + v.nodes[0].html)))"


def made(code: str) -> dict[str, Answer]:
    """Every page in one language."""
    issuer = pages_of(name="Example GmbH", contact="help@example.com", language=code)
    return dict(states(issuer, request_of(language=code)))


@contextlib.contextmanager
def served(pages: dict[str, Answer]) -> Iterator[str]:
    """Serve pages under ``/<language>/<state>``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = pages.get(self.path.strip("/"), Answer(404, []))
            self.send_response(200 if answer.body else 404)
            for name, value in answer.headers:
                self.send_header(name.decode(), value.decode())
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def do_HEAD(self) -> None:
            self.send_response(503)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as above
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    """A Chromium without a window."""
    from selenium import webdriver  # noqa: PLC0415  only where a browser is
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--mute-audio"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield browser
    finally:
        browser.quit()


def picture(browser: Any, url: str, path: pathlib.Path, *, width: int, scheme: str, script: bool = True) -> None:
    """Take a picture of a whole page."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
    show(browser, url, width=width, scheme=scheme)
    # a screen as high as the page: beyond its screen, Chromium draws a page from right to left in the wrong place
    high = max(
        screen_of(width)["height"],
        int(browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]["height"]),
    )
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**screen_of(width), "height": high})
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {})
    path.write_bytes(base64.b64decode(shot["data"]))


def screen_of(width: int) -> dict[str, int]:
    """A phone's or a desk's screen."""
    return {"width": width, "height": 844 if width < 500 else 800, "deviceScaleFactor": 1, "mobile": False}


def show(browser: Any, url: str, *, width: int, scheme: str) -> None:
    """Go to a page on a screen of some width."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen_of(width))
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(url)


def axe_script() -> str:
    """Install axe-core as it is pinned, and return its text."""
    folder = ROOT / ".parts" / "axe"
    found = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not found.exists():
        shutil.copytree(ROOT / "tools" / "axe", folder, dirs_exist_ok=True)
        npm = shutil.which("npm") or "npm"
        subprocess.run([npm, "ci", "--silent", "--ignore-scripts"], cwd=folder, check=True, timeout=120)
    return found.read_text()


def findings(browser: Any, base: str, pages: dict[str, Answer]) -> Iterator[str]:
    """What axe-core, the policy and the width of the screen have to say of each page."""
    script = axe_script()
    for name in pages:
        for scheme in SCHEMES:
            show(browser, f"{base}/{name}", width=390, scheme=scheme)
            if browser.execute_script("return document.documentElement.scrollWidth > innerWidth"):
                yield f"{name} {scheme}: wider than the screen"
            browser.execute_script(script)
            yield from (f"{name} {scheme}: {found}" for found in browser.execute_async_script(AXE_RUN))
        for entry in browser.get_log("browser"):
            if "Content Security Policy" in entry["message"]:
                yield f"{name}: {entry['message']}"


def main() -> int:
    """Write pictures; with ``--axe`` judge the pages too."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--axe"]
    out = pathlib.Path(arguments[0])
    out.mkdir(parents=True, exist_ok=True)
    pages = {f"{code}/{name}": answer for code in LANGUAGES for name, answer in made(code).items()}
    with served(pages) as base, browsing() as browser:
        for path in pages:
            code, name = path.split("/")
            picture(browser, f"{base}/{path}", out / f"{name}.{code}-390-light.png", width=390, scheme="light")
            if code != "en":
                continue
            for width, scheme in ((390, "dark"), (1280, "light"), (1280, "dark")):
                picture(browser, f"{base}/{path}", out / f"{name}.en-{width}-{scheme}.png", width=width, scheme=scheme)
            bare = out / f"{name}.en-390-no-script.png"
            picture(browser, f"{base}/{path}", bare, width=390, scheme="light", script=False)
        if "--axe" not in sys.argv:
            return 0
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        judged = {path: answer for path, answer in pages.items() if path.split("/")[0] in AXE_LANGUAGES}
        wrong = list(findings(browser, base, judged))
    print("\n".join(wrong) or f"{len(judged)} pages, light and dark: no finding")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
