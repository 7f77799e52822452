"""Who is a person, who only looks ahead, who is a program: one table of heads, and the limits of reading them."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

import pytest
from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from oncegate.links import people
from oncegate.links.agents import NAMES
from oncegate.links.request import ViewerRequest

ROOT = pathlib.Path(__file__).parents[2]
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 15_8 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.6"
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
NAVIGATE = {
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Dest": "document",
}

PROGRAMS: dict[str, dict[str, str]] = {
    "curl": {"User-Agent": "curl/8.14.1", "Accept": "*/*"},
    "wget": {"User-Agent": "Wget/1.25.0", "Accept": "*/*"},
    "wget2": {"User-Agent": "Wget/2.2.0", "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
    "busybox": {"User-Agent": "Wget"},
    "aria2": {"User-Agent": "aria2/1.37.0", "Accept": "*/*", "Want-Digest": "SHA-512;q=1, SHA-256;q=1, SHA;q=0.1"},
    "aria2 with four connections": {"User-Agent": "aria2/1.37.0", "Accept": "*/*", "Range": "bytes=0-1048575"},
    "axel": {"User-Agent": "Axel/2.17.14 (Linux)", "Accept": "*/*", "Range": "bytes=1-"},
    "httpie": {"User-Agent": "HTTPie/3.2.4", "Accept": "*/*"},
    "Java 8 openStream": {
        "User-Agent": "Java/1.8.0_432",
        "Accept": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
    },
    "Java 21 openStream": {
        "User-Agent": "Java/21.0.5",
        "Accept": "text/html, image/gif, image/jpeg, */*; q=0.2",
    },
    "Java HttpClient": {"User-Agent": "Java-http-client/21.0.5"},
    "Apache HttpClient": {"User-Agent": "Apache-HttpClient/5.4.1 (Java/21.0.5)"},
    "okhttp": {"User-Agent": "okhttp/4.12.0", "Accept-Encoding": "gzip"},
    "yt-dlp": {"User-Agent": CHROME, "Accept": HTML, "Accept-Language": "en-us,en;q=0.5", "Sec-Fetch-Mode": "navigate"},
    "ffmpeg": {"User-Agent": "Lavf/61.7.100", "Accept": "*/*", "Range": "bytes=0-", "Icy-MetaData": "1"},
    "mpv": {"User-Agent": "libmpv", "Accept": "*/*", "Range": "bytes=0-"},
    "VLC": {"User-Agent": "VLC/3.0.21 LibVLC/3.0.21", "Range": "bytes=0-"},
    "AVFoundation": {
        "User-Agent": "AppleCoreMedia/1.0.0.22B83 (iPhone; U; CPU OS 18_1 like Mac OS X)",
        "Range": "bytes=0-1",
    },
    "GStreamer": {"User-Agent": "GStreamer souphttpsrc 1.24.9 libsoup/3.6.0", "icy-metadata": "1"},
    "ExoPlayer": {"User-Agent": "demo/1.0 (Linux;Android 14) AndroidXMedia3/1.4.1", "Range": "bytes=100-"},
    "a player with a browser's name": {"User-Agent": CHROME, "Accept": "*/*", "Range": "bytes=0-"},
    "Windows PowerShell 5": {
        "User-Agent": "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.22621.4391"
    },
    "PowerShell 7": {
        "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Microsoft Windows 10.0.22631; en-US) PowerShell/7.4.6"
    },
    "BITS": {"User-Agent": "Microsoft BITS/7.8", "Accept": "*/*", "Range": "bytes=0-1023"},
    "Android DownloadManager": {
        "User-Agent": "AndroidDownloadManager/14 (Linux; U; Android 14; Pixel 8)",
        "Accept": "*/*",
    },
    "Android's own, with a browser's name": {"User-Agent": "Mozilla/5.0 (Linux; Android 9) AndroidDownloadManager/9"},
    ".NET HttpClient": {},
    "reqwest": {"Accept": "*/*"},
    "Python http.client": {"Accept-Encoding": "identity"},
    "Node http": {"Connection": "keep-alive"},
    "Node fetch": {"User-Agent": "node", "Accept": "*/*", "Accept-Language": "*", "Sec-Fetch-Mode": "cors"},
    "Deno fetch": {"User-Agent": "Deno/2.1.4", "Accept": "*/*"},
    "axios": {"User-Agent": "axios/1.7.9", "Accept": "application/json, text/plain, */*"},
    "got": {"User-Agent": "got (https://github.com/sindresorhus/got)"},
    "Go": {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"},
    "Python urllib": {"User-Agent": "Python-urllib/3.13"},
    "requests": {"User-Agent": "python-requests/2.32.3", "Accept": "*/*"},
    "httpx": {"User-Agent": "python-httpx/0.28.1", "Accept": "*/*"},
    "aiohttp": {"User-Agent": "Python/3.13 aiohttp/3.11.11", "Accept": "*/*"},
    "pip": {"User-Agent": 'pip/24.3.1 {"ci":null}', "Accept-Encoding": "identity"},
    "uv": {"User-Agent": 'uv/0.9.1 {"installer":{"name":"uv"}}', "Accept": "*/*"},
    "npm": {"User-Agent": "npm/10.9.2 node/v22.12.0 linux x64 workspaces/false", "Accept": "*/*"},
    "cargo": {"User-Agent": "cargo/1.83.0 (5ffbef321 2024-10-29)", "Accept": "*/*"},
    "git-lfs": {"User-Agent": "git-lfs/3.6.0 (GitHub; linux amd64; go 1.23.3)"},
    "libwww-perl": {"User-Agent": "libwww-perl/6.77", "TE": "deflate,gzip;q=0.3"},
    "Ruby open-uri": {"User-Agent": "Ruby", "Accept": "*/*"},
    "Guzzle": {"User-Agent": "GuzzleHttp/7"},
    "Postman": {"User-Agent": "PostmanRuntime/7.43.0", "Accept": "*/*"},
    "GDAL": {"User-Agent": "GDAL/3.10.0", "Accept": "*/*", "Range": "bytes=0-16383"},
    "rclone": {"User-Agent": "rclone/v1.68.2"},
    "a browser's script": {"User-Agent": CHROME, "Accept": HTML, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    "a browser's picture": {
        "User-Agent": CHROME,
        "Accept": "image/*",
        "Sec-Fetch-Mode": "no-cors",
        "Sec-Fetch-Dest": "image",
    },
    "a phone whose maker sounds like a bot": {"User-Agent": "Dalvik/2.1.0 (Linux; U; Android 12; CUBOT X50)"},
}
PEOPLE: dict[str, dict[str, str]] = {
    "Chrome": {"User-Agent": CHROME, "Accept": HTML, **NAVIGATE},
    "a frame in a page": {"User-Agent": CHROME, "Accept": HTML, **NAVIGATE, "Sec-Fetch-Dest": "iframe"},
    "a browser that goes on with a download": {"User-Agent": CHROME, "Accept": HTML, **NAVIGATE, "Range": "bytes=9-"},
}
PEOPLE_BY_HTTP: dict[str, dict[str, str]] = {
    "Chrome": {"User-Agent": CHROME, "Accept": HTML},
    "Safari 15": {"User-Agent": SAFARI, "Accept": HTML},
    "Opera Mini": {"User-Agent": "Opera/9.80 (J2ME/MIDP; Opera Mini/7.1.32052/29.3417; U; en)", "Accept": HTML},
    "resuming with the claim's cookie": {
        "User-Agent": SAFARI,
        "Accept": HTML,
        "Range": "bytes=9-",
        "Cookie": "a=b; og-x=y",
    },
}
TEXT_BROWSERS: dict[str, dict[str, str]] = {
    "Lynx": {"User-Agent": "Lynx/2.9.2 libwww-FM/2.14 SSL-MM/1.4.1", "Accept": "text/html, text/plain, */*;q=0.01"},
    "w3m": {"User-Agent": "w3m/0.5.3+git20230121", "Accept": "text/html, text/*;q=0.5, image/*, */*"},
    "Links": {"User-Agent": "Links (2.30; Linux 6.1.0 x86_64; GNU C 14.2; text)", "Accept": "text/html, */*"},
    "ELinks": {"User-Agent": "ELinks/0.17.1.1 (textmode; Linux; 80x24-2)", "Accept": "text/html, */*"},
    "nobody who wants a page": {"Accept": "text/html"},
}
OUR_LIST: dict[str, str] = {
    "Word": "Mozilla/4.0 (compatible; ms-office; MSOffice 16)",
    "Excel on a Mac": "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_1) AppleWebKit/605.1.15 Microsoft Office/16.91",
    "Office that asks what is there": "Microsoft Office Existence Discovery",
    "Office that asks how to speak": "Microsoft Office Protocol Discovery",
    "Office of long ago": "Microsoft Data Access Internet Publishing Provider Protocol Discovery",
    "Outlook": "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Microsoft Outlook 16.0.5475; ms-office; MSOffice 16)",
    "Outlook on a phone": "Outlook-iOS/2.0",
    "Teams": "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Teams/1.7.00.34456 Chrome/114.0 Electron/25.8",
    "Skype": "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
    "Thunderbird": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5.0",
    "Gmail": "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Yahoo": "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Barracuda": "Barracuda Sentinel (EE)",
    "Proofpoint": "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
    "Mimecast": "Mimecast-URL-Protect/1.0",
    "Nextcloud": "Nextcloud Server Crawler",
    "Discourse": "Discourse Forum Onebox v3.4.0",
    "unfurl": "unfurl/6.4.0 (+https://example.org)",
    "GPTBot": "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "ChatGPT": "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
    "ClaudeBot": "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
    "Perplexity": "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0)",
    "Bytespider": "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)",
    "Amazonbot": "Mozilla/5.0 (Macintosh) AppleWebKit/600.2.5 (KHTML, like Gecko) Version/8.0.2 Safari/600.2.5 (Amazonbot/0.1)",
    "Google reads aloud": "Mozilla/5.0 (Linux; Android 7.0) AppleWebKit/537.36 Chrome/81 Mobile Safari/537.36 (compatible; Google-Read-Aloud)",
    "iMessage": "Mozilla/5.0 (Macintosh) AppleWebKit/601.2.4 Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    "Slack": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Telegram": "TelegramBot (like TwitterBot)",
    "Signal": "Signal-Desktop/7.36.1 Linux",
    "Matrix": "Synapse (bot; +https://github.com/matrix-org/synapse)",
    "Mattermost": "mattermost-10.3.1",
    "Pixelfed": "PixelFedBot/1.0.0 (Pixelfed/0.12.4; +https://pixelfed.example)",
    "a browser without a head": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/131.0.0.0 Safari/537.36",
}
SILENT: dict[str, dict[str, str]] = {
    "a scanner with a browser's name": {"User-Agent": CHROME, "Accept": "*/*"},
    "a scanner that accepts pages": {"User-Agent": CHROME, "Accept": HTML},
    "a scanner of long ago": {"User-Agent": "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.0)"},
}


def request(headers: dict[str, str], *, scheme: str = "https") -> ViewerRequest:
    """A GET with these headers."""
    raw = tuple((name.lower().encode(), value.encode()) for name, value in headers.items())
    return ViewerRequest(method="GET", scheme=scheme, host="files.example", path=b"/a", headers=raw)


def verdict(headers: dict[str, str], *, scheme: str = "https") -> str:
    """What a door makes of it, in one word."""
    asked = request(headers, scheme=scheme)
    ahead = people.looks_ahead(asked)
    return ahead or ("person" if people.is_navigation(asked) else "program")


def seen_with(*tags: str) -> list[str]:
    """Agents of the package's rows that have one of the tags."""
    rows = [row for row in CRAWLER_USER_AGENTS_DATA if {*tags} & {*row.get("tags", ())}]
    return [instance for row in rows if row["pattern"] != "AP3A\\.240617\\.008" for instance in row["instances"]]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_is_a_program(name: str, scheme: str) -> None:
    """Taken for a browser it saves a page as the file and says that all went well: wget2, Java and yt-dlp did."""
    assert verdict(PROGRAMS[name], scheme=scheme) == "program"


@pytest.mark.parametrize("name", PEOPLE)
def test_a_browser_that_says_so_is_a_person(name: str) -> None:
    """Fetch metadata is what no page's script can send: mode and destination say that somebody goes there."""
    assert verdict(PEOPLE[name]) == "person"


@pytest.mark.parametrize("name", [*PEOPLE_BY_HTTP, *TEXT_BROWSERS])
def test_a_browser_over_http_is_known_by_agent_and_accept(name: str) -> None:
    """Over plain http, and in browsers of long ago, there is no fetch metadata."""
    assert verdict((PEOPLE_BY_HTTP | TEXT_BROWSERS)[name], scheme="http") == "person"


@pytest.mark.parametrize("name", TEXT_BROWSERS)
def test_a_text_browser_is_a_person_over_https_too(name: str) -> None:
    """Text browsers send no fetch metadata anywhere."""
    assert verdict(TEXT_BROWSERS[name]) == "person"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", OUR_LIST)
def test_who_only_looks_ahead_is_known_by_name(name: str, scheme: str) -> None:
    """Each of these opened links before their readers did; whatever else it sends, it says its name."""
    for more in ({}, {"Accept": "*/*"}, {"Accept": HTML}, NAVIGATE, {"Range": "bytes=0-511"}):
        assert verdict({"User-Agent": OUR_LIST[name], **more}, scheme=scheme) == "preview"


@pytest.mark.parametrize("tag", ["social-preview", "scanner", "ai-crawler"])
def test_every_agent_that_the_package_has_seen_is_known(tag: str) -> None:
    """A name that was left out because a generic mark or a shorter name finds it must really be found."""
    assert [agent for agent in seen_with(tag) if verdict({"User-Agent": agent}, scheme="http") != "preview"] == []


def test_libraries_are_programs() -> None:
    """Whoever fetches with a library's own name is somebody's program, unless it calls itself a crawler as well."""
    agents = [agent for agent in seen_with("http-library") if not people.has_generic_mark(agent.lower().encode())]
    kept = [agent for agent in agents if "LinkChecker" not in agent]
    assert len(kept) > 50
    assert [agent for agent in kept if verdict({"User-Agent": agent}, scheme="http") == "preview"] == []


@pytest.mark.parametrize("name", SILENT)
def test_a_browsers_name_without_fetch_metadata_looks_ahead_over_https(name: str) -> None:
    """Scanners borrow a browser's name; over https a browser says what it does, and over http it does not."""
    assert verdict(SILENT[name]) == "preview"
    assert verdict(SILENT[name], scheme="http") != "preview"


@pytest.mark.parametrize("header", ["Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"])
def test_a_prefetch_looks_ahead_whoever_sends_it(header: str) -> None:
    """A browser that fetches before anybody clicked is no person yet."""
    assert verdict({**PEOPLE["Chrome"], header: "prefetch;prerender"}) == "prefetch"


def test_a_page_is_200_only_for_who_reads_it() -> None:
    """In place of the object a program would save it; a chat's card is made of it."""
    for head in (PEOPLE["Chrome"], TEXT_BROWSERS["w3m"], {"User-Agent": OUR_LIST["Slack"], "Accept": "*/*"}):
        assert people.page_status(request(head)) == 200
    for head in (SILENT["a scanner with a browser's name"], PROGRAMS["curl"], {"Purpose": "prefetch"}):
        assert people.page_status(request(head)) == 403


def test_a_name_counts_at_the_beginning_of_a_word_only() -> None:
    """Lightning/1.0 is a calendar, no agent of NING/."""
    assert people.agent_seen(b"NING/1.0").is_listed
    for agent in (b"Lightning/1.0", b"ningbo/1.0", b"Steamship/1.0", b"Mozilla/5.0 (X11) openmatrix"):
        assert not people.agent_seen(agent).is_listed


def test_an_agent_is_read_to_its_limit_and_no_further() -> None:
    """A stranger may send 32 KiB; whatever stands beyond 512 bytes costs nothing and counts for nothing."""
    name = b" Slackbot/1.0"
    limit = people.AGENT_MAX_BYTES
    assert people.agent_seen(b"x" * (limit - len(name)) + name).is_listed
    assert not people.agent_seen(b"x" * (limit - len(name) + 6) + name).is_listed


def test_the_answer_for_an_agent_is_remembered_and_memory_is_bounded() -> None:
    """Who sends a new name each time must not fill the memory, nor push it above its bound."""
    for number in range(people.AGENTS_REMEMBERED + 100):
        people.agent_seen(b"agent-%d" % number)
    info = people._judge.cache_info()
    assert info.currsize == info.maxsize == people.AGENTS_REMEMBERED
    before = people._judge.cache_info().hits
    people.agent_seen(b"agent-%d" % (people.AGENTS_REMEMBERED + 99))
    assert people._judge.cache_info().hits == before + 1


def _cost_s(agent: bytes) -> float:
    started = time.thread_time()
    for _ in range(20):
        people._judge.__wrapped__(agent)
    return (time.thread_time() - started) / 20


def _loop_s() -> float:
    """A loop that costs 7 to 8 us on an idle core of the machine where a miss was measured to stay under 30."""
    started = time.thread_time()
    for _ in range(20):
        for _ in range(1000):
            pass
    return (time.thread_time() - started) / 20


@pytest.mark.parametrize(
    "agent",
    [
        CHROME.encode(),
        *(pattern * 512 for pattern in (b"a", b"o", b"bo", b"bot", b"cubot ", b"a ", b"-", b"googl ", b"urlpreview")),
        b" ".join(b"%c%c" % (97 + n % 26, 97 + n // 26) for n in range(250)),
        b" ".join(name[:4] for name in NAMES),
        b" ".join(name[:-1] for name in NAMES),
    ],
)
def test_a_new_agent_costs_at_most_four_fixed_loops(agent: bytes) -> None:
    """30 us on an idle core. All names as one choice cost 1.2 ms for Chrome's agent, and 280 ms for the longest."""
    ratio = min(_cost_s(agent[: people.AGENT_MAX_BYTES]) / _loop_s() for _ in range(25))
    assert ratio < 4


def test_the_list_is_what_its_tool_writes() -> None:
    """Edited by hand, a name would be gone with the next run; and a new release of the package must be seen."""
    check = [sys.executable, ROOT / "tools" / "gen_agents.py", "--check"]
    done = subprocess.run(check, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
