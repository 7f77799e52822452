"""Who asks: a person's browser, a program, or something that only looks ahead.

A person's browser is shown a page with a button. Whatever only looks ahead (a chat's preview, a mail scanner, a
prefetch) is shown it too, and spends nothing. A program gets the object, and is never shown a page with status 200 in
its place: it would save the page as the file.

Nothing here is certain: headers are what a client says of itself. Whoever must be certain signs
``once-confirm=always`` into the link.

Source: Fetch Metadata Request Headers (W3C) for Sec-Fetch-*; tools/gen_agents.py for names of agents; the rest is our
choice (docs/promises.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from oncegate.links.agents import NAMES
from oncegate.links.cookies import has_our_cookies
from oncegate.links.request import ViewerRequest

AGENT_MAX_BYTES = 512
"""What is read of a User-Agent: browsers send 120 to 350 bytes, and a stranger as many as a head may have."""

AGENTS_REMEMBERED = 1024

# each alternative has a literal beginning, which the search jumps to: a pattern that begins with a choice tries it at
# every byte, and costs ten times as much. "bot" counts at a word's end (Slackbot, bot/1.0); Cubot makes phones
_BOT = re.compile(rb"bot(?![a-z])(?<!cubot)")
_GENERIC = (
    b"spider",
    b"crawler",
    b"unfurl",
    b"onebox",
    b"externalhit",
    b"externalfetch",
    b"linkpreview",
    b"urlpreview",
)
_BROWSER = re.compile(rb"mozilla/|opera/|(?:lynx|w3m|e?links)[/ (]")
_TOOLS = (b"powershell", b"curl", b"wget", b"python", b"java", b"okhttp", b"downloadmanager")
"""Programs that call themselves a browser and say beside it what they are."""

_SPACES = bytes(byte if chr(byte).isascii() and chr(byte).isalnum() else 32 for byte in range(256))


def in_words(lower: bytes) -> bytes:
    """A name in lower case as its words, runs of letters and digits, with a space between two.

    A last character that is neither ends the last word: of ``ning/`` comes ``ning`` and a space, which is not the
    beginning of ``ningbo``.
    """
    words = b" ".join(lower.translate(_SPACES).split())
    return words if lower[-1:].isalnum() else words + b" "


def _pattern_of(names: Iterable[bytes]) -> bytes:
    """A pattern that tells at each byte which names are still possible: ``a(?:buse|cunetix)``."""
    endings: dict[bytes, set[bytes]] = {}
    for name in names:
        endings.setdefault(name[:1], set()).add(name[1:])
    if b"" in endings:
        return b""
    branches = [re.escape(first) + _pattern_of(rests) for first, rests in sorted(endings.items())]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


# two hundred searches, or one for a plain choice of two hundred names, would cost a stranger's longest agent 0.4 ms
_LISTED = re.compile(b" " + _pattern_of(in_words(name) for name in NAMES))

_FETCH_METADATA = (
    b"sec-fetch-mode",
    b"sec-fetch-site",
    b"sec-fetch-dest",
    b"sec-fetch-user",
    b"sec-fetch-storage-access",
)
_PREFETCH_HEADERS = frozenset((b"sec-purpose", b"purpose", b"x-purpose", b"x-moz"))


class Agent(NamedTuple):
    """What a User-Agent says of its sender.

    Attributes:
        is_listed: its name is of the list, or has a generic mark: it opens links before their readers do.
        is_browser: it calls itself a browser.
        is_mozilla: it calls itself a browser of those that send fetch metadata over https; text browsers send none.
        is_tool: it names a tool, whatever it calls itself.
    """

    is_listed: bool
    is_browser: bool
    is_mozilla: bool
    is_tool: bool


def is_navigation(request: ViewerRequest) -> bool:
    """Whether a person's browser goes to the link, so that a page can be shown.

    A browser says so by ``Sec-Fetch-Mode``, over https and to localhost. Elsewhere, and by older ones, nothing is
    said: then the agent must be a browser's, or none be named, and ``Accept`` must name text/html.
    """
    mode = request.header(b"sec-fetch-mode")
    if mode is not None:
        # browsers send both; a downloader that copies a browser's headers (yt-dlp) has the first alone
        return mode == b"navigate" and request.header(b"sec-fetch-dest") is not None
    if not accepts_page(request) or any(map(request.header, _FETCH_METADATA)) or _is_bare_range(request):
        return False
    agent = request.header(b"user-agent")
    return agent is None or agent_seen(agent).is_browser


def looks_ahead(request: ViewerRequest) -> str:
    """Why this request only looks ahead: ``prefetch`` or ``preview``; empty where it does not."""
    for name, value in request.headers:
        if name in _PREFETCH_HEADERS and (b"prefetch" in value.lower() or b"preview" in value.lower()):
            return "prefetch"
    agent = request.header(b"user-agent")
    if agent is None:
        return ""
    seen = agent_seen(agent)
    if seen.is_listed:
        return "preview"
    # a scanner takes a browser's name; a browser over https says what it is about to do
    is_silent = request.scheme == "https" and request.header(b"sec-fetch-mode") is None
    if is_silent and seen.is_mozilla and not seen.is_tool and not _is_bare_range(request):
        return "preview"
    return ""


def page_status(request: ViewerRequest) -> int:
    """The status of a page that is shown in place of the object.

    Returns:
        200 for who reads a page: it accepts text/html, or it is a listed agent that shows a card of the link; 403 for
        everybody else, so that no program saves the page as the file.
    """
    agent = request.header(b"user-agent")
    is_listed = agent is not None and agent_seen(agent).is_listed
    return 200 if is_listed or accepts_page(request) else 403


def accepts_page(request: ViewerRequest) -> bool:
    """Whether ``Accept`` names text/html; ``*/*`` is what programs send."""
    accept = request.header(b"accept")
    return accept is not None and b"text/html" in accept.lower()


def _is_bare_range(request: ViewerRequest) -> bool:
    """A Range of a download manager or player: a browser that goes on with a download has our cookie."""
    if request.header(b"range") is None or any(map(request.header, _FETCH_METADATA)):
        return False
    return not has_our_cookies(request)


def agent_seen(agent: bytes) -> Agent:
    """What an agent says of itself, by its first ``AGENT_MAX_BYTES``."""
    return _judge(agent[:AGENT_MAX_BYTES])


@lru_cache(maxsize=AGENTS_REMEMBERED)
def _judge(agent: bytes) -> Agent:
    """Browsers' names are few: looking one up costs a tenth of a microsecond, searching it some fifteen."""
    lower = agent.lower()
    return Agent(
        is_listed=has_generic_mark(lower) or _LISTED.search(b" " + in_words(lower + b" ")) is not None,
        is_browser=_BROWSER.match(lower) is not None,
        is_mozilla=lower.startswith(b"mozilla/"),
        is_tool=any(tool in lower for tool in _TOOLS),
    )


def has_generic_mark(lower: bytes) -> bool:
    """Whether an agent, in lower case, calls itself a bot, a crawler, a maker of previews."""
    return _BOT.search(lower) is not None or any(mark in lower for mark in _GENERIC)


def is_of_another_site(request: ViewerRequest) -> bool:
    """Whether the button was pressed on a page of another site."""
    # "none" means that the user did it, no header an older browser or plain http; "same-site" is another host
    return (request.header(b"sec-fetch-site") or b"none") not in (b"none", b"same-origin")


def agent_of(request: ViewerRequest) -> str | None:
    """User-Agent, short and printable, for events."""
    value = request.header(b"user-agent")
    if value is None:
        return None
    text = value[:120].decode("latin-1")
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())
