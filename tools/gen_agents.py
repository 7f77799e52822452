"""Write links/agents.py, the names of agents that open a link before its reader does, or check that it is current.

    tools/gen_agents.py            write
    tools/gen_agents.py --check    say what differs, exit status 1

The names come from the PyPI package crawler-user-agents (a dependency of tests alone), of which only names are taken:
of the rows tagged as chat previews, scanners and AI crawlers. That package has no tag for mail and office programs, so
those stand in ``OWN``. A name that a generic mark of ``links/people.py`` finds anyway, or that holds another name of
the list, is left out.
"""

from __future__ import annotations

import difflib
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

from oncegate.links.people import has_generic_mark, in_words

WRITTEN = pathlib.Path(__file__).parents[1] / "src" / "oncegate" / "links" / "agents.py"
TAGS = frozenset(("social-preview", "scanner", "ai-crawler"))
NEVER = "http-library"
"""A library is whatever its program is, and most programs are to get the object."""

NO_NAMES = frozenset(("AP3A.240617.008",))
"""Rows of the package that name no agent: the build of a phone, which its owner's browser sends."""

OWN = (
    # mail, at the server and at the reader
    "barracuda", "proofpoint", "mimecast", "safelinks", "urldefense", "symantec", "trendmicro", "sophos",
    "bitdefender", "fortinet", "zscaler", "mailchannels", "spamassassin", "cloudmark", "ironport", "fireeye",
    "trustwave", "linkcheck", "thunderbird", "outlook", "ggpht.com", "feedfetcher-google",
    # office programs, which look at a link before they hand it to the browser
    "ms-office", "msoffice", "microsoft office", "microsoft data access",
    # chats and their servers
    "facebookcatalog", "teams", "microsoftteams", "line-poker", "kakaotalk-scrap", "snapchat", "cardyb",
    "mattermost", "rocket.chat", "matrix", "zulip", "signal-desktop", "pleroma", "akkoma", "misskey", "firefish",
    "peertube", "pixelfed", "gotosocial", "bluesky", "pinterest", "outbrain", "vkshare", "link preview", "url preview",
    # search, reading aloud, pages rendered ahead
    "google-pagerenderer", "google-safety", "google-read-aloud", "google-inspectiontool", "googleother",
    "mediapartners-google", "headlesschrome", "phantomjs", "chrome-lighthouse",
)  # fmt: skip

_HEAD = '''\
"""Names of agents that open a link before its reader does. Written by tools/gen_agents.py; not to be edited."""

from __future__ import annotations

'''


def main() -> int:
    """Write or check; the exit status."""
    wanted = written(names())
    if "--check" not in sys.argv[1:]:
        WRITTEN.write_text(wanted)
        return 0
    stands = WRITTEN.read_text()
    print(*difflib.unified_diff(stands.splitlines(), wanted.splitlines(), "agents.py", "wanted", lineterm=""), sep="\n")
    return int(stands != wanted)


def patterns() -> Iterator[str]:
    """The patterns of the package's rows with one of the tags."""
    for row in CRAWLER_USER_AGENTS_DATA:
        tags = frozenset(row.get("tags", ()))
        if tags & TAGS and NEVER not in tags and literal_of(row["pattern"]) not in NO_NAMES:
            yield row["pattern"]


def names() -> list[str]:
    """The names that are looked for, in lower case, sorted."""
    candidates = {literal_of(pattern).lower() for pattern in patterns()} | set(OWN)
    kept: list[str] = []
    for name in sorted(candidates, key=lambda name: (len(name), name)):
        if not has_generic_mark(name.encode()) and not is_within_any(name, kept):
            kept.append(name)
    return sorted(kept)


def is_within_any(name: str, others: Iterable[str]) -> bool:
    """Whether one of the others is found wherever this name is: at the beginning of a word of it."""
    words = b" " + in_words(name.encode())
    return any(b" " + in_words(other.encode()) in words for other in others)


def literal_of(pattern: str) -> str:
    """The name that a pattern of the package looks for.

    Raises:
        ValueError: it is more than a name with escapes, an anchor or a letter in both cases.
    """
    without_cases = re.sub(r"\[(?i:(\w)\1)\]", r"\1", pattern.removeprefix("^").removesuffix("$"))
    if has_generic_mark(pattern.lower().encode()):
        return without_cases
    if re.search(r"(?<!\\)[][(){}*+?|^$.]|\\[A-Za-z0-9]", without_cases):
        raise ValueError(f"{pattern!r} is no plain name: say in this tool what to do with it")
    return re.sub(r"\\(.)", r"\1", without_cases)


def written(found: list[str]) -> str:
    """The module."""
    lines = "".join(f"    {_literal(name)},\n" for name in found)
    return f"{_HEAD}NAMES = (\n{lines})\n"


def _literal(name: str) -> str:
    return f'b"{name}"'


if __name__ == "__main__":
    sys.exit(main())
