"""What people open links with, where nginx or Caddy sends in the gateway's place: players, a browser, many connections."""

from __future__ import annotations

import pathlib
import random
from collections.abc import Callable
from typing import Any

import pytest

import browsers
from clients import CLIENTS, Client, Trial, programs, read_page
from fronts import ADA, Front

PARTS = pathlib.Path(__file__).parents[2] / ".parts"
PROGRAMS = ("wget2", "aria2c", "axel", "ffmpeg", "mpv", "oncegate")
SECONDS = 3_600
READY = "const m = document.querySelector('video, audio'); return m && m.readyState >= 3 && !m.seeking ? m.duration : 0"

pytestmark = [
    pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("proxies"), pytest.mark.told_by_datagrams,
]  # fmt: skip


@pytest.mark.parametrize(
    "client", [each for each in CLIENTS if each.program in PROGRAMS], ids=lambda client: client.name
)
def test_a_client_does_what_it_does_without_the_proxy(front: Front, tmp_path: pathlib.Path, client: Client) -> None:
    """docs/clients.md is of the gateway alone: whole, once, within the budget, and after a cut.

    But for sixteen connections that are cut: what the proxy had of each is paid, and may be more than the slack.
    """
    trial = Trial(
        made=front, programs=programs(PARTS), folder=tmp_path, port=front.front_port, source=ADA
    )  # fmt: skip
    said = trial.version_of(client)
    _, verdict = read_page()[client.name]
    found = trial.judge(client)
    assert float(found.sent) <= 1.5 * client.uses, said
    assert (found.whole, found.second) == (verdict.whole, verdict.second), said
    assert found.resumes == verdict.resumes or "-x16" in client.name, said


def test_a_film_is_played_in_a_browser_and_sought_in(
    front: Front, tmp_path: pathlib.Path, require_tool: Callable[[str], str]
) -> None:
    """The player asks for the next part before it closes the first: the gateway sends the parts of a film by itself."""
    url = front.fresh(noise(), key="film.wav", inline=True)
    with browsers.browsing(tmp_path, require_tool) as browser:
        browser.get(url)
        browser.find_element("tag name", "button").click()
        browsers.until(lambda: playing(browser), "it plays")
        assert SECONDS - 1 < playing(browser) < SECONDS + 1
        # each part that a player gives up costs what the proxy and the kernel held of it, and a link gives twice its size
        for second in (SECONDS - 60, 30)[: 1 if front.kind == "bucket" else 2]:
            browser.execute_script(f"document.querySelector('video, audio').currentTime = {second}")
            browsers.until(lambda: playing(browser), f"it plays at {second} s")
        assert browser.execute_script("return document.querySelector('video, audio').error") is None
    assert front.get(url).status == 403


def playing(browser: Any) -> float:
    """The length of what can be played now, in seconds; 0: nothing can."""
    return float(browser.execute_script(READY))


def noise() -> bytes:
    """Sound that a browser plays: 8 kHz, 16 bit, one channel."""
    data = random.Random(4).randbytes(16_000 * SECONDS)
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = (1).to_bytes(2, "little") + (1).to_bytes(2, "little") + (8000).to_bytes(4, "little")
    form += (16_000).to_bytes(4, "little") + (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
    return head + form + b"data" + len(data).to_bytes(4, "little") + data
