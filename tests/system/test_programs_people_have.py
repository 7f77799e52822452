"""curl, aria2c and a browser on one link: over breaks, in parts, and by pressing the button."""

from __future__ import annotations

import hashlib
import os
import pathlib
import subprocess
import time
from collections.abc import Callable

import httpx
import pytest

from oncegate.testing.installation import Installation

MIB = 1 << 20


def digest(data: bytes) -> str:
    """For messages that can be read."""
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("jar", [True, False])
def test_curl_continues_a_download_that_was_cut(
    tmp_path: pathlib.Path, require_tool: Callable[[str], str], *, jar: bool
) -> None:
    """Cut after a third and continued by ``curl -C -`` the file is whole, and nobody else gets a byte."""
    curl = require_tool("curl")
    made = Installation(tmp_path)
    data = os.urandom(24 * MIB)
    made.put("big.bin", data)
    cookies = ["-b", "jar", "-c", "jar"] if jar else []
    part = tmp_path / "part.bin"
    with made.serve():
        url = made.link("big.bin")
        first = subprocess.Popen([curl, "-s", *cookies, "--limit-rate", "16M", "-o", part, url], cwd=tmp_path)
        deadline = time.monotonic() + 20
        while (not part.exists() or part.stat().st_size < 8 * MIB) and time.monotonic() < deadline:
            time.sleep(0.01)
        first.terminate()
        first.wait()
        got = part.stat().st_size
        assert 8 * MIB <= got < len(data)
        rest = subprocess.run(
            [curl, "-s", *cookies, "-C", "-", "--retry", "5", "--retry-delay", "1", "-w", "%{http_code}", "-o", part, url],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert rest.stdout.endswith("206")
        assert digest(part.read_bytes()) == digest(data)
        again = subprocess.run(
            [curl, "-s", "--interface", "127.0.0.2", "-r", "100-200", "-w", "%{http_code}", "-o", "/dev/null", url],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert again.stdout == "403"


def test_aria2_takes_an_object_in_parts_at_once(tmp_path: pathlib.Path, require_tool: Callable[[str], str]) -> None:
    """It opens the whole object, then its parts beside it, and asks again for what it threw away: one use."""
    aria2c = require_tool("aria2c")
    made = Installation(tmp_path)
    data = os.urandom(32 * MIB)
    made.put("big.bin", data)
    with made.serve():
        for attempt in range(3):
            url = made.link("big.bin")
            done = subprocess.run(
                [aria2c, "-x4", "-s4", "-k1M", "--no-conf", "-q", "-d", tmp_path, "-o", f"out{attempt}.bin", url],
                check=False,
                timeout=60,
            )
            assert done.returncode == 0
            assert digest((tmp_path / f"out{attempt}.bin").read_bytes()) == digest(data)
            assert httpx.get(url).status_code == 403


def test_all_but_the_last_byte_again_and_again_yields_no_second_copy(tmp_path: pathlib.Path) -> None:
    """Systems that count only whole downloads give themselves away here, byte by byte less one."""
    made = Installation(tmp_path)
    size = 4 * MIB
    made.put("big.bin", os.urandom(size))
    with made.serve():
        url = made.link("big.bin")
        total = 0
        with httpx.Client() as holder:
            for _ in range(30):
                answer = holder.get(url, headers={"Range": f"bytes=0-{size - 2}"})
                total += len(answer.content) if answer.status_code == 206 else 0
        assert size - 1 <= total <= size + size // 2


@pytest.mark.timeout(120)
def test_a_browser_presses_the_button_and_plays_a_video_in_parts(
    tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """A person opens the link: a page first, then the object, once; the media player's ranges are the same use."""
    chromium, chromedriver = require_tool("chromium"), require_tool("chromedriver")
    from selenium import webdriver  # noqa: PLC0415  only where a browser is
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415
    from selenium.webdriver.common.by import By  # noqa: PLC0415

    made = Installation(tmp_path)
    made.put("sound.wav", wav(seconds=40))
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--autoplay-policy=no-user-gesture-required", f"--user-data-dir={tmp_path / 'profile'}",
    ):  # fmt: skip
        options.add_argument(argument)
    with made.serve() as gateway:
        browser = webdriver.Chrome(options=options, service=Service(chromedriver))
        try:
            browser.set_page_load_timeout(30)
            browser.get(made.link("sound.wav", inline=True))
            assert "sound.wav" in browser.find_element(By.TAG_NAME, "h1").text
            browser.find_element(By.TAG_NAME, "button").click()
            deadline = time.monotonic() + 30
            ready = "const m=document.querySelector('video,audio'); return m ? [m.readyState, m.duration] : null"
            state = None
            while time.monotonic() < deadline and not (state and state[0] >= 3):
                state = browser.execute_script(ready)
                time.sleep(0.05)
            assert state
            assert state[0] >= 3
            assert 39 < state[1] < 41
            browser.execute_script("document.querySelector('video,audio').currentTime = 30")
            while time.monotonic() < deadline and browser.execute_script(
                "const m=document.querySelector('video,audio'); return m.seeking || m.readyState < 3"
            ):
                time.sleep(0.05)
            assert browser.execute_script("return document.querySelector('video,audio').error") is None
        finally:
            browser.quit()
        time.sleep(0.3)  # the log is written in pieces
        served = [line for line in gateway.log_lines() if line.get("key") == "sound.wav" and line["method"] == "GET"]
    assert served[0]["outcome"] == "page"
    assert {line["status"] for line in served} <= {200, 206}
    assert made.run("status", "--json", served[0]["link_id"]).stdout.count('"at"') >= 1


def wav(*, seconds: int) -> bytes:
    """Silence that a browser plays: 8 kHz, 16 bit, one channel."""
    data = bytes(16_000 * seconds)
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = (1).to_bytes(2, "little") + (1).to_bytes(2, "little") + (8000).to_bytes(4, "little")
    form += (16_000).to_bytes(4, "little") + (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
    return head + form + b"data" + len(data).to_bytes(4, "little") + data
