"""Links that are made here survive clients that write a URL anew: yarl (aiohttp), browsers and Node (WHATWG).

A canned policy covers every byte of the URL, so a client that decodes one escape has another link.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import ada_url
import httpx
import pytest
import requests
import urllib3.util
import yarl

from oncegate.links.disposition import content_disposition
from oncegate.links.grant import Operation, Scheme
from oncegate.links.issue import Wish, make_link
from oncegate.links.ticket import Ticket

NAMES = [
    "report.pdf",
    "Report (1), final!.pdf",
    "it's Müller's 100% = a+b & c;d @ e~f $ [x] {y} ^`|.pdf",
    "日本 語.txt",
    "a*b.txt",
    'quo"te\\s',
    "=?utf-8?q?a?=.txt",
    "%28x%29 %2528",
]
PUNCTUATION = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "/\\*")


def by_url_search_params(url: str) -> str:
    """What a page does to a link that it takes apart and puts together again."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=str(ada_url.URLSearchParams(parts.query))))


CLIENTS: dict[str, Any] = {
    "yarl": lambda url: str(yarl.URL(url)),
    "WHATWG": lambda url: ada_url.URL(url).href,
    "requests": lambda url: requests.Request("GET", url).prepare().url,
    "httpx": lambda url: str(httpx.URL(url)),
    "urllib3": lambda url: urllib3.util.parse_url(url).url,
    "URLSearchParams": by_url_search_params,
}
# these write a whole query anew, byte for byte as it was only where nothing but letters, digits and -_. is in its texts
STRICT = ("URLSearchParams",)


def made(door: Any, key: str, scheme: Scheme, **wish: Any) -> str:
    """A link."""
    ticket = Ticket(operation=Operation.GET, uses=1, nonce=door.nonce)
    full = Wish(object_key=key, ticket=ticket, expires_s=door.now_s + 60, scheme=scheme, **wish)
    return make_link(full, public_url=door.origin, key=door.key, s3=door.s3, now_s=door.now_s)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("scheme", Scheme)
@pytest.mark.parametrize("name", NAMES)
def test_a_links_file_name_survives_every_client(door: Any, client: str, scheme: Scheme, name: str) -> None:
    """The name that the reader's browser saves, whatever is in it, and whoever wrote the URL anew."""
    url = made(door, "folder/a b.txt", scheme, filename=name.replace("\\", ""))
    sent = CLIENTS[client](url)
    assert door.open(sent).limits.disposition == content_disposition("attachment", name.replace("\\", ""))
    assert door.open(sent).link_id == door.nonce


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("scheme", Scheme)
def test_an_object_key_survives_every_client(door: Any, client: str, scheme: Scheme) -> None:
    """Parentheses are in every second download; each sign that a key may have, but ``*``, which policies read."""
    for key in ("Report (1).pdf", f"a{PUNCTUATION}b/ü 日.txt"):
        assert door.open(CLIENTS[client](made(door, key, scheme))).object_key == key


@pytest.mark.parametrize("client", [name for name in CLIENTS if name not in STRICT])
def test_a_note_survives_clients_that_open_links(door: Any, client: str) -> None:
    """A note is for a person, whose browser opens the link; yarl's clients keep all of it but three signs."""
    note = "Hello Zoë, see (1): 50% + more & so on! a/b @ c; d=e"
    for scheme in Scheme:
        limits = door.open(CLIENTS[client](made(door, "k", scheme, note=note, sender="A. B."))).limits
        assert (limits.note, limits.sender) == (note, "A. B.")
